"""Pocket TTS, which speaks in vectors rather than codes: the language model that a flow of the projector's goes by.

Checkpoints have no config.json; their sizes are made into one (`sources/original/pocket.py`). Two vectors that start a sound
stand behind the embedding, the last behind the projection of such vectors, which is the projector's.
Source: llama.cpp `conversion/pockettts.py`, `src/models/pockettts.cpp`; the names in its published files.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *

F, B = "flow_lm.", "flow_lm.transformer.layers.{b}."
EMBEDDED = "flow_lm.conditioner.embed.weight"
ROW = "embedding_length"


def table(*vectors: str) -> TensorRule:
    """The embedding with the rows behind it."""
    return R("token_embd.weight", (EMBEDDED, *(F + name for name in vectors), F + "bos_emb", F + "input_linear.weight"),
             RowsBehind(len(vectors)), no_lora=NO_GATHER, borrows=1,
             shape="; ".join((f"words {ROW}", *(f"1 1 {ROW}" for _ in vectors), "sound_length", f"{ROW} sound_length")))


VOICE = "<|bos_before_voice|>"


def voiced(config: Config) -> bool:
    return VOICE in config.get("tokens_behind", ())


POCKET_TTS = ArchSpec(
    "pockettts", ("PocketTTSModel",), "pockettts",
    hparams=(
        BLOCK_COUNT, CONTEXT_LENGTH, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT, Rope(),
        H("attention.layer_norm_epsilon", "layer_norm_eps", F32), VOCAB_ROWS,
        Fixed("tokens_behind", ["<|pad|>", "<|audio_bos|>"]),
    ),
    tensors=(
        table(),
        *with_bias(R("blk.{b}.attn_norm.{p}", B + "norm1.{p}", shape=ROW),
                   R("blk.{b}.ffn_norm.{p}", B + "norm2.{p}", shape=ROW), R("output_norm.{p}", F + "out_norm.{p}", shape=ROW)),
        R(tuple(f"blk.{{b}}.attn_{x}.weight" for x in "qkv"), B + "self_attn.in_proj.weight", Split(3),
          shape="3*embedding_length embedding_length"),
        R("blk.{b}.attn_output.weight", B + "self_attn.out_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_up.weight", B + "linear1.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", B + "linear2.weight", shape="embedding_length feed_forward_length"),
    ),
    shown={"words": Shown("vocab_size counts the vectors behind the words as well"),
           "sound_length": Shown("the projector's file has it")},
    headless=("PocketTTSModel",), example="kyutai/pocket-tts", fits=lambda c: not voiced(c),
)
VOICED = replace(POCKET_TTS, tensors=(table("bos_before_voice"), *POCKET_TTS.tensors[1:]), fits=voiced, hparams=(
    *without(POCKET_TTS.hparams, "tokens_behind"), Fixed("tokens_behind", ["<|pad|>", VOICE, "<|audio_bos|>"])))
SOUND = dict.fromkeys((
    "mimi.", *(F + part for part in ("flow_net.", "speaker_proj_weight", "emb_mean", "emb_std", "out_eos."))))

BACK = {"pockettts": choice(POCKET_TTS, (VOICED, speaks(VOICE)))}
SPECS = tuple(Whole("PocketTTSModel", "pockettts", text=text, aliases=(), parts=SOUND, example=text.example)
              for text in (VOICED, POCKET_TTS))
