"""Towers of Whisper before other language models: Ultravox, Voxtral, Audio Flamingo 3, MERaLiON 2, GLM-ASR.

Source: llama.cpp `conversion/ultravox.py`, `conversion/glm.py`; transformers `models/voxtral`, `models/audioflamingo3`;
for MERaLiON 2 and GLM-ASR the names in their published files.
"""

from __future__ import annotations

from .common import *
from .whisper import ALIASES, HEARD, whisper

LINEAR = rows("mm.a.mlp.", "multi_modal_projector.", {"1": "linear_1", "2": "linear_2"})


def stacked(hf: str, default: Any = MISSING) -> HparamRule:
    """How many neighbouring states become one."""
    return H("audio.projector.stack_factor", hf, default=default)


ULTRAVOX = towered(
    "ultravox", ("UltravoxModel",), hparams=(*HEARD, projector_type("ultravox"), stacked("stack_factor")),
    tensors=(*whisper("audio_tower."), *LINEAR,
             *rows("mm.a.", "multi_modal_projector.", {"norm_pre": "ln_pre", "norm_mid": "ln_mid"})),
    shapes=lengths("mm.a.", {"norm_pre": "stacked", "mlp.1": "2*a.projected stacked", "norm_mid": "a.projected",
                           "mlp.2": "text a.projected"}),
    example="fixie-ai/ultravox-v0_5-llama-3_2-1b",
)
# Where transformers has the tower as a model of its own, its settings are called as everywhere.
RENAMED = tuple(H(f"audio.{key}", below("audio_config", *names)) for key, names in {
    "embedding_length": ("hidden_size", "d_model"), "feed_forward_length": ("intermediate_size", "encoder_ffn_dim"),
    "block_count": ("num_hidden_layers", "encoder_layers"),
    "attention.head_count": ("num_attention_heads", "encoder_attention_heads")}.items())

VOXTRAL = towered(
    "voxtral", ("VoxtralForConditionalGeneration",),
    hparams=(*but(HEARD, *RENAMED), projector_type("voxtral"), Const("audio.projector.stack_factor", 4),
             Fixed("audio_config.intermediate_size", lambda c: 4 * c["audio_config"]["hidden_size"], refuse=True)),
    tensors=(*whisper("audio_tower."), *LINEAR), shapes={"mm.a.mlp.1": "text stacked", "mm.a.mlp.2": "text text"},
    aliases=ALIASES, example="mistralai/Voxtral-Mini-3B-2507",
)
FLAMINGO = towered(
    "audioflamingo3", ("AudioFlamingo3ForConditionalGeneration", "MusicFlamingoForConditionalGeneration"),
    hparams=(*but(HEARD, *RENAMED), projector_type("musicflamingo")), tensors=(*whisper("audio_tower.", type="F32"), *LINEAR),
    shapes={"mm.a.mlp.1": "text a.width", "mm.a.mlp.2": "text text"}, aliases=ALIASES, example="nvidia/audio-flamingo-3-hf",
)
MERALION2 = towered(
    "meralion2", ("MERaLiON2ForConditionalGeneration",),
    hparams=(*hearing("speech_config"), projector_type("meralion"), stacked("speech_mlp_scale_factor", 15),
             Fixed("speech_config.activation_function", "gelu", refuse=True)),
    tensors=(
        *whisper("speech_encoder."), *rows("mm.a.", "", {"norm_pre": "ln_speech"}),
        *rows("mm.a.mlp.", "speech_audio_adapter.", {
            "0": "mlp_adapter.0", "1": "gate_proj", "2": "pool_proj", "3": "out_proj"}),
    ),
    shapes=lengths("mm.a.", {"norm_pre": "a.width", "mlp.0": "a.projected stacked", "mlp.1 mlp.2": "gated a.projected",
                           "mlp.3": "text gated"}),
    shown={"gated": Shown("of the adapter's gate")},
    example="MERaLiON/MERaLiON-2-3B",
)
ENCODER = "audio_encoder."
GLM_ASR = towered(
    "glmasr", ("GlmasrModel",),
    hparams=(*hearing("whisper_config"), projector_type("glma"), stacked("merge_factor"),
             Fixed("whisper_config.activation_function", "gelu", refuse=True)),
    tensors=(
        *(row for row in whisper(f"{ENCODER}whisper.") if row.gguf[0].text != "a.post_ln.{p}"),
        R("a.post_ln.{p}", f"{ENCODER}whisper.layer_norm.{{p}}", need=False),
        *rows("mm.a.", ENCODER, {"norm_pre": "layer_norm", "mlp.1": "adapting.0", "mlp.2": "adapting.2"}),
        R(("v.boi", "v.eoi"), f"{ENCODER}audio_bos_eos_token.weight", Unstack(2), shape="2 text"),
    ),
    shapes=lengths("mm.a.", {"norm_pre": "a.width", "mlp.1": "a.projected stacked", "mlp.2": "text a.projected"}),
    text="lm_config", ignore=(Template(f"{ENCODER}proj.{{p}}"),), example="zai-org/GLM-ASR-Nano-2512",
)

SPECS = (ULTRAVOX, VOXTRAL, FLAMINGO, MERALION2, GLM_ASR)
