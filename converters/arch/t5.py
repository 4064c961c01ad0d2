"""T5, mT5 and UMT5: an encoder and a decoder of its own depth, attention with learned relative positions.

Feed-forward layers are gated (`wi_0`, `wi_1`; T5 1.1 and later) or not (`wi`). The runtime multiplies the head with the
decoder's output as it is, T5 1.0 and UMT5 with that divided by sqrt(d_model): logits differ by this factor.
Source: transformers `models/t5`, `mt5`, `umt5`; llama.cpp `src/models/t5.cpp`, `t5encoder.cpp`, `conversion/t5.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *

E, D = "encoder.block.{b}.layer.", "decoder.block.{d}.layer."


def attention(gguf: str, norm: str, hf: str) -> tuple[TensorRule, ...]:
    return (
        R(gguf + "attn_norm.weight", norm, shape="embedding_length"),
        R(gguf + "attn_q.weight", hf + "q.weight", shape="head_rows embedding_length"),
        R(gguf + "attn_k.weight", hf + "k.weight", shape="head_rows embedding_length"),
        R(gguf + "attn_v.weight", hf + "v.weight", shape="head_rows embedding_length"),
        R(gguf + "attn_o.weight", hf + "o.weight", shape="embedding_length head_rows"),
        R(gguf + "attn_rel_b.weight", hf + "relative_attention_bias.weight", need=False, no_lora=NO_GATHER,
          shape="attention.relative_buckets_count attention.head_count"),
    )


def ffn(gguf: str, hf: str) -> tuple[TensorRule, ...]:
    gate = gguf + "gate.weight"
    return (
        R(gguf + "norm.weight", hf + "layer_norm.weight", shape="embedding_length"),
        R(gguf + "up.weight", hf + "DenseReluDense.wi.weight", given=lacks(gate), shape="feed_forward_length embedding_length"),
        R(gate, hf + "DenseReluDense.wi_0.weight", need=False, shape="feed_forward_length embedding_length"),
        R(gguf + "up.weight", hf + "DenseReluDense.wi_1.weight", given=has(gate), shape="feed_forward_length embedding_length"),
        R(gguf + "down.weight", hf + "DenseReluDense.wo.weight", shape="embedding_length feed_forward_length"),
    )


ENCODER = (
    R("token_embd.weight", "shared.weight", shape="vocab_size embedding_length", no_lora="transformers updates copies of it"),
    *attention("enc.blk.{b}.", E + "0.layer_norm.weight", E + "0.SelfAttention."), *ffn("enc.blk.{b}.ffn_", E + "1."),
    R("enc.output_norm.weight", "encoder.final_layer_norm.weight", shape="embedding_length"),
)
DECODER_PART = (
    *attention("dec.blk.{d}.", D + "0.layer_norm.weight", D + "0.SelfAttention."),
    *attention("dec.blk.{d}.cross_", D + "1.layer_norm.weight", D + "1.EncDecAttention."), *ffn("dec.blk.{d}.ffn_", D + "2."),
    R("dec.output_norm.weight", "decoder.final_layer_norm.weight", shape="embedding_length"), *HEAD,
)
HPARAMS = (
    H("context_length", "n_positions", default=512), H("embedding_length", "d_model"), H("feed_forward_length", "d_ff"),
    H("block_count", "num_layers"), H("attention.head_count", "num_heads"),
    H("attention.key_length", "d_kv"), H("attention.value_length", "d_kv"),
    LN_EPSILON, H("attention.layer_norm_rms_epsilon", "layer_norm_epsilon", F32),
    H("attention.relative_buckets_count", "relative_attention_num_buckets"),
    Fixed("relative_attention_max_distance", 128, refuse=True), VOCAB_ROWS,
    Seen("feed_forward_proj", lambda f: "relu" if lacks("enc.blk.0.ffn_gate.weight")(f) else "gated-gelu",
         among=("relu", "gated-gelu")),
)
BOTH = (
    *HPARAMS, TIED, H("decoder_block_count", "num_decoder_layers"),
    H("decoder_start_token_id", "decoder_start_token_id", default=0),
    Note("the runtime loads no decoder that is deeper than its encoder", lambda c: c["num_decoder_layers"] > c["num_layers"]),
)
SCALED = Note("the model divides the decoder's output by sqrt(d_model) before its head, the runtime does not: sample at a "
              "temperature that many times as high", lambda c: c.get("scale_decoder_outputs", c["tie_word_embeddings"]))
T5 = ArchSpec(
    "t5", ("T5ForConditionalGeneration", "T5WithLMHeadModel"), "t5", hparams=(*BOTH, SCALED),
    tensors=(*ENCODER, *DECODER_PART), stacks={"b": Stack(), "d": Stack("decoder_block_count")}, sizes=SIZES,
    defaults={"num_decoder_layers": same_as("num_layers"), "feed_forward_proj": "relu", "layer_norm_epsilon": 1e-6,
              "relative_attention_num_buckets": 32, "tie_word_embeddings": True},
    ignore=tuple(Template(name) for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
                                             "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight")),
    example="google-t5/t5-small",
)
GATED = {**T5.defaults, "feed_forward_proj": "gated-gelu"}
MT5 = replace(T5, classes=("MT5ForConditionalGeneration",), model_type="mt5", hparams=BOTH, defaults=GATED,
              example="google/mt5-small")
UMT5 = replace(T5, classes=("UMT5ForConditionalGeneration", "UMT5Model"), model_type="umt5", headless=("UMT5Model",),
               defaults=GATED, example="google/umt5-small")
T5_ENCODER = replace(T5, name="t5encoder", classes=("T5EncoderModel",), hparams=HPARAMS, tensors=ENCODER, stacks={"b": Stack()},
                     head=False, ignore=T5.ignore[:1], example="sentence-transformers/sentence-t5-base")

BACK = {"t5": choice(T5, (UMT5, has("enc.blk.1.attn_rel_b.weight")), (MT5, named("mt5")))}
SPECS = (T5, MT5, UMT5, T5_ENCODER)
