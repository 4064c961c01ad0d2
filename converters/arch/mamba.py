"""Mamba, Falcon-Mamba and Mamba 2: state-space layers alone. Decays stand without their logarithm in GGUF.

Source: transformers `models/mamba`, `falcon_mamba`, `mamba2`; llama.cpp `src/models/mamba*.cpp`, `conversion/mamba.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

M = "backbone.layers.{b}.mixer."
BLOCKS = (  # what the runtime asks for and a model without attention has not
    H("block_count", ("num_hidden_layers", "n_layer")), H("embedding_length", ("hidden_size", "d_model")),
    Const("context_length", 2**20), Const("feed_forward_length", 0), Const("attention.head_count", 0),
    H("attention.layer_norm_rms_epsilon", ("layer_norm_epsilon", "rms_norm_eps"), F32), TIED, VOCAB_ROWS, SILU,
)
SSM = (
    H("ssm.conv_kernel", ("conv_kernel", "d_conv")), H("ssm.state_size", ("state_size", "d_state")),
    Fixed("use_bias", False, refuse=True), Fixed("use_conv_bias", True, refuse=True),
)
SSM_1 = (
    *BLOCKS, *SSM, H("ssm.time_step_rank", ("time_step_rank", "dt_rank")),
    Computed("ssm.inner_size", lambda c: c["expand"] * c["hidden_size"],
             "expand", lambda kv: kv["ssm.inner_size"] // kv["embedding_length"]),
)
EXPANDS = {"hidden_size": same_as("d_model"), "expand": 2, "conv_kernel": 4, "layer_norm_epsilon": 1e-5}
SSM_DEFAULTS = {
    **EXPANDS, "state_size": 16, "time_step_rank": lambda c: -(c["hidden_size"] // -16), "tie_word_embeddings": True}
OUTSIDE = (
    R("token_embd.weight", "backbone.embeddings.weight", shape="vocab_size embedding_length"),
    R("blk.{b}.attn_norm.weight", "backbone.layers.{b}.norm.weight", shape="embedding_length"),
    R("output_norm.weight", "backbone.norm_f.weight", shape="embedding_length"), *HEAD,
)
ALIASES = (("backbone.embedding.", "backbone.embeddings."), ("model.", ""))


def conv(hf: str, rows: str) -> tuple[TensorRule, ...]:
    """A convolution of each row with the last few steps."""
    return (
        R("blk.{b}.ssm_conv1d.weight", hf + "weight", Reshape((rows, 1, "ssm.conv_kernel"), (rows, "ssm.conv_kernel")),
          type="F32"),
        R("blk.{b}.ssm_conv1d.bias", hf + "bias", shape=rows),
    )


MAMBA = ArchSpec(
    "mamba", ("MambaForCausalLM", "MambaLMHeadModel"), "mamba", hparams=(*SSM_1, Const("ssm.dt_b_c_rms", False, BOOL)),
    tensors=(
        *OUTSIDE, *conv(M + "conv1d.", "ssm.inner_size"),
        R("blk.{b}.ssm_in.weight", M + "in_proj.weight", shape="2*ssm.inner_size embedding_length"),
        R("blk.{b}.ssm_x.weight", M + "x_proj.weight", shape="step_rows ssm.inner_size"),
        *with_bias(R("blk.{b}.ssm_dt.{p}", M + "dt_proj.{p}", shape="ssm.inner_size ssm.time_step_rank",
                     no_lora="transformers computes with the weight past its adapter")),
        R("blk.{b}.ssm_a", M + "A_log", NegExp(), shape="ssm.inner_size ssm.state_size"),
        R("blk.{b}.ssm_d", M + "D", shape="ssm.inner_size"),
        R("blk.{b}.ssm_out.weight", M + "out_proj.weight", shape="embedding_length ssm.inner_size"),
    ),
    sizes={"step_rows": lambda hp: hp["ssm.time_step_rank"] + 2 * hp["ssm.state_size"]},
    defaults=SSM_DEFAULTS, aliases=ALIASES, example="state-spaces/mamba-130m-hf",
)
FALCON_MAMBA = ArchSpec(
    "mamba", ("FalconMambaForCausalLM",), "falcon_mamba",
    hparams=(
        *SSM_1, Const("ssm.dt_b_c_rms", True, BOOL), Seen("mixer_rms_eps", lambda found: 1e-6),  # as published
        Note("the runtime adds layer_norm_epsilon in the norms inside of a mixer, not mixer_rms_eps",
             lambda c: c.get("mixer_rms_eps", 1e-6) != c["layer_norm_epsilon"]),
    ),
    tensors=MAMBA.tensors, sizes=MAMBA.sizes, defaults=SSM_DEFAULTS, aliases=ALIASES, example="tiiuae/falcon-mamba-7b",
)

# -- Mamba 2 --------------------------------------------------------------------------------------------------------

SIZES_2 = {
    "conv_rows": lambda hp: hp["ssm.inner_size"] + 2 * hp["ssm.group_count"] * hp["ssm.state_size"],
    "in_rows": lambda hp: hp["ssm.inner_size"] + hp["conv_rows"] + hp["ssm.time_step_rank"],
    "group_length": lambda hp: hp["ssm.inner_size"] // hp["ssm.group_count"],
}
COLUMN = Reshape(("ssm.time_step_rank",), ("ssm.time_step_rank", 1))


def mamba2(m: str, *, norm: bool) -> tuple[TensorRule, ...]:
    """A layer of Mamba 2 whose HF names start with `m`. `norm`: whether it must have one inside."""
    return (
        *conv(m + "conv1d.", "conv_rows"),
        R("blk.{b}.ssm_in.weight", m + "in_proj.weight", shape="in_rows embedding_length"),
        R("blk.{b}.ssm_dt.bias", m + "dt_bias", shape="ssm.time_step_rank"),
        R("blk.{b}.ssm_a", m + "A_log", NegExp(), COLUMN, shape="ssm.time_step_rank"),
        R("blk.{b}.ssm_d", m + "D", COLUMN, shape="ssm.time_step_rank"),
        R("blk.{b}.ssm_norm.weight", m + "norm.weight", Reshape(("ssm.inner_size",), ("ssm.group_count", "group_length")),
          need=norm, shape="ssm.inner_size"),
        R("blk.{b}.ssm_out.weight", m + "out_proj.weight", shape="embedding_length ssm.inner_size"),
    )


MAMBA2 = ArchSpec(
    "mamba2", ("Mamba2ForCausalLM",), "mamba2",
    hparams=(
        *BLOCKS, *SSM, H("ssm.group_count", "n_groups"), H("ssm.time_step_rank", "num_heads"), SSM_1[-1],
        Seen("head_dim", lambda found: found.kv["ssm.inner_size"] // found.kv["ssm.time_step_rank"]),
    ),
    tensors=(*OUTSIDE, *mamba2(M, norm=True)), sizes=SIZES_2,
    defaults={**EXPANDS, "state_size": 128, "n_groups": 8, "num_heads": 128}, aliases=ALIASES,
    example="mistralai/Mamba-Codestral-7B-v0.1",
)

BACK = {"mamba": choice(MAMBA, (FALCON_MAMBA, says("mamba.ssm.dt_b_c_rms", True)))}
SPECS = (MAMBA, FALCON_MAMBA, MAMBA2)
