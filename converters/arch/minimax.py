"""MiniMax-Text-01 and M1: lightning attention in most blocks, Mixtral's experts. MiniMax-M2: the same experts with
DeepSeek-V3's router and its biases, queries and keys normed over all heads.

Source: transformers `models/minimax`, `minimax_m2`, MiniMax's `modeling_minimax_text_01.py`; llama.cpp `conversion/minimax.py`,
`src/models/minimax-01.cpp`, `minimax-m2.cpp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .deepseek import GATING
from .llama import MIXTRAL
from .qwen import ATTN

MOE = L + "block_sparse_moe."
MINIMAX_M2 = ArchSpec(
    "minimax-m2", ("MiniMaxM2ForCausalLM",), "minimax_m2",
    hparams=(
        *DECODER, *LOCAL_EXPERTS,
        Computed("expert_feed_forward_length", lambda c: c["intermediate_size"]),
        H("expert_gating_func", "scoring_func", codec=GATING, default="sigmoid"),
        Computed("rope.dimension_count", lambda c: c.get("rotary_dim") or int(
                 c["head_dim"] * c["rope_parameters"].get("partial_rotary_factor", 1.0)), "rotary_dim",
                 lambda kv: kv["rope.dimension_count"]),
        Fixed("attention_bias", False, refuse=True), Fixed("qk_norm_type", "per_layer", refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS, *ATTN,
        R("blk.{b}.attn_q_norm.weight", L + "self_attn.q_norm.weight", shape="head_rows"),
        R("blk.{b}.attn_k_norm.weight", L + "self_attn.k_norm.weight", shape="head_kv_rows"),
        *(row for row in MIXTRAL.tensors if "exps" in row.gguf[0].text or "gate_inp" in row.gguf[0].text),
        R("blk.{b}.exp_probs_b.bias", MOE + "e_score_correction_bias", shape="expert_count", hf_dtype="F32"),
        *OUT_NORM, *HEAD,
    ),
    defaults={"num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 196608, "rms_norm_eps": 1e-6,
              "rope_theta": 5000000.0, "num_local_experts": 256, "num_experts_per_tok": 8},
    sizes=SIZES, example="MiniMaxAI/MiniMax-M2",
)


# -- MiniMax-Text-01, M1 -------------------------------------------------------------------------------------------------

GATE = "blk.{b}.attn_gate.weight"  # of lightning attention
PARTS = ("full_attention", "linear_attention", "mlp")
INTERVAL = 8  # every eighth block attends by softmax where a file does not say which


def lightning(kv: Mapping[str, Any]) -> list[bool]:
    """For each block whether its attention is linear."""
    if "attention.recurrent_layers" in kv:
        return [bool(linear) for linear in kv["attention.recurrent_layers"]]
    return [(b + 1) % kv.get("full_attention_interval", INTERVAL) != 0 for b in range(kv["block_count"])]


def unusual(config: Config) -> list[bool] | None:
    """Which blocks attend linearly, where it is not all but every eighth."""
    kinds, count = config["attn_type_list"], config["num_hidden_layers"]
    if len(kinds) != count or not {*kinds} <= {0, 1}:
        raise ValueError(f"{count} times 0 or 1 is expected, not {kinds}")
    linear = [kind == 0 for kind in kinds]
    return None if linear == lightning({"block_count": count}) else linear


def linear(hp: Hparams, b: int) -> bool:
    return lightning(hp)[b]


def full(hp: Hparams, b: int) -> bool:
    return not lightning(hp)[b]


def alpha(config: Config) -> float:
    """What every residual is multiplied by: the runtime knows one number."""
    found = {config[f"layernorm_{part}_alpha"] for part in PARTS}
    if len(found) > 1:
        raise ValueError(f"one layernorm_*_alpha is expected, not {sorted(found)}")
    return found.pop()


MINIMAX_01 = ArchSpec(
    "minimax-01", ("MiniMaxText01ForCausalLM", "MiniMaxM1ForCausalLM"), "minimax_text_01",
    hparams=(
        *DECODER, *LOCAL_EXPERTS,
        H("rope.dimension_count", "rotary_dim"),
        Computed("residual_scale", alpha, "layernorm_full_attention_alpha", lambda kv: short(kv["residual_scale"]), F32),
        *(Seen(f"layernorm_{part}_alpha", lambda facts: short(facts.kv["residual_scale"])) for part in PARTS[1:]),
        *(Fixed(f"layernorm_{part}_beta", 1.0, refuse=True) for part in PARTS),
        Computed("attention.recurrent_layers", unusual, "attn_type_list", lambda kv: [int(not x) for x in lightning(kv)], BOOL),
        Fixed("postnorm", True, refuse=True), Fixed("shared_intermediate_size", 0, refuse=True),
        Fixed("sliding_window", None),
    ),
    tensors=(
        *EMBED, *NORMS, *where(full, *ATTN[:-1], replace(ATTN[-1], given=lacks(GATE))),
        *where(linear,
               # Head by head queries, keys and values, as the runtime takes them.
               R("blk.{b}.attn_qkv.weight", L + "self_attn.qkv_proj.weight", shape="3*head_rows embedding_length"),
               R(GATE, L + "self_attn.output_gate.weight", shape="head_rows embedding_length"),
               R("blk.{b}.attn_norm_2.weight", L + "self_attn.norm.weight", shape="head_rows"),
               R("blk.{b}.attn_output.weight", L + "self_attn.out_proj.weight", shape="embedding_length head_rows",
                 given=has(GATE))),
        *(row for row in MIXTRAL.tensors if "exps" in row.gguf[0].text or "gate_inp" in row.gguf[0].text),
        *OUT_NORM, *HEAD,
    ),
    defaults={
        **DECODER_DEFAULTS, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
        **{f"layernorm_{part}_{kind}": 1.0 for part in PARTS for kind in ("alpha", "beta")},
    },
    sizes=MIXTRAL.sizes, example="MiniMaxAI/MiniMax-Text-01",
)

SPECS = (MINIMAX_01, MINIMAX_M2)
