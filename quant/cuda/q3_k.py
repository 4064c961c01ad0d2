"""Q3_K: super-blocks of 16 blocks of 16; signed scales of 6 bits below one float16."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .arithmetic import load_byte, load_half, nearest_whole, store_byte, store_half
from .decode import decoder
from .lanes import load_lanes, stacked, sums_of_squares
from .launch import launch_lanes, launch_tiles
from .search import extreme, fit_scale, fit_scale_by_descent, signed_code
from .superblocks import weighted_sub_blocks


@triton.jit(do_not_specialize=("per_row", "count"))
def _search(x, weights, squares, scales, codes, sums, per_row, count, ROWS: tl.constexpr):
    """The scales, and the codes that belong to them: eight to a word, for where a scale will come out as zero."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    if weights is not None:
        xs, ws = weighted_sub_blocks(x, weights, squares, here, per_row, 16, 2.0)
        total = ws[0]
        for i in tl.static_range(1, 16):
            total += ws[i]
        tl.store(sums + row, total, mask=live)
        scale, factor, bias = fit_scale(xs, ws, 4.0)
        found = ()
        for i in tl.static_range(16):
            found += (signed_code(xs[i], factor, 4.0) + bias,)
    else:
        xs = load_lanes(x + here * 16, 16)
        scale, found = fit_scale_by_descent(xs, 4.0)
    tl.store(scales + row, scale, mask=live)
    first, second = tl.zeros((ROWS,), tl.int32), tl.zeros((ROWS,), tl.int32)
    for i in tl.static_range(8):
        first |= (found[i].to(tl.int32) & 7) << 4 * i
        second |= (found[8 + i].to(tl.int32) & 7) << 4 * i
    tl.store(codes + row[:, None] * 2 + tl.arange(0, 2)[None, :], stacked((first, second)), mask=live[:, None])


@triton.jit
def _signed_scale_codes(scales):
    """Codes 0..63 (bias 32) of scales below the one of largest magnitude. Returns scale and int32s."""
    peak, _ = extreme(scales)
    factor = tl.div_rn(-32.0, peak)
    codes = ()
    for j in tl.static_range(16):
        code = (nearest_whole(factor * scales[j]) << 24) >> 24  # passes through int8
        code = tl.minimum(tl.maximum(code, -32), 31) + 32
        codes += (tl.where(peak != 0, code, 0),)
    return tl.where(peak != 0, tl.div_rn(1.0, factor), 0.0), codes


@triton.jit(do_not_specialize=("count",))
def _scales(scales, sums, out, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    values = load_lanes(scales + here * 16, 16)
    if sums is not None:
        d, factor, bias = fit_scale(values, load_lanes(sums + here * 16, 16), 32.0)
        levels = ()
        for j in tl.static_range(16):
            levels += ((signed_code(values[j], factor, 32.0) + bias).to(tl.int32),)
    else:
        d, levels = _signed_scale_codes(values)
    to = out + row * 110
    store_half(to + 108, d, live)
    packed, high = (), ()
    for j in tl.static_range(8):
        packed += (levels[j] & 15 | (levels[8 + j] & 15) << 4,)
    for j in tl.static_range(4):
        high += (levels[j] >> 4 | levels[4 + j] >> 4 << 2 | levels[8 + j] >> 4 << 4 | levels[12 + j] >> 4 << 6,)
    store_byte(to[:, None] + 96 + tl.arange(0, 8)[None, :], stacked(packed), live[:, None])
    store_byte(to[:, None] + 104 + tl.arange(0, 4)[None, :], stacked(high), live[:, None])


@triton.jit
def _scale(at, j):
    """Of the sub-blocks j (int32) of the super-blocks at the pointers `at`."""
    low = load_byte(at + 96 + (j & 7)) >> (j >> 3 << 2) & 15
    high = load_byte(at + 104 + (j & 3)) >> (j >> 2 << 1) & 3
    return load_half(at + 108) * ((low | high << 4) - 32).to(tl.float32)


@triton.jit(do_not_specialize=("count",))
def _codes(x, codes, out, count, ROWS: tl.constexpr):
    """Every second sub-block of a super-block per row."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)
    i = tl.arange(0, 16)[None, :]
    block, odd = here >> 1, here & 1
    to = out + block * 110
    at = (to + odd * 16)[:, None] + i
    high = tl.zeros((ROWS, 16), tl.int32)
    for half in tl.static_range(2):
        packed = tl.zeros((ROWS, 16), tl.int32)
        for k in tl.static_range(4):
            j = 8 * half + 2 * k + odd
            d = _scale(to, j)[:, None]
            words = codes + (block * 16 + j) * 2
            found = tl.where(i < 8, tl.load(words)[:, None], tl.load(words + 1)[:, None]) >> 4 * (i & 7) & 7
            v = tl.load(x + ((block * 16 + j) * 16)[:, None] + i)
            code = tl.minimum(tl.maximum(nearest_whole(tl.div_rn(v, d)), -4), 3) + 4
            code = tl.where(d != 0, code, found)
            packed |= (code & 3) << 2 * k
            high |= code >> 2 << 4 * half + k
        store_byte(at + 32 + 32 * half, packed, live)
    store_byte(at, high, live)


def quantize_q3_k(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    blocks = x.numel() // 256
    scales, codes = x.new_empty(16 * blocks), x.new_empty(16 * blocks, 2, dtype=torch.int32)
    squares = sums = None
    per_row = 0
    if weights is not None:
        squares, sums, per_row = sums_of_squares(x, 256), x.new_empty(16 * blocks), len(weights) // 16
    launch_lanes(_search, 16 * blocks, x, weights, squares, scales, codes, sums, per_row)
    launch_lanes(_scales, blocks, scales, sums, out)
    launch_tiles(_codes, 2 * blocks, 64, x, codes, out)


@triton.jit
def _q3_k(blocks, row, i):
    """row: a sub-block of 16."""
    at, j = blocks + (row >> 4) * 110, row & 15
    d = _scale(at, j)
    packed = load_byte((at + 32 + (j >> 3) * 32 + (j & 1) * 16)[:, None] + i[None, :]) >> (j & 6)[:, None] & 3
    high = load_byte((at + (j & 1) * 16)[:, None] + i[None, :]) >> (j >> 1)[:, None] & 1
    return d[:, None] * ((packed | high << 2) - 4).to(tl.float32)


dequantize_q3_k = decoder(_q3_k, 16)
