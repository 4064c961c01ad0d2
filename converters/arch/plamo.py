"""PLaMo 13B: attention and feed-forward side by side. Query heads take turns at the key heads; in ggml they stand by key head.
PLaMo 2: every other block is a state-space layer. PLaMo 3: blocks that slide. Their norms are stored less a constant.

Source: the model repositories' `modeling_plamo.py`; llama.cpp `src/models/plamo*.cpp`, `conversion/plamo.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .mamba import conv

P = "model.layers.layers.{b}."
BY_KEY_HEAD = Split("attention.head_count_kv", groups="queries", join=True)

PLAMO = ArchSpec(
    "plamo", ("PlamoForCausalLM",), "plamo",
    hparams=(
        BLOCK_COUNT, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT, RMS_EPS, VOCAB_ROWS, Const("context_length", 4096), SILU,
        Computed("attention.head_count_kv", lambda c: -(-c["num_attention_heads"] // c["n_shared_head"]),
                 "n_shared_head", lambda kv: kv["attention.head_count"] // kv["attention.head_count_kv"]),
        Seen("num_key_value_heads", lambda found: found.kv["attention.head_count"]),
        Seen("max_position_embeddings", lambda found: found.kv["context_length"]),
        Fixed("tie_word_embeddings", False, refuse=True),
    ),
    tensors=(
        *EMBED, R("blk.{b}.attn_norm.weight", P + "norm.weight", shape="embedding_length"),
        R("blk.{b}.attn_q.weight", P + "self_attn.q_proj.weight", BY_KEY_HEAD, shape="embedding_length embedding_length"),
        R("blk.{b}.attn_k.weight", P + "self_attn.k_proj.weight", shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_v.weight", P + "self_attn.v_proj.weight", shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", P + "self_attn.o_proj.weight", replace(BY_KEY_HEAD, columns=True),
          shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_gate.weight", P + "mlp.gate_proj.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up.weight", P + "mlp.up_proj.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", P + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
        *OUT_NORM, R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    sizes={**SIZES, "queries": lambda hp: hp["attention.head_count"] // hp["attention.head_count_kv"]},
    defaults={"n_shared_head": 8}, ignore=(Template(P + "self_attn.rotary_emb.inv_freq"),), example="pfnet/plamo-13b",
)

M = P + "mixer."
NORMS_LESS = (
    R("blk.{b}.attn_norm.weight", P + "pre_mixer_norm.weight", Add(1.0), shape="embedding_length"),
    R("blk.{b}.post_attention_norm", P + "post_mixer_norm.weight", Add(1.0 / 5), shape="embedding_length"),
    R("blk.{b}.ffn_norm.weight", P + "pre_mlp_norm.weight", Add(1.0), shape="embedding_length"),
    R("blk.{b}.post_ffw_norm", P + "post_mlp_norm.weight", Add(1.0 / (5 * math.sqrt(5))), shape="embedding_length"),
    R("output_norm.weight", "model.norm.weight", Add(1.0), shape="embedding_length"),
)
GATED = (
    R("blk.{b}.ffn_up.weight", P + "mlp.gate_up_proj.weight", shape="2*feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down.weight", P + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
)


def attends(config: Config, b: int) -> bool:
    """Whether a block of PLaMo 2 has attention."""
    count, step = config["num_hidden_layers"], config["mamba_step"]
    if not config["mamba_enabled"]:
        return True
    return b == count - 1 if count <= step // 2 else b % step == step // 2


def kv_heads(config: Config) -> list[int]:
    return [config["num_key_value_heads"] if attends(config, b) else 0 for b in range(config["num_hidden_layers"])]


def per_block(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value]


def step(kv: Mapping[str, Any]) -> int:
    """Every how many blocks there is one with attention: what makes the file's own."""
    found = [bool(n) for n in kv["attention.head_count_kv"]]
    for size in range(2, 2 * len(found) + 2):
        config = {"num_hidden_layers": len(found), "mamba_step": size, "mamba_enabled": True}
        if [attends(config, b) for b in range(len(found))] == found:
            return size
    raise UnsupportedError("plamo2.attention.head_count_kv: blocks with attention stand at no regular distance", found=found)


def attending(hp: Hparams, b: int) -> bool:
    return hp["attention.head_count_kv"][b] > 0


def recurring(hp: Hparams, b: int) -> bool:
    return not attending(hp, b)


