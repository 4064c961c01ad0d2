"""Q4_0, Q4_1, Q5_0 and Q5_1: blocks of 32 with a float16 scale, and a float16 minimum in Q4_1 and Q5_1.

Without weights the scale follows from the block's extremes. With weights it is searched for, and the weights are spread
by the mean square of the whole row.
"""

from __future__ import annotations

import numpy as np

from .compile import inline, kernel
from .half import load_half, store_half
from .lanes import (
    first_lane,
    highest,
    lane_numbers,
    load,
    magnitude,
    mask_bits,
    shift_right,
    splat,
    sqrt,
    store,
    to_f32,
    to_i32,
    transpose,
    where,
)
from .search import fit_scale, fit_scale_and_minimum, greater, nearest_whole
from .superblocks import sums_of_squares, weights_window, window

f32 = np.float32


@inline
def _store_codes(a, b, five, out, to):
    """The codes of a block's two halves; fifth bits go before the others."""
    if five:
        fifth = mask_bits((a & 16) != 0) | mask_bits((b & 16) != 0) << 16
        for i in range(4):
            out[to + i] = fifth >> 8 * i & 0xFF
        to += 4
    store(out, to, a & 15 | (b & 15) << 4)


@inline
def _within(code, low, high):
    code = where(code > low, code, low)
    return where(code < high, code, high)


@inline
def _first_equal(a, b, value):
    """Where in two neighbouring values the number first occurs."""
    in_a = mask_bits(a == splat(value))
    return first_lane(in_a | mask_bits(b == splat(value)) << 16)


@inline
def _as_int8(v):
    return (to_i32(v) << 24) >> 24


