"""Q4_K and Q5_K: super-blocks of 8 blocks of 32; scales and minimums of 6 bits below two float16.

They differ in the number of levels and in Q5_K's fifth bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .arithmetic import load_byte, load_half, nearest_whole, store_byte, store_half
from .decode import decoder
from .lanes import load_lanes, stacked, store_record, sum_of_squares, sums_of_squares
from .launch import launch_lanes, launch_tiles
from .search import fit_positive_scale, fit_scale_and_minimum, scale_codes
from .superblocks import scales_and_minimums, weighted_sub_blocks


@triton.jit(do_not_specialize=("per_row", "count"))
def _search(x, weights, squares, found, sums, per_row, count, FIVE: tl.constexpr, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    top: tl.constexpr = 31.0 if FIVE else 15.0
    if weights is not None:
        xs, ws = weighted_sub_blocks(x, weights, squares, here, per_row, 32, 2.0)
        scale, low, sum_w, factor, search_low = fit_scale_and_minimum(xs, ws, top, -0.9, 0.05, 36, False)
        tl.store(sums + row, sum_w, mask=live)
    else:
        xs = load_lanes(x + here * 32, 32)
        mean = tl.sqrt_rn(sum_of_squares(xs) * 0.03125)  # / 32, which is exact either way
        ws = ()
        for i in tl.static_range(32):
            ws += (mean + tl.abs(xs[i]),)
        if FIVE:
            scale, low, sum_w, factor, search_low = fit_scale_and_minimum(xs, ws, top, -0.5, 0.1, 15, False)
        else:
            scale, low, sum_w, factor, search_low = fit_scale_and_minimum(xs, ws, top, -1.0, 0.1, 20, False)
    store_record(found, row, live, scale, low, factor, search_low)


@triton.jit(do_not_specialize=("count",))
def _scales(found, sums, out, count, FIVE: tl.constexpr, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    scales, mins = scales_and_minimums(found, here, 8)
    if sums is not None:
        ws = load_lanes(sums + here * 8, 8)
        d, s = fit_positive_scale(scales, ws, 63.0)
        dmin, m = fit_positive_scale(mins, ws, 63.0)
    else:
        d, s = scale_codes(scales, 63.0, 63)
        dmin, m = scale_codes(mins, 63.0, 63)
    to = out + row * (176 if FIVE else 144)
    store_half(to, d, live)
    store_half(to + 2, dmin, live)
    a, b, c = (), (), ()
    for j in tl.static_range(4):
        p, q, r, t = s[j], m[j], s[4 + j], m[4 + j]
        if FIVE:  # a code can exceed 63 if the search went astray; the reference limits those of Q5_K only
            p, q, r, t = tl.minimum(p, 63), tl.minimum(q, 63), tl.minimum(r, 63), tl.minimum(t, 63)
        a += (p | r >> 4 << 6,)
        b += (q | t >> 4 << 6,)
        c += (r & 15 | (t & 15) << 4,)
    at = to[:, None] + 4 + tl.arange(0, 4)[None, :]
    store_byte(at, stacked(a), live[:, None])
    store_byte(at + 4, stacked(b), live[:, None])
    store_byte(at + 8, stacked(c), live[:, None])


@triton.jit
def _scale_and_minimum(at, j):
    """Of the sub-blocks j (int32) of the super-blocks at the pointers `at`."""
    a, b, c = load_byte(at + 4 + (j & 3)), load_byte(at + 8 + (j & 3)), load_byte(at + 12 + (j & 3))
    s = tl.where(j < 4, a & 63, c & 15 | a >> 6 << 4)
    m = tl.where(j < 4, b & 63, c >> 4 | b >> 6 << 4)
    return load_half(at) * s.to(tl.float32), load_half(at + 2) * m.to(tl.float32)


@triton.jit(do_not_specialize=("count",))
def _codes(x, found, out, count, FIVE: tl.constexpr, ROWS: tl.constexpr):
    """The final codes; where a scale came out as zero, those that the search had found."""
    top: tl.constexpr = 31 if FIVE else 15
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)
    i = tl.arange(0, 32)
    to = out + here * (176 if FIVE else 144)
    fifths = tl.zeros((ROWS, 32), tl.int32)
    for pair in tl.static_range(4):
        packed = tl.zeros((ROWS, 32), tl.int32)
        for half in tl.static_range(2):
            j = tl.full((ROWS,), 2 * pair + half, tl.int32)
            d, m = _scale_and_minimum(to, j)
            factor = tl.load(found + (here * 8 + j) * 4 + 2)[:, None]
            low = tl.load(found + (here * 8 + j) * 4 + 3)[:, None]
            v = tl.load(x + (here * 256 + j * 32)[:, None] + i[None, :])
            last = nearest_whole(tl.div_rn(v + m[:, None], d[:, None]))
            code = tl.where((d != 0)[:, None], last, nearest_whole(factor * (v - low)))
            code = tl.minimum(tl.maximum(code, 0), top)
            packed |= (code & 15) << 4 * half
            fifths |= code >> 4 << 2 * pair + half
        store_byte(to[:, None] + (48 if FIVE else 16) + 32 * pair + i[None, :], packed, live)
    if FIVE:
        store_byte(to[:, None] + 16 + i[None, :], fifths, live)


def _quantize(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor, five: bool) -> None:
    blocks = x.numel() // 256
    found = x.new_empty(8 * blocks, 4)
    squares = sums = None
    per_row = 0
    if weights is not None:
        squares, sums, per_row = sums_of_squares(x, 256), x.new_empty(8 * blocks), len(weights) // 32
    launch_lanes(_search, 8 * blocks, x, weights, squares, found, sums, per_row, FIVE=five)
    launch_lanes(_scales, blocks, found, sums, out, FIVE=five)
    launch_tiles(_codes, blocks, 64, x, found, out, FIVE=five)


def quantize_q4_k(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    _quantize(x, weights, out, five=False)


def quantize_q5_k(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    _quantize(x, weights, out, five=True)


@triton.jit
def _q4_k(blocks, row, i):
    at, j = blocks + (row >> 3) * 144, row & 7
    d, m = _scale_and_minimum(at, j)
    packed = load_byte((at + 16 + (j >> 1) * 32)[:, None] + i[None, :])
    code = packed >> ((j & 1) << 2)[:, None] & 15
    return d[:, None] * code.to(tl.float32) - m[:, None]


@triton.jit
def _q5_k(blocks, row, i):
    at, j = blocks + (row >> 3) * 176, row & 7
    d, m = _scale_and_minimum(at, j)
    packed = load_byte((at + 48 + (j >> 1) * 32)[:, None] + i[None, :])
    fifth = load_byte(at[:, None] + 16 + i[None, :]) >> j[:, None] & 1
    code = packed >> ((j & 1) << 2)[:, None] & 15 | fifth << 4
    return d[:, None] * code.to(tl.float32) - m[:, None]


dequantize_q4_k = decoder(_q4_k, 32)
dequantize_q5_k = decoder(_q5_k, 32)
