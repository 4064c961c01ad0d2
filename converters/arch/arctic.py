"""Snowflake Arctic: Mixtral's experts beside a dense feed-forward as wide as the model.

Source: the code beside its weights; llama.cpp `src/models/arctic.cpp`, `conversion/arctic.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import MIXTRAL, ROPE_DIM, UNSTATED_HEAD

WIDE = "embedding_length embedding_length"
ARCTIC = ArchSpec(
    "arctic", ("ArcticForCausalLM",), "arctic",
    hparams=(*DECODER, *LOCAL_EXPERTS, VOCAB_SIZE, ROPE_DIM, Fixed("parallel_attn_mlp_res", True, refuse=True),
             Fixed("moe_layer_frequency", 1, refuse=True), Fixed("use_residual", True, refuse=True),
             Fixed("attention_bias", False, refuse=True), Fixed("sliding_window", None)),
    tensors=(
        *EMBED,
        R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", shape="embedding_length"),
        *ATTN_ROPE,
        R("blk.{b}.ffn_norm.weight", L + "residual_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_gate.weight", L + "residual_mlp.w1.weight", shape=WIDE),
        R("blk.{b}.ffn_up.weight", L + "residual_mlp.w3.weight", shape=WIDE),
        R("blk.{b}.ffn_down.weight", L + "residual_mlp.w2.weight", shape=WIDE),
        R("blk.{b}.ffn_norm_exps.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
        *(row for row in MIXTRAL.tensors if "block_sparse_moe" in row.hf[0].text),
        *OUT_NORM, *HEAD,
    ),
    defaults={**UNSTATED_HEAD, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0}, sizes=SIZES,
    example="Snowflake/snowflake-arctic-instruct",
)

SPECS = (ARCTIC,)
