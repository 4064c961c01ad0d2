"""BERT, RoBERTa and XLM-RoBERTa as sentence embedders."""

# fmt: off
from .rows import GELU, SCORE, TOKENS, TYPE, V4, Fault, Model

_BERT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128,
         "type_vocab_size": 2, "hidden_act": "gelu"}
_MASK = Fault(keys=(TYPE, TOKENS, SCORE))  # from the SentencePiece file of XLM-R: no <mask>, padding numbered one less

ROWS = (
    Model("bert", "BertModel", "bert", _BERT, "float32", v4=V4(), pooling="mean", embeds=True, tolerance=GELU),
    Model("bert-cls", "BertModel", "bert", _BERT | {"layer_norm_eps": 1e-6}, "float16", v4=V4(), pooling="cls", embeds=True, tolerance=GELU),
    Model("roberta", "RobertaModel", "roberta", _BERT | {"max_position_embeddings": 130, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
          "float32", v4=V4(), pooling="mean", embeds=True, tolerance=GELU),
    Model("xlmr", "XLMRobertaModel", "xlmr", _BERT | {"max_position_embeddings": 130, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
          "float32", v4=V4(fault=_MASK), pooling="cls", embeds=True, tolerance=GELU, fault=_MASK),
    Model("xlmr-json", "XLMRobertaModel", "xlmr-json", _BERT | {"max_position_embeddings": 130, "type_vocab_size": 1}, "bfloat16",
          pooling="mean", embeds=True, tolerance=GELU),
)
