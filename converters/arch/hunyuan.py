"""Tencent's Hunyuan, dense and of experts, and Hy3.

Hunyuan turns rotary pairs before it normalizes them, which the runtime does as well. The dynamic rotary scaling of published
models has a fixed `alpha`, which only stretches the base: GGUF holds the stretched one.
Source: transformers `models/hunyuan_v1_dense`, `hunyuan_v1_moe`, `hy_v3`; llama.cpp `src/models/hunyuan-*.cpp`, `hy-v3.cpp`,
`conversion/hunyuan.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .ernie import SHARED_LENGTH
from .llama import MULTIMODAL
from .qwen import ATTN, FFN

HUNYUAN_NORMS = (
    R("blk.{b}.attn_q_norm.weight", L + "self_attn.query_layernorm.weight", shape="head_length"),
    R("blk.{b}.attn_k_norm.weight", L + "self_attn.key_layernorm.weight", shape="head_length"),
)
COMMON = (
    BLOCK_COUNT, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT, HEAD_KV, *HEAD_LENGTHS, AlphaRope(), RMS_EPS, TIED, SILU, VOCAB_ROWS,
    Fixed("attention_bias", False, refuse=True), Fixed("mlp_bias", False, refuse=True), Fixed("use_qk_norm", True, refuse=True),
    Fixed("use_cla", False, refuse=True),
)
DEFAULTS = {**DECODER_DEFAULTS, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5}

HUNYUAN = ArchSpec(
    "hunyuan-dense", ("HunYuanDenseV1ForCausalLM",), "hunyuan_v1_dense", hparams=COMMON,
    tensors=(*EMBED, *NORMS, *ATTN, *HUNYUAN_NORMS, *FFN, *OUT_NORM, *HEAD), defaults=DEFAULTS, sizes=SIZES,
    example="tencent/Hunyuan-4B-Instruct",
)

HUNYUAN_VL_TEXT = replace(
    HUNYUAN, name="hunyuan_vl", hparams=(*without(COMMON, "rope_parameters"), SectionedAlphaRope()))
HUNYUAN_VL = Whole(
    "HunYuanVLForConditionalGeneration", "hunyuan_vl", HUNYUAN_VL_TEXT, MULTIMODAL, dict.fromkeys(
        ("vit.", "model.vit.", "model.vision_tower.", "vision_tower.")), example="tencent/HunyuanOCR")


def one(config: Config, key: str, default: int | None = None) -> int | None:
    """A setting that config.json may list for every block. ValueError where they differ: the runtime knows one."""
    value = config.get(key, default)
    if isinstance(value, list):
        if len({*value}) != 1:
            raise ValueError(f"{key} differs between blocks")
        return value[0]
    return value


S = L + "mlp.shared_mlp."
SHARED_MLP = (
    R("blk.{b}.ffn_gate_shexp.weight", S + "gate_proj.weight", shape=f"{SHARED_LENGTH} embedding_length"),
    R("blk.{b}.ffn_up_shexp.weight", S + "up_proj.weight", shape=f"{SHARED_LENGTH} embedding_length"),
    R("blk.{b}.ffn_down_shexp.weight", S + "down_proj.weight", shape=f"embedding_length {SHARED_LENGTH}"),
)

HUNYUAN_MOE = ArchSpec(
    "hunyuan-moe", ("HunYuanMoEV1ForCausalLM",), "hunyuan_v1_moe",
    hparams=(
        *COMMON, H("expert_count", ("num_experts", "num_local_experts")),
        Computed("expert_used_count", lambda c: one(c, "moe_topk"), "moe_topk", lambda kv: kv["expert_used_count"]),
        Computed("expert_feed_forward_length", lambda c: one(c, "moe_intermediate_size", c["intermediate_size"]),
                 "moe_intermediate_size", lambda kv: kv.get("expert_feed_forward_length")),
        Computed("expert_shared_count", lambda c: one(c, "num_shared_expert", 1),
                 "num_shared_expert", lambda kv: kv.get("expert_shared_count", 1)),
        Computed(SHARED_LENGTH, lambda c: c["intermediate_size"] * one(c, "num_shared_expert", 1)),
    ),
    tensors=(
        *EMBED, *NORMS, *ATTN, *HUNYUAN_NORMS,
        R("blk.{b}.ffn_gate_inp.weight", L + "mlp.gate.wg.weight", shape="expert_count embedding_length", type="F32"),
        *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_MLP, *OUT_NORM, *HEAD,
    ),
    defaults=DEFAULTS, sizes=SIZES, example="tencent/Hunyuan-A13B-Instruct",
)

# -- Hy3 ----------------------------------------------------------------------------------------------------------------

ROUTER_HUB = R("blk.{b}.ffn_gate_inp.weight", L + "mlp.router.gate.weight", shape="expert_count embedding_length", type="F32")
ROUTED = tuple(  # the last rows as transformers 5 holds the model, which is how adapters name its weights
    replace(row, given=lacks("blk.{b}.ffn_gate.weight")) for row in (
        ROUTER_HUB, R("blk.{b}.exp_probs_b", L + "mlp.expert_bias", shape="expert_count", hf_dtype="F32"),
        *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_MLP,
        *ROUTER, *(replace(row, hf=(Template(str(row.hf[0]).replace("shared_mlp", "shared_experts")),)) for row in SHARED_MLP)))


def mlp_layers(facts: GgufFacts) -> list[str]:
    return ["sparse" if f"blk.{b}.ffn_gate_inp.weight" in facts.tensors else "dense" for b in range(main_blocks(facts.kv))]


def shared_count(kv: Mapping[str, Any]) -> int:
    return kv.get(SHARED_LENGTH, kv["expert_feed_forward_length"]) // kv["expert_feed_forward_length"]


HY3 = ArchSpec(
    "hy_v3", ("HYV3ForCausalLM",), "hy_v3",
    hparams=(
        *without(DECODER, "num_hidden_layers"), *NEXTN_BLOCKS, *EXPERTS, EXPERT_LENGTH,
        Computed(SHARED_LENGTH, lambda c: c["moe_intermediate_size"] * c["num_shared_experts"],
                 "num_shared_experts", shared_count),
        H("expert_weights_norm", "route_norm", BOOL, default=True), Const("expert_gating_func", 2),
        H("expert_weights_scale", "router_scaling_factor", F32, default=1.0), Seen("mlp_layer_types", mlp_layers),
        Fixed("attention_bias", False, refuse=True), Fixed("mlp_bias", False, refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS, *ATTN, *QK_NORM, *(replace(row, given=lacks("blk.{b}.ffn_gate_inp.weight")) for row in FFN), *ROUTED,
        R("blk.{b}.nextn.shared_head_norm.weight", L + "final_layernorm.weight", need=False, shape="embedding_length"),
        *(row for row in NEXTN if "shared_head_norm" not in str(row.gguf[0])), *OUT_NORM, *HEAD,
    ),
    defaults={"max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "num_key_value_heads": 8, "head_dim": 128,
              "num_experts": 192, "num_experts_per_tok": 8, "num_shared_experts": 1, "moe_intermediate_size": 1536,
              "router_scaling_factor": 2.826, "rope_theta": 11158840.0, "num_nextn_predict_layers": 0},
    sizes=SIZES, idle=predicting, example="tencent/Hy3",
)

BACK = {"hunyuan_vl": choice(HUNYUAN_VL_TEXT)}
SPECS = (HUNYUAN, HUNYUAN_VL, HUNYUAN_MOE, HY3)
