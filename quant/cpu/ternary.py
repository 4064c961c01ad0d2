"""TQ1_0 and TQ2_0: super-blocks of 256 numbers -1, 0, 1 times a float16 scale, the greatest magnitude.

TQ1_0 has five base-3 digits to a byte, as the fraction byte / 256 rounded up; TQ2_0 has four 2-bit codes to a byte.
"""

from __future__ import annotations

import numpy as np

from .compile import inline, kernel
from .half import load_half, store_half
from .lanes import highest, load, magnitude, shift_right, splat, store, to_f32
from .search import greater
from .simple import round_away

f32 = np.float32


@inline
def _scale(x, at):
    """Of the 256 numbers at `at`: the greatest magnitude and its reciprocal (0 for 0)."""
    most = splat(f32(0))
    for i in range(0, 256, 16):
        most = greater(magnitude(load(x, at + i)), most)
    d = highest(most)
    return d, f32(1) / d if d != f32(0) else f32(0)


@inline
def _fraction(digits):
    """ceil(digits * 256 / 243) for 0..242: the division by 243 as a product, exact in this range."""
    return digits + shift_right((digits * 13 + 242) * 4316, 20)


@inline
def _trits(x, at, factor):
    return round_away(load(x, at) * factor) + 1


@kernel
def _quantize_tq1_0(x, out):
    last = np.empty(16, np.int32)
    for block in range(x.size // 256):
        at, to = block * 256, block * 54
        d, reciprocal = _scale(x, at)
        factor = splat(reciprocal)
        store_half(out, to + 52, d)
        for part in range(3):  # bytes 0 to 31: elements 0 to 159, 32 apart; bytes 32 to 47: 160 to 239, 16 apart
            first, apart = (at + 16 * part, 32) if part < 2 else (at + 160, 16)
            digits = splat(0)
            for n in range(5):
                digits = digits * 3 + (_trits(x, first + apart * n, factor) & 0xFF)
            store(out, to + 16 * part, _fraction(digits & 0xFF))
        store(last, 0, _trits(x, at + 240, factor))
        for j in range(4):  # four digits, 4 apart, with a zero behind them
            digits = ((last[j] * 3 + last[j + 4]) * 3 + last[j + 8]) * 3 + last[j + 12]
            out[to + 48 + j] = np.uint8(((digits * 3 & 0xFF) * 256 + 242) // 243)


@kernel
def _dequantize_tq1_0(blocks, out):
    tail = np.empty(16, np.int32)
    for block in range(out.size // 256):
        at, to = block * 54, block * 256
        d = splat(load_half(blocks, at + 52))
        for part in range(3):
            first, apart = (to + 16 * part, 32) if part < 2 else (to + 160, 16)
            digits = load(blocks, at + 16 * part)
            for n in range(5):
                store(out, first + apart * n, to_f32(shift_right(digits * 3, 8) - 1) * d)
                digits = digits * 3 & 0xFF
        for j in range(4):
            digits = np.int32(blocks[at + 48 + j])
            for n in range(4):
                tail[4 * n + j] = digits * 3 >> 8
                digits = digits * 3 & 0xFF
        store(out, to + 240, to_f32(load(tail, 0) - 1) * d)


@kernel
def _quantize_tq2_0(x, out):
    for block in range(x.size // 256):
        at, to = block * 256, block * 66
        d, reciprocal = _scale(x, at)
        factor = splat(reciprocal)
        store_half(out, to + 64, d)
        for part in range(4):
            packed = splat(0)
            for n in range(4):
                packed |= (_trits(x, at + part // 2 * 128 + part % 2 * 16 + 32 * n, factor) & 3) << 2 * n
            store(out, to + 16 * part, packed)


@kernel
def _dequantize_tq2_0(blocks, out):
    for block in range(out.size // 256):
        at, to = block * 66, block * 256
        d = splat(load_half(blocks, at + 64))
        for part in range(4):
            packed = load(blocks, at + 16 * part)
            for n in range(4):
                value = to_f32((shift_right(packed, 2 * n) & 3) - 1) * d
                store(out, to + part // 2 * 128 + part % 2 * 16 + 32 * n, value)


def quantize_tq1_0(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    _quantize_tq1_0(x.reshape(-1), out.reshape(-1))


def quantize_tq2_0(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    _quantize_tq2_0(x.reshape(-1), out.reshape(-1))


def dequantize_tq1_0(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize_tq1_0(blocks.reshape(-1), out.reshape(-1))


def dequantize_tq2_0(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize_tq2_0(blocks.reshape(-1), out.reshape(-1))
