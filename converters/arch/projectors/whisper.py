"""Towers of Whisper: two convolutions over frames of sound, a table of positions, blocks with biases.

Source: llama.cpp `conversion/ultravox.py`; transformers `models/qwen2_audio`.
"""

from __future__ import annotations

from .common import *


def whisper(tower: str, type: str = "F16") -> tuple[TensorRule, ...]:
    """The rows of a tower with this prefix; `type`: what its convolutions are stored as."""
    return (
        *(row for n in "12" for row in (
            R(f"a.conv1d.{n}.weight", f"{tower}conv{n}.weight", type=type),
            R(f"a.conv1d.{n}.bias", f"{tower}conv{n}.bias", AddAxis(-1)))),
        R("a.position_embd.weight", f"{tower}embed_positions.weight", type="F32"),
        *rows("a.blk.{a}.", f"{tower}layers.{{a}}.", WHISPER_BLOCK),
        *rows("a.", tower, {"post_ln": "layer_norm"}),
    )


HEARD = (
    *hearing(),
    Fixed("audio_config.activation_function", "gelu", refuse=True),
    Seen("processor.feature_extractor_type", lambda facts: "WhisperFeatureExtractor"),
    Seen("processor.feature_size", fact("audio.num_mel_bins")),
    Seen("audio_config.max_source_positions", size("a.position_embd.weight")),
)
ALIASES = (("model.audio_tower.", "audio_tower."), ("model.multi_modal_projector.", "multi_modal_projector."))

QWEN2_AUDIO = towered(
    "qwen2_audio", ("Qwen2AudioForConditionalGeneration",), hparams=(*HEARD, projector_type("qwen2a")),
    tensors=(*whisper("audio_tower."), *rows("mm.a.", "multi_modal_projector.", {"fc": "linear"})),
    aliases=ALIASES, ids={"audio_token_index": "<|AUDIO|>"}, example="Qwen/Qwen2-Audio-7B-Instruct",
)

SPECS = (QWEN2_AUDIO,)