PLAMO2 = ArchSpec(
    "plamo2", ("Plamo2ForCausalLM", "PLaMo2ForCausalLM"), "plamo2",
    hparams=(
        BLOCK_COUNT, CONTEXT_LENGTH, EMBEDDING_LENGTH, FFN_LENGTH, RMS_EPS, Rope(), VOCAB_SIZE, VOCAB_ROWS, TIED,
        # One number, of state-space blocks as well: without heads in the first block, the runtime turns none, and hangs.
        Computed("attention.head_count", lambda c: c["num_attention_heads"], "num_attention_heads",
                 lambda kv: max(per_block(kv["attention.head_count"]))),
        Computed("attention.head_count_kv", kv_heads, "num_key_value_heads",
                 lambda kv: max(kv["attention.head_count_kv"])),
        Seen("mamba_enabled", lambda facts: not all(facts.kv["attention.head_count_kv"])),
        Seen("mamba_step", lambda facts: step(facts.kv) if not all(facts.kv["attention.head_count_kv"]) else 2),
        H("attention.key_length", "hidden_size_per_head"), H("attention.value_length", "hidden_size_per_head"),
        H("ssm.state_size", "mamba_d_state"), H("ssm.conv_kernel", "mamba_d_conv"), H("ssm.time_step_rank", "mamba_num_heads"),
        Computed("ssm.inner_size", lambda c: c["mamba_num_heads"] * c["hidden_size_per_head"]), Const("ssm.group_count", 0),
        Note("the runtime attends over all tokens, the model over the last attention_window_size alone",
             lambda c: not c.get("full_attention_idx") and c["attention_window_size"] < c["max_position_embeddings"]),
        Fixed("attention_window_size", 2048), Fixed("full_attention_idx", None), Fixed("linear_type", "normal", refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS_LESS, *GATED, *HEAD,
        *where(
            attending,
            R("blk.{b}.attn_qkv.weight", M + "qkv_proj.weight", shape="qkv_rows embedding_length"),
            R("blk.{b}.attn_q_norm.weight", M + "q_weight", shape="attention.head_count attention.key_length"),
            R("blk.{b}.attn_k_norm.weight", M + "k_weight", shape="attention.head_count_kv attention.key_length"),
            R("blk.{b}.attn_output.weight", M + "o_proj.weight", shape="embedding_length query_rows"),
        ),
        *where(
            recurring,
            R("blk.{b}.ssm_in.weight", M + "in_proj.weight", shape="2*ssm.inner_size embedding_length"),
            conv(M + "conv1d.", "ssm.inner_size")[0],
            R("blk.{b}.ssm_x.weight", M + "bcdt_proj.weight", shape="step_rows ssm.inner_size"),
            R("blk.{b}.ssm_dt.weight", M + "dt_proj.weight", shape="ssm.time_step_rank step_length"),
            R("blk.{b}.ssm_dt.bias", M + "dt_bias", shape="ssm.time_step_rank"),
            R("blk.{b}.ssm_a", M + "A_log", NegExp(), shape="ssm.time_step_rank"),
            R("blk.{b}.ssm_d", M + "D", shape="ssm.time_step_rank"),
            R("blk.{b}.ssm_dt_norm", M + "dt_norm_weight", shape="step_length"),
            R("blk.{b}.ssm_b_norm", M + "B_norm_weight", shape="ssm.state_size"),
            R("blk.{b}.ssm_c_norm", M + "C_norm_weight", shape="ssm.state_size"),
            R("blk.{b}.ssm_out.weight", M + "out_proj.weight", shape="embedding_length ssm.inner_size"),
        ),
    ),
    sizes={
        "query_rows": lambda hp: max(per_block(hp["attention.head_count"])) * hp["attention.key_length"],
        "qkv_rows": lambda hp: [hp["query_rows"] + 2 * k * hp["attention.key_length"] for k in hp["attention.head_count_kv"]],
        "step_length": lambda hp: max(64, hp["embedding_length"] // 16),
        "step_rows": lambda hp: max(64, hp["embedding_length"] // 16) + 2 * hp["ssm.state_size"],
    },
    defaults={"max_position_embeddings": 2048, "hidden_size_per_head": 128, "num_key_value_heads": 4, "rms_norm_eps": 1e-6,
              "mamba_d_state": 64, "mamba_d_conv": 4, "mamba_num_heads": 64, "mamba_step": 2, "mamba_enabled": True,
              "tie_word_embeddings": True, "attention_window_size": 2048},
    example="pfnet/plamo-2-1b",
)


def yarn(config: Config) -> dict[str, Any] | None:
    """PLaMo 3's own words for YaRN."""
    if config.get("rope_scaling") or config.get("rope_scaling_factor", 1) == 1:
        return None
    return {"rope_type": "yarn", "factor": float(config["rope_scaling_factor"]), "beta_fast": 32.0, "beta_slow": 1.0,
            "original_max_position_embeddings": config["initial_context_length"], "truncate": False,
            "rope_theta": config.get("rope_theta", 10000.0)}


PLAMO3 = ArchSpec(
    "plamo3", ("Plamo3ForCausalLM", "PLaMo3ForCausalLM"), "plamo3", local_rope_base="rope_local_theta",
    hparams=(
        *SHAPE, HEAD_KV, RMS_EPS, *HEAD_LENGTHS, Rope(), VOCAB_SIZE, VOCAB_ROWS, TIED,
        H("attention.sliding_window", "window_size"), H("attention.sliding_window_pattern", "sliding_window_pattern"),
        Fixed("attention_bias", False, refuse=True), Fixed("scale_embedding", False, refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS_LESS, *GATED, *HEAD,
        R("blk.{b}.attn_qkv.weight", M + "qkv_proj.weight", shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_q_norm.weight", M + "q_norm.weight", Add(1.0), shape="head_length"),
        R("blk.{b}.attn_k_norm.weight", M + "k_norm.weight", Add(1.0), shape="head_length"),
        R("blk.{b}.attn_output.weight", M + "o_proj.weight", shape="embedding_length head_rows"),
    ),
    sizes={**SIZES, "qkv_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"]},
    defaults={"rms_norm_eps": 1e-6, "sliding_window_pattern": 8, "head_dim": 128, "num_key_value_heads": 4,
              "rope_local_theta": 10000, "tie_word_embeddings": True, "rope_scaling": yarn},
    example="pfnet/plamo-3-nict-2b-base",
)

SPECS = (PLAMO, PLAMO2, PLAMO3)
