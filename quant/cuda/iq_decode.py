"""Decoding of IQ1, IQ2 and IQ3: a row is a sub-block of 16 or 32 numbers, each a number of a point of a grid.

A number is (scale * grid value), its sign bit turned where a sign is stored, which is what compilers make of ggml's product
with -1 (dequantize_row_iq2_xxs and its kin).
"""

from __future__ import annotations

import triton
import triton.language as tl

from .arithmetic import load_byte, load_half
from .decode import decoder

DELTA = tl.constexpr(0.125)


@triton.jit
def _word16(at):
    """Two bytes at an even address, as int32."""
    return tl.load(at.to(tl.pointer_type(tl.uint16))).to(tl.int32)


@triton.jit
def _word32(at):
    return _word16(at) | _word16(at + 2) << 16


@triton.jit
def _even(seven, k):
    """Sign k of eight: seven are stored, the eighth makes their number even."""
    folded = seven ^ seven >> 4
    folded = folded ^ folded >> 2
    return tl.where(k == 7, folded ^ folded >> 1, seven >> k) & 1


@triton.jit
def _signed(scale, values, sign):
    """scale [ROWS] * values [ROWS, WIDTH], negated where the sign is 1."""
    product = scale[:, None] * values.to(tl.float32)
    return (product.to(tl.int32, bitcast=True) ^ sign << 31).to(tl.float32, bitcast=True)


@triton.jit
def _scale(d, level, UNIT: tl.constexpr):
    return d * (0.5 + level.to(tl.float32)) * UNIT


@triton.jit
def _iq2_xxs(blocks, row, i, grid):
    at = blocks + (row >> 3) * 66
    sub = at + 2 + (row & 7) * 8
    word = _word32(sub + 4)
    point = load_byte(sub[:, None] + (i >> 3)[None, :])
    values = tl.load(grid + point * 8 + (i & 7)[None, :])
    sign = _even(word[:, None] >> (7 * (i >> 3))[None, :] & 127, (i & 7)[None, :])
    return _signed(_scale(load_half(at), word >> 28 & 15, 0.25), values, sign)


@triton.jit
def _iq2_xs(blocks, row, i, grid):
    at, sub = blocks + (row >> 4) * 74, row & 15
    level = load_byte(at + 66 + (sub >> 1)) >> (sub << 2 & 4) & 15
    word = _word16((at + 2 + 4 * sub)[:, None] + (i >> 3 << 1)[None, :])
    values = tl.load(grid + (word & 511) * 8 + (i & 7)[None, :])
    return _signed(_scale(load_half(at), level, 0.25), values, _even(word >> 9, (i & 7)[None, :]))


@triton.jit
def _iq2_s(blocks, row, i, grid):
    at, sub = blocks + (row >> 4) * 82, row & 15
    level = load_byte(at + 74 + (sub >> 1)) >> (sub << 2 & 4) & 15
    high = load_byte(at + 66 + (sub >> 1)) >> (sub << 2 & 4)
    group = (at + 2 + 2 * sub)[:, None] + (i >> 3)[None, :]
    point = load_byte(group) | (high[:, None] >> (i >> 3 << 1)[None, :] & 3) << 8
    values = tl.load(grid + point * 8 + (i & 7)[None, :])
    return _signed(_scale(load_half(at), level, 0.25), values, load_byte(group + 32) >> (i & 7)[None, :] & 1)


@triton.jit
def _iq3_xxs(blocks, row, i, grid):
    at, sub = blocks + (row >> 3) * 98, row & 7
    word = _word32(at + 66 + 4 * sub)
    point = load_byte((at + 2 + 8 * sub)[:, None] + (i >> 2)[None, :])
    values = tl.load(grid + point * 4 + (i & 3)[None, :])
    sign = _even(word[:, None] >> (7 * (i >> 3))[None, :] & 127, (i & 7)[None, :])
    return _signed(_scale(load_half(at), word >> 28 & 15, 0.5), values, sign)


@triton.jit
def _iq3_s(blocks, row, i, grid):
    at, sub = blocks + (row >> 3) * 110, row & 7
    level = load_byte(at + 106 + (sub >> 1)) >> (sub << 2 & 4) & 15
    high = load_byte(at + 66 + sub)[:, None] >> (i >> 2)[None, :] & 1
    point = load_byte((at + 2 + 8 * sub)[:, None] + (i >> 2)[None, :]) | high << 8
    values = tl.load(grid + point * 4 + (i & 3)[None, :])
    sign = load_byte((at + 74 + 4 * sub)[:, None] + (i >> 3)[None, :]) >> (i & 7)[None, :] & 1
    return _signed(load_half(at) * (1 + 2 * level).to(tl.float32), values, sign)


@triton.jit
def _iq1_s(blocks, row, i, grid):
    at, sub = blocks + (row >> 3) * 50, row & 7
    word = _word16(at + 34 + 2 * sub)
    scale = load_half(at) * (2 * (word >> 12 & 7) + 1).to(tl.float32)
    shift = tl.where(word >= 0x8000, -DELTA, DELTA)
    high = word[:, None] >> (3 * (i >> 3))[None, :] & 7
    point = load_byte((at + 2 + 4 * sub)[:, None] + (i >> 3)[None, :]) | high << 8
    values = tl.load(grid + point * 8 + (i & 7)[None, :]).to(tl.float32)
    return scale[:, None] * (values + shift[:, None])


@triton.jit
def _iq1_m(blocks, row, i, grid):
    """Of the four words of scales, the upper four bits are those of the block's float16."""
    at, sub = blocks + (row >> 4) * 56, row & 15
    half = _word16(at + 48) >> 12 | _word16(at + 50) >> 12 << 4 | _word16(at + 52) >> 12 << 8 | _word16(at + 54) >> 12 << 12
    level = _word16(at + 48 + (sub >> 2 << 1)) >> 3 * (sub & 3) & 7
    scale = half.to(tl.int16).to(tl.float16, bitcast=True).to(tl.float32) * (2 * level + 1).to(tl.float32)
    high = load_byte(at + 32 + sub)[:, None] >> (i >> 3 << 2)[None, :]
    point = load_byte((at + 2 * sub)[:, None] + (i >> 3)[None, :]) | (high & 7) << 8
    values = tl.load(grid + point * 8 + (i & 7)[None, :]).to(tl.float32)
    return scale[:, None] * (values + tl.where((high & 8) != 0, -DELTA, DELTA))


dequantize_iq2_xxs = decoder(_iq2_xxs, 32, "IQ2_XXS")
dequantize_iq2_xs = decoder(_iq2_xs, 16, "IQ2_XS")
dequantize_iq2_s = decoder(_iq2_s, 16, "IQ2_S")
dequantize_iq3_xxs = decoder(_iq3_xxs, 32, "IQ3_XXS")
dequantize_iq3_s = decoder(_iq3_s, 32, "IQ3_S")
dequantize_iq1_s = decoder(_iq1_s, 32, "IQ1_S")
dequantize_iq1_m = decoder(_iq1_m, 16, "IQ1_S")  # the same grid
