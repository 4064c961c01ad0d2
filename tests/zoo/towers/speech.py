"""Models with a tower of Whisper before other language models."""

# fmt: off
from collections.abc import Callable
from typing import Any

from ..models.rows import THETA, Model, Shapes
from . import TEXT, Tower, features
from .whisper import EAR

_LLAMA = TEXT | {"model_type": "llama", "head_dim": 16, "rope_parameters": THETA}


def ear(prefix: str, width: int = 64, inner: int = 96, blocks: int = 4, bins: int = 16, after: str = "layer_norm") -> Shapes:
    """Names and shapes of a tower of Whisper below `prefix`."""
    out: Shapes = {f"{prefix}conv1.weight": (width, bins, 3), f"{prefix}conv2.weight": (width, width, 3), f"{prefix}conv1.bias": (width,),
                   f"{prefix}conv2.bias": (width,), f"{prefix}embed_positions.weight": (1500, width)}
    for b in range(blocks):
        block = f"{prefix}layers.{b}."
        for name, shape in {"self_attn_layer_norm": (width,), "final_layer_norm": (width,), "fc1": (inner, width), "fc2": (width, inner),
                            **{f"self_attn.{x}": (width, width) for x in ("q_proj", "k_proj", "v_proj", "out_proj")}}.items():
            out[f"{block}{name}.weight"] = shape
            if name != "self_attn.k_proj":
                out[f"{block}{name}.bias"] = shape[:1]
    return out | {f"{prefix}{after}.{p}": (width,) for p in ("weight", "bias")}


def just(shapes: Shapes) -> Callable[[dict[str, Any]], Shapes]:
    """A row's `shapes` that do not depend on its config."""
    return lambda config: shapes


_HEARD = {"model_type": "whisper", **EAR}

ROWS = (
    Tower(Model("ultravox-ear", "UltravoxModel", "llama3", {
        "model_type": "ultravox", "hidden_size": 96, "stack_factor": 8, "audio_config": _HEARD, "text_config": {"model_type": "llama", "hidden_size": 64}},
        shapes=just(ear("audio_tower.") | {
            "multi_modal_projector.ln_pre.weight": (512,), "multi_modal_projector.ln_mid.weight": (48,),
            "multi_modal_projector.linear_1.weight": (96, 512), "multi_modal_projector.linear_2.weight": (64, 48)})), {}, alone=True),
    Tower(Model("voxtral-ear", "VoxtralForConditionalGeneration", "tekken", {"text_config": _LLAMA, "audio_config": {
        "hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "num_mel_bins": 16,
        "max_source_positions": 1500}}), {}, size=(480000,), runtime="counts one row less than it makes of 30 seconds, and stops"),
    Tower(Model("flamingo-ear", "AudioFlamingo3ForConditionalGeneration", "qwen2", {
        "text_config": TEXT | {"model_type": "qwen2", "rope_parameters": THETA}, "audio_config": {
            "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "num_mel_bins": 16,
            "max_source_positions": 1500}}), {}, size=(480000,), features=features.heard),
    Tower(Model("meralion-ear", "MERaLiON2ForConditionalGeneration", "gemma", {
        "model_type": "meralion2", "speech_config": _HEARD, "speech_mlp_scale_factor": 15, "text_config": {"model_type": "gemma2", "hidden_size": 64}},
        shapes=just(ear("speech_encoder.") | {"ln_speech.weight": (64,), "ln_speech.bias": (64,)} | {
            f"speech_audio_adapter.{name}.{p}": ((96, columns) if p == "weight" else (96,)) for name, columns in (
                ("mlp_adapter.0", 960), ("gate_proj", 96), ("pool_proj", 96)) for p in ("weight", "bias")} | {
            "speech_audio_adapter.out_proj.weight": (64, 96), "speech_audio_adapter.out_proj.bias": (64,)})), {}, alone=True),
    Tower(Model("glmasr-ear", "GlmasrModel", "glm4", {
        "model_type": "glmasr", "whisper_config": _HEARD, "merge_factor": 4, "lm_config": {"model_type": "llama", "hidden_size": 64}},
        shapes=just(ear("audio_encoder.whisper.") | {
            "audio_encoder.layer_norm.weight": (64,), "audio_encoder.layer_norm.bias": (64,), "audio_encoder.adapting.0.weight": (96, 256),
            "audio_encoder.adapting.0.bias": (96,), "audio_encoder.adapting.2.weight": (64, 96), "audio_encoder.adapting.2.bias": (64,),
            "audio_encoder.audio_bos_eos_token.weight": (2, 64)})), {}, alone=True),
)
