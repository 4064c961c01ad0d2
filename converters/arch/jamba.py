"""Jamba: Mamba 1 with norms inside in most blocks, attention without positions in the others; experts in every second.

Source: transformers `models/jamba`; llama.cpp `src/models/jamba.cpp`, `conversion/jamba.py`.
"""

from __future__ import annotations

from collections.abc import Collection

from ..rules.words import *
from .common import *
from .lfm2 import attends, convolves, listed
from .mamba import conv

M, F, A, X = L + "mamba.", L + "feed_forward.", L + "self_attn.", L + "feed_forward.experts."
ROUTED = "blk.{b}.ffn_gate_inp.weight"


def heads_by_block(config: Config) -> list[int]:
    """Key-value heads of each block; none where it is a state-space layer."""
    offset, period = config["attn_layer_offset"], config["attn_layer_period"]
    return [config["num_key_value_heads"] * (b % period == offset) for b in range(config["num_hidden_layers"])]


def step_rank(config: Config) -> int:
    """The rank of the time steps, which may be called auto."""
    stated = config.get("mamba_dt_rank", "auto")
    return -(config["hidden_size"] // -16) if stated == "auto" else stated


def spacing(blocks: Collection[int], count: int) -> tuple[int, int]:
    """Offset and period of blocks that repeat; those of `count` blocks without any lie behind them."""
    first, *more = sorted(blocks) or [count]
    return first, more[0] - first if more else max(count, first + 1)


def attention(facts: GgufFacts) -> tuple[int, int]:
    heads = listed(facts.kv)
    return spacing([b for b, n in enumerate(heads) if n], len(heads))


def experts(facts: GgufFacts) -> tuple[int, int]:
    count = facts.kv["block_count"]
    return spacing([b for b in range(count) if f"blk.{b}.ffn_gate_inp.weight" in facts.tensors], count)


JAMBA = ArchSpec(
    "jamba", ("JambaForCausalLM",), "jamba",
    hparams=(
        *SHAPE, *EXPERTS, RMS_EPS, TIED, VOCAB_ROWS, SILU,
        Computed("attention.head_count_kv", heads_by_block, "num_key_value_heads", lambda kv: max(listed(kv))),
        Seen("attn_layer_offset", lambda facts: attention(facts)[0]),
        Seen("attn_layer_period", lambda facts: attention(facts)[1]),
        Seen("expert_layer_offset", lambda facts: experts(facts)[0]),
        Seen("expert_layer_period", lambda facts: experts(facts)[1]),
        H("ssm.conv_kernel", "mamba_d_conv"), H("ssm.state_size", "mamba_d_state"),
        Computed("ssm.time_step_rank", step_rank, "mamba_dt_rank", lambda kv: kv["ssm.time_step_rank"]),
        Computed("ssm.inner_size", lambda c: c["mamba_expand"] * c["hidden_size"],
                 "mamba_expand", lambda kv: kv["ssm.inner_size"] // kv["embedding_length"]),
        Fixed("mamba_expand", 2, refuse=True), Fixed("mamba_conv_bias", True, refuse=True),
        Fixed("mamba_proj_bias", False, refuse=True),
    ),
    tensors=(
        *EMBED, NORMS[0], R("blk.{b}.ffn_norm.weight", L + "pre_ff_layernorm.weight", shape="embedding_length"),
        *where(attends,
               R("blk.{b}.attn_q.weight", A + "q_proj.weight", shape="embedding_length embedding_length"),
               R("blk.{b}.attn_k.weight", A + "k_proj.weight", shape="head_kv_rows embedding_length"),
               R("blk.{b}.attn_v.weight", A + "v_proj.weight", shape="head_kv_rows embedding_length"),
               R("blk.{b}.attn_output.weight", A + "o_proj.weight", shape="embedding_length embedding_length")),
        *where(convolves,
               *conv(M + "conv1d.", "ssm.inner_size"),
               R("blk.{b}.ssm_in.weight", M + "in_proj.weight", shape="2*ssm.inner_size embedding_length"),
               R("blk.{b}.ssm_x.weight", M + "x_proj.weight", shape="step_rows ssm.inner_size"),
               *with_bias(R("blk.{b}.ssm_dt.{p}", M + "dt_proj.{p}", shape="ssm.inner_size ssm.time_step_rank",
                            no_lora="transformers computes with the weight past its adapter")),
               R("blk.{b}.ssm_dt_norm.weight", M + "dt_layernorm.weight", shape="ssm.time_step_rank"),
               R("blk.{b}.ssm_b_norm.weight", M + "b_layernorm.weight", shape="ssm.state_size"),
               R("blk.{b}.ssm_c_norm.weight", M + "c_layernorm.weight", shape="ssm.state_size"),
               R("blk.{b}.ssm_a", M + "A_log", NegExp(), shape="ssm.inner_size ssm.state_size"),
               R("blk.{b}.ssm_d", M + "D", shape="ssm.inner_size"),
               R("blk.{b}.ssm_out.weight", M + "out_proj.weight", shape="embedding_length ssm.inner_size")),
        R(ROUTED, F + "router.weight", shape="expert_count embedding_length", type="F32", need=False),
        R("blk.{b}.ffn_gate.weight", F + "gate_proj.weight", shape="feed_forward_length embedding_length", given=lacks(ROUTED)),
        R("blk.{b}.ffn_up.weight", F + "up_proj.weight", shape="feed_forward_length embedding_length", given=lacks(ROUTED)),
        R("blk.{b}.ffn_down.weight", F + "down_proj.weight", shape="embedding_length feed_forward_length", given=lacks(ROUTED)),
        R("blk.{b}.ffn_gate_exps.weight", X + "{e}.gate_proj.weight", shape="feed_forward_length embedding_length",
          given=has(ROUTED)),
        R("blk.{b}.ffn_up_exps.weight", X + "{e}.up_proj.weight", shape="feed_forward_length embedding_length",
          given=has(ROUTED)),
        R("blk.{b}.ffn_down_exps.weight", X + "{e}.down_proj.weight", shape="embedding_length feed_forward_length",
          given=has(ROUTED)),
        R(("blk.{b}.ffn_gate_exps.weight", "blk.{b}.ffn_up_exps.weight"), X + "gate_up_proj", Split((1, 1)),
          shape="expert_count 2*feed_forward_length embedding_length", given=has(ROUTED)),
        R("blk.{b}.ffn_down_exps.weight", X + "down_proj", shape="expert_count embedding_length feed_forward_length",
          given=has(ROUTED)),
        R("output_norm.weight", "model.final_layernorm.weight", shape="embedding_length"), *HEAD,
    ),
    sizes={
        "head_kv_rows": lambda hp: max(listed(hp)) * (hp["embedding_length"] // hp["attention.head_count"]),
        "step_rows": lambda hp: hp["ssm.time_step_rank"] + 2 * hp["ssm.state_size"],
    },
    defaults={
        "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "mamba_d_conv": 4, "mamba_d_state": 16, "mamba_expand": 2,
        "attn_layer_period": 8, "attn_layer_offset": 4, "expert_layer_period": 2, "expert_layer_offset": 1,
    },
    example="ai21labs/Jamba-v0.1",
)

SPECS = (JAMBA,)
