"""IQ4_NL and IQ4_XS: blocks of 32 whose codes stand for sixteen unevenly spaced values.

IQ4_NL has a float16 scale per block; IQ4_XS has super-blocks of eight with signed scales of 6 bits below one float16.
"""

from __future__ import annotations

import numpy as np

from .compile import NO_WEIGHTS, inline, kernel
from .half import float_bits, load_half, store_half
from .lanes import load, shift_right, splat, sqrt, store, transpose, where
from .search import MAGIC, TINY, extreme
from .superblocks import GROUP, SIZE, sums_of_squares, weights_window, window

f32 = np.float32
VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
# Half way between two values the higher one wins. The differences to both are exact there, so this is the whole of
# best_index_int8(): the code is the number of these that a number reaches, and 15 for NaN.
BORDERS = (VALUES[1:] + VALUES[:-1]) / 2
RISES = VALUES[1:] - VALUES[:-1]




@inline
def _nearest_value(v):
    total = splat(VALUES[0])
    for k in range(15):
        total = where(v < BORDERS[k], total, total + RISES[k])
    return total


@inline
def _nearest_code(v):
    total = splat(0)
    for k in range(15):
        total = where(v < BORDERS[k], total, total + 1)
    return total


@inline
def _sums(x, w, factor):
    """Of sixteen transposed blocks with the codes that x * factor gives: sum w * q * x and sum w * q * q."""
    sum_qx = sum_qq = splat(f32(0))
    for i in range(32):
        v = load(x, 16 * i)
        q = _nearest_value(factor * v)
        wq = load(w, 16 * i) * q
        sum_qx += wq * v
        sum_qq += wq * q
    return sum_qx, sum_qq


@inline
def _fit_scale(x, w):
    """The search of quantize_row_iq4_nl_impl with ntry = 7: the scales of sixteen transposed blocks of 32."""
    zero, one = splat(f32(0)), splat(f32(1))
    peak, most = extreme(x, 32)
    sum_qx, sum_qq = _sums(x, w, one / (-peak / splat(VALUES[0])))
    scale = where(sum_qq > zero, sum_qx / sum_qq, zero)
    best = scale * sum_qx
    for k in range(-7, 8):
        sum_qx, sum_qq = _sums(x, w, splat(f32(k) + VALUES[0]) / peak)
        better = (sum_qq > zero) & (sum_qx * sum_qx > best * sum_qq)
        scale = where(better, sum_qx / sum_qq, scale)
        best = where(better, scale * sum_qx, best)
    return where(most < TINY, zero, scale)


@inline
def _spread_weights(x, w, sigma2):
    for i in range(32):
        v = load(x, 16 * i)
        store(w, 16 * i, load(w, 16 * i) * sqrt(sigma2 + v * v))


@inline
def _square_weights(x, w):
    for i in range(32):
        v = load(x, 16 * i)
        store(w, 16 * i, v * v)


@inline
def _store_codes(x, at, factor, out, to):
    a, b = _nearest_code(splat(factor) * load(x, at)), _nearest_code(splat(factor) * load(x, at + 16))
    store(out, to, a | b << 4)


