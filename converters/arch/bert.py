"""BERT, DistilBERT, RoBERTa, XLM-RoBERTa and CamemBERT, as encoders and as classifiers (rerankers): one GGUF architecture,
told apart by their vocabulary and tensors.

Source: transformers `models/bert`, `distilbert`, `roberta`, `xlm_roberta`; llama.cpp `src/models/bert.cpp`, and
`build_pooling` in `llama-graph.cpp` for classifiers (pooling type "rank").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.facts import Fact
from ..rules.words import *
from .common import *

B = "encoder.layer.{b}."

# -- labels and scores of classifiers -------------------------------------------------------------------------------


def label_list(config: Config) -> list[str]:
    labels = config.get("id2label") or {}
    return [labels[number] for number in sorted(labels, key=int)]


def told_labels(config: Config) -> list[str] | None:
    """Those of a model without a classifier, where they are not what every config of two classes says."""
    labels = label_list(config)
    return labels if labels and labels != ["LABEL_0", "LABEL_1"] else None


def by_number(kv: Mapping[str, Any]) -> dict[str, str] | None:
    labels = kv.get("classifier.output_labels")
    return labels and {str(number): label for number, label in enumerate(labels)}


LABELS = Computed("classifier.output_labels", told_labels, "id2label", by_number, ValueType.STRING)
SCORES = Computed("classifier.output_labels", label_list, "id2label", by_number, ValueType.STRING)  # the runtime counts them
LABEL_DEFAULTS = {"id2label": lambda c: {str(number): f"LABEL_{number}" for number in range(c.get("num_labels") or 2)}}
LABEL_COUNT = {"label_count": lambda hp: len(hp["classifier.output_labels"])}


def score_rows(dense: str, out: str) -> tuple[TensorRule, ...]:
    """What makes scores of the first token's vector: a layer, its tanh, and the classifier, under these HF names."""
    return with_bias(
        R("cls.{p}", dense + ".{p}", shape="embedding_length embedding_length", no_lora=NO_ADAPTERS),
        R("cls.output.{p}", out + ".{p}", shape="label_count embedding_length", no_lora=NO_ADAPTERS),
    )


# -- encoders -------------------------------------------------------------------------------------------------------

# The runtime reads the causal flag; False is the only value of an encoder.
SHAPE = (
    H("block_count", "num_hidden_layers"), H("context_length", "max_position_embeddings"),
    H("embedding_length", "hidden_size"), H("feed_forward_length", "intermediate_size"),
    H("attention.head_count", "num_attention_heads"), H("attention.layer_norm_epsilon", "layer_norm_eps", F32),
    H("attention.causal", "is_decoder", BOOL, default=False, codec=Codec(lambda decoder: decoder, lambda causal: causal)),
    POOLING, LABELS, VOCAB_ROWS, Seen("type_vocab_size", size("token_types.weight")),
    Fixed("hidden_act", "gelu"), Fixed("position_embedding_type", "absolute"),
)
EMBEDDINGS = (
    R("token_embd.weight", "embeddings.word_embeddings.weight", shape="vocab_size embedding_length"),
    R("token_types.weight", "embeddings.token_type_embeddings.weight", type="F32", no_lora=NO_GATHER,
      shape="token_types embedding_length"),
    R("token_embd_norm.weight", "embeddings.LayerNorm.weight", shape="embedding_length"),
    R("token_embd_norm.bias", "embeddings.LayerNorm.bias", shape="embedding_length"),
)
LAYERS = (
    R("blk.{b}.attn_q.{p}", B + "attention.self.query.{p}", shape="embedding_length embedding_length"),
    R("blk.{b}.attn_k.{p}", B + "attention.self.key.{p}", shape="embedding_length embedding_length"),
    R("blk.{b}.attn_v.{p}", B + "attention.self.value.{p}", shape="embedding_length embedding_length"),
    R("blk.{b}.attn_output.{p}", B + "attention.output.dense.{p}", shape="embedding_length embedding_length"),
    R("blk.{b}.attn_output_norm.{p}", B + "attention.output.LayerNorm.{p}", shape="embedding_length"),
    R("blk.{b}.ffn_up.{p}", B + "intermediate.dense.{p}", shape="feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down.{p}", B + "output.dense.{p}", shape="embedding_length feed_forward_length"),
    R("blk.{b}.layer_output_norm.{p}", B + "output.LayerNorm.{p}", shape="embedding_length"),
)
POSITIONS = "embeddings.position_embeddings.weight"
POOLER = (Template("pooler.dense.{p}"),)
MASKED_LM = (
    Template("embeddings.position_ids"), Template("lm_head.{p}"),
    Template("lm_head.dense.{p}"), Template("lm_head.layer_norm.{p}"), Template("lm_head.decoder.{p}"),
    Template("cls.predictions.bias"), Template("cls.predictions.transform.dense.{p}"),
    Template("cls.predictions.transform.LayerNorm.{p}"), Template("cls.predictions.decoder.{p}"),
    Template("cls.seq_relationship.{p}"),
)
HEADS = (*POOLER, *MASKED_LM)

