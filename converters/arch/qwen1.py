"""Qwen (1): fused attention with biases, the two halves of the feed-forward as weights of their own.

Source: the model repository's `modeling_qwen.py`; llama.cpp `src/models/qwen.cpp`, `conversion/qwen.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

T = "transformer.h.{b}."

QWEN = ArchSpec(
    "qwen", ("QWenLMHeadModel",), "qwen",
    hparams=(
        BLOCK_COUNT, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT, Rope(write_base=False), VOCAB_ROWS,
        H("context_length", ("max_position_embeddings", "seq_length")),
        H("attention.layer_norm_rms_epsilon", "layer_norm_epsilon", F32),
        Seen("seq_length", lambda found: found.kv["context_length"]), Seen("kv_channels", lambda found: (
            found.kv["embedding_length"] // found.kv["attention.head_count"])),
        Seen("rotary_emb_base", lambda found: short(found.kv.get("rope.freq_base", 10000.0))),
        Fixed("rotary_pct", 1.0, refuse=True), Fixed("no_bias", True, refuse=True),
        Fixed("tie_word_embeddings", False, refuse=True),
        Note("use_logn_attn and use_dynamic_ntk, which act behind seq_length, are not in the runtime",
             lambda c: c.get("use_logn_attn") or c.get("use_dynamic_ntk")),
    ),
    tensors=(
        R("token_embd.weight", "transformer.wte.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.weight", T + "ln_1.weight", shape="embedding_length"),
        R("blk.{b}.attn_qkv.weight", T + "attn.c_attn.weight", shape="3*embedding_length embedding_length"),
        R("blk.{b}.attn_qkv.bias", T + "attn.c_attn.bias", shape="3*embedding_length"),
        R("blk.{b}.attn_output.weight", T + "attn.c_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_norm.weight", T + "ln_2.weight", shape="embedding_length"),
        R("blk.{b}.ffn_up.weight", T + "mlp.w1.weight", shape="half_length embedding_length"),
        R("blk.{b}.ffn_gate.weight", T + "mlp.w2.weight", shape="half_length embedding_length"),
        R("blk.{b}.ffn_down.weight", T + "mlp.c_proj.weight", shape="embedding_length half_length"),
        R("output_norm.weight", "transformer.ln_f.weight", shape="embedding_length"),
        R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    sizes={"half_length": lambda hp: hp["feed_forward_length"] // 2},  # intermediate_size counts both halves
    defaults={"rope_theta": lambda c: c.get("rotary_emb_base", 10000.0)}, ignore=(Template("transformer.rotary_emb.inv_freq"),),
    example="Qwen/Qwen-7B-Chat",
)

SPECS = (QWEN,)
