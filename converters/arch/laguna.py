"""Laguna and Maple, mixtures of experts with sliding attention; Spark X2.5, dense: rotary settings for each kind of block.

Source: transformers `models/laguna`, the repositories' own code; llama.cpp `src/models/laguna.cpp`, `maple.cpp`,
`spark2-5.cpp`, `conversion/laguna.py`, `maple.py`, `spark2_5.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .gemma import layer_types, pattern, sliding
from .qwen import ATTN, FFN, NO_BIAS
from .qwen35 import SHARED_EXPERT


def turned(kind: str) -> Any:
    """Rows of a head that turn in blocks of this kind."""
    def value(config: Config) -> int | None:
        rope = config["rope_parameters"].get(kind)
        return None if rope is None else int(config["head_dim"] * float(rope.get("partial_rotary_factor", 1.0)))
    return value


def part(key: str) -> Any:
    return lambda kv: kv[key] / kv["attention.key_length"] if key in kv else None


TURNED = (
    Rope(default_theta=500000.0, default_sliding_theta=10000.0),
    Computed("rope.dimension_count", turned("full_attention"), "rope_parameters.full_attention.partial_rotary_factor",
             part("rope.dimension_count")),
    Computed("rope.dimension_count_swa", turned("sliding_attention"),
             "rope_parameters.sliding_attention.partial_rotary_factor", part("rope.dimension_count_swa")),
)
BLOCKS = (
    *without(DECODER, "rope_parameters", "hidden_act"), VOCAB_SIZE, NO_BIAS,
)


def usual(count: int) -> list[bool]:
    """Every fourth block sees everything, from the first on."""
    return [b % 4 != 0 for b in range(count)]


def laguna_pattern(kv: Mapping[str, Any]) -> list[bool]:
    if not kv.get("attention.sliding_window"):
        return [False] * kv["block_count"]
    return pattern(4, kv) if "attention.sliding_window_pattern" in kv else usual(kv["block_count"])


def leading(config: Config) -> int:
    """Dense blocks, all of which lie in front."""
    kinds = config["mlp_layer_types"]
    count = kinds.count("dense")
    if kinds != ["dense"] * count + ["sparse"] * (config["num_hidden_layers"] - count):
        raise ValueError(f"dense blocks in front of sparse ones are expected, not {kinds}")
    return count


def dense(hp: Hparams, b: int) -> bool:
    return b < hp["leading_dense_block_count"]


def sparse(hp: Hparams, b: int) -> bool:
    return not dense(hp, b)


def heads(kv: Mapping[str, Any]) -> list[int]:
    count = kv["attention.head_count"]
    return [count] * kv["block_count"] if isinstance(count, int) else list(count)


def gate_length(config: Config) -> int:
    return 1 if config.get("gating", True) in (True, "per-head") else config["head_dim"]


def gating(facts: GgufFacts) -> str:
    rows = facts.tensors.get("blk.0.attn_gate.weight", (0,))[0]
    return "per-head" if rows == heads(facts.kv)[0] else "per-element"


SHARED_EXPERTS = tuple(replace(  # as transformers holds them, which is how adapters name them
    row, hf=tuple(Template(t.text.replace("shared_expert.", "shared_experts.")) for t in row.hf)) for row in SHARED_EXPERT[1:])

LAGUNA = ArchSpec(
    "laguna", ("LagunaForCausalLM",), "laguna",
    hparams=(
        *without(BLOCKS, "attention.head_count"), *TURNED, SILU, *EXPERTS, EXPERT_LENGTH,
        Computed("attention.head_count", lambda c: c["num_attention_heads_per_layer"], "num_attention_heads_per_layer", heads),
        Seen("num_attention_heads", lambda facts: heads(facts.kv)[0]), Seen("gating", gating),
        Computed("attention.sliding_window", lambda c: c["sliding_window"] if any(sliding(c)) else None,
                 "sliding_window", lambda kv: kv.get("attention.sliding_window")),
        Computed("attention.sliding_window_pattern", lambda c: None if not any(sliding(c)) or sliding(c) == usual(
            len(c["layer_types"])) else sliding(c), "layer_types", lambda kv: layer_types(laguna_pattern(kv)), BOOL),
        H("expert_shared_feed_forward_length", "shared_expert_intermediate_size"),
        H("expert_weights_scale", "moe_routed_scaling_factor", F32), Const("expert_weights_norm", True, BOOL),
        Const("expert_gating_func", 2),
        Computed("leading_dense_block_count", leading, "mlp_layer_types", lambda kv: (
            ["dense"] * kv["leading_dense_block_count"] + ["sparse"] * (kv["block_count"] - kv["leading_dense_block_count"]))),
        Fixed("moe_router_logit_softcapping", 0.0, refuse=True), Fixed("moe_apply_router_weight_on_input", False, refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS, *ATTN, *QK_NORM,
        R("blk.{b}.attn_gate.weight", L + "self_attn.g_proj.weight", shape="attention.head_count*gate_length embedding_length"),
        *where(dense, *FFN),
        *where(sparse, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS,
               R("blk.{b}.exp_probs_b.bias", L + "mlp.experts.e_score_correction_bias", shape="expert_count"),
               R("blk.{b}.exp_probs_b.bias", L + "mlp.gate.e_score_correction_bias", shape="expert_count"),
               *SHARED_EXPERT[1:], *SHARED_EXPERTS),
        *OUT_NORM, *HEAD,
    ),
    shown={"gate_length": Shown("whether a gate is of a head or of each of its rows", gate_length)},
    sizes={**SIZES, "head_rows": lambda hp: [n * hp["attention.key_length"] for n in heads(hp)]},
    defaults={
        "num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-6, "moe_routed_scaling_factor": 1.0,
        "layer_types": lambda c: ["full_attention"] * c["num_hidden_layers"],
        "mlp_layer_types": lambda c: ["dense"] + ["sparse"] * (c["num_hidden_layers"] - 1),
        "num_attention_heads_per_layer": lambda c: [c["num_attention_heads"]] * c["num_hidden_layers"],
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 500000.0, "partial_rotary_factor": 0.5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0}},
    },
    example="poolside/Laguna-XS.2",
)

WINDOW = (
    H("attention.sliding_window", "sliding_window"),
    Computed("attention.sliding_window_pattern", sliding, "layer_types", lambda kv: layer_types(pattern(4, kv)), BOOL),
)
MAPLE = ArchSpec(
    "maple", ("MapleForCausalLM",), "maple",
    hparams=(
        *BLOCKS, Rope(), SILU, *EXPERTS, EXPERT_LENGTH, *WINDOW,
        Computed("rope.dimension_count", lambda c: int(c["head_dim"] * c["rope_parameters"].get("partial_rotary_factor", 1.0)),
                 "rope_parameters.partial_rotary_factor", part("rope.dimension_count")),
        Computed("swiglu_clamp_exp", lambda c: [7.0] * c["num_hidden_layers"], type=F32),
        Fixed("nope_on_global_attention", True, refuse=True), Fixed("norm_topk_prob", True, refuse=True),
        Fixed("num_shared_experts", 0, refuse=True),
    ),
    tensors=(*EMBED, *NORMS, *ATTN, *QK_NORM, *ROUTER, *SEPARATE_EXPERTS, *OUT_NORM,
             R("output.weight", "lm_head.weight", shape="vocab_size embedding_length")),
    sizes=SIZES, defaults=DECODER_DEFAULTS, example="deepgrove/maple-preview",
)

SPARK = ArchSpec(
    "spark2_5", ("Spark2_5ForCausalLM",), "spark2_5",
    hparams=(
        *BLOCKS, *TURNED, *WINDOW, Fixed("hidden_act", "gelu", refuse=True),
        Fixed("gate_attn_act_mode", "sigmoid", refuse=True), Fixed("headwise_attn_output_gate", True, refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS, R("blk.{b}.attn_qkv.weight", L + "self_attn.q_k_v_proj.weight", shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_gate.weight", L + "self_attn.g_proj.weight", shape="attention.head_count embedding_length"), ATTN[3],
        *FFN, *OUT_NORM, *HEAD,
    ),
    sizes={**SIZES, "qkv_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"]}, defaults=DECODER_DEFAULTS,
    example="XHToken/Spark-X2.5-1.7B",
)

SPECS = (LAGUNA, MAPLE, SPARK)
