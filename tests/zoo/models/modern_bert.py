"""ModernBERT as an embedder and as a classifier."""

# fmt: off
from .rows import GELU, V4, Fault, Model

_IDS = {"bos_token_id": 417, "eos_token_id": 418}
_MODERN = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "max_position_embeddings": 128,
           "local_attention": 16, "cls_token_id": 417, "sep_token_id": 418}
_EPS = Fault(converter="writes norm_eps under a key that the runtime does not read", keys=("modern-bert.attention.layer_norm_epsilon",))
_BIAS = Fault(converter="knows no decoder.bias, and no other pattern than every third block", drop="decoder.bias",
              keys=(*_EPS.keys, "modern-bert.attention.sliding_window_pattern"))
_HUB = V4(drop=("layer_types", "rope_parameters"), add={"global_attn_every_n_layers": 3, "global_rope_theta": 160000.0,
                                                        "local_rope_theta": 10000.0, "layer_norm_eps": 1e-5} | _IDS)
ROWS = (
    Model("modernbert", "ModernBertModel", "modernbert", _MODERN, "float32", v4=_HUB, pooling="mean", embeds=True, add=_IDS, tolerance=GELU,
          fault=_EPS),
    Model("modernbert-mlm", "ModernBertForMaskedLM", "modernbert", _MODERN | {"num_hidden_layers": 3, "layer_types": [
        "full_attention", "sliding_attention", "full_attention"]}, "float16", embeds=True, add=_IDS, tolerance=GELU, fault=_BIAS),
    Model("modernbert-scores", "ModernBertForSequenceClassification", "modernbert", _MODERN | {
        "hidden_activation": "silu", "classifier_pooling": "mean", "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}},
          "bfloat16", scores=True, add=_IDS, tolerance=GELU, fault=_EPS),
)
