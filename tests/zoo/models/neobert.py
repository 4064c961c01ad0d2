"""NeoBERT as an embedder and as a classifier."""

# fmt: off
from .rows import Model, tensors

_NEO = {"model_type": "neobert", "hidden_size": 64, "intermediate_size": 144, "num_hidden_layers": 2, "num_attention_heads": 4,
        "max_length": 128, "norm_eps": 1e-5, "torch_dtype": "float32"}
_T = "transformer_encoder.{b}."
_BODY = {
    "encoder.weight": "vocab_size hidden_size", "layer_norm.weight": "hidden_size",
    _T + "attention_norm.weight": "hidden_size", _T + "ffn_norm.weight": "hidden_size",
    _T + "qkv.weight": "3*hidden_size hidden_size", _T + "wo.weight": "hidden_size hidden_size",
    _T + "ffn.w12.weight": "2*(2*intermediate_size//3) hidden_size", _T + "ffn.w3.weight": "hidden_size 2*intermediate_size//3",
}
_HEADED = {f"model.{name}": shape for name, shape in _BODY.items()}
ROWS = (
    Model("neobert", "NeoBERTLMHead", "bert", _NEO, "float32", embeds=True, shapes=tensors(_HEADED | {
        "decoder.weight": "vocab_size hidden_size", "decoder.bias": "vocab_size"})),
    Model("neobert-scores", "NeoBERTForSequenceClassification", "bert", _NEO | {"id2label": {"0": "LABEL_0"}}, "float32", scores=True,
          shapes=tensors(_HEADED | {"dense.weight": "hidden_size hidden_size", "dense.bias": "hidden_size",
                                    "classifier.weight": "1 hidden_size", "classifier.bias": "1"})),
)
