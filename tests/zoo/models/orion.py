"""Orion."""

# fmt: off
from .rows import DECODER, Model, tensors

_ORION = DECODER | {"model_type": "orion", "rms_norm_eps": 1e-5, "max_sequence_length": 256, "hidden_act": "silu",
                    "tie_word_embeddings": False, "attention_bias": False}
_L = "model.layers.{b}."
_NORMS = {f"{norm}.{part}": "hidden_size" for part in ("weight", "bias")
          for norm in (_L + "input_layernorm", _L + "post_attention_layernorm", "model.norm")}
_SHAPES = tensors(_NORMS | {
    "model.embed_tokens.weight": "vocab_size hidden_size", "lm_head.weight": "vocab_size hidden_size",
    _L + "self_attn.q_proj.weight": "hidden_size hidden_size", _L + "self_attn.o_proj.weight": "hidden_size hidden_size",
    _L + "self_attn.k_proj.weight": "hidden_size//2 hidden_size", _L + "self_attn.v_proj.weight": "hidden_size//2 hidden_size",
    _L + "mlp.gate_proj.weight": "intermediate_size hidden_size", _L + "mlp.up_proj.weight": "intermediate_size hidden_size",
    _L + "mlp.down_proj.weight": "hidden_size intermediate_size"})

ROWS = (Model("orion", "OrionForCausalLM", "llama-spm", _ORION, shapes=_SHAPES),)