TIED_BY_DEFAULT = {"tie_word_embeddings": True}
NO_POOLER = "the pooler is not in GGUF: transformers makes a new one, which sentence embeddings do not use"

BERT = ArchSpec(
    "bert", ("BertModel", "BertForMaskedLM"), "bert",
    shown=TOKEN_TYPES,
    hparams=SHAPE,
    tensors=(
        *EMBEDDINGS,
        R("position_embd.weight", POSITIONS, shape="context_length embedding_length", type="F32",
          no_lora=NO_GATHER),
        *LAYERS,
    ),
    aliases=(("bert.", ""),), ignore=HEADS, head=False, defaults=TIED_BY_DEFAULT, example="BAAI/bge-small-en-v1.5",
    absent=NO_POOLER,
)

# Their position table begins with rows for padding, which the runtime does not have: pad_token_id is 1 in all of them.
POSITION_OFFSET = 2
ROBERTA_SHAPE = (
    *without(SHAPE, "context_length"),
    Computed("context_length", lambda config: config["max_position_embeddings"] - POSITION_OFFSET,
             "max_position_embeddings", lambda kv: kv["context_length"] + POSITION_OFFSET),
    Fixed("pad_token_id", POSITION_OFFSET - 1, refuse=True),
)
ROBERTA_TENSORS = (
    *EMBEDDINGS,
    R("position_embd.weight", POSITIONS, Crop(start=POSITION_OFFSET), shape="position_rows embedding_length",
      type="F32", no_lora=NO_GATHER),
    *LAYERS,
)
POSITION_ROWS = {"position_rows": lambda hp: hp["context_length"] + POSITION_OFFSET}

ROBERTA = ArchSpec(
    "bert", ("RobertaModel", "RobertaForMaskedLM"), "roberta",
    hparams=ROBERTA_SHAPE, tensors=ROBERTA_TENSORS, sizes=POSITION_ROWS, shown=TOKEN_TYPES,
    aliases=(("roberta.", ""),), ignore=HEADS, head=False,
    defaults=TIED_BY_DEFAULT, example="sentence-transformers/stsb-roberta-base", absent=NO_POOLER,
)

XLM_ROBERTA = ArchSpec(
    "bert", ("XLMRobertaModel", "XLMRobertaForMaskedLM"), "xlm-roberta", fits=lambda c: not c.get("lora_adaptations"),
    hparams=ROBERTA_SHAPE, tensors=ROBERTA_TENSORS, sizes=POSITION_ROWS, shown=TOKEN_TYPES,
    aliases=(("roberta.", ""),), ignore=HEADS, head=False,
    defaults=TIED_BY_DEFAULT, example="intfloat/multilingual-e5-small", absent=NO_POOLER,
)

BERT_SCORES = replace(
    BERT, classes=("BertForSequenceClassification",), hparams=(*without(SHAPE, "id2label"), SCORES), ignore=MASKED_LM,
    tensors=(*BERT.tensors, *score_rows("pooler.dense", "classifier")), sizes=LABEL_COUNT,
    defaults={**TIED_BY_DEFAULT, **LABEL_DEFAULTS}, example="cross-encoder/ms-marco-MiniLM-L6-v2", absent="",
)


def scored(encoder: ArchSpec, name: str, example: str) -> ArchSpec:
    """The classifier upon an encoder of RoBERTa's kind."""
    return replace(
        encoder, classes=(name,), hparams=(*without(encoder.hparams, "id2label"), SCORES),
        tensors=(*encoder.tensors, *score_rows("classifier.dense", "classifier.out_proj")),
        sizes={**encoder.sizes, **LABEL_COUNT}, defaults={**encoder.defaults, **LABEL_DEFAULTS}, example=example, absent="",
    )


