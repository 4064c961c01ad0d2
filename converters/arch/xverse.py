"""XVERSE: Llama under a name of its own, its head never tied.

Source: the model repository's `modeling_xverse.py`; llama.cpp `src/models/xverse.cpp`, `conversion/xverse.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .arcee import ROTATED
from .common import *
from .llama import INV_FREQ, ROPE_DIM
from .qwen import ATTN, FFN

XVERSE = ArchSpec(
    "xverse", ("XverseForCausalLM",), "xverse",
    hparams=(
        *SHAPE, H("attention.head_count_kv", "num_key_value_heads", need=False), RMS_EPS, Rope(write_base=False), ROPE_DIM,
        VOCAB_ROWS, SILU, Const("tensor_data_layout", "Meta AI original pth", ValueType.STRING),
        Fixed("tie_word_embeddings", False, refuse=True),
    ),
    tensors=(*EMBED, *NORMS, *ROTATED, *ATTN[2:], *FFN, *OUT_NORM,
             R("output.weight", "lm_head.weight", shape="vocab_size embedding_length")),
    sizes=SIZES, ignore=INV_FREQ, example="xverse/XVERSE-7B",
)

SPECS = (XVERSE,)
