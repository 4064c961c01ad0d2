"""BERT and its relatives as sentence embedders and as classifiers."""

# fmt: off
from .rows import GELU, SCORE, TOKENS, TYPE, V4, Fault, Model

_BERT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128,
         "type_vocab_size": 2, "hidden_act": "gelu"}
_MASK = Fault(keys=(TYPE, TOKENS, SCORE))  # from the SentencePiece file of XLM-R: no <mask>, padding numbered one less
_DISTIL = {"dim": 64, "hidden_dim": 96, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 128}
_ROBERTA = _BERT | {"max_position_embeddings": 130, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
_CAMEMBERT = Fault(converter="takes the pieces for WordPiece")
_RELU = "puts tanh behind pre_classifier, where the class has relu"
_POOLER = Fault(converter="leaves the pooler out", keys=("cls.weight", "cls.bias"))
_ONE = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
_THREE = {"id2label": {"0": "no", "1": "maybe", "2": "yes"}, "label2id": {"no": 0, "maybe": 1, "yes": 2}}

# One score is a sum in which the rounding of GELU's table weighs more than in a state: twice its tolerance.
ROWS = (
    Model("bert", "BertModel", "bert", _BERT, "float32", v4=V4(), pooling="mean", embeds=True, tolerance=GELU),
    Model("bert-cls", "BertModel", "bert", _BERT | {"layer_norm_eps": 1e-6}, "float16", v4=V4(), pooling="cls", embeds=True, tolerance=GELU),
    Model("roberta", "RobertaModel", "roberta", _BERT | {"max_position_embeddings": 130, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
          "float32", v4=V4(), pooling="mean", embeds=True, tolerance=GELU),
    Model("xlmr", "XLMRobertaModel", "xlmr", _BERT | {"max_position_embeddings": 130, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
          "float32", v4=V4(fault=_MASK), pooling="cls", embeds=True, tolerance=GELU, fault=_MASK),
    Model("xlmr-json", "XLMRobertaModel", "xlmr-json", _BERT | {"max_position_embeddings": 130, "type_vocab_size": 1}, "bfloat16",
          pooling="mean", embeds=True, tolerance=GELU),
    Model("distilbert", "DistilBertModel", "bert", _DISTIL, "float32", v4=V4(), pooling="mean", embeds=True, tolerance=GELU),
    Model("distilbert-scores", "DistilBertForSequenceClassification", "bert", _DISTIL | _THREE, "float16", scores=True,
          tolerance=GELU, fault=Fault(runtime=_RELU)),
    Model("camembert", "CamembertModel", "camembert", _ROBERTA, "float32", pooling="mean", embeds=True, tolerance=GELU,
          fault=_CAMEMBERT),
    Model("bert-scores", "BertForSequenceClassification", "bert", _BERT | _ONE, "float32", v4=V4(fault=_POOLER), scores=True, tolerance=2 * GELU,
          fault=_POOLER),
    Model("roberta-scores", "RobertaForSequenceClassification", "roberta", _ROBERTA, "float16", scores=True, tolerance=GELU,
          fault=Fault(keys=("bert.classifier.output_labels", "cls.output.weight", "cls.output.bias"))),
    Model("xlmr-scores", "XLMRobertaForSequenceClassification", "xlmr-json", _ROBERTA | _ONE, "bfloat16", scores=True,
          tolerance=2 * GELU),
)
