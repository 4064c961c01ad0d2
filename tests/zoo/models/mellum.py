"""Mellum 2."""

# fmt: off
from .rows import DECODER, THETA, Model

_MELLUM = DECODER | {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "sliding_window": 16,
                     "layer_types": ["sliding_attention", "full_attention"], "rope_parameters": {
                         "full_attention": THETA | {"rope_theta": 500000.0}, "sliding_attention": THETA | {"rope_theta": 500000.0}}}

ROWS = (Model("mellum", "MellumForCausalLM", "gpt2", _MELLUM),)
