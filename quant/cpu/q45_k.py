"""Q4_K and Q5_K: super-blocks of 8 blocks of 32; scales and minimums of 6 bits below two float16.

One kernel serves both: they differ in the number of levels and in Q5_K's fifth bits.
"""

from __future__ import annotations

import numpy as np

from .compile import NO_WEIGHTS, inline, kernel
from .half import load_half, store_half
from .lanes import load, magnitude, shift_right, splat, sqrt, store, to_f32, transpose, where
from .search import fit_positive_scale, fit_scale_and_minimum, nearest_whole
from .superblocks import GROUP, SIZE, scale_codes, sums_of_squares, weights_window, window

f32 = np.float32


@inline
def _codes(x, at, d, m, factor, low, top):
    """The final codes of sixteen neighbours; where the scale came out as zero, those that the search had found."""
    v = load(x, at)
    code = nearest_whole((v + splat(m)) / splat(d)) if d != f32(0) else nearest_whole(splat(factor) * (v - splat(low)))
    code = where(code > 0, code, 0)
    return where(code < top, code, top)


@inline
def _unpack_scales(blocks, at, scale, low_scale, d, low):
    """The scales and minimums of the eight blocks of a super-block whose packed codes are at `at`."""
    for j in range(4):
        a, b, c = np.int64(blocks[at + j]), np.int64(blocks[at + 4 + j]), np.int64(blocks[at + 8 + j])
        d[j], low[j] = scale * f32(a & 63), low_scale * f32(b & 63)
        d[4 + j], low[4 + j] = scale * f32(c & 15 | a >> 6 << 4), low_scale * f32(c >> 4 | b >> 6 << 4)


