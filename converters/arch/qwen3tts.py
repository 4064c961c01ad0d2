"""Qwen3-TTS, which speaks: the language model (its talker) that goes by text and makes codes of sound.

Text is embedded behind two layers, which GGUF has folded into the embedding; the codes have rows of their own behind it, and a
head as short as they are. What predicts the other codes of a frame and makes sound of them is the projector's.
Source: llama.cpp `conversion/qwen3tts.py`, `src/models/qwen3vl.cpp`; the code published with the model (`qwen_tts`).
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .qwen import ATTN, DEFAULTS, FFN, FULL_ATTENTION, NO_BIAS, heads_or
from .qwen35 import SECTIONS

CODES = 3072  # the length of the head, which the runtime has as a number
SUPPRESSED = 1024  # the last rows, of which it may choose the end alone
END = "<|codec_eos_token|>"
ALONE = ("codec_bos", "codec_eos_token", "codec_think", "codec_nothink", "codec_think_bos", "codec_think_eos", "codec_pad")
SEVERAL = ("codec_language", "spk")


def settings(config: Config) -> Config:
    """Those of the talker as they stand, in the order of config.json."""
    return config.get("talker_config") or config


def code_names(config: Config) -> list[str]:
    """What the rows behind those of text are called: by the settings that say what they are for, else by their numbers."""
    names = [f"<|codec_{n}|>" for n in range(CODES)]
    for key, value in settings(config).items():
        if key.endswith("_id"):
            name = key.removesuffix("_id")
            for inner, n in value.items() if isinstance(value, Mapping) else [("", value)]:
                if type(n) is int:
                    if not 0 <= n < CODES:
                        raise ValueError(f"{key} {n} is no row of {CODES}")
                    names[n] = f"<|{name}_{inner}|>" if inner else f"<|{name}|>"
    if END not in names:
        raise ValueError("there is no codec_eos_token_id")
    return names


def codes(facts: GgufFacts) -> dict[str, int]:
    """The rows of the codes by what they are called."""
    return {str(text)[2:-2]: n for n, text in enumerate((facts.keys.get("tokenizer.ggml.tokens") or ())[-CODES:])}


def the(name: str) -> HparamRule:
    return Seen(f"{name}_id", lambda facts: codes(facts).get(name))


def those(name: str) -> HparamRule:
    start = f"{name}_"
    return Seen(f"{name}_id", lambda facts: {
        text.removeprefix(start): n for text, n in codes(facts).items() if text.startswith(start)} or None)


def end(config: Config) -> int:
    """The row whose code ends the speech."""
    return config["text_vocab_size"] + code_names(config).index(END)


def suppressed(config: Config) -> list[int] | None:
    if config["tokens_behind"] is None:
        return None  # said of the end
    rows = config["text_vocab_size"] + CODES
    return [n for n in range(rows - SUPPRESSED, rows) if n != end(config)]


QWEN3TTS = ArchSpec(
    "qwen3tts", ("Qwen3TTSTalkerForConditionalGeneration",), "qwen3_tts_talker",
    hparams=(
        *without(DECODER, "tie_word_embeddings", "hidden_act", "vocab_size"), FULL_ATTENTION, NO_BIAS,
        H("rope.dimension_sections", "rope_parameters.mrope_section", INT32, codec=SECTIONS, default=[24, 20, 20]),
        Fixed("rope_parameters.interleaved", True), Fixed("hidden_act", "silu", refuse=True),
        Fixed("tie_word_embeddings", False, refuse=True), Fixed("vocab_size", CODES, refuse=True),
        Seen("text_vocab_size", lambda facts: facts.tensors["token_embd.weight"][0] - CODES),
        Computed("tokenizer.ggml.eos_token_id", end), Const("tokenizer.ggml.add_eos_token", False, BOOL),
        Computed("tokenizer.ggml.suppress_tokens", suppressed, type=INT32),
        *map(the, ALONE), *map(those, SEVERAL),
    ),
    tensors=(
        R("token_embd.weight", ("model.codec_embedding.weight", "model.text_embedding.weight", *(
            f"text_projection.linear_fc{n}.{p}" for n in "12" for p in ("weight", "bias"))), RowsInFront(CODES),
          shape=f"{CODES} embedding_length; words word_length; word_length word_length; word_length; "
                "embedding_length word_length; embedding_length", no_lora=NO_GATHER),
        *NORMS, *ATTN, *QK_NORM, *FFN, *OUT_NORM, R("output.weight", "codec_head.weight", shape=f"{CODES} embedding_length"),
    ),
    defaults={**DEFAULTS, "max_position_embeddings": 32768, "num_key_value_heads": heads_or(2), "head_dim": per_head,
              "tie_word_embeddings": False, "vocab_size": CODES, "tokens_behind": code_names},
    shown={"words": Shown("the table has them behind its codes", ("text_vocab_size",)),
           "word_length": Shown("the file has words as they are projected", ("text_hidden_size",))},
    sizes=SIZES, example="Qwen/Qwen3-TTS-12Hz-1.7B-Base",
)
SOUND = dict.fromkeys(("talker.code_predictor.", "speaker_encoder."))

BACK = {"qwen3tts": choice(QWEN3TTS)}
SPECS = (Whole("Qwen3TTSForConditionalGeneration", "qwen3_tts", QWEN3TTS, (("talker.", ""),), SOUND, example=QWEN3TTS.example),)
