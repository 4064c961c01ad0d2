"""Seed-OSS: Llama's blocks without its permutation of rotary rows, the second norm under another name.

Source: transformers `models/seed_oss`; llama.cpp `src/models/seed-oss.cpp`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .qwen import ATTN, FFN, QKV_BIAS

SEED_OSS = ArchSpec(
    "seed_oss", ("SeedOssForCausalLM",), "seed_oss",
    hparams=(*DECODER, Seen("attention_bias", has("blk.0.attn_q.bias")), Fixed("attention_out_bias", False),
             Fixed("mlp_bias", False)),
    tensors=(
        *EMBED, NORMS[0], *ATTN, *where(lambda hp, b: False, *QKV_BIAS),
        R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
        *FFN, *OUT_NORM, *HEAD,
    ),
    defaults={"num_key_value_heads": same_as("num_attention_heads"), "head_dim": 128, "rms_norm_eps": 1e-6,
              "max_position_embeddings": 524288},
    sizes=SIZES, example="ByteDance-Seed/Seed-OSS-36B-Instruct",
)

SPECS = (SEED_OSS,)