@kernel
def _quantize(x, weights, top, out):
    blocks = x.size // 256
    bytes_of_block = 144 if top == 15 else 176
    pad, weights_pad = np.empty(SIZE, np.float32), np.empty(SIZE, np.float32)
    xt, wt, codes = np.empty(512, np.float32), np.empty(512, np.float32), np.empty(512, np.float32)
    square = np.empty(256, np.float32)
    sigma, lane_sigma = np.empty(16, np.float32), np.empty(16, np.float32)
    found = np.empty((5, 16), np.float32)  # of sixteen blocks: scale, low, weight, and the search's factor and low
    scales, mins, sums = np.empty(128, np.float32), np.empty(128, np.float32), np.empty(128, np.float32)
    factors, lows = np.empty(128, np.float32), np.empty(128, np.float32)
    level, low_level = np.empty(128, np.float32), np.empty(128, np.float32)
    d, dmin = np.empty(16, np.float32), np.empty(16, np.float32)
    ds, ms = np.empty(8, np.float32), np.empty(8, np.float32)
    levels = f32(top)
    weighted = weights.size > 0
    first, step, steps = f32(-0.9), f32(0.05), 36
    if not weighted:
        first, step, steps = (f32(-1.0), f32(0.1), 20) if top == 15 else (f32(-0.5), f32(0.1), 15)
    for start in range(0, blocks, GROUP):
        count = min(GROUP, blocks - start)
        source, base = window(x, 256 * start, SIZE, pad)
        if weighted:
            importance, importance_base = weights_window(weights, 256 * start, SIZE, weights_pad)
            sums_of_squares(source, base, 256, 256, square, sigma)
        for pair in range((count + 1) // 2):
            for half in range(2):
                transpose(source, base + 512 * pair + 16 * half, 32, xt, 256 * half)
            if weighted:
                for half in range(2):
                    transpose(importance, importance_base + 512 * pair + 16 * half, 32, wt, 256 * half)
                for lane in range(16):
                    lane_sigma[lane] = f32(2) * sigma[2 * pair + lane // 8] / f32(256)
                spread = load(lane_sigma, 0)
                for i in range(32):
                    v = load(xt, 16 * i)
                    store(wt, 16 * i, load(wt, 16 * i) * sqrt(spread + v * v))
            else:
                total = splat(f32(0))
                for i in range(32):
                    v = load(xt, 16 * i)
                    total += v * v
                mean = sqrt(total / splat(f32(32)))
                for i in range(32):
                    store(wt, 16 * i, mean + magnitude(load(xt, 16 * i)))
            result = fit_scale_and_minimum(xt, wt, 32, levels, first, step, steps, False, codes)
            for k in range(5):
                store(found, 16 * k, result[k])
            for lane in range(16):
                at = 16 * (lane % 8) + 2 * pair + lane // 8  # number in the super-block, then super-block
                scales[at], mins[at], sums[at] = found[0, lane], -found[1, lane], found[2, lane]
                factors[at], lows[at] = found[3, lane], found[4, lane]
        if weighted:
            store(d, 0, fit_positive_scale(scales, sums, 8, f32(63), level))
            store(dmin, 0, fit_positive_scale(mins, sums, 8, f32(63), low_level))
        else:
            scale_codes(scales, 8, f32(63), 63, level, d)
            scale_codes(mins, 8, f32(63), 63, low_level, dmin)
        for block in range(count):
            at, to = base + 256 * block, (start + block) * bytes_of_block
            scale, low_scale = store_half(out, to, d[block]), store_half(out, to + 2, dmin[block])
            for j in range(4):
                s, m = np.int64(level[16 * j + block]), np.int64(low_level[16 * j + block])
                t, n = np.int64(level[16 * j + 64 + block]), np.int64(low_level[16 * j + 64 + block])
                if top == 31:  # a code can exceed 63 if the search went astray; the reference limits those of Q5_K only
                    s, m, t, n = min(s, 63), min(m, 63), min(t, 63), min(n, 63)
                out[to + 4 + j] = s | t >> 4 << 6
                out[to + 8 + j] = m | n >> 4 << 6
                out[to + 12 + j] = t & 15 | (n & 15) << 4
            _unpack_scales(out, to + 4, scale, low_scale, ds, ms)
            to += 16
            high0, high1 = splat(0), splat(0)
            for c in range(4):
                j, k = 32 * c + block, 32 * c + 16 + block
                for i in range(0, 32, 16):
                    a = _codes(source, at + 64 * c + i, ds[2 * c], ms[2 * c], factors[j], lows[j], top)
                    b = _codes(source, at + 64 * c + 32 + i, ds[2 * c + 1], ms[2 * c + 1], factors[k], lows[k], top)
                    if top == 31:
                        fifth = (shift_right(a, 4) | shift_right(b, 4) << 1) << 2 * c
                        if i == 0:
                            high0 |= fifth
                        else:
                            high1 |= fifth
                        store(out, to + 32 + 32 * c + i, a & 15 | (b & 15) << 4)
                    else:
                        store(out, to + 32 * c + i, a | b << 4)
            if top == 31:
                store(out, to, high0)
                store(out, to + 16, high1)


@kernel
def _dequantize(blocks, five, out):
    bytes_of_block = 176 if five else 144
    d, low = np.empty(8, np.float32), np.empty(8, np.float32)
    for block in range(out.size // 256):
        at, to = block * bytes_of_block, block * 256
        scale, low_scale = load_half(blocks, at), load_half(blocks, at + 2)
        _unpack_scales(blocks, at + 4, scale, low_scale, d, low)
        for i in range(0, 32, 16):
            if five:
                fifth = load(blocks, at + 16 + i) << 4
            for c in range(4):
                packed = load(blocks, at + bytes_of_block - 128 + 32 * c + i)
                first, second = packed & 15, shift_right(packed, 4)
                if five:
                    first |= fifth & 16
                    second |= shift_right(fifth, 1) & 16
                    fifth = shift_right(fifth, 2)
                store(out, to + 64 * c + i, splat(d[2 * c]) * to_f32(first) - splat(low[2 * c]))
                store(out, to + 64 * c + 32 + i, splat(d[2 * c + 1]) * to_f32(second) - splat(low[2 * c + 1]))


def quantize_q4_k(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _quantize(x.reshape(-1), NO_WEIGHTS if weights is None else weights, 15, out.reshape(-1))


def quantize_q5_k(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _quantize(x.reshape(-1), NO_WEIGHTS if weights is None else weights, 31, out.reshape(-1))


def dequantize_q4_k(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize(blocks.reshape(-1), False, out.reshape(-1))


def dequantize_q5_k(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize(blocks.reshape(-1), True, out.reshape(-1))
