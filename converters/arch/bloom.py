"""Bloom: attention by distance alone (ALiBi), queries, keys and values fused head by head.

Source: transformers `models/bloom`; llama.cpp `src/models/bloom.cpp`, `conversion/bloom.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

T = "transformer.h.{b}."
BLOOM = ArchSpec(
    "bloom", ("BloomForCausalLM", "BloomModel"), "bloom", headless=("BloomModel",),
    hparams=(
        BLOCK_COUNT, EMBEDDING_LENGTH, HEAD_COUNT, LN_EPSILON, TIED, VOCAB_ROWS,
        H("context_length", "seq_length"),
        H("attention.head_count_kv", HEAD_COUNT.hf, need=False),
        Computed("feed_forward_length", lambda c: 4 * c["hidden_size"]),
        Fixed("apply_residual_connection_post_layernorm", False, refuse=True),
    ),
    tensors=with_bias(
        R("token_embd.weight", "transformer.word_embeddings.weight", shape="vocab_size embedding_length"),
        R("token_embd_norm.{p}", "transformer.word_embeddings_layernorm.{p}", shape="embedding_length"),
        R("blk.{b}.attn_norm.{p}", T + "input_layernorm.{p}", shape="embedding_length"),
        R("blk.{b}.attn_qkv.{p}", T + "self_attention.query_key_value.{p}", Split(3, groups="attention.head_count", join=True),
          shape="3*embedding_length embedding_length"),
        R("blk.{b}.attn_output.{p}", T + "self_attention.dense.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_norm.{p}", T + "post_attention_layernorm.{p}", shape="embedding_length"),
        R("blk.{b}.ffn_up.{p}", T + "mlp.dense_h_to_4h.{p}", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.{p}", T + "mlp.dense_4h_to_h.{p}", shape="embedding_length feed_forward_length"),
        R("output_norm.{p}", "transformer.ln_f.{p}", shape="embedding_length"), *HEAD,
    ),
    defaults={"hidden_size": same_as("n_embed"), "seq_length": same_as("hidden_size"), "tie_word_embeddings": True},
    aliases=tuple((name, "transformer." + name) for name in ("h.", "ln_f.", "word_embeddings")),
    example="bigscience/bloom-560m",
)

SPECS = (BLOOM,)
