"""The registry of projectors: what of a multimodal class is not its language model, as llama.cpp's mtmd reads it.

A table is one `Projector` in a family's module, by tower; a family is one line in `FAMILIES`. Classes are
those of the whole model. May import `errors` and `rules`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...errors import UnsupportedError
from ...rules.facts import MISSING, GgufFacts, get_path
from ...rules.spec import Projector
from . import (
    conformer,
    deepseek4,
    deepseek_ocr,
    documents,
    dots3_note,
    gemma3n,
    gemma4,
    glm_vl,
    granite_vision,
    idefics,
    intern_vit,
    llama4,
    mimo,
    minicpm_v,
    minimax_m3,
    moonvit,
    muse_glimmer,
    omni,
    perception,
    pixtral,
    pocket_tts,
    qwen2_vl,
    qwen3_tts,
    qwen_vl,
    radio,
    siglip,
    siglip2,
    speech,
    whisper,
)  # fmt: skip

FAMILIES = (siglip, qwen_vl, whisper, gemma4, idefics, qwen2_vl, intern_vit, glm_vl, llama4, minicpm_v, speech, omni,
            pixtral, siglip2, documents, moonvit, perception, deepseek_ocr, granite_vision, minimax_m3, radio, muse_glimmer,
            dots3_note, deepseek4, conformer, gemma3n, pocket_tts, qwen3_tts, mimo)
SPECS: tuple[Projector, ...] = tuple(spec for family in FAMILIES for spec in family.SPECS)
BY_CLASS: dict[str, tuple[Projector, ...]] = {
    name: tuple(spec for spec in SPECS if name in spec.classes) for spec in SPECS for name in spec.classes}
if loose := [name for name, specs in BY_CLASS.items() if len(specs) > 1 and any(spec.fits is None for spec in specs)]:
    raise AssertionError(f"{loose[0]} is in two tables")


def parts_of(hf_class: str) -> tuple[str, ...]:
    """What of a class is carried beside its language model: vision, audio."""
    rules = [rule for spec in BY_CLASS.get(hf_class, ()) for rule in spec.hparams]
    return tuple(part for part in ("vision", "audio") if any(f"has_{part}_encoder" in rule.writes for rule in rules))


def of_config(config: Mapping[str, Any], hf_class: str) -> Projector | None:
    """The table of the class's towers; the class that the vision part names comes first. None where there is none."""
    inner = get_path(config, "vision_config.architectures.0")
    for name in (hf_class,) if inner is MISSING else (inner, hf_class):
        for spec in BY_CLASS.get(name, ()):
            if spec.fits is None or spec.fits(dict(config)):
                return spec
    return None


def for_config(config: Mapping[str, Any], hf_class: str, file: str) -> Projector:
    """`of_config`; UnsupportedError where there is none."""
    if (spec := of_config(config, hf_class)) is None:
        raise UnsupportedError(f"the vision and audio parts of {hf_class!r} are not supported", file=file, found=hf_class,
                               hint="Without --mmproj its language model is converted, if that is. `ggufx archs` lists all.")
    return spec


def types_of(facts: GgufFacts) -> dict[str, str]:
    """The keys of a file that say which projector it is, with their values."""
    return {key: value for key, value in facts.keys.items() if key.endswith("projector_type") and isinstance(value, str)}


def classes_of(facts: GgufFacts, text_classes: Collection[str]) -> list[tuple[str, Projector]]:
    """The classes that a pair of files may be of, the likeliest first, and the table of the projector's file.

    `facts`: those of that file; `text_classes`: the classes whose language model the other file may hold.
    """
    said = types_of(facts)
    found = [spec for spec in SPECS if spec.types == said]
    fitting = [(name, spec) for spec in found for name in spec.classes if name in text_classes]
    told = [(name, spec) for name, spec in fitting if name in spec.tells and spec.tells[name](facts)]
    return told or [(name, spec) for name, spec in fitting if name not in spec.tells] or fitting
