"""EuroBERT and Jina v5: Llama's blocks, looking both ways, without its permutation; and Llama itself as an embedder.

Source: transformers `models/eurobert`; llama.cpp `src/models/eurobert.cpp`, `llama-embed.cpp`,
`conversion/bert.py`, `llama.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .llama import LLAMA
from .qwen import ATTN, FFN

EUROBERT = ArchSpec(
    "eurobert", ("EuroBertModel", "JinaEmbeddingsV5Model"), "eurobert",
    hparams=(
        *SHAPE, HEAD_KV, Rope(default_theta=250000.0), RMS_EPS, *HEAD_LENGTHS, SILU, VOCAB_ROWS, POOLING,
        Const("attention.causal", False, BOOL), Const("rope.scaling.type", "none", ValueType.STRING),
        Seen("mask_token_id", lambda facts: facts.keys.get("tokenizer.ggml.mask_token_id")),
        Fixed("attention_bias", False, refuse=True), Fixed("mlp_bias", False, refuse=True),
    ),
    tensors=headless(*EMBED, *NORMS, *ATTN, *FFN, *OUT_NORM),
    aliases=(("model.", ""),), ignore=(Template("lm_head.weight"),), head=False, sizes=SIZES,
    defaults={**DECODER_DEFAULTS, "rms_norm_eps": 1e-5, "max_position_embeddings": 8192},
    example="EuroBERT/EuroBERT-210m",
)

LLAMA_EMBED = replace(
    LLAMA, name="llama-embed", classes=("LlamaBidirectionalModel",), model_type="llama_bidirec", headless=(), head=False,
    hparams=(*without(LLAMA.hparams, "tie_word_embeddings"), POOLING),
    tensors=headless(*(row for row in LLAMA.tensors if str(row.gguf[0]) != "output.weight")), aliases=(("model.", ""),),
    example="nvidia/llama-embed-nemotron-8b",
)
SPECS = (EUROBERT, LLAMA_EMBED)
