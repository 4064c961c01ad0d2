"""Fused projections whose rows stand GPU by GPU, each GPU's share with FP8 blocks of its own, as MiMo-V2.5 is published.

`attention_projection_layout: fused_qkv` says it, for as many GPUs as there are key-value heads; where config.json is silent,
the number of blocks may. Source: SGLang `models/mimo_v2.py`, `configs/model_config.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .tensor import PackedTensor, Parts

LAYOUT, FUSED, ENDING = "attention_projection_layout", "fused_qkv", "self_attn.qkv_proj.weight"
FORM = "FP8 blocks by GPU"


def share(parts: Parts, size: tuple[int, int], block: tuple[int, int]) -> int:
    """The rows of a GPU's share, after which blocks begin anew; 0 where blocks are those of the whole matrix. Where config.json
    does not say it, they are unless their number tells otherwise."""
    shape, count = parts.shape("scales"), parts.config.get("num_key_value_heads")
    if not parts.name.endswith(ENDING) or len(shape) != 2 or shape[1] != -(-size[1] // block[1]):
        return 0
    if type(count) is not int or count < 2 or size[0] % count or shape[0] != count * -(-size[0] // count // block[0]):
        return 0
    said, plain = parts.config.get(LAYOUT), shape[0] == -(-size[0] // block[0])
    return size[0] // count if said == FUSED or (said is None and not plain) else 0


def told(config: dict[str, Any], made: Mapping[str, PackedTensor]) -> dict[str, Any]:
    """config.json with what blocks tell of the order of rows, where it says nothing of that and all of them tell it."""
    found = [t.op.anew for name, t in made.items() if name.endswith(ENDING)]
    return {**config, LAYOUT: FUSED} if found and all(found) and config.get(LAYOUT) is None else config
