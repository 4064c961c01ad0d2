"""InternLM 2: Llama with grouped queries, keys and values in one weight, and the original names; InternLM 3: Llama itself.

Source: the model repository's `modeling_internlm2.py`, transformers `models/internlm3`; llama.cpp `src/models/internlm2.cpp`,
`conversion/internlm.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import BIASES, INV_FREQ, LLAMA, ROPE_DIM, UNSTATED_HEAD

A, F = L + "attention.", L + "feed_forward."

INTERNLM2 = ArchSpec(
    "internlm2", ("InternLM2ForCausalLM",), "internlm2",
    hparams=(*SHAPE, HEAD_KV, RMS_EPS, Rope(), VOCAB_ROWS, SILU, Fixed("bias", False, refuse=True),
             Fixed("tie_word_embeddings", False, refuse=True)),
    tensors=(
        R("token_embd.weight", "model.tok_embeddings.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.weight", L + "attention_norm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", L + "ffn_norm.weight", shape="embedding_length"),
        R(("blk.{b}.attn_q.weight", "blk.{b}.attn_k.weight", "blk.{b}.attn_v.weight"), A + "wqkv.weight",
          Split(("queries", 1, 1), groups="attention.head_count_kv"), Each((ROPE, ROPE, Op())),
          shape="qkv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", A + "wo.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_gate.weight", F + "w1.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up.weight", F + "w3.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", F + "w2.weight", shape="embedding_length feed_forward_length"),
        *OUT_NORM, R("output.weight", "output.weight", shape="vocab_size embedding_length"),
    ),
    sizes={
        **SIZES, "queries": lambda hp: hp["attention.head_count"] // hp["attention.head_count_kv"],
        "qkv_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"],
    },
    defaults={**UNSTATED_HEAD, "rms_norm_eps": 1e-6}, ignore=INV_FREQ, example="internlm/internlm2-chat-7b",
)

INTERNLM3 = ArchSpec(
    "llama", ("InternLM3ForCausalLM",), "internlm3",
    hparams=(*DECODER, VOCAB_SIZE, ROPE_DIM, *BIASES), tensors=LLAMA.tensors, sizes=SIZES, ignore=INV_FREQ,
    defaults={**UNSTATED_HEAD, "head_dim": 128, "attention_bias": same_as("qkv_bias"), "mlp_bias": same_as("bias")},
    example="internlm/internlm3-8b-instruct",
)

SPECS = (INTERNLM2, INTERNLM3)
