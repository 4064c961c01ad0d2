"""Q6_K: super-blocks of 16 blocks of 16; signed scales of 8 bits below one float16. Weights count as they are."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .arithmetic import load_byte, load_half, nearest_whole, store_byte, store_half
from .decode import decoder
from .lanes import load_lanes, load_record, squares, stacked, store_record, weights_of
from .launch import launch_lanes, launch_tiles
from .search import TINY, extreme, fit_scale


@triton.jit(do_not_specialize=("per_row", "count"))
def _search(x, weights, found, per_row, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = tl.minimum(row, count - 1)
    xs = load_lanes(x + here * 16, 16)
    ws = weights_of(weights, here, 16, per_row) if weights is not None else squares(xs)
    scale, factor, bias = fit_scale(xs, ws, 32.0)
    store_record(found, row, row < count, scale, factor, bias, bias)


@triton.jit(do_not_specialize=("count",))
def _scales(found, sizes, out, count, ROWS: tl.constexpr):
    """sizes: the greatest magnitude of a super-block's scales, by which _codes() knows one that is taken for zero."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    records = load_lanes(found + here * 64, 64)
    scales = ()
    for j in tl.static_range(16):
        scales += (records[4 * j],)
    peak, most = extreme(scales)
    empty = most < TINY
    factor = tl.div_rn(-128.0, peak)
    levels = ()
    for j in tl.static_range(16):
        levels += (tl.where(empty, 0, tl.minimum(nearest_whole(factor * scales[j]), 127)),)
    to = out + row * 210
    store_byte(to[:, None] + 192 + tl.arange(0, 16)[None, :], stacked(levels), live[:, None])
    store_half(to + 208, tl.where(empty, 0.0, tl.div_rn(1.0, factor)), live)
    tl.store(sizes + row, most, mask=live)


@triton.jit
def _scale(at, j):
    """Of the sub-blocks j (int32) of the super-blocks at the pointers `at`."""
    level = tl.load((at + 192 + j).to(tl.pointer_type(tl.int8)))
    return load_half(at + 208) * level.to(tl.float32)


@triton.jit
def _code(x, found, sizes, to, block, j, i):
    """The codes 0..63 of sub-blocks; where a scale came out as zero, those that the search had found."""
    d = _scale(to, j)[:, None]
    _, factor, bias, _ = load_record(found, block * 16 + j)
    v = tl.load(x + ((block * 16 + j) * 16)[:, None] + i)
    code = tl.where(d != 0, nearest_whole(tl.div_rn(v, d)), nearest_whole(factor[:, None] * v))
    code = tl.minimum(tl.maximum(code, -32), 31) + tl.where(d != 0, 32, bias.to(tl.int32)[:, None])
    return tl.where((tl.load(sizes + block) < TINY)[:, None], 0, code)


@triton.jit(do_not_specialize=("count",))
def _codes(x, found, sizes, out, count, ROWS: tl.constexpr):
    """Four sub-blocks per row, every second one of half a super-block."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)
    i = tl.arange(0, 16)[None, :]
    block, half, odd = here >> 2, here >> 1 & 1, here & 1
    to, first = out + block * 210, 8 * half + odd
    a = _code(x, found, sizes, to, block, first, i)
    b = _code(x, found, sizes, to, block, first + 2, i)
    c = _code(x, found, sizes, to, block, first + 4, i)
    d = _code(x, found, sizes, to, block, first + 6, i)
    low = (to + 64 * half + 16 * odd)[:, None] + i
    store_byte(low, a & 15 | (c & 15) << 4, live)
    store_byte(low + 32, b & 15 | (d & 15) << 4, live)
    high = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6
    store_byte((to + 128 + 32 * half + 16 * odd)[:, None] + i, high, live)


def quantize_q6_k(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    blocks = x.numel() // 256
    found, sizes = x.new_empty(16 * blocks, 4), x.new_empty(blocks)
    launch_lanes(_search, 16 * blocks, x, weights, found, 0 if weights is None else len(weights) // 16)
    launch_lanes(_scales, blocks, found, sizes, out)
    launch_tiles(_codes, 4 * blocks, 64, x, found, sizes, out)


@triton.jit
def _q6_k(blocks, row, i):
    """row: a sub-block of 16."""
    at, j = blocks + (row >> 4) * 210, row & 15
    half, k = j >> 3, j >> 1 & 3
    low = load_byte((at + 64 * half + 32 * (k & 1) + 16 * (j & 1))[:, None] + i[None, :]) >> (k >> 1 << 2)[:, None] & 15
    high = load_byte((at + 128 + 32 * half + 16 * (j & 1))[:, None] + i[None, :]) >> (2 * k)[:, None] & 3
    return _scale(at, j)[:, None] * ((low | high << 4) - 32).to(tl.float32)


dequantize_q6_k = decoder(_q6_k, 16)
