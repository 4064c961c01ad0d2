"""PLaMo 13B: attention and feed-forward side by side. Query heads take turns at the key heads; in ggml they stand by key head.

Source: the model repository's `modeling_plamo.py`; llama.cpp `src/models/plamo.cpp`, `conversion/plamo.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *

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

SPECS = (PLAMO,)
