"""Falcon."""

# fmt: off
from .rows import GELU, THETA, V4, Fault, Model

_FALCON = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_BASE = ("falcon.rope.freq_base",)
_ONE = Fault("takes num_kv_heads for the key-value heads of a model with one; writes no rotary base", config={"num_kv_heads": 1}, keys=_BASE)
_ROPE = Fault("writes no rotary base, nor a context but 2048", keys=(*_BASE, "falcon.context_length"))

ROWS = (
    Model("falcon", "FalconForCausalLM", "gpt2", _FALCON, v4=V4(fault=_ONE, drop=("ffn_hidden_size", "num_ln_in_parallel_attn", "max_position_embeddings")),
          tolerance=GELU, fault=_ONE),
    Model("falcon-40b", "FalconForCausalLM", "gpt2", _FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}, "float32",
          tolerance=GELU, fault=_ROPE),
    Model("falcon-11b", "FalconForCausalLM", "gpt2", _FALCON | {
        "new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1, "tie_word_embeddings": False,
        "max_position_embeddings": 256, "rope_parameters": THETA | {"rope_theta": 500042.0}}, tolerance=GELU,
          fault=Fault(_ROPE.converter, keys=_ROPE.keys)),
)