@kernel
def _quantize_iq4_nl(x, weights, out):
    pad, weights_pad = np.empty(512, np.float32), np.empty(512, np.float32)
    xt, wt, scales = np.empty(512, np.float32), np.empty(512, np.float32), np.empty(16, np.float32)
    for start in range(0, x.size, 512):
        source, base = window(x, start, 512, pad)
        transpose(source, base, 32, xt, 0)
        transpose(source, base + 16, 32, xt, 256)
        if weights.size > 0:
            importance, at = weights_window(weights, start, 512, weights_pad)
            transpose(importance, at, 32, wt, 0)
            transpose(importance, at + 16, 32, wt, 256)
            total = splat(f32(0))
            for i in range(32):
                v = load(xt, 16 * i)
                total += v * v
            _spread_weights(xt, wt, total * splat(f32(2) / f32(32)))
        else:
            _square_weights(xt, wt)
        store(scales, 0, _fit_scale(xt, wt))
        for block in range(min(16, (x.size - start) // 32)):
            d, to = scales[block], (start // 32 + block) * 18
            store_half(out, to, d)
            _store_codes(source, base + 32 * block, f32(1) / d if d != f32(0) else f32(0), out, to + 2)


@kernel
def _quantize_iq4_xs(x, weights, out):
    blocks = x.size // 256
    pad, weights_pad = np.empty(SIZE, np.float32), np.empty(SIZE, np.float32)
    xt, wt = np.empty(512, np.float32), np.empty(512, np.float32)
    sigma, lane_sigma, scales = np.empty(16, np.float32), np.empty(16, np.float32), np.empty(128, np.float32)
    for start in range(0, blocks, GROUP):
        count = min(GROUP, blocks - start)
        source, base = window(x, 256 * start, SIZE, pad)
        if weights.size > 0:
            importance, importance_base = weights_window(weights, 256 * start, SIZE, weights_pad)
            sums_of_squares(source, base, 256, 256, xt, sigma)
        for pair in range((count + 1) // 2):
            transpose(source, base + 512 * pair, 32, xt, 0)
            transpose(source, base + 512 * pair + 16, 32, xt, 256)
            if weights.size > 0:
                transpose(importance, importance_base + 512 * pair, 32, wt, 0)
                transpose(importance, importance_base + 512 * pair + 16, 32, wt, 256)
                for lane in range(16):
                    lane_sigma[lane] = sigma[2 * pair + lane // 8] * (f32(2) / f32(256))
                _spread_weights(xt, wt, load(lane_sigma, 0))
            else:
                _square_weights(xt, wt)
            store(scales, 16 * pair, _fit_scale(xt, wt))
        for block in range(count):
            most = f32(0)
            for j in range(8):
                scale = scales[8 * block + j]
                if abs(scale) > abs(most):
                    most = scale
            d = -most / f32(32)
            factor = f32(1) / d if d != f32(0) else f32(0)
            at, to = base + 256 * block, (start + block) * 136
            store_half(out, to, d)
            low = high = np.int64(0)
            for j in range(8):
                level = _nearest_level(factor * scales[8 * block + j])
                low |= (level + 32 & 15) << 4 * j
                high |= (level + 32 >> 4) << 2 * j
                s = d * f32(level)
                _store_codes(source, at + 32 * j, f32(1) / s if s != f32(0) else f32(0), out, to + 8 + 16 * j)
            out[to + 2], out[to + 3] = high & 0xFF, high >> 8
            for j in range(4):
                out[to + 4 + j] = low >> 8 * j & 0xFF


@inline
def _nearest_level(v):
    """nearest_int within -32..31, of one number."""
    level = (np.int64(float_bits(v + MAGIC)) & 0x7FFFFF) - 0x400000
    return min(max(level, -32), 31)


@inline
def _two(odd, k):
    return where(odd, splat(VALUES[2 * k + 1]), splat(VALUES[2 * k]))


@inline
def _four(odd, second, k):
    return where(second, _two(odd, 2 * k + 1), _two(odd, 2 * k))


@inline
def _values(codes):
    """The values of codes 0..15, bit by bit: not every machine can look up sixteen lanes at once."""
    odd, second = (codes & 1) != 0, (codes & 2) != 0
    upper = where((codes & 4) != 0, _four(odd, second, 3), _four(odd, second, 2))
    lower = where((codes & 4) != 0, _four(odd, second, 1), _four(odd, second, 0))
    return where((codes & 8) != 0, upper, lower)


@inline
def _store_values(blocks, at, d, out, to):
    codes = load(blocks, at)
    store(out, to, splat(d) * _values(codes & 15))
    store(out, to + 16, splat(d) * _values(shift_right(codes, 4)))


@kernel
def _dequantize_iq4_nl(blocks, out):
    for block in range(out.size // 32):
        _store_values(blocks, block * 18 + 2, load_half(blocks, block * 18), out, block * 32)


@kernel
def _dequantize_iq4_xs(blocks, out):
    for block in range(out.size // 256):
        at, to = block * 136, block * 256
        d = load_half(blocks, at)
        for j in range(8):
            high = np.int64(blocks[at + 2 + j // 4]) >> j % 4 * 2 & 3
            level = np.int64(blocks[at + 4 + j // 2]) >> j % 2 * 4 & 15 | high << 4
            _store_values(blocks, at + 8 + 16 * j, d * f32(level - 32), out, to + 32 * j)


def quantize_iq4_nl(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _quantize_iq4_nl(x.reshape(-1), NO_WEIGHTS if weights is None else weights, out.reshape(-1))


def quantize_iq4_xs(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _quantize_iq4_xs(x.reshape(-1), NO_WEIGHTS if weights is None else weights, out.reshape(-1))


def dequantize_iq4_nl(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize_iq4_nl(blocks.reshape(-1), out.reshape(-1))


def dequantize_iq4_xs(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize_iq4_xs(blocks.reshape(-1), out.reshape(-1))
