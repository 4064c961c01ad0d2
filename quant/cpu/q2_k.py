"""Q2_K: super-blocks of 16 blocks of 16; scales and minimums of 4 bits below two float16."""

from __future__ import annotations

import numpy as np

from .compile import NO_WEIGHTS, inline, kernel
from .half import load_half, store_half
from .lanes import load, magnitude, shift_right, splat, sqrt, store, to_f32, transpose, where
from .search import fit_positive_scale, fit_scale_and_minimum, nearest_whole
from .superblocks import GROUP, SIZE, scale_codes, sums_of_squares, weights_window, window

f32 = np.float32


@inline
def _codes(x, at, d, m, factor, low):
    """The final codes of sixteen neighbours; where the scale came out as zero, those that the search had found."""
    v = load(x, at)
    code = nearest_whole((v + splat(m)) / splat(d)) if d != f32(0) else nearest_whole(splat(factor) * (v - splat(low)))
    code = where(code > 0, code, 0)
    return where(code < 3, code, 3)


@kernel
def _quantize(x, weights, out):
    blocks = x.size // 256
    pad, weights_pad = np.empty(SIZE, np.float32), np.empty(SIZE, np.float32)
    xt, wt, codes = np.empty(256, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    sigma, d, dmin = np.empty(16, np.float32), np.empty(16, np.float32), np.empty(16, np.float32)
    scales, mins, sums = np.zeros(256, np.float32), np.zeros(256, np.float32), np.zeros(256, np.float32)
    factors, lows = np.empty(256, np.float32), np.empty(256, np.float32)
    level, low_level = np.empty(256, np.float32), np.empty(256, np.float32)
    weighted = weights.size > 0
    for start in range(0, blocks, GROUP):
        count = min(GROUP, blocks - start)
        source, base = window(x, 256 * start, SIZE, pad)
        if weighted:
            importance, importance_base = weights_window(weights, 256 * start, SIZE, weights_pad)
            sums_of_squares(source, base, 256, 256, xt, sigma)
        for block in range(count):
            transpose(source, base + 256 * block, 16, xt, 0)
            if weighted:
                transpose(importance, importance_base + 256 * block, 16, wt, 0)
                spread = splat(sigma[block] / f32(256))
                for i in range(16):
                    v = load(xt, 16 * i)
                    store(wt, 16 * i, load(wt, 16 * i) * sqrt(spread + v * v))
                found = fit_scale_and_minimum(xt, wt, 16, f32(3), f32(-0.9), f32(0.05), 36, False, codes)
            else:
                for i in range(16):
                    store(wt, 16 * i, magnitude(load(xt, 16 * i)))
                found = fit_scale_and_minimum(xt, wt, 16, f32(3), f32(-0.5), f32(0.1), 15, True, codes)
            at = 16 * block
            store(scales, at, found[0])
            store(mins, at, splat(f32(0)) - found[1])
            store(sums, at, found[2])
            store(factors, at, found[3])
            store(lows, at, found[4])
        transpose(scales, 0, 16, xt, 0)
        transpose(mins, 0, 16, wt, 0)
        if weighted:
            transpose(sums, 0, 16, sums, 0)
            store(d, 0, fit_positive_scale(xt, sums, 16, f32(15), level))
            store(dmin, 0, fit_positive_scale(wt, sums, 16, f32(15), low_level))
        else:
            scale_codes(xt, 16, f32(15), 255, level, d)
            scale_codes(wt, 16, f32(15), 255, low_level, dmin)
        for block in range(count):
            at, to = base + 256 * block, (start + block) * 84
            scale, low_scale = store_half(out, to + 80, d[block]), store_half(out, to + 82, dmin[block])
            for j in range(16):
                out[to + j] = np.int64(level[16 * j + block]) | np.int64(low_level[16 * j + block]) << 4
            for part in range(4):  # 16 bytes of codes: half of the super-block, then half of its 32 bytes
                packed = splat(0)
                for k in range(4):
                    j = part // 2 * 8 + part % 2 + 2 * k
                    s, m = scale * f32(out[to + j] & 15), low_scale * f32(out[to + j] >> 4)
                    code = _codes(source, at + 16 * j, s, m, factors[16 * block + j], lows[16 * block + j])
                    packed |= code << 2 * k
                store(out, to + 16 + 16 * part, packed)


@kernel
def _dequantize(blocks, out):
    for block in range(out.size // 256):
        at, to = block * 84, block * 256
        scale, low_scale = load_half(blocks, at + 80), load_half(blocks, at + 82)
        for part in range(4):
            packed = load(blocks, at + 16 + 16 * part)
            for k in range(4):
                j = part // 2 * 8 + part % 2 + 2 * k
                d, low = scale * f32(blocks[at + j] & 15), low_scale * f32(blocks[at + j] >> 4)
                store(out, to + 16 * j, splat(d) * to_f32(shift_right(packed, 2 * k) & 3) - splat(low))


def quantize_q2_k(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _quantize(x.reshape(-1), NO_WEIGHTS if weights is None else weights, out.reshape(-1))


def dequantize_q2_k(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize(blocks.reshape(-1), out.reshape(-1))
