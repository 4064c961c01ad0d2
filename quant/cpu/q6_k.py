"""Q6_K: super-blocks of 16 blocks of 16; signed scales of 8 bits below one float16. Weights count as they are."""

from __future__ import annotations

import numpy as np

from .compile import NO_WEIGHTS, kernel
from .half import load_half, store_half
from .lanes import load, shift_right, splat, store, to_f32, transpose, where
from .search import TINY, extreme, fit_scale, nearest_whole
from .superblocks import GROUP, SIZE, weights_window, window

f32 = np.float32


@kernel
def _quantize(x, weights, out):
    blocks = x.size // 256
    pad, weights_pad = np.empty(SIZE, np.float32), np.empty(SIZE, np.float32)
    xt, wt, wx = np.empty(256, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    d, sizes, level = np.empty(16, np.float32), np.empty(16, np.float32), np.empty(256, np.float32)
    scales, factors, biases = np.zeros(256, np.float32), np.empty(256, np.float32), np.empty(256, np.float32)
    weighted = weights.size > 0
    for start in range(0, blocks, GROUP):
        count = min(GROUP, blocks - start)
        source, base = window(x, 256 * start, SIZE, pad)
        if weighted:
            importance, importance_base = weights_window(weights, 256 * start, SIZE, weights_pad)
        for block in range(count):
            transpose(source, base + 256 * block, 16, xt, 0)
            if weighted:
                transpose(importance, importance_base + 256 * block, 16, wt, 0)
            else:
                for i in range(16):
                    v = load(xt, 16 * i)
                    store(wt, 16 * i, v * v)
            scale, factor, bias = fit_scale(xt, wt, 16, f32(32), wx)
            store(scales, 16 * block, scale)
            store(factors, 16 * block, factor)
            store(biases, 16 * block, bias)
        transpose(scales, 0, 16, xt, 0)
        most, size = extreme(xt, 16)
        store(sizes, 0, size)
        factor = splat(f32(-128)) / most
        for j in range(16):
            code = nearest_whole(factor * load(xt, 16 * j))
            store(level, 16 * j, to_f32((where(code < 127, code, 127) << 24) >> 24))
        store(d, 0, factor)
        for block in range(count):
            at, to = base + 256 * block, (start + block) * 210
            if sizes[block] < TINY:  # a super-block of zeros is all zero bytes
                out[to : to + 210] = 0
                continue
            scale = store_half(out, to + 208, f32(1) / d[block])
            for j in range(16):
                out[to + 192 + j] = np.uint8(np.int64(level[16 * j + block]) & 0xFF)
            for part in range(4):
                low = to + part // 2 * 64 + part % 2 * 16
                high = splat(0)
                first = second = splat(0)
                for k in range(4):
                    j = part // 2 * 8 + part % 2 + 2 * k
                    s = scale * level[16 * j + block]
                    v = load(source, at + 16 * j)
                    if s != f32(0):
                        code, bias = nearest_whole(v / splat(s)), 32
                    else:
                        code = nearest_whole(splat(factors[16 * block + j]) * v)
                        bias = np.int64(biases[16 * block + j])
                    code = where(code > -32, code, -32)
                    code = where(code < 31, code, 31) + bias
                    high |= shift_right(code, 4) << 2 * k
                    if k % 2 == 0:
                        first |= (code & 15) << 2 * k
                    else:
                        second |= (code & 15) << 2 * k - 2
                store(out, low, first)
                store(out, low + 32, second)
                store(out, to + 128 + 16 * part, high)


@kernel
def _dequantize(blocks, out):
    for block in range(out.size // 256):
        at, to = block * 210, block * 256
        scale = load_half(blocks, at + 208)
        for part in range(4):
            low = at + part // 2 * 64 + part % 2 * 16
            first, second = load(blocks, low), load(blocks, low + 32)
            high = load(blocks, at + 128 + 16 * part)
            for k in range(4):
                j = part // 2 * 8 + part % 2 + 2 * k
                d = scale * f32(np.int8(blocks[at + 192 + j]))
                q = shift_right(first if k % 2 == 0 else second, k // 2 * 4) & 15
                q |= (shift_right(high, 2 * k) & 3) << 4
                store(out, to + 16 * j, splat(d) * to_f32(q - 32))


def quantize_q6_k(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _quantize(x.reshape(-1), NO_WEIGHTS if weights is None else weights, out.reshape(-1))


def dequantize_q6_k(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize(blocks.reshape(-1), out.reshape(-1))
