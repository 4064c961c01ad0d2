"""Falcon: attention and feed-forward side by side; 7B with one norm and one key-value head, 40B with two norms and groups.

Source: transformers `models/falcon`; llama.cpp `src/models/falcon.cpp`, `conversion/falcon.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

T = "transformer.h.{b}."
TWO_NORMS = "blk.{b}.attn_norm_2.weight"


def heads_kv(config: Config) -> int:
    """Key-value heads; `num_kv_heads` says them of the new decoder alone."""
    if config["new_decoder_architecture"]:
        return config["num_kv_heads"]
    return 1 if config["multi_query"] else config["num_attention_heads"]


FALCON = ArchSpec(
    "falcon", ("FalconForCausalLM", "RWForCausalLM"), "falcon",
    hparams=(
        BLOCK_COUNT, CONTEXT_LENGTH, EMBEDDING_LENGTH, HEAD_COUNT, LN_EPSILON, Rope(), TIED, VOCAB_ROWS,
        H("feed_forward_length", "ffn_hidden_size"), Const("tensor_data_layout", "jploski", ValueType.STRING),
        Computed("attention.head_count_kv", heads_kv, "num_kv_heads", lambda kv: kv.get("attention.head_count_kv", 1)),
        Seen("num_ln_in_parallel_attn", lambda found: 1 + has("blk.0.attn_norm_2.weight")(found)),
        Seen("new_decoder_architecture", lambda found: found.kv.get("attention.head_count_kv", 1) > 1
             or has("blk.0.attn_norm_2.weight")(found)),
        Fixed("multi_query", True, also=(False,)), Fixed("alibi", False, refuse=True), Fixed("bias", False, refuse=True),
        Fixed("parallel_attn", True, refuse=True), Fixed("activation", "gelu"),
    ),
    tensors=with_bias(
        R("token_embd.weight", "transformer.word_embeddings.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.{p}", T + "input_layernorm.{p}", shape="embedding_length", given=lacks(TWO_NORMS)),
        R("blk.{b}.attn_norm.{p}", T + "ln_mlp.{p}", shape="embedding_length", given=has(TWO_NORMS)),
        R("blk.{b}.attn_norm_2.{p}", T + "ln_attn.{p}", shape="embedding_length", need=False),
        R("blk.{b}.attn_qkv.weight", T + "self_attention.query_key_value.weight",
          Split(("queries", 1, 1), groups="attention.head_count_kv", join=True), shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", T + "self_attention.dense.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_up.weight", T + "mlp.dense_h_to_4h.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", T + "mlp.dense_4h_to_h.weight", shape="embedding_length feed_forward_length"),
        R("output_norm.{p}", "transformer.ln_f.{p}", shape="embedding_length"), *HEAD,
    ),
    sizes={
        **SIZES, "queries": lambda hp: hp["attention.head_count"] // hp["attention.head_count_kv"],
        "qkv_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"],
    },
    defaults={
        "hidden_size": same_as("n_embed"), "num_attention_heads": same_as("n_head"), "max_position_embeddings": 2048,
        "ffn_hidden_size": lambda c: 4 * c["hidden_size"], "multi_query": True, "tie_word_embeddings": True,
        "new_decoder_architecture": lambda c: "n_head_kv" in c,  # before transformers had the class
        "num_kv_heads": lambda c: c.get("n_head_kv", c["num_attention_heads"]),
    },
    example="tiiuae/falcon-7b",
)

SPECS = (FALCON,)