@kernel
def _quantize_around_zero(x, five, out):
    top, size = (f32(16), 22) if five else (f32(8), 18)
    limit = 31 if five else 15
    for block in range(x.size // 32):
        at, to = block * 32, block * size
        a, b = load(x, at), load(x, at + 16)
        most = highest(greater(magnitude(a), magnitude(b)))
        peak = f32(0)
        if most > f32(0):
            peak = x[at + _first_equal(magnitude(a), magnitude(b), most)]
        d = peak / -top
        factor = splat(f32(1) / d if d != f32(0) else f32(0))
        store_half(out, to, d)
        middle = splat(top + f32(0.5))
        p, q = _as_int8(a * factor + middle), _as_int8(b * factor + middle)
        _store_codes(where(p < limit, p, limit), where(q < limit, q, limit), five, out, to + 2)


@kernel
def _quantize_from_minimum(x, five, out):
    size, limit = (24, 31) if five else (20, 15)
    for block in range(x.size // 32):
        at, to = block * 32, block * size
        a, b = load(x, at), load(x, at + 16)
        low = -highest(greater(-a, -b))
        if low == f32(0):  # which zero comes first decides the sign of the stored minimum
            low = x[at + _first_equal(a, b, low)]
        high = highest(greater(a, b))
        d = (high - low) / f32(limit) if high != low else f32(0)  # not -0, if the block holds both zeros
        factor = splat(f32(1) / d if d != f32(0) else f32(0))
        store_half(out, to, d)
        store_half(out, to + 2, low)
        p = _as_int8((a - splat(low)) * factor + f32(0.5))
        q = _as_int8((b - splat(low)) * factor + f32(0.5))
        _store_codes(where(p < limit, p, limit), where(q < limit, q, limit), five, out, to + 4)


@inline
def _row_spreads(x, cols, scratch, spreads):
    """The mean of x * x over each row, summed in order: sixteen rows at a time, and the rest element by element."""
    rows = x.size // cols
    whole = rows // 16 * 16
    for row in range(0, whole, 16):
        sums_of_squares(x, row * cols, cols, cols, scratch, spreads[row:])
    for row in range(whole, rows):
        spreads[row] = f32(0)
    for i in range(cols):
        for row in range(whole, rows):
            v = x[row * cols + i]
            spreads[row] += v * v
    for row in range(rows):
        spreads[row] /= f32(cols)


@inline
def _load_group(x, start, weights, spreads, pads, xt, wt):
    """Sixteen blocks and their weights, transposed. Returns where the blocks are."""
    source, base = window(x, start, 512, pads[0])
    importance, at = weights_window(weights, start, 512, pads[1])
    for half in range(2):
        transpose(source, base + 16 * half, 32, xt, 256 * half)
        transpose(importance, at + 16 * half, 32, wt, 256 * half)
    for lane in range(16):
        pads[2, lane] = spreads[min(start + 32 * lane, x.size - 1) // weights.size]
    spread = load(pads[2], 0)
    for i in range(32):
        v = load(xt, 16 * i)
        store(wt, 16 * i, load(wt, 16 * i) * sqrt(spread + v * v))
    return source, base


@kernel
def _quantize_around_zero_weighted(x, weights, five, out):
    top, size = (f32(16), 22) if five else (f32(8), 18)
    limit = 16 if five else 8
    pads, wx = np.empty((3, 512), np.float32), np.empty(512, np.float32)
    xt, wt, found = np.empty(512, np.float32), np.empty(512, np.float32), np.empty((3, 16), np.float32)
    spreads = np.empty(x.size // weights.size, np.float32)
    _row_spreads(x, weights.size, xt, spreads)
    for start in range(0, x.size, 512):
        source, base = _load_group(x, start, weights, spreads, pads, xt, wt)
        result = fit_scale(xt, wt, 32, top, wx)
        for k in range(3):
            store(found, 16 * k, result[k])
        for block in range(min(16, (x.size - start) // 32)):
            to = (start // 32 + block) * size
            store_half(out, to, found[0, block])
            factor, bias = splat(found[1, block]), np.int64(found[2, block])
            a = nearest_whole(factor * load(source, base + 32 * block))
            b = nearest_whole(factor * load(source, base + 32 * block + 16))
            _store_codes(_within(a, -limit, limit - 1) + bias, _within(b, -limit, limit - 1) + bias, five, out, to + 2)


@kernel
def _quantize_from_minimum_weighted(x, weights, five, out):
    size, limit = (24, 31) if five else (20, 15)
    pads, codes = np.empty((3, 512), np.float32), np.empty(512, np.float32)
    xt, wt, found = np.empty(512, np.float32), np.empty(512, np.float32), np.empty((5, 16), np.float32)
    spreads = np.empty(x.size // weights.size, np.float32)
    _row_spreads(x, weights.size, xt, spreads)
    for start in range(0, x.size, 512):
        source, base = _load_group(x, start, weights, spreads, pads, xt, wt)
        result = fit_scale_and_minimum(xt, wt, 32, f32(limit), f32(-0.9), f32(0.05), 36, False, codes)
        for k in range(5):
            store(found, 16 * k, result[k])
        for block in range(min(16, (x.size - start) // 32)):
            to = (start // 32 + block) * size
            store_half(out, to, found[0, block])
            store_half(out, to + 2, found[1, block])
            factor, low = splat(found[3, block]), splat(found[4, block])
            a = nearest_whole(factor * (load(source, base + 32 * block) - low))
            b = nearest_whole(factor * (load(source, base + 32 * block + 16) - low))
            _store_codes(_within(a, 0, limit), _within(b, 0, limit), five, out, to + 4)


@kernel
def _dequantize(blocks, offset, five, out):
    """offset: the minimum is stored, rather than half the range of codes."""
    header, bias = (4, 0) if offset else (2, 16 if five else 8)
    size = header + (20 if five else 16)
    lanes = lane_numbers()
    for block in range(out.size // 32):
        at = block * size
        d = splat(load_half(blocks, at))
        packed = load(blocks, at + size - 16)
        low, high = packed & 15, shift_right(packed, 4)
        if five:
            fifth = np.int64(0)
            for i in range(4):
                fifth |= np.int64(blocks[at + header + i]) << 8 * i
            low |= (shift_right(splat(fifth), lanes) & 1) << 4
            high |= (shift_right(splat(fifth >> 16), lanes) & 1) << 4
        first, second = to_f32(low - bias) * d, to_f32(high - bias) * d
        if offset:
            m = splat(load_half(blocks, at + 2))
            first, second = first + m, second + m
        store(out, block * 32, first)
        store(out, block * 32 + 16, second)


def _around_zero(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray, five: bool) -> None:
    if weights is None:
        _quantize_around_zero(x.reshape(-1), five, out.reshape(-1))
    else:
        _quantize_around_zero_weighted(x.reshape(-1), weights, five, out.reshape(-1))


def _from_minimum(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray, five: bool) -> None:
    if weights is None:
        _quantize_from_minimum(x.reshape(-1), five, out.reshape(-1))
    else:
        _quantize_from_minimum_weighted(x.reshape(-1), weights, five, out.reshape(-1))


def quantize_q4_0(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _around_zero(x, weights, out, five=False)


def quantize_q4_1(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _from_minimum(x, weights, out, five=False)


def quantize_q5_0(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _around_zero(x, weights, out, five=True)


def quantize_q5_1(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _from_minimum(x, weights, out, five=True)


def dequantize_q4_0(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize(blocks.reshape(-1), False, False, out.reshape(-1))


def dequantize_q4_1(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize(blocks.reshape(-1), True, False, out.reshape(-1))


def dequantize_q5_0(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize(blocks.reshape(-1), False, True, out.reshape(-1))


def dequantize_q5_1(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize(blocks.reshape(-1), True, True, out.reshape(-1))
