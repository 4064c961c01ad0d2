"""Phi-3 and Phi-4: fused projections stay fused; longrope scaling is two factor tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rules.words import *
from .common import *


def rotary_rows(config: Config) -> int:
    """The rotary share of the head."""
    share = full_attention_rope(config).get("partial_rotary_factor", 1.0)
    return int(float(share) * config["hidden_size"]) // config["num_attention_heads"]


def rotary_share(kv: Mapping[str, Any]) -> float | None:
    head = kv["embedding_length"] // kv["attention.head_count"]
    rotary = kv.get("rope.dimension_count", head)
    return rotary / head if rotary != head else None


ROPE_SHARE = Computed("rope.dimension_count", rotary_rows, "rope_parameters.partial_rotary_factor", rotary_share)

PHI3 = ArchSpec(
    "phi3", ("Phi3ForCausalLM",), "phi3",
    hparams=(
        *SHAPE, HEAD_KV, Rope(write_scaling=False), ROPE_SHARE, RMS_EPS, TIED, SILU, VOCAB_ROWS,
        H("rope.scaling.original_context_length", ("original_max_position_embeddings",
                                                   "rope_parameters.original_max_position_embeddings")),
        # No window is stored as 0, by which the runtime tells Phi-4 from Phi-3.
        H("attention.sliding_window", "sliding_window", default=0, codec=Codec(int, lambda n: n or None)),
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_qkv.weight", L + "self_attn.qkv_proj.weight", shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_up.weight", L + "mlp.gate_up_proj.weight", shape="2*feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", L + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
        *OUT_NORM, *HEAD,
    ),
    derived=LONGROPE_FACTORS,
    defaults={**DECODER_DEFAULTS, "original_max_position_embeddings": 4096},
    sizes={
        "qkv_rows": lambda hp: (hp["attention.head_count"] + 2 * hp["attention.head_count_kv"])
        * (hp["embedding_length"] // hp["attention.head_count"]),
    },
    example="microsoft/Phi-3-mini-4k-instruct",
)

SPECS = (PHI3,)
