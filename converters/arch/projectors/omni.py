"""Qwen's models that hear: Omni with an eye as well, and ASR.

Their positions of sound are sinusoids, which transformers computes and the runtime reads as a tensor.
Source: llama.cpp `conversion/qwenvl.py`, `conversion/qwen3vl.py`; transformers `models/qwen2_5_omni`,
`qwen3_omni_moe`, `qwen3_asr`.
"""

from __future__ import annotations

import numpy as np

from ...errors import InputError
from ...rules.spec import Derived
from .common import *
from .qwen_vl import (
    AROUND,
    BLOCK,
    DEEPER,
    FRAMES,
    FUSED,
    MERGE,
    MERGER,
    MERGES,
    TABLE,
    deep,
    marked,
    period,
    side,
    whole_blocks,
)
from .whisper import whisper

POSITIONS, TIMESCALE = 1500, 10000
THINKER = "thinker_config."
VISION = f"{THINKER}vision_config"
VISUAL = (("thinker.visual.", "visual."), ("model.visual.", "visual."))
AUDIO = (("thinker.audio_tower.", "audio_tower."), ("model.audio_tower.", "audio_tower."))


def sinusoids(width: int) -> np.ndarray:
    """float32 [1500, width]: sines, then cosines, of position / timescale.

    Timescales and angles are float32, as the models compute them; each sine is rounded once, where torch's
    float32 is a unit in the last place off in one of twenty, and not the same on every processor.
    """
    half = width // 2
    step = np.float32(-float(exact.natural_log(TIMESCALE)) / (half - 1))
    scales = exact.exp((step * np.arange(half, dtype=np.float32)).astype(np.float64))
    angles = np.arange(POSITIONS, dtype=np.float32)[:, None] * scales
    return np.concatenate([exact.sin(angles), exact.cos(angles)], axis=1)


def _check(found: np.ndarray, facts: GgufFacts, config: Config) -> None:
    if not np.allclose(found, sinusoids(facts.kv["audio.embedding_length"]).ravel(), rtol=0, atol=1e-5):
        raise InputError("are not the sinusoids that the class computes, and it has no place for others")


SINUSOIDS = Derived("a.position_embd.weight", lambda config, hp: sinusoids(hp["audio.embedding_length"]), _check,
                    most=POSITIONS << 14)


def thinking(config: Config) -> Config:
    """The settings of the part that sees and hears, where rules of other families look for theirs."""
    return config["thinker_config"]


def heard(*configs: str) -> tuple[HparamRule, ...]:
    function, *others = (f"{config}.activation_function" for config in configs)
    return (*hearing(configs), Fixed(function, "gelu", refuse=True, elsewhere=tuple(others)),
            Seen(f"{configs[0]}.output_dim", fact("audio.projection_dim")))


def heard_apart(*configs: str) -> tuple[HparamRule, ...]:
    """Of an ear of convolutions over frequencies and time."""
    return (*heard(*configs), Seen(f"{configs[0]}.downsample_hidden_size", size("a.conv2d.1.weight")))


OUT_WIDTH = Seen(f"{VISION}.out_hidden_size", fact("vision.projection_dim"))

# -- Qwen2.5-Omni: both towers by one projector type ------------------------------------------------------------------

QWEN25_OMNI = towered(
    "qwen2_5_omni", ("Qwen2_5OmniModel", "Qwen2_5OmniForConditionalGeneration"),
    hparams=(
        *but(seeing(VISION, epsilon=None), H("vision.image_size", f"{VISION}.image_size", default=560)),
        *heard(f"{THINKER}audio_config"), projector_type("qwen2.5o"), SILU, OUT_WIDTH,
        Computed("vision.n_wa_pattern", lambda c: period(thinking(c)), f"{VISION}.fullatt_block_indexes", whole_blocks),
        Computed(f"vision.{NORM}", lambda c: c.get("rms_norm_eps") or 1e-6, type=F32),  # the text's, as existing files have it
        Fixed(f"{VISION}.window_size", 112, refuse=True),
        Fixed(f"{VISION}.spatial_merge_size", MERGE, refuse=True),
    ),
    tensors=(
        *FRAMES, *AROUND, *rows("v.blk.{v}.", BLOCK, {
            **{f"attn_{x}": f"attn.{x}" for x in "qkv"}, **GATED}),
        *MERGER,
        *(row for row in whisper("audio_tower.") if row.gguf[0].text not in ("a.position_embd.weight", "a.post_ln.{p}")),
        *rows("", "audio_tower.", {"a.post_ln": "ln_post", "mm.a.fc": "proj"}),
    ),
    shapes=MERGES,
    text=f"{THINKER}text_config", ignore=(Template("audio_tower.audio_bos_eos_token.weight"),), derived=(SINUSOIDS,),
    aliases=(*VISUAL, *AUDIO), spelled=(VISUAL[0], AUDIO[0]),
    example="Qwen/Qwen2.5-Omni-3B",
)

