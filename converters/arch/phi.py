"""Phi-3 and Phi-4: fused projections stay fused; longrope scaling is two factor tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..io.values import Metadata, u32
from ..rules.hf_config import full_attention_rope
from ..rules.rope import LONGROPE_FACTORS, Rope
from ..rules.spec import ArchSpec, Codec, Config, Found, H, R
from .common import DECODER_DEFAULTS, EMBED, HEAD, HEAD_KV, NORMS, OUT_NORM, RMS_EPS, SHAPE, SILU, TIED, VOCAB_ROWS, L


@dataclass(frozen=True)
class PhiRope:
    """`rope.dimension_count` from the rotary share of the head."""

    def write(self, config: Config, notes: list[str]) -> Metadata:
        rope = full_attention_rope(config)
        share = rope.get("partial_rotary_factor", 1.0)
        return {"rope.dimension_count": u32(int(float(share) * config["hidden_size"]) // config["num_attention_heads"])}

    def read(self, found: Found, config: Config) -> None:
        head = config["hidden_size"] // config["num_attention_heads"]
        rotary: Any = found.kv.get("rope.dimension_count", head)
        if rotary != head:
            full_attention_rope(config)["partial_rotary_factor"] = rotary / head


PHI3 = ArchSpec(
    "phi3", ("Phi3ForCausalLM",), "phi3",
    hparams=(
        *SHAPE, HEAD_KV, Rope(write_scaling=False), PhiRope(), RMS_EPS, TIED, SILU, VOCAB_ROWS,
        H("rope.scaling.original_context_length", ("original_max_position_embeddings",
                                                   "rope_parameters.original_max_position_embeddings")),
        # No window is stored as 0, by which the runtime tells Phi-4 from Phi-3.
        H("attention.sliding_window", "sliding_window", default=0, codec=Codec(int, lambda n: n or None)),
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_qkv.weight", L + "self_attn.qkv_proj.weight", shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_up.weight", L + "mlp.gate_up_proj.weight", shape="gate_up_rows embedding_length"),
        R("blk.{b}.ffn_down.weight", L + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
        *OUT_NORM, *HEAD,
    ),
    derived=LONGROPE_FACTORS,
    defaults={**DECODER_DEFAULTS, "original_max_position_embeddings": 4096},
    sizes={
        "qkv_rows": lambda hp: (hp["attention.head_count"] + 2 * hp["attention.head_count_kv"])
        * (hp["embedding_length"] // hp["attention.head_count"]),
        "gate_up_rows": lambda hp: 2 * hp["feed_forward_length"],
    },
    example="microsoft/Phi-3-mini-4k-instruct",
)

SPECS = (PHI3,)
