"""NeoBERT, a BERT of Llama's parts: rotary pairs of neighbours, RMS norms before, fused gates; as a classifier, too.

Source: the code on the Hub (`chandar-lab/NeoBERT`); llama.cpp `src/models/neo-bert.cpp`, `conversion/bert.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .bert import LABEL_COUNT, LABEL_DEFAULTS, LABELS, SCORES, score_rows
from .common import *

T = "transformer_encoder.{b}."
NEOBERT = ArchSpec(
    "neo-bert", ("NeoBERT", "NeoBERTLMHead"), "neobert",
    hparams=(
        BLOCK_COUNT, H("context_length", "max_length"), EMBEDDING_LENGTH, HEAD_COUNT,
        Computed("feed_forward_length", lambda c: int(2 * c["intermediate_size"] / 3), "intermediate_size",
                 lambda kv: -(-3 * kv["feed_forward_length"] // 2)),
        H("attention.layer_norm_rms_epsilon", "norm_eps", F32, default=1e-6), Const("attention.causal", False, BOOL),
        Const("rope.freq_base", 10000.0, F32), Const("rope.scaling.type", "none", ValueType.STRING),
        Const("pooling_type", 2), LABELS, VOCAB_ROWS, Fixed("rope", True, refuse=True), Fixed("rms_norm", True, refuse=True),
        Fixed("hidden_act", "SwiGLU", also=("swiglu",)),
    ),
    tensors=(
        R("token_embd.weight", "encoder.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.weight", T + "attention_norm.weight", shape="embedding_length"),
        R("blk.{b}.attn_qkv.weight", T + "qkv.weight", shape="3*embedding_length embedding_length"),
        R("blk.{b}.attn_output.weight", T + "wo.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_norm.weight", T + "ffn_norm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_up.weight", T + "ffn.w12.weight", shape="2*feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", T + "ffn.w3.weight", shape="embedding_length feed_forward_length"),
        R("enc.output_norm.weight", "layer_norm.weight", shape="embedding_length"),
    ),
    aliases=(("model.", ""),), ignore=(Template("decoder.{p}"),), head=False, example="chandar-lab/NeoBERT",
)
NEOBERT_SCORES = replace(
    NEOBERT, classes=("NeoBERTForSequenceClassification",), hparams=(*without(NEOBERT.hparams, "id2label"), SCORES),
    tensors=(*NEOBERT.tensors, *score_rows("dense", "classifier")), sizes=LABEL_COUNT, defaults=LABEL_DEFAULTS,
)
BACK = {"neo-bert": choice(NEOBERT, (NEOBERT_SCORES, has("cls.output.weight")))}
SPECS = (NEOBERT, NEOBERT_SCORES)
