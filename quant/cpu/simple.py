"""Q8_0: blocks with one scale and no search.

The absolute maximum is the same in any order, so a block is spread over the lanes here.
"""

from __future__ import annotations

import numpy as np

from .compile import inline, kernel
from .half import load_half, store_half
from .lanes import bits, from_bits, highest, load, magnitude, splat, store, to_f32, to_i32, where

f32 = np.float32
BELOW_HALF = f32(0.49999997)  # adding one half itself would lift 0.49999997 to 1


@inline
def round_away(v):
    """roundf: ties away from zero."""
    return to_i32(v + from_bits(bits(splat(BELOW_HALF)) | bits(v) & -0x80000000))


@inline
def greater(a, b):
    return where(a > b, a, b)


@kernel
def _quantize_q8_0(x, out):
    for block in range(x.size // 32):
        at, to = block * 32, block * 34
        a, b = load(x, at), load(x, at + 16)
        d = highest(greater(magnitude(a), magnitude(b))) / f32(127)
        factor = f32(1) / d if d != f32(0) else f32(0)
        store_half(out, to, d)
        store(out, to + 2, round_away(a * factor))
        store(out, to + 18, round_away(b * factor))


@kernel
def _dequantize_q8_0(blocks, out):
    for block in range(out.size // 32):
        at, to = block * 34, block * 32
        d = load_half(blocks, at)
        for i in range(0, 32, 16):
            q = load(blocks, at + 2 + i)
            store(out, to + i, to_f32((q << 24) >> 24) * d)


def quantize_q8_0(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    _quantize_q8_0(x.reshape(-1), out.reshape(-1))


def dequantize_q8_0(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize_q8_0(blocks.reshape(-1), out.reshape(-1))
