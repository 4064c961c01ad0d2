"""Q3_K: super-blocks of 16 blocks of 16; signed scales of 6 bits below one float16."""

from __future__ import annotations

import numpy as np

from .compile import NO_WEIGHTS, inline, kernel
from .half import load_half, store_half
from .lanes import load, shift_right, splat, sqrt, store, to_f32, transpose, where
from .search import extreme, fit_scale, fit_scales_by_descent, nearest_whole, signed_codes
from .superblocks import GROUP, SIZE, sums_of_squares, weights_window, window

f32 = np.float32
SETS = 4  # super-blocks that are searched in turns


@inline
def _signed_scale_codes(scales, level, tops):
    """Codes 0..63 (bias 32) of the scales of sixteen super-blocks, each below its scale of largest magnitude."""
    zero, one = splat(f32(0)), splat(f32(1))
    most, _ = extreme(scales, 16)
    some = most != zero
    factor = splat(f32(-32)) / most
    for j in range(16):
        code = (nearest_whole(factor * load(scales, 16 * j)) << 24) >> 24  # passes through int8
        code = where(code > -32, code, -32)
        code = where(code < 31, code, 31) + 32
        store(level, 16 * j, to_f32(where(some, code, 0)))
    store(tops, 0, where(some, one / factor, zero))


@kernel
def _quantize(x, weights, out):
    blocks = x.size // 256
    pad, weights_pad = np.empty(SIZE, np.float32), np.empty(SIZE, np.float32)
    xt, codes = np.zeros(SIZE, np.float32), np.empty(SIZE, np.float32)  # each super-block transposed
    wt, wx, kept = np.empty(256, np.float32), np.empty(256, np.float32), np.empty(16, np.float32)
    sigma, d = np.empty(16, np.float32), np.empty(16, np.float32)
    scales, sums, level = np.zeros(256, np.float32), np.zeros(256, np.float32), np.empty(256, np.float32)
    weighted = weights.size > 0
    for start in range(0, blocks, GROUP):
        count = min(GROUP, blocks - start)
        source, base = window(x, 256 * start, SIZE, pad)
        if weighted:
            importance, importance_base = weights_window(weights, 256 * start, SIZE, weights_pad)
            sums_of_squares(source, base, 256, 256, xt, sigma)
        for block in range(count):
            transpose(source, base + 256 * block, 16, xt, 256 * block)
        if weighted:
            for block in range(count):
                values, found = xt[256 * block : 256 * block + 256], codes[256 * block : 256 * block + 256]
                transpose(importance, importance_base + 256 * block, 16, wt, 0)
                spread = splat(f32(2) * sigma[block] / f32(256))
                total = splat(f32(0))
                for i in range(16):
                    v = load(values, 16 * i)
                    w = load(wt, 16 * i) * sqrt(spread + v * v)
                    store(wt, 16 * i, w)
                    total += w
                store(sums, 16 * block, total)
                scale, factor, bias = fit_scale(values, wt, 16, f32(4), wx)
                store(scales, 16 * block, scale)
                for i in range(16):
                    store(found, 16 * i, signed_codes(load(values, 16 * i), factor, f32(4)) + bias)
        else:
            for block in range(0, count, SETS):
                at = 256 * block
                fit_scales_by_descent(xt[at:], SETS, 16, f32(4), codes[at:], wx, scales[16 * block :])
        transpose(scales, 0, 16, scales, 0)
        if weighted:
            transpose(sums, 0, 16, sums, 0)
            scale, factor, bias = fit_scale(scales, sums, 16, f32(32), wx)
            store(d, 0, scale)
            for j in range(16):
                store(level, 16 * j, signed_codes(load(scales, 16 * j), factor, f32(32)) + bias)
        else:
            _signed_scale_codes(scales, level, d)
        for block in range(count):
            at, to = base + 256 * block, (start + block) * 110
            scale = store_half(out, to + 108, d[block])
            for j in range(4):
                a, b = np.int64(level[16 * j + block]), np.int64(level[16 * j + 64 + block])
                c, e = np.int64(level[16 * j + 128 + block]), np.int64(level[16 * j + 192 + block])
                out[to + 96 + j] = a & 15 | (c & 15) << 4
                out[to + 100 + j] = b & 15 | (e & 15) << 4
                out[to + 104 + j] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | e >> 4 << 6
            high0, high1 = splat(0), splat(0)
            for part in range(4):
                packed = splat(0)
                for k in range(4):
                    j = part // 2 * 8 + part % 2 + 2 * k
                    s = scale * (level[16 * j + block] - f32(32))
                    if s != f32(0):
                        code = nearest_whole(load(source, at + 16 * j) / splat(s)) + 4
                        code = where(code > 0, code, 0)
                        code = where(code < 7, code, 7)
                    else:
                        for i in range(16):
                            kept[i] = codes[256 * block + 16 * i + j]
                        code = nearest_whole(load(kept, 0))
                    packed |= (code & 3) << 2 * k
                    high = shift_right(code, 2) << j // 2
                    if part % 2 == 0:
                        high0 |= high
                    else:
                        high1 |= high
                store(out, to + 32 + 16 * part, packed)
            store(out, to, high0)
            store(out, to + 16, high1)


@kernel
def _dequantize(blocks, out):
    for block in range(out.size // 256):
        at, to = block * 110, block * 256
        scale = load_half(blocks, at + 108)
        for part in range(4):
            packed, high = load(blocks, at + 32 + 16 * part), load(blocks, at + part % 2 * 16)
            for k in range(4):
                j = part // 2 * 8 + part % 2 + 2 * k
                low = np.int64(blocks[at + 96 + j % 8]) >> j // 8 * 4 & 15
                level = low | (np.int64(blocks[at + 104 + j % 4]) >> j // 4 * 2 & 3) << 4
                d = scale * f32(level - 32)
                q = shift_right(packed, 2 * k) & 3 | (shift_right(high, j // 2) & 1) << 2
                store(out, to + 16 * j, splat(d) * to_f32(q - 4))


def quantize_q3_k(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _quantize(x.reshape(-1), NO_WEIGHTS if weights is None else weights, out.reshape(-1))


def dequantize_q3_k(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize(blocks.reshape(-1), out.reshape(-1))
