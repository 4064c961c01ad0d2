"""Baichuan: Llama with queries, keys and values fused; 13B (40 blocks) attends by distance, which the runtime knows by itself.

Source: the model repository's `modeling_baichuan.py`; llama.cpp `src/models/baichuan.cpp`, `conversion/baichuan.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import INV_FREQ, ROPE_DIM
from .qwen import ATTN, FFN

BAICHUAN = ArchSpec(
    "baichuan", ("BaichuanForCausalLM", "BaiChuanForCausalLM"), "baichuan",
    hparams=(
        BLOCK_COUNT, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT, RMS_EPS, Rope(write_base=False), ROPE_DIM, VOCAB_ROWS, SILU,
        H("context_length", ("max_position_embeddings", "model_max_length")),
        Const("tensor_data_layout", "Meta AI original pth", ValueType.STRING),
        Fixed("tie_word_embeddings", False, refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS,
        R(("blk.{b}.attn_q.weight", "blk.{b}.attn_k.weight", "blk.{b}.attn_v.weight"), L + "self_attn.W_pack.weight",
          Split(3), Each((ROPE, ROPE, Op())), shape="3*embedding_length embedding_length"),
        ATTN[3], *FFN, *OUT_NORM,
        R("output.weight", "lm_head.weight", UnitNorm("normed"), shape="vocab_size embedding_length"),
    ),
    # The second version, which is known by its vocabulary, norms the rows of its head when it computes.
    sizes={**SIZES, "normed": lambda hp: int(hp["vocab_size"] == 125696)}, ignore=INV_FREQ,
    example="baichuan-inc/Baichuan2-7B-Chat",
)

SPECS = (BAICHUAN,)
