"""What the tables of several towers share: the runtime's keys, the activation, row groups. Imported by `*`.

A table is an `ArchSpec` called `clip`. Its rules see config.json as it stands; `processor.*` are the settings of the
processor files, joined (`planners/projector.py`). Stacks: {v} blocks of the vision tower, {a} of the audio tower.
Source: llama.cpp `conversion/base.py` (MmprojModel), `tools/mtmd/clip.cpp`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isqrt
from typing import Any

from ...rules.hparam_rules import Key
from ...rules.words import *

STACKS = {"v": Stack("vision.block_count"), "a": Stack("audio.block_count")}
# Where the width of the text model stands, the first that is there.
TEXT_WIDTH = tuple(f"{path}{key}" for path in (
    "text_config.", "llm_config.", "lm_config.", "language_config.", "lfm.", "thinker_config.text_config.", "")
    for key in ("hidden_size", "n_embd"))
BLOCKS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers", "depth", "layers", "encoder_layers", "vt_num_hidden_layers")
WIDTH = ("hidden_size", "width", "vt_hidden_size", "d_model")
HEADS = ("num_attention_heads", "num_heads", "heads", "encoder_attention_heads", "vt_num_attention_heads")
FFN = ("intermediate_size", "vt_intermediate_size", "encoder_ffn_dim")
NORM = "attention.layer_norm_epsilon"


def below(config: str | tuple[str, ...], *keys: str) -> tuple[str, ...]:
    """The paths of these keys in a part of config.json, or in the parts that may hold them."""
    return tuple(f"{part}.{key}" for part in ((config,) if isinstance(config, str) else config) for key in keys)


def fact(key: str) -> Callable[[GgufFacts], Any]:
    """What one of the file's keys says, below `clip.`."""
    return lambda facts: facts.kv.get(key)


def square(key: str) -> Callable[[GgufFacts], Any]:
    """A size in pixels as processor files have it."""
    return lambda facts: {"height": n, "width": n} if (n := facts.kv.get(key)) else None


def text_width(config: Config) -> Any:
    return next((v for path in TEXT_WIDTH if (v := get_path(config, path)) is not MISSING), None) or config["hidden_size"]


def _square(facts: GgufFacts) -> int | None:
    places = size("v.position_embd.weight")(facts)
    return isqrt(places) * facts.kv["vision.patch_size"] if places else None


# The side in pixels of the picture that the table of positions was made for, of a model that takes others as well.
SQUARE = Seen("vision_config.image_size", _square)


def inner_width(width: str, ratio: float) -> Callable[[Config], int]:
    """How wide the feed-forward part of an eye is, which config.json may say as a multiple of its `width`; `ratio`: that of a
    config which says neither."""
    def of(config: Config) -> int:
        vision = config["vision_config"]
        return vision.get("intermediate_size") or round(vision[width] * vision.get("mlp_ratio", ratio))

    return of


