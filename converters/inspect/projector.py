"""What an mmproj file sees and hears, from its keys: sizes, and how much of a picture becomes one token."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

# Patches of a side that become one token, where no key says so (llama.cpp tools/mtmd/clip.cpp).
ASSUMED = {"gemma3": 4, "gemma4v": 3, "gemma4uv": 3, "qwen2vl_merger": 2, "qwen2.5vl_merger": 2, "qwen2.5o": 2,
           "qwen3vl_merger": 2, "glm4v": 2, "exaone4_5": 2, "lfm2": 2, "idefics3": 2, "internvl": 2}
FIXED = ("gemma3", "idefics3", "internvl", "llama4", "janus_pro")  # towers that see pictures, or tiles, of one size


def projector_facts(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Facts by the names that `ggufx inspect` shows."""
    facts: dict[str, Any] = {"projector": [str(v) for k, v in keys.items() if k.endswith("projector_type")]}
    for part, shown in (("vision", "images"), ("audio", "sound")):
        if keys.get(f"clip.has_{part}_encoder") is True:
            facts[shown] = ", ".join(_tower(keys, part))
    kind = keys.get("clip.vision.projector_type", keys.get("clip.projector_type"))
    patch, size = (_count(keys.get(f"clip.vision.{key}")) for key in ("patch_size", "image_size"))
    merge = next((n for key in ("spatial_merge_size", "projector.scale_factor")
                  if (n := _count(keys.get(f"clip.vision.{key}")))), ASSUMED.get(str(kind)))
    if patch and kind in FIXED and size and merge:
        facts["tokens"] = f"{(size // patch // merge) ** 2} of an image{'' if kind == 'gemma3' else ' or tile'}"
    elif patch and merge and kind not in FIXED:
        facts["tokens"] = f"one of {patch * merge} x {patch * merge} pixels"
    return facts


def _tower(keys: Mapping[str, Any], part: str) -> list[str]:
    """Its sizes in words."""
    def of(key: str) -> int | None:
        return _count(keys.get(f"clip.{part}.{key}"))

    words = []
    if part == "vision":
        if size := of("image_size"):
            words.append(f"{size} x {size} pixels")
        if patch := of("patch_size"):
            words.append(f"patches of {patch}")
        if (most := of("image_max_pixels")) is not None:
            words.append(f"at most {isqrt(most)} x {isqrt(most)}")
    elif bins := of("num_mel_bins"):
        words.append(f"{bins} mel bins")
    return [*words, f"{of('block_count') or 0} blocks of width {of('embedding_length')}",
            f"features of {of('projection_dim')} values"]


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 32 else None
