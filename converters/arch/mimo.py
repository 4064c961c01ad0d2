"""MiMo-V2-Flash: most blocks slide, with attention sinks and twice the keys and values; values are shorter than keys, scaled.

The published config names other settings than transformers'. Source: transformers `models/mimo_v2_flash`; llama.cpp
`src/models/mimo2.cpp`, `conversion/mimo.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .deepseek import GATING, ROUTER_BIAS
from .gemma import layer_types, sliding
from .qwen import FFN


def kinds(config: Config) -> list[str] | None:
    """Layer types; the published config marks the blocks that slide."""
    if (marks := config.get("hybrid_layer_pattern")) is not None:
        return layer_types([bool(mark) for mark in marks])
    return layer_types([b != 0 and (b + 1) % 6 != 0 for b in range(config["num_hidden_layers"])])


def feed_forwards(config: Config) -> list[str]:
    marks = config.get("moe_layer_freq") or [0] + [1] * (config["num_hidden_layers"] - 1)
    return ["sparse" if mark else "dense" for mark in marks]


def rope(config: Config) -> dict[str, Any] | None:
    """Both kinds of rotary settings from the published config."""
    if config.get("rope_theta") is None:
        theta, local, share = 5000000.0, 10000.0, 0.334
    else:
        theta, local = config["rope_theta"], config.get("swa_rope_theta", 10000.0)
        share = config.get("partial_rotary_factor", 0.334)
    return {kind: {"rope_type": "default", "rope_theta": base, "partial_rotary_factor": share}
            for kind, base in (("full_attention", theta), ("sliding_attention", local))}


def kv_heads(config: Config) -> list[int]:
    full = config["num_key_value_heads"]
    return [config.get("swa_num_key_value_heads") or 2 * full if s else full for s in sliding(config)]


def window(config: Config) -> int:
    """Tokens that a block sees, itself among them."""
    return config["sliding_window_size"] + 1 if config.get("sliding_window_size") is not None else config["sliding_window"]


def full_heads(kv: Mapping[str, Any]) -> int:
    heads, slides = kv["attention.head_count_kv"], kv["attention.sliding_window_pattern"]
    return next((h for h, s in zip(heads, slides, strict=False) if not s), heads[0] // 2)


def share(kv: Mapping[str, Any]) -> float:
    """The part of the head that turns: the shortest decimal that gives its rows."""
    rows, length = kv["rope.dimension_count"], kv["attention.key_length"]
    guesses = (round((rows + more) / length, digits) for digits in range(1, 9) for more in (0, 0.5))
    return next(guess for guess in guesses if int(length * guess) == rows)


def slides(hp: Hparams, b: int) -> bool:
    return bool(hp["attention.sliding_window_pattern"][b])


# Layers of multi-token prediction, which are left out.
MTP = tuple(Template(f"model.mtp.layers.{{m}}.{name}") for name in (
    *(f"{part}.weight" for part in ("eh_proj", "enorm", "hnorm", "final_layernorm", "input_layernorm", "pre_mlp_layernorm",
                                    "post_attention_layernorm")),
    *(f"self_attn.{part}_proj.weight" for part in "qkvo"), "self_attn.attention_sink_bias",
    *(f"mlp.{part}_proj.weight" for part in ("gate", "up", "down"))))

MIMO2 = ArchSpec(
    "mimo2", ("MiMoV2FlashForCausalLM",), "mimo_v2_flash",
    hparams=(
        BLOCK_COUNT, CONTEXT_LENGTH, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT, Rope(default_sliding_theta=10000.0),
        Computed("attention.head_count_kv", kv_heads, "num_key_value_heads", full_heads),
        H("attention.layer_norm_rms_epsilon", ("rms_norm_eps", "layernorm_epsilon"), F32),
        H("attention.key_length", "head_dim"), H("attention.value_length", "v_head_dim"),
        Computed("rope.dimension_count", lambda c: int(c["head_dim"] * full_attention_rope(c)["partial_rotary_factor"])),
        Seen("rope_parameters.full_attention.partial_rotary_factor", lambda facts: share(facts.kv)),
        Seen("rope_parameters.sliding_attention.partial_rotary_factor", lambda facts: share(facts.kv)),
        Computed("attention.sliding_window", window, "sliding_window", lambda kv: kv["attention.sliding_window"]),
        Computed("attention.sliding_window_pattern", lambda c: [int(s) for s in sliding(c)], "layer_types",
                 lambda kv: layer_types([bool(s) for s in kv["attention.sliding_window_pattern"]])),
        H("attention.value_scale", "attention_value_scale", F32, default=1.0),
        H("expert_count", "n_routed_experts"), EXPERTS[1], EXPERT_LENGTH,
        H("expert_gating_func", "scoring_func", codec=GATING, default="sigmoid"),
        H("expert_group_count", "n_group", default=1), H("expert_group_used_count", "topk_group", default=1),
        Seen("mlp_layer_types", lambda facts: [
            "sparse" if f"blk.{b}.ffn_gate_inp.weight" in facts.tensors else "dense" for b in range(facts.kv["block_count"])]),
        Fixed("norm_topk_prob", True, refuse=True), Fixed("routed_scaling_factor", 1.0, refuse=True),
        Fixed("attention_bias", False, refuse=True), TIED, SILU, VOCAB_ROWS,
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", shape="head_rows embedding_length"),
        R("blk.{b}.attn_k.weight", L + "self_attn.k_proj.weight", shape="key_rows embedding_length"),
        R("blk.{b}.attn_v.weight", L + "self_attn.v_proj.weight", shape="value_rows embedding_length"),
        R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length output_columns"),
        R("blk.{b}.attn_sinks.weight", L + "self_attn.attention_sink_bias", shape="attention.head_count", when=slides),
        R("blk.{b}.attn_sinks.weight", L + "self_attn.sinks", shape="attention.head_count", when=slides),
        *(replace(row, need=False) for row in (*FFN, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *ROUTER_BIAS)),
        *OUT_NORM, R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    sizes={
        **SIZES,
        "key_rows": lambda hp: [n * hp["attention.key_length"] for n in hp["attention.head_count_kv"]],
        "value_rows": lambda hp: [n * hp["attention.value_length"] for n in hp["attention.head_count_kv"]],
        "output_columns": lambda hp: hp["attention.head_count"] * hp["attention.value_length"],
    },
    ignore=MTP, defaults={
        "num_key_value_heads": 4, "head_dim": 192, "v_head_dim": 128, "max_position_embeddings": 131072, "sliding_window": 129,
        "routed_scaling_factor": 1.0, "layer_types": kinds, "mlp_layer_types": feed_forwards, "rope_parameters": rope},
    example="XiaomiMiMo/MiMo-V2-Flash",
)

SPECS = (MIMO2,)