ROBERTA_SCORES = scored(ROBERTA, "RobertaForSequenceClassification", "cross-encoder/stsb-roberta-base")
XLM_ROBERTA_SCORES = scored(XLM_ROBERTA, "XLMRobertaForSequenceClassification", "BAAI/bge-reranker-v2-m3")
CAMEMBERT = replace(XLM_ROBERTA, classes=("CamembertModel",), model_type="camembert", fits=None,
                    example="dangvantuan/sentence-camembert-base")

# -- DistilBERT -----------------------------------------------------------------------------------------------------

D = "transformer.layer.{b}."
DISTILBERT = ArchSpec(
    "bert", ("DistilBertModel", "DistilBertForMaskedLM"), "distilbert",
    hparams=(
        H("block_count", "n_layers"), H("context_length", "max_position_embeddings"), H("embedding_length", "dim"),
        H("feed_forward_length", "hidden_dim"), H("attention.head_count", "n_heads"),
        Const("attention.layer_norm_epsilon", 1e-12, F32), Const("attention.causal", False, BOOL),
        POOLING, LABELS, VOCAB_ROWS, Fixed("activation", "gelu"),
    ),
    tensors=(
        EMBEDDINGS[0], *EMBEDDINGS[2:],
        R("position_embd.weight", POSITIONS, shape="context_length embedding_length", type="F32", no_lora=NO_GATHER),
        R("blk.{b}.attn_q.{p}", D + "attention.q_lin.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.attn_k.{p}", D + "attention.k_lin.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.attn_v.{p}", D + "attention.v_lin.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.attn_output.{p}", D + "attention.out_lin.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.attn_output_norm.{p}", D + "sa_layer_norm.{p}", shape="embedding_length"),
        R("blk.{b}.ffn_up.{p}", D + "ffn.lin1.{p}", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.{p}", D + "ffn.lin2.{p}", shape="embedding_length feed_forward_length"),
        R("blk.{b}.layer_output_norm.{p}", D + "output_layer_norm.{p}", shape="embedding_length"),
    ),
    aliases=(("distilbert.", ""),), head=False, example="distilbert/distilbert-base-uncased",
    ignore=(Template("vocab_transform.{p}"), Template("vocab_layer_norm.{p}"), Template("vocab_projector.{p}")),
    defaults={**TIED_BY_DEFAULT, "n_layers": 6, "n_heads": 12, "dim": 768, "hidden_dim": 3072, "max_position_embeddings": 512},
)
DISTILBERT_SCORES = replace(
    DISTILBERT, classes=("DistilBertForSequenceClassification",),
    hparams=(*without(DISTILBERT.hparams, "id2label"), SCORES,
             Note("the runtime puts tanh behind pre_classifier where the class has relu: its scores are others, its embeddings "
                  "are not", lambda config: True)),
    tensors=(*DISTILBERT.tensors, *score_rows("pre_classifier", "classifier")), sizes=LABEL_COUNT,
    defaults={**DISTILBERT.defaults, **LABEL_DEFAULTS}, example="distilbert/distilbert-base-uncased-finetuned-sst-2-english",
)


def read_by(*facts: Fact) -> Fact:
    """Whether all of these hold."""
    return lambda found: all(fact(found) for fact in facts)


CLASSIFIES = has("cls.output.weight")
DISTILLED = lacks("token_types.weight")
BYTES, UNIGRAM = says("tokenizer.ggml.model", "gpt2"), says("tokenizer.ggml.model", "t5")
BACK = {"bert": choice(
    BERT,
    (ROBERTA_SCORES, read_by(BYTES, CLASSIFIES)), (ROBERTA, BYTES),
    (XLM_ROBERTA_SCORES, read_by(UNIGRAM, CLASSIFIES)), (XLM_ROBERTA, UNIGRAM),
    (DISTILBERT_SCORES, read_by(DISTILLED, CLASSIFIES)), (DISTILBERT, DISTILLED),
    (BERT_SCORES, CLASSIFIES),
)}
SPECS = (BERT, BERT_SCORES, ROBERTA, ROBERTA_SCORES, XLM_ROBERTA, XLM_ROBERTA_SCORES, CAMEMBERT, DISTILBERT, DISTILBERT_SCORES)
