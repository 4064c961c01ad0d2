"""Nemotron and Minitron: LayerNorm around 1, a squared ReLU in place of the gate, part of each head turned.

Source: transformers `models/nemotron`; llama.cpp `src/models/nemotron.cpp`, `conversion/nemotron.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import BIASES
from .phi import TURNED


def scaling(config: Config) -> str | None:
    """The kind of scaling where there is none; `Rope` writes the others."""
    return None if "factor" in full_attention_rope(config) else "none"


NEMOTRON = ArchSpec(
    "nemotron", ("NemotronForCausalLM",), "nemotron",
    hparams=(
        *SHAPE, HEAD_KV, Rope(), TURNED, *HEAD_LENGTHS, VOCAB_SIZE, VOCAB_ROWS, *BIASES,
        H("attention.layer_norm_epsilon", "norm_eps", F32),
        Computed("attention.layer_norm_rms_epsilon", lambda c: c["norm_eps"], type=F32),  # nobody reads it
        Computed("rope.scaling.type", scaling, type=ValueType.STRING),
        Fixed("hidden_act", "relu2", refuse=True), Fixed("tie_word_embeddings", False, refuse=True),
    ),
    tensors=(
        *EMBED,
        R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", Add(1.0), shape="embedding_length"),
        R("blk.{b}.attn_norm.bias", L + "input_layernorm.bias", shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", L + "post_attention_layernorm.weight", Add(1.0), shape="embedding_length"),
        R("blk.{b}.ffn_norm.bias", L + "post_attention_layernorm.bias", shape="embedding_length"),
        R("output_norm.weight", "model.norm.weight", Add(1.0), shape="embedding_length"),
        R("output_norm.bias", "model.norm.bias", shape="embedding_length"),
        *ATTN, *FFN[1:], R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    defaults={**DECODER_DEFAULTS, "partial_rotary_factor": 0.5, "norm_eps": 1e-5}, sizes=SIZES,
    example="nvidia/Minitron-4B-Base",
)

SPECS = (NEMOTRON,)
