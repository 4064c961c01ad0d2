"""Arcee's AFM: Llama's blocks with a squared ReLU in place of the gate.

Source: transformers `models/arcee`; llama.cpp `src/models/arcee.cpp`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import ROPE_DIM
from .qwen import ATTN, FFN, NO_BIAS

ROTATED = (  # as the runtime pairs rotary dimensions; it has no biases here
    R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", ROPE, shape="head_rows embedding_length"),
    R("blk.{b}.attn_k.weight", L + "self_attn.k_proj.weight", ROPE, shape="head_kv_rows embedding_length"),
)

ARCEE = ArchSpec(
    "arcee", ("ArceeForCausalLM",), "arcee",
    hparams=(*without(DECODER, "hidden_act"), VOCAB_SIZE, ROPE_DIM, NO_BIAS, Fixed("mlp_bias", False),
             Fixed("hidden_act", "relu2", refuse=True)),
    tensors=(*EMBED, *NORMS, *ROTATED, *ATTN[2:], *FFN[1:], *OUT_NORM, *HEAD),
    derived=(LLAMA3_FREQS,), defaults=DECODER_DEFAULTS, sizes=SIZES, example="arcee-ai/AFM-4.5B",
)

SPECS = (ARCEE,)
