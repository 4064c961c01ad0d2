"""Qwen2, Qwen3 and Qwen3-MoE: Llama's blocks without its permutation of rotary rows; Qwen3.5 is in `qwen35.py`.

Source: transformers `models/qwen2`, `qwen3`, `qwen3_moe`; llama.cpp `src/models/qwen2.cpp`, `qwen3.cpp`, `qwen3moe.cpp`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..rules.words import *
from .common import *


def heads_or(default: int) -> Callable[[Config], int | None]:
    """Key-value heads: null means one per query head, while a missing key means the class's default."""
    return lambda config: config.get("num_attention_heads") if "num_key_value_heads" in config else default


FULL_ATTENTION = Fixed("use_sliding_window", False)
NO_BIAS = Fixed("attention_bias", False)
DEFAULTS = {"max_position_embeddings": 32768, "rms_norm_eps": 1e-6}

ATTN = (  # the runtime has no bias behind attention
    R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", shape="head_rows embedding_length"),
    R("blk.{b}.attn_k.weight", L + "self_attn.k_proj.weight", shape="head_kv_rows embedding_length"),
    R("blk.{b}.attn_v.weight", L + "self_attn.v_proj.weight", shape="head_kv_rows embedding_length"),
    R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length head_rows"),
)
QKV_BIAS = (
    R("blk.{b}.attn_q.bias", L + "self_attn.q_proj.bias", shape="head_rows"),
    R("blk.{b}.attn_k.bias", L + "self_attn.k_proj.bias", shape="head_kv_rows"),
    R("blk.{b}.attn_v.bias", L + "self_attn.v_proj.bias", shape="head_kv_rows"),
)
FFN = (
    R("blk.{b}.ffn_gate.weight", L + "mlp.gate_proj.weight", shape="feed_forward_length embedding_length"),
    R("blk.{b}.ffn_up.weight", L + "mlp.up_proj.weight", shape="feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down.weight", L + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
)

QWEN2 = ArchSpec(
    "qwen2", ("Qwen2ForCausalLM", "Qwen2Model"), "qwen2", headless=("Qwen2Model",),
    hparams=(*DECODER, FULL_ATTENTION, POOLING),
    tensors=(*EMBED, *NORMS, *ATTN, *QKV_BIAS, *FFN, *OUT_NORM, *HEAD),
    defaults={**DEFAULTS, "num_key_value_heads": heads_or(32)},
    sizes=SIZES, example="Qwen/Qwen2.5-0.5B-Instruct",
)

QWEN3 = ArchSpec(
    "qwen3", ("Qwen3ForCausalLM", "Qwen3Model"), "qwen3", headless=("Qwen3Model",),
    hparams=(*DECODER, FULL_ATTENTION, NO_BIAS, POOLING),
    tensors=(*EMBED, *NORMS, *ATTN, *QK_NORM, *FFN, *OUT_NORM, *HEAD),
    defaults={**DEFAULTS, "num_key_value_heads": heads_or(32), "head_dim": 128},
    sizes=SIZES, again=("cls.output.weight",), example="Qwen/Qwen3-0.6B",
)

QWEN3MOE = ArchSpec(
    "qwen3moe", ("Qwen3MoeForCausalLM",), "qwen3_moe",
    hparams=(*DECODER, *EXPERTS, EXPERT_LENGTH, FULL_ATTENTION, NO_BIAS, Fixed("norm_topk_prob", True),
             Fixed("decoder_sparse_step", 1), Fixed("mlp_only_layers", [])),
    tensors=(*EMBED, *NORMS, *ATTN, *QK_NORM, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *OUT_NORM, *HEAD),
    defaults={**DEFAULTS, "num_key_value_heads": heads_or(4), "norm_topk_prob": False},
    sizes=SIZES, example="Qwen/Qwen3-30B-A3B",
)

SPECS = (QWEN2, QWEN3, QWEN3MOE)
