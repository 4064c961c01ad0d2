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

from ...rules.facts import get_first
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
    return get_first(config, TEXT_WIDTH, None) or config["hidden_size"]


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


# -- shapes ---------------------------------------------------------------------------------------------------------------


def halves(length: int, times: int) -> int:
    """What is left of a length behind so many convolutions of stride 2."""
    return length if times == 0 else halves((length + 1) // 2, times - 1)


SIZES: dict[str, Callable[[Hparams], Any]] = {
    "width": lambda hp: hp["vision.embedding_length"], "inner": lambda hp: hp["vision.feed_forward_length"],
    "patch": lambda hp: hp["vision.patch_size"], "grid": lambda hp: (hp["vision.image_size"] // hp["vision.patch_size"]) ** 2,
    "grid_and_class": lambda hp: hp["grid"] + 1,
    "head": lambda hp: hp["width"] // hp["vision.attention.head_count"],
    "kv_rows": lambda hp: hp.get("vision.attention.head_count_kv", hp["vision.attention.head_count"]) * hp["head"],
    "qkv_rows": lambda hp: hp["width"] + 2 * hp["kv_rows"],
    "merge": lambda hp: hp.get("vision.spatial_merge_size", 2), "merged": lambda hp: hp["merge"] ** 2 * hp["width"],
    "shuffled": lambda hp: hp["vision.projector.scale_factor"] ** 2 * hp["width"],
    "text": lambda hp: hp["vision.projection_dim"] if "vision.projection_dim" in hp else hp["audio.projection_dim"],
    "a.width": lambda hp: hp["audio.embedding_length"], "a.inner": lambda hp: hp["audio.feed_forward_length"],
    "a.heads": lambda hp: hp["audio.attention.head_count"], "a.head": lambda hp: hp["a.width"] // hp["a.heads"],
    "mel": lambda hp: hp["audio.num_mel_bins"], "bands": lambda hp: halves(hp["mel"], 3),
    "stacked": lambda hp: hp["audio.projector.stack_factor"] * hp["a.width"],
}


def grid_of(path: str) -> Callable[[Config], Any]:
    """The patches of the square picture of the settings at this path."""
    return lambda config: (get_path(config, f"{path}.image_size") // get_path(config, f"{path}.patch_size")) ** 2


# Sizes without a key, by what they are in every tower that has them.
SHOWN = {
    "positions": Shown("the runtime sees it in the tensor", below("vision_config", "num_position_embeddings", "num_patches")),
    "heard": Shown("the runtime sees it in the tensor", below(("audio_config", "speech_config", "whisper_config"),
                                                             "max_source_positions")),
    "projected": Shown("between the projector's matrices, which the runtime multiplies whatever it is"),
    "a.projected": Shown("between the matrices of the projector of sound"),
    "channels": Shown("of the convolutions in front of the ear's blocks"),
}


def lengths(prefix: str, shapes: Mapping[str, str]) -> dict[str, str]:
    """Shapes by GGUF names; `shapes`: by names behind the prefix, several between spaces."""
    return {prefix + name: shape for names, shape in shapes.items() for name in names.split()}


def block(prefix: str, width: str, inner: str, head: str) -> dict[str, str]:
    """The shapes of a block: of the towers' own width, as of a transformer."""
    square = f"{width} {width}"
    return lengths(prefix, {
        "ln1 ln2 ls1 ls2 attn_pre_norm attn_post_norm ffn_norm ffn_norm_1 ffn_post_norm ffn_post_norm_1": width,
        "attn_q attn_k attn_v attn_out": square, "attn_qkv": f"3*{square}", "attn_q_norm attn_k_norm": head,
        "ffn_gate ffn_up ffn_up_1": f"{inner} {width}", "ffn_down ffn_down_1": f"{width} {inner}"})


# The HF shapes of what most towers have, by the GGUF names without `.{p}`, `.weight`, `.bias`; a bias is as long as its weight.
SHAPES = {
    **lengths("v.", {"patch_embd": "width 3 patch patch", "class_embd pre_ln post_ln": "width",
                   "position_embd": "positions width"}),
    **block("v.blk.{v}.", "width", "inner", "head"), "v.image_newline": "text",
    **lengths("a.", {"post_ln": "a.width", "position_embd": "heard a.width", "conv1d.1": "a.width mel 3",
                   "conv1d.2": "a.width a.width 3"}),
    **block("a.blk.{a}.", "a.width", "a.inner", "a.head"),
    **lengths("a.blk.{a}.", {"norm_conv conv_norm conv_norm_mean conv_norm_var": "a.width",
                             "pos_bias_u pos_bias_v": "a.heads a.head",
                             "linear_pos attn_k_rel": "a.width a.width", "conv_pw1": "2*a.width a.width 1",
                             "conv_pw2": "a.width a.width 1", "per_dim_scale per_dim_k_scale": "a.head"}),
    "mm.input_projection": "text width", "mm.a.input_projection": "text a.width", "mm.a.fc": "text a.width",
}


def shaped(row: TensorRule, shapes: Mapping[str, str]) -> TensorRule:
    """The row with the shape of its GGUF name where it says none."""
    name, _, last = row.gguf[0].text.rpartition(".")
    stem = name if last in ("{p}", "weight", "bias") else row.gguf[0].text
    if row.shape is not None or len(row.gguf) > 1 or stem not in shapes:
        return row
    return replace(row, shape=shapes[stem].split()[0] if last == "bias" else shapes[stem])


def rows(prefix: str, hf: str, names: Mapping[str, str], *ops: Op, **settings: Any) -> tuple[TensorRule, ...]:
    """Rows of weight and bias: {GGUF name below `prefix`: HF name below `hf`}. A bias may be absent."""
    return tuple(R(f"{prefix}{gguf}.{{p}}", f"{hf}{name}.{{p}}", *ops, **settings) for gguf, name in names.items())


def towered(name: str, classes: tuple[str, ...], hparams: tuple[HparamRule, ...], tensors: tuple[TensorRule, ...],
            example: str, *, shapes: Mapping[str, str] | None = None, **settings: Any) -> Projector:
    """A projector's table; `name`: that of the family's first projector type, for messages. `shapes`: of rows that do not say
    theirs, by GGUF names as in `SHAPES`, where they are others or not there."""
    known = {**SHAPES, **(shapes or {})}
    return Projector("clip", classes, name, hparams=hparams, tensors=tuple(shaped(row, known) for row in tensors),
                     stacks={**STACKS, **settings.pop("stacks", {})}, sizes={**SIZES, **settings.pop("sizes", {})},
                     shown={**SHOWN, **settings.pop("shown", {})}, example=example, **settings)


ATTENTION = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_out": "self_attn.out_proj"}
GATED = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
CLIP_BLOCK = {"ln1": "layer_norm1", **ATTENTION, "ln2": "layer_norm2", "ffn_up": "mlp.fc1", "ffn_down": "mlp.fc2"}
WHISPER_BLOCK = {"ln1": "self_attn_layer_norm", **ATTENTION, "ln2": "final_layer_norm", "ffn_up": "fc1", "ffn_down": "fc2"}
