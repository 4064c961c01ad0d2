"""DBRX: fused attention, one tensor of each kind for all experts, clamped queries, keys and values.

Source: transformers `models/dbrx`; llama.cpp `src/models/dbrx.cpp`, `conversion/dbrx.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

B = "transformer.blocks.{b}."
NORMED, MLP = B + "norm_attn_norm.", B + "ffn.experts.mlp."
STACK = Reshape(("expert_rows", "embedding_length"), ("expert_count", "feed_forward_length", "embedding_length"))

ALL_EXPERTS = "an update of all experts in one is none of each"

DBRX = ArchSpec(
    "dbrx", ("DbrxForCausalLM",), "dbrx",
    hparams=(
        H("block_count", "n_layers"), H("context_length", "max_seq_len"), H("embedding_length", "d_model"),
        H("feed_forward_length", "ffn_config.ffn_hidden_size"), H("attention.head_count", "n_heads"),
        H("attention.head_count_kv", "attn_config.kv_n_heads"), H("attention.clamp_kqv", "attn_config.clip_qkv", F32),
        Computed("rope.freq_base",
                 lambda c: c.get("attn_config", {}).get("rope_theta") or full_attention_rope(c)["rope_theta"],
                 "rope_parameters.rope_theta", lambda kv: short(kv.get("rope.freq_base", 10000.0)), F32),
        Seen("attn_config.rope_theta", lambda facts: short(facts.kv.get("rope.freq_base", 10000.0))),
        H("expert_count", "ffn_config.moe_num_experts"), H("expert_used_count", "ffn_config.moe_top_k"),
        Const("attention.layer_norm_epsilon", 1e-5, F32), Fixed("ffn_config.moe_normalize_expert_weights", 1.0, also=(1,)),
        Seen("rope_parameters.rope_type", lambda facts: "default"),
        Fixed("tie_word_embeddings", False, refuse=True), VOCAB_ROWS,
    ),
    tensors=(
        R("token_embd.weight", "transformer.wte.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.weight", NORMED + "norm_1.weight", shape="embedding_length"),
        R("blk.{b}.attn_qkv.weight", NORMED + "attn.Wqkv.weight", shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", NORMED + "attn.out_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.attn_output_norm.weight", NORMED + "norm_2.weight", shape="embedding_length"),
        R("blk.{b}.ffn_gate_inp.weight", B + "ffn.router.layer.weight", shape="expert_count embedding_length"),
        R("blk.{b}.ffn_gate_exps.weight", MLP + "w1", STACK, shape="expert_rows embedding_length", no_lora=ALL_EXPERTS),
        R("blk.{b}.ffn_up_exps.weight", MLP + "v1", STACK, shape="expert_rows embedding_length", no_lora=ALL_EXPERTS),
        R("blk.{b}.ffn_down_exps.weight", MLP + "w2", STACK, Transpose(), shape="expert_rows embedding_length",
          no_lora=ALL_EXPERTS),
        R("output_norm.weight", "transformer.norm_f.weight", shape="embedding_length"),
        R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    defaults={"tie_word_embeddings": False}, example="alpindale/dbrx-instruct",
    sizes={
        "expert_rows": lambda hp: hp["expert_count"] * hp["feed_forward_length"],
        "qkv_rows": lambda hp: (hp["attention.head_count"] + 2 * hp["attention.head_count_kv"])
        * (hp["embedding_length"] // hp["attention.head_count"]),
    },
)

SPECS = (DBRX,)
