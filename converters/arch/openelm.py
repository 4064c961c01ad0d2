"""OpenELM: heads and feed-forward rows of their own number in every block, queries and keys normed, the head always tied.

Source: the model repository's `modeling_openelm.py`; llama.cpp `src/models/openelm.cpp`, `conversion/openelm.py`.
"""

from __future__ import annotations

import math

from ..rules.words import *
from .common import *

T = "transformer.layers.{b}."


def divisible(value: float, divisor: int) -> int:
    """The nearest multiple, not below nine tenths."""
    near = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return near + divisor * (near < 0.9 * value)


def rows(config: Config) -> list[int]:
    return [divisible(times * config["model_dim"], config["ffn_dim_divisor"]) for times in config["ffn_multipliers"]]


OPENELM = ArchSpec(
    "openelm", ("OpenELMForCausalLM",), "openelm",
    hparams=(
        H("block_count", "num_transformer_layers"), H("context_length", "max_context_length"),
        H("embedding_length", "model_dim"), H("attention.head_count", "num_query_heads"),
        H("attention.head_count_kv", "num_kv_heads"), Rope(), *HEAD_LENGTHS, VOCAB_ROWS,
        Computed("feed_forward_length", rows,
                 "ffn_multipliers", lambda kv: [n / kv["embedding_length"] for n in kv["feed_forward_length"]]),
        Seen("ffn_dim_divisor", lambda found: math.gcd(*found.kv["feed_forward_length"])),
        Computed("rope.dimension_count", lambda c: c["head_dim"]),
        Seen("rope_freq_constant", lambda found: short(found.kv.get("rope.freq_base", 10000.0))),
        Const("attention.layer_norm_rms_epsilon", 1e-6, F32),
        *(Fixed(key, True, refuse=True) for key in ("normalize_qk_projections", "ffn_with_glu", "share_input_output_layers")),
        Fixed("activation_fn_name", "swish"), Fixed("normalization_layer_name", "rms_norm"),
    ),
    tensors=(
        R("token_embd.weight", "transformer.token_embeddings.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.weight", T + "attn_norm.weight", shape="embedding_length"),
        R("blk.{b}.attn_qkv.weight", T + "attn.qkv_proj.weight", shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_q_norm.weight", T + "attn.q_norm.weight", shape="attention.key_length"),
        R("blk.{b}.attn_k_norm.weight", T + "attn.k_norm.weight", shape="attention.key_length"),
        R("blk.{b}.attn_output.weight", T + "attn.out_proj.weight", shape="embedding_length query_rows"),
        R("blk.{b}.ffn_norm.weight", T + "ffn_norm.weight", shape="embedding_length"),
        R(("blk.{b}.ffn_gate.weight", "blk.{b}.ffn_up.weight"), T + "ffn.proj_1.weight", Split((1, 1)),
          shape="2*feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", T + "ffn.proj_2.weight", shape="embedding_length feed_forward_length"),
        R("output_norm.weight", "transformer.norm.weight", shape="embedding_length"),
    ),
    sizes={
        "query_rows": lambda hp: [n * hp["attention.key_length"] for n in hp["attention.head_count"]],
        "qkv_rows": lambda hp: [(q + 2 * kv) * hp["attention.key_length"] for q, kv in zip(
            hp["attention.head_count"], hp["attention.head_count_kv"], strict=True)],
    },
    defaults={"rope_theta": same_as("rope_freq_constant"), "ffn_dim_divisor": 256, "tie_word_embeddings": True},
    example="apple/OpenELM-270M",
)

SPECS = (OPENELM,)
