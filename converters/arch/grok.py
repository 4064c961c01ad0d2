"""Grok-1, with the names of its conversions to PyTorch: norms on both sides, soft-capped attention and router, scaled ends.

Source: llama.cpp `src/models/grok.cpp`, `conversion/grok.py`. Grok-2 is published in pieces per GPU, which are not joined here.
"""

from __future__ import annotations

import math

from ..rules.words import *
from .common import *
from .llama import UNSTATED_HEAD

T = "transformer.decoder_layer.{b}."
GROK = ArchSpec(
    "grok", ("GrokForCausalLM", "Grok1ForCausalLM"), "grok",
    hparams=(
        *without(DECODER, "hidden_act"), *LOCAL_EXPERTS, Fixed("hidden_act", "gelu"),
        H("attn_logit_softcapping", "attn_logit_softcapping", F32, default=30.0),
        H("router_logit_softcapping", "router_logit_softcapping", F32, default=30.0),
        H("final_logit_softcapping", "final_logit_softcapping", F32, need=False),
        Computed("attention.output_scale", lambda c: c.get("attn_output_multiplier") or 1 / math.sqrt(
            c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"]), "attn_output_multiplier",
            lambda kv: short(kv.get("attention.output_scale", 0.08838834764831845)), F32),
        H("embedding_scale", "embedding_multiplier_scale", F32), H("logit_scale", "output_multiplier_scale", F32),
        H("expert_feed_forward_length", "moe_intermediate_size", need=False),
    ),
    tensors=(
        R("token_embd.weight", "transformer.in_out_embed.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.weight", T + "rms_norm.weight", shape="embedding_length"),
        R("blk.{b}.attn_q.weight", T + "multi_head_attention.query.weight", shape="head_rows embedding_length"),
        R("blk.{b}.attn_k.weight", T + "multi_head_attention.key.weight", shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_v.weight", T + "multi_head_attention.value.weight", shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", T + "multi_head_attention.linear.weight", shape="embedding_length head_rows"),
        R("blk.{b}.attn_output_norm.weight", T + "rms_norm_1.weight", shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", T + "rms_norm_2.weight", shape="embedding_length"),
        R("blk.{b}.layer_output_norm.weight", T + "rms_norm_3.weight", shape="embedding_length"),
        R("blk.{b}.ffn_gate_inp.weight", T + "router.weight", shape="expert_count embedding_length", type="F32"),
        R("blk.{b}.ffn_gate_exps.weight", T + "moe.{e}.linear.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up_exps.weight", T + "moe.{e}.linear_v.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down_exps.weight", T + "moe.{e}.linear_1.weight", shape="embedding_length feed_forward_length"),
        R("output_norm.weight", "transformer.rms_norm.weight", shape="embedding_length"), *HEAD,
    ),
    defaults=UNSTATED_HEAD, sizes=SIZES, example="keyfan/grok-1-hf",
)

SPECS = (GROK,)
