"""Qwen2-MoE, its experts one by one and fused."""

# fmt: off
from .rows import DECODER, V4, Model

_MOE = DECODER | {"moe_intermediate_size": 32, "shared_expert_intermediate_size": 96, "num_experts": 4, "num_experts_per_tok": 2}

ROWS = (
    Model("qwen2moe", "Qwen2MoeForCausalLM", "qwen2", _MOE, v4=V4(drop=("layer_types",))),
    Model("qwen2moe-fused", "Qwen2MoeForCausalLM", "qwen2", _MOE, "float16", layout="fused"),
)
