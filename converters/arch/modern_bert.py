"""ModernBERT, an encoder whose blocks look at their neighbourhood but for every third; as a classifier too.

Source: transformers `models/modernbert`; llama.cpp `src/models/modern-bert.cpp`, `conversion/bert.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .bert import LABEL_COUNT, LABEL_DEFAULTS, LABELS, SCORES
from .common import *

POOLED = Codec({"mean": 1, "cls": 2}.__getitem__, {1: "mean", 2: "cls"}.get)
KINDS = ("full_attention", "sliding_attention")
STRING = ValueType.STRING


def layer_types(config: Config) -> list[str]:
    every = config.get("global_attn_every_n_layers", 3)
    return [KINDS[b % every != 0] for b in range(config["num_hidden_layers"])]


def sliding(config: Config) -> int | list[int] | None:
    """Every how many blocks one looks at everything; a list where that does not say it, None where the runtime assumes it."""
    kinds, count = config["layer_types"], config["num_hidden_layers"]
    if not {*kinds} <= {*KINDS} or len(kinds) != count:
        raise ValueError(f"{count} times {' or '.join(KINDS)} is expected, not {kinds}")
    if (stated := config.get("global_attn_every_n_layers")) is not None and kinds == layer_types(config):
        return stated
    if kinds == [KINDS[b % 3 != 0] for b in range(count)]:
        return None
    return [int(kind == KINDS[1]) for kind in kinds]


def kinds_of(kv: Mapping[str, Any]) -> list[str]:
    pattern = kv.get("attention.sliding_window_pattern", 3)
    return [KINDS[bool(pattern[b]) if isinstance(pattern, list) else b % pattern != 0] for b in range(kv["block_count"])]


def ropes(config: Config) -> dict[str, Any]:
    """As transformers 4 states them."""
    thetas = config.get("global_rope_theta", 160000.0), config.get("local_rope_theta", 10000.0)
    return {kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in zip(KINDS, thetas, strict=True)}


def pattern(facts: GgufFacts) -> int | None:
    stated = facts.kv.get("attention.sliding_window_pattern", 3)
    return stated if isinstance(stated, int) else None


# What transformers 4 reads of the same settings, beside those of transformers 5.
TRANSFORMERS_4 = (
    Seen("global_rope_theta", lambda facts: short(facts.kv.get("rope.freq_base", 160000.0))),
    Seen("local_rope_theta", lambda facts: short(facts.kv.get("rope.freq_base_swa", 10000.0))),
    Seen("global_attn_every_n_layers", pattern),
)
TOKENS = (
    Seen("cls_token_id", lambda facts: facts.keys.get("tokenizer.ggml.bos_token_id")),
    Seen("sep_token_id", lambda facts: facts.keys.get("tokenizer.ggml.seperator_token_id")),
)
T = "layers.{b}."
MODERN_BERT = ArchSpec(
    "modern-bert", ("ModernBertModel",), "modernbert",
    hparams=(
        *SHAPE, Rope(default_theta=160000.0, default_sliding_theta=10000.0),
        H("attention.layer_norm_rms_epsilon", "norm_eps", F32, need=False),  # the runtime reads the next one
        H("attention.layer_norm_epsilon", ("norm_eps", "layer_norm_eps"), F32), Const("attention.causal", False, BOOL),
        H("attention.sliding_window", "local_attention"),
        Computed("attention.sliding_window_pattern", sliding, "layer_types", kinds_of),
        Const("rope.scaling.type", "none", STRING), VOCAB_SIZE, VOCAB_ROWS,
        H("hidden_activation", "hidden_activation", STRING, default="gelu"), POOLING,
        H("classifier.pooling_type", "classifier_pooling", codec=POOLED, default="cls"),
        LABELS, Fixed("tie_word_embeddings", True), Fixed("attention_bias", False, refuse=True),
        Fixed("mlp_bias", False, refuse=True), Fixed("norm_bias", False, refuse=True), *TRANSFORMERS_4, *TOKENS,
    ),
    tensors=(
        R("token_embd.weight", "embeddings.tok_embeddings.weight", shape="vocab_size embedding_length"),
        R("token_embd_norm.weight", "embeddings.norm.weight", shape="embedding_length"),
        *where(lambda hp, b: b > 0, R("blk.{b}.attn_norm.weight", T + "attn_norm.weight", shape="embedding_length")),
        R("blk.{b}.attn_qkv.weight", T + "attn.Wqkv.weight", shape="3*embedding_length embedding_length"),
        R("blk.{b}.attn_output.weight", T + "attn.Wo.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_norm.weight", T + "mlp_norm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_up.weight", T + "mlp.Wi.weight", shape="2*feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", T + "mlp.Wo.weight", shape="embedding_length feed_forward_length"),
        R("output_norm.weight", "final_norm.weight", shape="embedding_length"),
    ),
    aliases=(("model.", ""),), head=False, example="answerdotai/ModernBERT-base",
    ignore=(Template("head.dense.{p}"), Template("head.norm.{p}"), Template("decoder.{p}")),
    defaults={"max_position_embeddings": 8192, "norm_eps": 1e-5, "local_attention": 128, "layer_types": layer_types,
              "rope_parameters": ropes, "tie_word_embeddings": True},
)
DENSE = (
    R("cls.weight", "head.dense.weight", shape="embedding_length embedding_length", no_lora=NO_ADAPTERS),
    R("cls.norm.weight", "head.norm.weight", shape="embedding_length"),
)
MODERN_BERT_MLM = replace(
    MODERN_BERT, classes=("ModernBertForMaskedLM",), ignore=(Template("decoder.{p}"),), tensors=(*MODERN_BERT.tensors, *DENSE),
    hparams=(*MODERN_BERT.hparams, Seen("decoder_bias", lambda facts: False)),
    absent="the bias behind the tied decoder is not in GGUF, and decoder_bias is false: logits are others, embeddings are not",
)
MODERN_BERT_SCORES = replace(
    MODERN_BERT, classes=("ModernBertForSequenceClassification",),
    hparams=(*without(MODERN_BERT.hparams, "id2label"), SCORES, Fixed("classifier_activation", "gelu", refuse=True),
             Seen("classifier_bias", lambda facts: False)),
    tensors=(
        *MODERN_BERT.tensors,
        *DENSE,
        R("cls.output.weight", "classifier.weight", shape="label_count embedding_length", no_lora=NO_ADAPTERS),
        R("cls.output.bias", "classifier.bias", shape="label_count"),
    ),
    ignore=(Template("decoder.{p}"),), sizes=LABEL_COUNT, defaults={**MODERN_BERT.defaults, **LABEL_DEFAULTS},
    example="Alibaba-NLP/gte-reranker-modernbert-base",
)

BACK = {"modern-bert": choice(
    MODERN_BERT, (MODERN_BERT_SCORES, has("cls.output.weight")), (MODERN_BERT_MLM, has("cls.weight")))}
SPECS = (MODERN_BERT, MODERN_BERT_MLM, MODERN_BERT_SCORES)