# -- Qwen3: sound as an image of frequencies over time ----------------------------------------------------------------

SPECTRUM = (
    *(row for n in "123" for row in (
        R(f"a.conv2d.{n}.weight", f"audio_tower.conv2d{n}.weight", type="F16"),
        R(f"a.conv2d.{n}.bias", f"audio_tower.conv2d{n}.bias", AddAxis(-1), AddAxis(-1)))),
    R("a.conv_out.weight", "audio_tower.conv_out.weight", type="F16"),
    *rows("a.blk.{a}.", "audio_tower.layers.{a}.", WHISPER_BLOCK),
    *rows("", "audio_tower.", {"a.post_ln": "ln_post", "mm.a.mlp.1": "proj1", "mm.a.mlp.2": "proj2"}),
)
HEARING = {
    **lengths("a.", {"conv2d.1": "channels 1 3 3", "conv2d.2 conv2d.3": "channels channels 3 3",
                     "conv_out": "a.width channels*bands"}),
    **lengths("mm.a.mlp.", {"1": "a.projected a.width", "2": "text a.projected"})}


def channels(*configs: str) -> dict[str, Shown]:
    return {"channels": Shown("the runtime sees them in the tensors", below(configs, "downsample_hidden_size"))}


DEEP = "visual.merger_list.{d}."
QWEN3_OMNI = towered(
    "qwen3_omni_moe", ("Qwen3OmniMoeForConditionalGeneration",),
    hparams=(
        *but(seeing(VISION, epsilon=None), Computed("vision.image_size", lambda c: side(thinking(c)))),
        *heard_apart(f"{THINKER}audio_config"), projector_type("qwen3vl_merger", "vision.projector_type"),
        projector_type("qwen3a", "audio.projector_type"), GELU, OUT_WIDTH,
        H("vision.spatial_merge_size", f"{VISION}.spatial_merge_size", default=MERGE),
        Computed(f"vision.{NORM}", lambda c: thinking(c)["text_config"].get("rms_norm_eps") or 1e-6, type=F32),
        Computed("vision.is_deepstack_layers", lambda c: deep(thinking(c)), f"{VISION}.deepstack_visual_indexes", marked, BOOL),
        Seen(f"{VISION}.num_position_embeddings", size("v.position_embd.weight")),
        Note("the runtime loads no projector whose eye makes wider features than its ear, as this one's for deeper blocks of "
             "text: the file is right", lambda c: any(deep(thinking(c)))),
    ),
    tensors=(
        *FRAMES, R("v.patch_embd.bias", "visual.patch_embed.proj.bias"),
        R("v.position_embd.weight", "visual.pos_embed.weight", type="F32"), *AROUND, *FUSED,
        *rows("v.blk.{v}.", BLOCK, {"ffn_up": "mlp.linear_fc1", "ffn_down": "mlp.linear_fc2"}), *MERGER,
        *rows("v.deepstack.{d}.", DEEP, {"norm": "ln_q", "fc1": "mlp.0", "fc2": "mlp.2"}), *SPECTRUM,
    ),
    text=f"{THINKER}text_config", stacks={"d": Stack("deepstack")}, sizes={"deepstack": marked}, derived=(SINUSOIDS,),
    shapes=MERGES | DEEPER | TABLE | HEARING, shown=channels(f"{THINKER}audio_config"),
    aliases=(*VISUAL, *AUDIO), spelled=(VISUAL[0], AUDIO[0]),
    example="Qwen/Qwen3-Omni-30B-A3B-Instruct",
)
# Published twice: under the names of its own package's class, `thinker.` as Omni's, and of transformers' (`-hf`), which keeps
# the projector apart and is what a pair of others comes back as: transformers reads no other form.
APART = tuple((f"model.multi_modal_projector.linear_{n}.", f"audio_tower.proj{n}.") for n in "12")
QWEN3_ASR = towered(
    "qwen3_asr", ("Qwen3ASRForConditionalGeneration",),
    hparams=(*heard_apart("audio_config", f"{THINKER}audio_config"),
             projector_type("qwen3a", "audio.projector_type")),
    tensors=SPECTRUM, derived=(SINUSOIDS,), shapes=HEARING, shown=channels("audio_config", f"{THINKER}audio_config"),
    aliases=(*AUDIO, *APART), spelled=(*APART, AUDIO[1]),
    example="Qwen/Qwen3-ASR-0.6B",
)

SPECS = (QWEN25_OMNI, QWEN3_OMNI, QWEN3_ASR)
