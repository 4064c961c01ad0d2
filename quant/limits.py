"""What a tensor type has no place for: values that are too large for it, and blocks whose scale came out as no number.

The scales are those that ggml_validate_row_data looks at.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .formats import FORMATS

# No block holds a value from here on: a float16 scale ends at 65504, and no format multiplies it by more than 2^12 (Q6_K:
# 128 * 32). The quantizers' sums of powers overflow somewhere above; what they then make differs between processors.
BEYOND_BLOCKS = 2.0**28
# Of types that end elsewhere, the least value that becomes infinite or is cut.
LEAST_UNFIT = {
    "F32": math.inf,
    "BF16": float.fromhex("0x1.ffp127"),
    "F16": 65520.0,
    "MXFP4": math.inf,  # a scale is any power of two
    "NVFP4": 6 * 464.0,  # 464 is the first that does not round to 448, the end of E4M3; 6 is the end of E2M1
}

Bits = tuple[tuple[int, int], ...]
# The fields that are a scale or minimum: (byte, mask) of the bits that are all set where it is infinite or NaN.
_HALF: Bits = ((1, 0x7C),)
_FIELDS: dict[tuple[str, int], Bits] = {("d", 2): _HALF, ("dmin", 2): _HALF, ("m", 2): _HALF, ("e", 1): ((0, 0xFF),)}
_SPREAD: dict[str, Bits] = {"IQ1_M": ((53, 0xC0), (55, 0x70))}  # a float16 in the upper four bits of four words


def least_unfit(format: str) -> float:
    """The least magnitude, a float32, that has no place in a tensor type; infinity where every finite one has.

    What is less may still be too much for its block: `first_unsound` tells.
    """
    return LEAST_UNFIT.get(format, BEYOND_BLOCKS)


@functools.cache
def least_bits(format: str, kind: str) -> int:
    """`least_unfit` as the bits of the least number of type F32, F16 or BF16 that is no less."""
    limit = np.float32(least_unfit(format))
    if kind == "F16":
        with np.errstate(over="ignore"):
            half = limit.astype(np.float16)
        return int(half.view(np.uint16)) + bool(half < limit)
    bits = int(limit.view(np.uint32))
    return -(-bits >> 16) if kind == "BF16" else bits


@functools.cache
def unsound_bits(format: str) -> tuple[Bits, ...]:
    """Of each scale and minimum of a block: (byte in the block, mask) of the bits that are all set where it is no number."""
    found, at = [_SPREAD[format]] if format in _SPREAD else [], 0
    for field in FORMATS[format].fields:
        if field in _FIELDS:
            found.append(tuple((at + byte, mask) for byte, mask in _FIELDS[field]))
        at += field[1]
    return tuple(found)


def first_unsound(blocks: np.ndarray, format: str) -> int | None:
    """The number of the first block with a scale or minimum that is infinite or NaN; None where there is none.

    blocks   uint8 [..., row_bytes] of a format, C-contiguous; numbers of a format without scales are not looked at
    """
    if not unsound_bits(format):
        return None
    whole = blocks.reshape(-1, FORMATS[format].block_bytes)
    found = []
    for scale in unsound_bits(format):
        unsound = np.True_
        for byte, mask in scale:
            bits = whole[:, byte].copy()  # gathered, it is looked at twice as fast
            bits &= mask
            unsound = unsound & (bits == mask)
        if unsound.any():
            found.append(int(unsound.argmax()))
    return min(found, default=None)
