"""MPT: GPT-2's blocks without biases, attention by distance in place of positions.

Source: transformers `models/mpt`, the repository's `modeling_mpt.py`; llama.cpp `src/models/mpt.cpp`, `conversion/mpt.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

T, A = "transformer.blocks.{b}.", "attn_config."

MPT = ArchSpec(
    "mpt", ("MptForCausalLM", "MPTForCausalLM"), "mpt",
    hparams=(
        H("block_count", "n_layers"), H("context_length", "max_seq_len"), H("embedding_length", "d_model"),
        H("attention.head_count", "n_heads"), H("attention.head_count_kv", A + "kv_n_heads", need=False),
        Computed("feed_forward_length", lambda c: c["expansion_ratio"] * c["d_model"],
                 "expansion_ratio", lambda kv: kv["feed_forward_length"] // kv["embedding_length"]),
        H("attention.layer_norm_epsilon", "layer_norm_epsilon", F32), H("attention.clamp_kqv", A + "clip_qkv", F32, need=False),
        Computed("attention.max_alibi_bias", lambda c: c["attn_config"].get("alibi_bias_max", 8.0)
                 if c["attn_config"].get("alibi") else 0.0, type=F32),
        Seen(A + "alibi", lambda found: bool(found.kv.get("attention.max_alibi_bias"))),
        Seen(A + "alibi_bias_max", lambda found: int(found.kv.get("attention.max_alibi_bias", 0)) or None),
        Fixed(A + "qk_ln", False, refuse=True),  # the runtime stops on its own layout of such a file
        Seen("no_bias", lacks("blk.0.attn_qkv.bias")),
        Seen("learned_pos_emb", has("position_embd.weight")), TIED, VOCAB_ROWS,
        Fixed(A + "prefix_lm", False, refuse=True), Fixed(A + "softmax_scale", None, refuse=True),
        Fixed("logit_scale", None, refuse=True),
    ),
    tensors=(
        R("token_embd.weight", "transformer.wte.weight", shape="vocab_size embedding_length"),
        R("position_embd.weight", "transformer.wpe.weight", need=False, shape="context_length embedding_length", type="F32",
          no_lora=NO_GATHER),
        R("blk.{b}.attn_norm.{p}", T + "norm_1.{p}", shape="embedding_length"),
        R("blk.{b}.attn_qkv.{p}", T + "attn.Wqkv.{p}", shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_output.{p}", T + "attn.out_proj.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_norm.{p}", T + "norm_2.{p}", shape="embedding_length"),
        R("blk.{b}.ffn_up.{p}", T + "ffn.up_proj.{p}", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.{p}", T + "ffn.down_proj.{p}", shape="embedding_length feed_forward_length"),
        R("output_norm.{p}", "transformer.norm_f.{p}", shape="embedding_length"), *HEAD,
    ),
    sizes={**SIZES, "qkv_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"]},
    defaults={"expansion_ratio": 4, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True, "attn_config": {}},
    example="mosaicml/mpt-7b",
)

SPECS = (MPT,)
