"""Qwen3-Next: Qwen3.5's blocks with the projections of linear attention fused, key head by key head.

Value heads keep HF's order here. Source: transformers `models/qwen3_next`; llama.cpp `src/models/qwen3next.cpp`,
`conversion/qwen.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .qwen35 import (
    GATED_ATTN,
    HYBRID_DEFAULTS,
    HYBRID_MOE,
    HYBRID_SIZES,
    MTP,
    NORMS,
    OUT_NORM,
    SHARED_EXPERT,
    STACKS,
    linear,
    of_mtp,
)

LINEAR_ATTN = where(
    linear,
    R(("blk.{b}.attn_qkv.weight", "blk.{b}.attn_gate.weight"), L + "linear_attn.in_proj_qkvz.weight",
      Split(("heads_before_gate", "values_per_key"), groups="ssm.group_count"),
      Each((Split((1, 1, "values_per_key"), groups="ssm.group_count", join=True), Op())),
      shape="query_key_value_gate_rows embedding_length"),
    R("blk.{b}.ssm_in.weight", L + "linear_attn.in_proj_qkvz.weight",  # before 2026
      shape="query_key_value_gate_rows embedding_length"),
    R("blk.{b}.ssm_ba.weight", L + "linear_attn.in_proj_ba.weight", shape="2*ssm.time_step_rank embedding_length"),
    R("blk.{b}.ssm_conv1d.weight", L + "linear_attn.conv1d.weight",
      Reshape(("query_key_value_rows", 1, "ssm.conv_kernel"), ("query_key_value_rows", "ssm.conv_kernel")),
      type="F32"),
    R("blk.{b}.ssm_dt.bias", L + "linear_attn.dt_bias", shape="ssm.time_step_rank"),
    R("blk.{b}.ssm_a", L + "linear_attn.A_log", NegExp(), shape="ssm.time_step_rank"),
    R("blk.{b}.ssm_norm.weight", L + "linear_attn.norm.weight", shape="ssm.state_size"),
    R("blk.{b}.ssm_out.weight", L + "linear_attn.out_proj.weight", shape="embedding_length ssm.inner_size"),
)

QWEN3NEXT = ArchSpec(
    "qwen3next", ("Qwen3NextForCausalLM",), "qwen3_next",
    hparams=(*without(HYBRID_MOE, "rope.dimension_sections", "rope_parameters.mrope_interleaved", "attn_output_gate"),
             FFN_LENGTH, Fixed("norm_topk_prob", True), Fixed("decoder_sparse_step", 1), Fixed("mlp_only_layers", [])),
    tensors=(
        *EMBED, *NORMS, *GATED_ATTN, *LINEAR_ATTN, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERT,
        *of_mtp(*NORMS, *GATED_ATTN, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERT), *MTP, *OUT_NORM, *HEAD,
    ),
    defaults={**HYBRID_DEFAULTS, "num_key_value_heads": 2, "norm_topk_prob": True, "num_experts": 512,
              "num_experts_per_tok": 10, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512},
    stacks=STACKS, aliases=(("model.mtp.", "mtp."),), example="Qwen/Qwen3-Next-80B-A3B-Instruct",
    sizes={
        **HYBRID_SIZES,
        "query_key_value_gate_rows": lambda hp: hp["query_key_value_rows"] + hp["ssm.inner_size"],
        "heads_before_gate": lambda hp: 2 + hp["values_per_key"],
    },
)

SPECS = (QWEN3NEXT,)
