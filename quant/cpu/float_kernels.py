"""F16 and BF16 compiled: for what is much; floats.py says what they do, and does little without them."""

from __future__ import annotations

import numpy as np

from .compile import kernel
from .half import bits_float, float_bits, from_half, to_half
from .lanes import LANES, bits, from_bits, load, store, to_f32, where

f32 = np.float32


@kernel
def to_f16(x, out):
    """float32 [n] -> float16 bits, uint16 [n]. NaN loses its payload, not its sign."""
    for i in range(x.size):
        out[i] = to_half(x[i])


@kernel
def from_f16(halves, out):
    """uint16 [n] -> float32 [n]: `from_half`, of sixteen at once."""
    whole = halves.size - halves.size % LANES
    for i in range(0, whole, LANES):
        half = load(halves, i)
        a = half & 0x7FFF
        moved = a << 13
        special = moved + 0x70000000
        value = where(a < 0x400, bits(to_f32(a) * f32(2.0**-24)), moved + 0x38000000)
        value = where(a < 0x7C00, value, where(a > 0x7C00, special | 0x400000, special))
        store(out, i, from_bits(value | (half & 0x8000) << 16))
    for i in range(whole, halves.size):
        out[i] = from_half(np.int64(halves[i]))


@kernel
def to_bf16(x, out):
    """float32 [n] -> bfloat16 bits, uint16 [n]."""
    for i in range(x.size):
        whole = np.int64(float_bits(x[i])) & 0xFFFFFFFF
        rounded = (whole + 0x7FFF + (whole >> 16 & 1)) >> 16
        if whole & 0x7FFFFFFF > 0x7F800000:
            rounded = whole >> 16 | 64
        out[i] = rounded


@kernel
def from_bf16(halves, out):
    """uint16 [n] -> float32 [n]."""
    for i in range(halves.size):
        out[i] = bits_float(np.int64(halves[i]) << 16)
