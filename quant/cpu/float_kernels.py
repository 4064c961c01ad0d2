"""F16 and BF16 compiled: for what is much; floats.py says what they do, and does little without them."""

from __future__ import annotations

import numpy as np

from .compile import kernel
from .half import bits_float, float_bits, from_half, to_half


@kernel
def to_f16(x, out):
    """float32 [n] -> float16 bits, uint16 [n]. NaN loses its payload, not its sign."""
    for i in range(x.size):
        out[i] = to_half(x[i])


@kernel
def from_f16(halves, out):
    """uint16 [n] -> float32 [n]."""
    for i in range(halves.size):
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
