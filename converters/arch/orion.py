"""Orion: Llama's blocks with LayerNorm, whose epsilon config.json calls that of an RMS norm.

Source: the model repository's `modeling_orion.py`; llama.cpp `src/models/orion.cpp`, `conversion/orion.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import INV_FREQ, UNSTATED_HEAD
from .qwen import ATTN, FFN

ORION = ArchSpec(
    "orion", ("OrionForCausalLM",), "orion",
    hparams=(
        BLOCK_COUNT, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT, HEAD_KV, Rope(write_base=False), VOCAB_ROWS, SILU,
        Const("tensor_data_layout", "Meta AI original pth", ValueType.STRING),
        Computed("context_length", lambda c: c.get("max_sequence_length") or c["max_position_embeddings"],
                 "max_position_embeddings", lambda kv: kv["context_length"]),
        H("attention.layer_norm_epsilon", "rms_norm_eps", F32),
        Fixed("tie_word_embeddings", False, refuse=True), Fixed("attention_bias", False, refuse=True),
    ),
    tensors=(
        *EMBED, *ATTN, *FFN, *HEAD,
        *with_bias(
            R("blk.{b}.attn_norm.{p}", L + "input_layernorm.{p}", shape="embedding_length"),
            R("blk.{b}.ffn_norm.{p}", L + "post_attention_layernorm.{p}", shape="embedding_length"),
            R("output_norm.{p}", "model.norm.{p}", shape="embedding_length"),
        ),
    ),
    defaults=UNSTATED_HEAD, sizes=SIZES, ignore=INV_FREQ, example="OrionStarAI/Orion-14B-Base",
)

SPECS = (ORION,)
