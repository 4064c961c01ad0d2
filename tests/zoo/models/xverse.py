"""XVERSE."""

# fmt: off
from .rows import SCORE, SMALL, Fault, Model, tensors

_L = "model.layers.{b}."
_XVERSE = SMALL | {"model_type": "xverse", "num_attention_heads": 4, "rms_norm_eps": 1e-6, "hidden_act": "silu",
                   "tie_word_embeddings": False}
_SHAPES = tensors({
    "model.embed_tokens.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size",
    "model.norm.weight": "hidden_size", _L + "input_layernorm.weight": "hidden_size",
    _L + "post_attention_layernorm.weight": "hidden_size",
    **{_L + f"self_attn.{x}_proj.weight": "hidden_size hidden_size" for x in "qkvo"},
    _L + "mlp.gate_proj.weight": "intermediate_size hidden_size", _L + "mlp.up_proj.weight": "intermediate_size hidden_size",
    _L + "mlp.down_proj.weight": "hidden_size intermediate_size"})

ROWS = (Model("xverse", "XverseForCausalLM", "llama-spm-json", _XVERSE, shapes=_SHAPES,
              fault=Fault("leaves out the scores of pieces", keys=(SCORE,))),)
