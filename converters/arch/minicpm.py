"""MiniCPM, MiniCPM 3 and the text part of MiniCPM-V 4.6, which is Qwen3.5.

MiniCPM scales embeddings, residuals and logits; GGUF has keys for what comes of its settings. MiniCPM 3 has latent attention
whose keys and values the runtime takes as HF has them, and whose scales it knows by heart.
Source: OpenBMB's `modeling_minicpm.py`, transformers `models/minicpm3`, `minicpmv4_6`; llama.cpp `src/models/minicpm*.cpp`,
`conversion/minicpm.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..rules.words import *
from .common import *
from .deepseek import ATTN_OUTPUT, LATENT_EPS, LATENT_SIZES
from .llama import LLAMA, UNSTATED_HEAD
from .qwen import FFN
from .qwen35 import QWEN35


def simplest(value: float, stored: float, factor: float) -> float:
    """The shortest decimal near `value` that makes, times `factor`, the float32 that is stored."""
    for digits in range(10):
        short = round(value, digits)
        if np.float32(short * factor) == np.float32(stored):
            return short
    return value


def depth(kv: Mapping[str, Any]) -> float | None:
    stored, root = kv.get("residual_scale"), math.sqrt(kv["block_count"])
    return None if stored is None else simplest(float(stored) * root, stored, 1 / root)


def base(kv: Mapping[str, Any]) -> int | None:
    return round(kv["embedding_length"] / kv["logit_scale"]) if kv.get("logit_scale") else None


MINICPM = ArchSpec(
    "minicpm", ("MiniCPMForCausalLM",), "minicpm",
    hparams=(
        *DECODER, H("embedding_scale", "scale_emb", F32, default=12),
        Computed("residual_scale", lambda c: c["scale_depth"] / math.sqrt(c["num_hidden_layers"]), "scale_depth", depth, F32),
        Computed("logit_scale", lambda c: c["hidden_size"] / c["dim_model_base"], "dim_model_base", base, F32),
        Fixed("attention_bias", False, refuse=True),
    ),
    tensors=LLAMA.tensors, derived=LONGROPE_FACTORS,
    defaults={**UNSTATED_HEAD, "tie_word_embeddings": True, "scale_depth": 1.4, "dim_model_base": 256},
    sizes={**SIZES, "rope.dimension_count": lambda hp: hp["head_length"]}, example="openbmb/MiniCPM-2B-sft-bf16",
)

ATTN = (
    R("blk.{b}.attn_q_a.weight", L + "self_attn.q_a_proj.weight", shape="attention.q_lora_rank embedding_length",
      no_lora=NO_ADAPTERS),
    R("blk.{b}.attn_q_a_norm.weight", L + "self_attn.q_a_layernorm.weight", shape="attention.q_lora_rank"),
    R("blk.{b}.attn_q_b.weight", L + "self_attn.q_b_proj.weight", shape="query_rows attention.q_lora_rank",
      no_lora=NO_ADAPTERS),
    R("blk.{b}.attn_kv_a_mqa.weight", L + "self_attn.kv_a_proj_with_mqa.weight", shape="latent_rows embedding_length",
      no_lora=NO_ADAPTERS),
    R("blk.{b}.attn_kv_a_norm.weight", L + "self_attn.kv_a_layernorm.weight", shape="attention.kv_lora_rank"),
    R("blk.{b}.attn_kv_b.weight", L + "self_attn.kv_b_proj.weight", shape="key_value_rows attention.kv_lora_rank",
      no_lora=NO_ADAPTERS),
)


def other_values(config: Config) -> int | None:
    """The length of a head's values where it is not what the runtime takes it for."""
    return config["v_head_dim"] if config["v_head_dim"] != per_head(config) else None


def value_length(kv: Mapping[str, Any]) -> int:
    return kv.get("attention.value_length") or kv["embedding_length"] // kv["attention.head_count"]


MINICPM3 = ArchSpec(
    "minicpm3", ("MiniCPM3ForCausalLM",), "minicpm3",
    hparams=(
        *SHAPE, HEAD_KV, Rope(write_base=False, write_scaling=False), RMS_EPS, TIED, SILU, VOCAB_SIZE, VOCAB_ROWS,
        LATENT_EPS, H("attention.q_lora_rank", "q_lora_rank"), H("attention.kv_lora_rank", "kv_lora_rank"),
        H("rope.dimension_count", "qk_rope_head_dim"),
        Computed("attention.key_length", lambda c: c["qk_nope_head_dim"] + c["qk_rope_head_dim"],
                 "qk_nope_head_dim", lambda kv: kv["attention.key_length"] - kv["rope.dimension_count"]),
        Computed("attention.value_length", other_values, "v_head_dim", value_length),
        Fixed("scale_emb", 12, refuse=True), Fixed("scale_depth", 1.4, refuse=True), Fixed("dim_model_base", 256, refuse=True),
        Fixed("attention_bias", False, refuse=True), Fixed("mlp_bias", False, refuse=True),
    ),
    tensors=(*EMBED, *NORMS, *ATTN, *ATTN_OUTPUT, *FFN, *OUT_NORM, *HEAD), derived=LONGROPE_FACTORS,
    defaults={"num_key_value_heads": same_as("num_attention_heads"), "max_position_embeddings": 32768, "rms_norm_eps": 1e-5,
              "tie_word_embeddings": True, "q_lora_rank": 768, "kv_lora_rank": 256, "qk_nope_head_dim": 64,
              "qk_rope_head_dim": 32, "v_head_dim": per_head},
    sizes={**LATENT_SIZES, "key_length": lambda hp: hp["attention.key_length"], "value_length": value_length},
    example="openbmb/MiniCPM3-4B",
)

MINICPMV = Whole(
    "MiniCPMV4_6ForConditionalGeneration", "minicpmv4_6", QWEN35, (), dict.fromkeys((
        "model.vision_tower.", "model.vpm.", "model.merger.", "model.vit_merger.")), example="openbmb/MiniCPM-V-4_6",
)

SPECS = (MINICPM, MINICPM3, MINICPMV)
