"""Qwen2-MoE (Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B): Qwen2's attention, experts, and one expert that always works, gated.

Source: transformers `models/qwen2_moe`; llama.cpp `src/models/qwen2moe.cpp`, `conversion/qwen.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .qwen import ATTN, DEFAULTS, FULL_ATTENTION, QKV_BIAS, heads_or
from .qwen35 import SHARED_EXPERT

QWEN2MOE = ArchSpec(
    "qwen2moe", ("Qwen2MoeForCausalLM",), "qwen2_moe",
    hparams=(*DECODER, *EXPERTS, EXPERT_LENGTH, FULL_ATTENTION, Fixed("norm_topk_prob", False), Fixed("qkv_bias", True),
             H("expert_shared_feed_forward_length", "shared_expert_intermediate_size"),
             Fixed("decoder_sparse_step", 1), Fixed("mlp_only_layers", [])),
    tensors=(*EMBED, *NORMS, *ATTN, *QKV_BIAS, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERT, *OUT_NORM, *HEAD),
    defaults={**DEFAULTS, "num_key_value_heads": heads_or(16), "num_experts": 60, "num_experts_per_tok": 4,
              "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632},
    sizes=SIZES, example="Qwen/Qwen1.5-MoE-A2.7B-Chat",
)

SPECS = (QWEN2MOE,)