def mlp_ratio(facts: GgufFacts) -> float | None:
    """How much wider the feed-forward part is than the tower: a whole number where it is one."""
    width, inner = size("v.blk.0.ffn_down.weight")(facts), size("v.blk.0.ffn_up.weight")(facts)
    return (inner / width if inner % width else inner // width) if width and inner else None


def but(rules: tuple[HparamRule, ...], *others: HparamRule) -> tuple[HparamRule, ...]:
    """The rules with others in place of those that are about the same keys."""
    about = {key for rule in others for key in rule.writes}
    return (*(rule for rule in rules if not about & {*rule.writes}), *others)


def projector_type(name: str, key: str = "projector_type") -> HparamRule:
    return Const(key, name, STRING)


def three(values: Any) -> Any:
    if not isinstance(values, list) or len(values) != 3:
        raise ValueError(f"three numbers are expected, not {values!r:.80}")
    return values


COLOURS = Codec(three, lambda values: [short(value) for value in three(values)])


def seeing(config: str | tuple[str, ...] = "vision_config", epsilon: str | None = "layer_norm_eps",
           default: float = 1e-6) -> tuple[HparamRule, ...]:
    """The keys of every vision tower, whose settings stand in this part of config.json."""
    return (
        Const("has_vision_encoder", True, BOOL),
        Computed("vision.projection_dim", text_width),
        H("vision.image_size", below(config, "image_size")),
        H("vision.patch_size", below(config, "patch_size")),
        H("vision.embedding_length", below(config, *WIDTH)),
        H("vision.feed_forward_length", below(config, *FFN)),
        H("vision.block_count", below(config, *BLOCKS)),
        H("vision.attention.head_count", below(config, *HEADS)),
        H("vision.image_mean", "processor.image_mean", F32, codec=COLOURS),
        H("vision.image_std", "processor.image_std", F32, codec=COLOURS),
        *([H(f"vision.{NORM}", below(config, epsilon), F32, default=default)] if epsilon else []),
    )


def hearing(config: str | tuple[str, ...] = "audio_config", epsilon: str | None = "layer_norm_eps",
            default: float = 1e-5, whisper: bool = True) -> tuple[HparamRule, ...]:
    """The keys of every audio tower, whose settings stand in this part of config.json. `whisper`: under Whisper's names, where
    they come back."""
    def spelled(first: str, others: tuple[str, ...]) -> tuple[str, ...]:
        return below(config, *((first,) if whisper else ()), *others)

    return (
        Const("has_audio_encoder", True, BOOL),
        Computed("audio.projection_dim", text_width),
        H("audio.embedding_length", spelled("d_model", WIDTH)),
        H("audio.feed_forward_length", spelled("encoder_ffn_dim", FFN)),
        H("audio.block_count", spelled("encoder_layers", BLOCKS)),
        H("audio.attention.head_count", spelled("encoder_attention_heads", HEADS)),
        H("audio.num_mel_bins", below(config, "num_mel_bins")),
        *([H(f"audio.{NORM}", below(config, epsilon), F32, default=default)] if epsilon else []),
    )


PIXELS = (
    H("vision.image_min_pixels", ("processor.min_pixels", "processor.size.shortest_edge")),
    H("vision.image_max_pixels", ("processor.max_pixels", "processor.size.longest_edge")),
)
GELU = Const("use_gelu", True, BOOL)
SILU = Const("use_silu", True, BOOL)


def activation(*among: str, hf: str = "vision_config.hidden_act", default: str | None = None) -> tuple[HparamRule, ...]:
    """Keys of the activation where a family knows several; without one of them the runtime takes quick GELU. `default`: what
    a config without it stands for."""
    def marks(name: str) -> HparamRule:
        return Computed(f"use_{name}",
                        lambda config: (default if (v := get_path(config, hf)) is MISSING else v) == name or None, hf,
                        lambda kv: name if kv.get(f"use_{name}") else None, BOOL)

    return (*(marks(name) for name in among), Seen(hf, lambda facts: None, among=(*among, "quick_gelu")))


def defaulted(rules: tuple[HparamRule, ...], defaults: Mapping[str, Any]) -> tuple[HparamRule, ...]:
    """The rules with what a config that leaves a setting out stands for, by keys: the class's own defaults."""
    return tuple(replace(rule, default=defaults[rule.key]) if isinstance(rule, Key) and rule.key in defaults else rule
                 for rule in rules)


# A ratio below 1 in the config, the number of patches of a side that become one in the file.
INVERSE = Codec(lambda ratio: int(1 / ratio), lambda factor: 1 / factor)


def rows(prefix: str, hf: str, names: Mapping[str, str], *ops: Op, **settings: Any) -> tuple[TensorRule, ...]:
    """Rows of weight and bias: {GGUF name below `prefix`: HF name below `hf`}. A bias may be absent."""
    return tuple(R(f"{prefix}{gguf}.{{p}}", f"{hf}{name}.{{p}}", *ops, **settings) for gguf, name in names.items())


def towered(name: str, classes: tuple[str, ...], hparams: tuple[HparamRule, ...], tensors: tuple[TensorRule, ...],
            example: str, **settings: Any) -> Projector:
    """A projector's table; `name`: that of the family's first projector type, for messages."""
    return Projector("clip", classes, name, hparams=hparams, tensors=tensors, stacks={**STACKS, **settings.pop("stacks", {})},
                     example=example, **settings)


ATTENTION = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_out": "self_attn.out_proj"}
GATED = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
CLIP_BLOCK = {"ln1": "layer_norm1", **ATTENTION, "ln2": "layer_norm2", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}
WHISPER_BLOCK = {"ln1": "self_attn_layer_norm", **ATTENTION, "ln2": "final_layer_norm", "ffn_up": "fc1", "ffn_down": "fc2"}
