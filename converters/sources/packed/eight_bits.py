"""Stored forms with a code per byte: FP8 of all makes, whole numbers of 8 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...errors import InputError
from ...ops import Grid
from . import by_gpu
from .tensor import PackedTensor, Parts

BLOCK = (128, 128)
INT8 = 7.874015718698502e-3  # 1 / 127 in float32, as bitsandbytes has it


def fp8(parts: Parts) -> PackedTensor:
    """FP8 codes with a scale per tensor, row, group of 32 columns (MXFP8) or block."""
    size = _size(parts)
    block = _declared_block(parts.declared)
    if anew := by_gpu.share(parts, size, block or BLOCK):
        return parts.made(by_gpu.FORM, size, block or BLOCK, ("codes", Grid(parts.codes.type)), ("scales", _scales(parts)),
                          anew=anew)
    shape, shared = parts.shared("scales", size, block)
    if block is not None and shared == (1, size[1]) and shape == (size[0], 1) and size[0] > 1 and block[0] > 1:
        raise parts.unfit("scales", f"a scale per block of {list(block)}, as config.json says")
    scales = _scales(parts)
    blocks = shared[0] > 1 and shape != (1, 1)
    form = "MXFP8" if shared == (1, 32) and scales.kind == "F8_E8M0" else "FP8 blocks" if blocks else "FP8"
    return parts.made(form, size, shared, ("codes", Grid(parts.codes.type)), ("scales", scales, shape))


def _scales(parts: Parts) -> Grid:
    return Grid("F8_E8M0") if parts.stored["scales"].type in ("U8", "F8_E8M0") else Grid()  # bytes are exponents


def fp8_bytes(parts: Parts) -> PackedTensor:
    """The same, of tools that had no type for FP8: its bits, under another name."""
    made = fp8(replace(parts, stored={**parts.stored, "codes": replace(parts.codes, type="F8_E4M3")}))
    return replace(made, stored=tuple(parts.stored.items()))


def whole(parts: Parts) -> PackedTensor:
    """Whole numbers of 8 bits, with a scale per tensor, row or group, and with a zero of the same shape or without."""
    size = _size(parts)
    shape, shared = parts.shared("scales", size)
    more = [("zeros", Grid("I"), shape)] if "zeros" in parts.stored else []
    return parts.made("int8", size, shared, ("codes", Grid("I")), ("scales", Grid(), shape), *more)


def bitsandbytes(parts: Parts) -> PackedTensor:
    """LLM.int8(): a maximum per row."""
    size = _size(parts)
    if parts.shape("scales") not in ((size[0],), (size[0], 1)):
        raise parts.unfit("scales", [size[0]])
    if "layout" in parts.stored and any(parts.values("layout")):
        raise parts.unfit("layout", "0: rows one after another")
    return parts.made("bitsandbytes int8", size, (1, size[1]), ("codes", Grid("I")), ("scales", Grid(), (size[0], 1)),
                      after=INT8)


def _size(parts: Parts) -> tuple[int, int]:
    shape = parts.shape("codes")
    if len(shape) != 2:
        raise parts.unfit("codes", "a matrix, or a stack of matrices")
    return shape[0], shape[1]


def _declared_block(declared: Mapping[str, object]) -> tuple[int, int] | None:
    """weight_block_size, or the block_structure of the one group that has one."""
    found = declared.get("weight_block_size")
    groups = declared.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping) and weights.get("block_structure"):
            found = weights["block_structure"]
    if isinstance(found, str):
        found = [int(n) if n.isdecimal() else 0 for n in found.split("x")]
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != 2 or not all(type(n) is int and 0 < n < 1 << 31 for n in found):
        raise InputError("weight_block_size: two numbers are needed", file="config.json", found=found)
    return found[0], found[1]
