"""Pocket TTS with what it hears a voice with and makes sound with."""

# fmt: off
from dataclasses import replace

from ..models import MODELS
from ..models.pocket_tts import words
from . import Tower, blocks, both

_F, _W = "flow_lm.flow_net.", 64


def _transformer(name):
    stem = f"mimi.{name}_transformer.transformer.layers.{{v}}."
    return blocks(stem, {"norm1": (_W,), "norm2": (_W,)}, count=2) | blocks(stem, {
        "self_attn.in_proj": (3 * _W, _W), "self_attn.out_proj": (_W, _W), "linear1": (96, _W), "linear2": (_W, 96)}, bias=False, count=2) | {
        f"{stem.format(v=v)}layer_scale_{n}.scale": (_W,) for v in range(2) for n in "12"}


def _convolutions(name, first, step, kind):
    """Around three stages, whose channels double, or halve."""
    out = {"0.conv": (8, 1, 7), "11.conv": (_W, 64, 3)} if kind == "conv" else {"0.conv": (64, _W, 7), "11.conv": (1, 8, 3)}
    for n in range(3):
        c = 8 << n if kind == "conv" else 32 >> n
        out |= {f"{first + 3 * n}.block.1.conv": (c // 2, c, 3), f"{first + 3 * n}.block.3.conv": (c, c // 2, 1)}
        out[f"{step + 3 * n}.{kind}"] = (2 * c, c, 4)  # of a transposed one the first axis is the input's
    model = f"mimi.{name}.model."
    return both(model, out) | {f"{model}{step + 3 * n}.convtr.bias": (32 >> n,) for n in range(3) if kind == "convtr"}


_SOUND = (
    _transformer("encoder") | _transformer("decoder") | _convolutions("encoder", 1, 3, "conv") | _convolutions("decoder", 3, 2, "convtr") | both(_F, {
        "input_proj": (48, 8), "cond_embed": (48, 128), "final_layer.linear": (8, 48), "final_layer.adaLN_modulation.1": (96, 48)})
    | blocks(_F + "time_embed.{v}.", {"mlp.0": (48, 16), "mlp.2": (48, 48)}, count=2)
    | blocks(_F + "res_blocks.{v}.", {"in_ln": (48,), "mlp.0": (48, 48), "mlp.2": (48, 48), "adaLN_modulation.1": (144, 48)}, count=3)
    | {f"{_F}time_embed.{n}.{name}": shape for n in (0, 1) for name, shape in {"freqs": (8,), "mlp.3.alpha": (48,)}.items()}
    | {"flow_lm.speaker_proj_weight": (128, _W), "flow_lm.emb_mean": (8,), "flow_lm.emb_std": (8,), "flow_lm.out_eos.weight": (1, 128),
       "flow_lm.out_eos.bias": (1,), "mimi.downsample.conv.conv.weight": (_W, _W, 4), "mimi.upsample.convtr.convtr.weight": (_W, 1, 4),
       "mimi.quantizer.output_proj.weight": (_W, 8, 1)})

ROWS = tuple(
    Tower(replace(MODELS[name], name=f"{name}-sound", shapes=lambda config: words(config) | _SOUND), {}, cropped=("flow_lm.bos_emb",),
          drop=("clip.gen.audio.model_variant",),  # which there is the folder's name, whatever config.json says
          runtime="makes sound by a way of its own")
    for name in ("pocket-tts", "pocket-tts-voiced"))
