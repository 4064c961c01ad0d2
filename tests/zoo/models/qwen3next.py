"""Qwen3-Next, with its head for multi-token prediction."""

# fmt: off
from .qwen35 import mtp
from .rows import RECURRENT, SMALL, THETA, Model

ROWS = (
    Model("qwen3next", "Qwen3NextForCausalLM", "qwen2", SMALL | {
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "rope_parameters": THETA | {"rope_theta": 10000000.0, "partial_rotary_factor": 0.25}, "linear_key_head_dim": 16,
        "linear_value_head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "moe_intermediate_size": 48,
        "shared_expert_intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2},
          extra=mtp("model."), zero_norms=True, tolerance=RECURRENT, rounded=True),
)
