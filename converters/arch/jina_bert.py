"""Jina's encoders: v2 with ALiBi and gated MLPs, in two spellings; v3 with rotary positions, its weights parametrized by task.

Source: the code on the Hub (`jinaai/jina-bert-implementation`, `jinaai/jina-bert-v2-qk-post-norm`,
`jinaai/xlm-roberta-flash-implementation`); llama.cpp `src/models/jina-bert-v2.cpp`, `jina-bert-v3.cpp`, `conversion/bert.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .bert import LABELS, MASKED_LM, POOLER, POSITION_OFFSET
from .common import *

ENCODER = (
    Const("attention.causal", False, BOOL), POOLING, LABELS, VOCAB_ROWS, Seen("type_vocab_size", size("token_types.weight")),
    Fixed("hidden_act", "gelu", refuse=True),
)
B = "encoder.layer.{b}."
S = B + "attention.self."
POST = has("blk.{b}.attn_norm_2.weight")
PLAIN = lacks("blk.{b}.attn_norm_2.weight")
JINA_BERT_V2 = ArchSpec(
    "jina-bert-v2", ("JinaBertModel", "JinaBertForMaskedLM"), "bert",
    shown=TOKEN_TYPES,
    hparams=(
        *SHAPE, LN_EPSILON, *ENCODER, Fixed("position_embedding_type", "alibi", refuse=True),
        Fixed("feed_forward_type", "geglu", refuse=True),
    ),
    tensors=(
        R("token_embd.weight", "embeddings.word_embeddings.weight", shape="vocab_size embedding_length"),
        R("token_types.weight", "embeddings.token_type_embeddings.weight", type="F32", no_lora=NO_GATHER,
      shape="token_types embedding_length"),
        *with_bias(
            R("token_embd_norm.{p}", "embeddings.LayerNorm.{p}", shape="embedding_length"),
            R("blk.{b}.attn_q.{p}", S + "query.{p}", shape="embedding_length embedding_length"),
            R("blk.{b}.attn_k.{p}", S + "key.{p}", shape="embedding_length embedding_length"),
            R("blk.{b}.attn_v.{p}", S + "value.{p}", shape="embedding_length embedding_length"),
            R("blk.{b}.attn_output.{p}", B + "attention.output.dense.{p}", shape="embedding_length embedding_length"),
            R("blk.{b}.attn_output_norm.{p}", B + "attention.output.LayerNorm.{p}", shape="embedding_length"),
        ),
        R("blk.{b}.ffn_up.weight", B + "mlp.gated_layers.weight", shape="2*feed_forward_length embedding_length", given=PLAIN),
        R("blk.{b}.ffn_down.{p}", B + "mlp.wo.{p}", shape="embedding_length feed_forward_length", given=PLAIN),
        R("blk.{b}.layer_output_norm.{p}", B + "mlp.layernorm.{p}", shape="embedding_length", given=PLAIN),
        # with norms on queries and keys, and one more behind each half of the block: the models for code and for two languages
        R("blk.{b}.attn_q_norm.{p}", S + "layer_norm_q.{p}", need=False, shape="embedding_length"),
        R("blk.{b}.attn_k_norm.{p}", S + "layer_norm_k.{p}", need=False, shape="embedding_length"),
        R("blk.{b}.attn_norm_2.{p}", B + "layer_norm_1.{p}", need=False, shape="embedding_length"),
        R("blk.{b}.ffn_up.weight", B + "mlp.up_gated_layer.weight", shape="2*feed_forward_length embedding_length", given=POST),
        R("blk.{b}.ffn_down.{p}", B + "mlp.down_layer.{p}", shape="embedding_length feed_forward_length", given=POST),
        R("blk.{b}.layer_output_norm.{p}", B + "layer_norm_2.{p}", shape="embedding_length", given=POST),
    ),
    aliases=(("bert.", ""),), ignore=(*POOLER, *MASKED_LM), head=False, example="jinaai/jina-embeddings-v2-base-en",
    defaults={"tie_word_embeddings": True, "type_vocab_size": 2},
)

L = "encoder.layers.{b}."
ADAPTED = ".parametrizations.weight."  # each weight is the sum of itself and the task's update
TASKS = tuple(Template(name + ADAPTED + f"0.lora_{side}") for side in "AB" for name in (
    "embeddings.word_embeddings", "embeddings.token_type_embeddings", L + "mixer.Wqkv", L + "mixer.out_proj", L + "mlp.fc1",
    L + "mlp.fc2", "pooler.dense"))


def adapted(*rows: TensorRule) -> tuple[TensorRule, ...]:
    """The rows, under the names that parametrized weights have; biases keep theirs."""
    def spelled(name: Template) -> Template:
        text = name.text
        return Template(text.removesuffix(".weight") + ADAPTED + "original" if text.endswith(".weight") else text)

    return tuple(replace(row, hf=tuple(spelled(t) for t in row.hf)) for row in rows)


WEIGHTS = (
    R("token_embd.weight", "embeddings.word_embeddings.weight", shape="vocab_size embedding_length"),
    R("token_types.weight", "embeddings.token_type_embeddings.weight", type="F32", no_lora=NO_GATHER,
      shape="token_types embedding_length"),
    *with_bias(
        R("blk.{b}.attn_qkv.{p}", L + "mixer.Wqkv.{p}", shape="3*embedding_length embedding_length"),
        R("blk.{b}.attn_output.{p}", L + "mixer.out_proj.{p}", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_up.{p}", L + "mlp.fc1.{p}", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.{p}", L + "mlp.fc2.{p}", shape="embedding_length feed_forward_length")),
)
JINA_BERT_V3 = ArchSpec(
    "jina-bert-v3", ("XLMRobertaModel",), "xlm-roberta", fits=lambda c: bool(c.get("lora_adaptations")),
    shown=TOKEN_TYPES,
    hparams=(
        *without(SHAPE, "context_length"), LN_EPSILON, *ENCODER,
        Computed("context_length", lambda c: c["max_position_embeddings"] - POSITION_OFFSET,
                 "max_position_embeddings", lambda kv: kv["context_length"] + POSITION_OFFSET),
        Fixed("pad_token_id", POSITION_OFFSET - 1, refuse=True), Fixed("position_embedding_type", "rotary", refuse=True),
        H("rope.freq_base", "rotary_emb_base", F32, default=10000.0),
        Note("the updates of its tasks (lora_adaptations) are left out: vectors are those of no task; "
             "`ggufx lora-to-gguf MODEL --task NAME` makes an adapter of one", lambda c: True),
    ),
    tensors=(
        *adapted(*WEIGHTS), *in_memory(*WEIGHTS),  # the latter also as a checkpoint of one task would have them
        *with_bias(
            R("token_embd_norm.{p}", "emb_ln.{p}", shape="embedding_length"),
            R("blk.{b}.attn_output_norm.{p}", L + "norm1.{p}", shape="embedding_length"),
            R("blk.{b}.layer_output_norm.{p}", L + "norm2.{p}", shape="embedding_length")),
    ),
    aliases=(("roberta.", ""),), head=False, example="jinaai/jina-embeddings-v3", defaults={"tie_word_embeddings": True},
    ignore=(*TASKS, *POOLER, Template("pooler.dense" + ADAPTED + "original"), *MASKED_LM),
)

SPECS = (JINA_BERT_V2, JINA_BERT_V3)
