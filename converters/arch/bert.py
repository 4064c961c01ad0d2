"""BERT, RoBERTa and XLM-RoBERTa as encoders: one GGUF architecture, told apart by their vocabulary."""

from __future__ import annotations

from ..rules.words import *
from .common import *

B = "encoder.layer.{b}."

# The runtime reads the causal flag; False is the only value of an encoder.
SHAPE = (
    H("block_count", "num_hidden_layers"), H("context_length", "max_position_embeddings"),
    H("embedding_length", "hidden_size"), H("feed_forward_length", "intermediate_size"),
    H("attention.head_count", "num_attention_heads"), H("attention.layer_norm_epsilon", "layer_norm_eps", F32),
    H("attention.causal", "is_decoder", BOOL, default=False, codec=Codec(lambda decoder: decoder, lambda causal: causal)),
    POOLING, VOCAB_ROWS, Seen("type_vocab_size", size("token_types.weight")),
    Fixed("hidden_act", "gelu"), Fixed("position_embedding_type", "absolute"),
)
EMBEDDINGS = (
    R("token_embd.weight", "embeddings.word_embeddings.weight", shape="vocab_size embedding_length"),
    R("token_types.weight", "embeddings.token_type_embeddings.weight", type="F32", no_lora=NO_GATHER),
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
HEADS = (
    Template("embeddings.position_ids"), Template("pooler.dense.{p}"), Template("lm_head.{p}"),
    Template("lm_head.dense.{p}"), Template("lm_head.layer_norm.{p}"), Template("lm_head.decoder.{p}"),
    Template("cls.predictions.bias"), Template("cls.predictions.transform.dense.{p}"),
    Template("cls.predictions.transform.LayerNorm.{p}"), Template("cls.predictions.decoder.{p}"),
    Template("cls.seq_relationship.{p}"),
)

TIED_BY_DEFAULT = {"tie_word_embeddings": True}
NO_POOLER = "the pooler is not in GGUF: transformers makes a new one, which sentence embeddings do not use"

BERT = ArchSpec(
    "bert", ("BertModel", "BertForMaskedLM"), "bert",
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
    hparams=ROBERTA_SHAPE, tensors=ROBERTA_TENSORS, sizes=POSITION_ROWS, aliases=(("roberta.", ""),), ignore=HEADS, head=False,
    defaults=TIED_BY_DEFAULT, example="sentence-transformers/stsb-roberta-base", absent=NO_POOLER,
)

XLM_ROBERTA = ArchSpec(
    "bert", ("XLMRobertaModel", "XLMRobertaForMaskedLM"), "xlm-roberta",
    hparams=ROBERTA_SHAPE, tensors=ROBERTA_TENSORS, sizes=POSITION_ROWS, aliases=(("roberta.", ""),), ignore=HEADS, head=False,
    defaults=TIED_BY_DEFAULT, example="intfloat/multilingual-e5-small", absent=NO_POOLER,
)

BACK = {
    "bert": choice(BERT, (ROBERTA, says("tokenizer.ggml.model", "gpt2")), (XLM_ROBERTA, says("tokenizer.ggml.model", "t5"))),
}
SPECS = (BERT, ROBERTA, XLM_ROBERTA)
