"""Q2_K: super-blocks of 16 blocks of 16; scales and minimums of 4 bits below two float16."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .arithmetic import load_byte, load_half, nearest_whole, store_byte, store_half
from .decode import decoder
from .lanes import load_lanes, load_record, stacked, store_record, sums_of_squares
from .launch import launch_lanes, launch_tiles
from .search import fit_positive_scale, fit_scale_and_minimum, scale_codes
from .superblocks import magnitudes, scales_and_minimums, weighted_sub_blocks


@triton.jit(do_not_specialize=("per_row", "count"))
def _search(x, weights, squares, found, sums, per_row, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    if weights is not None:
        xs, ws = weighted_sub_blocks(x, weights, squares, here, per_row, 16, 1.0)
        scale, low, sum_w, factor, search_low = fit_scale_and_minimum(xs, ws, 3.0, -0.9, 0.05, 36, False)
        tl.store(sums + row, sum_w, mask=live)
    else:
        xs = load_lanes(x + here * 16, 16)
        scale, low, sum_w, factor, search_low = fit_scale_and_minimum(xs, magnitudes(xs), 3.0, -0.5, 0.1, 15, True)
    store_record(found, row, live, scale, low, factor, search_low)


@triton.jit(do_not_specialize=("count",))
def _scales(found, sums, out, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    scales, mins = scales_and_minimums(found, here, 16)
    if sums is not None:
        ws = load_lanes(sums + here * 16, 16)
        d, s = fit_positive_scale(scales, ws, 15.0)
        dmin, m = fit_positive_scale(mins, ws, 15.0)
    else:
        d, s = scale_codes(scales, 15.0, 255)
        dmin, m = scale_codes(mins, 15.0, 255)
    to = out + row * 84
    levels = ()
    for j in tl.static_range(16):
        levels += (s[j] | m[j] << 4,)
    store_byte(to[:, None] + tl.arange(0, 16)[None, :], stacked(levels), live[:, None])
    store_half(to + 80, d, live)
    store_half(to + 82, dmin, live)


@triton.jit(do_not_specialize=("count",))
def _codes(x, found, out, count, ROWS: tl.constexpr):
    """The codes of 16 bytes per row, four sub-blocks; where a scale came out as zero, those that the search had found."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)
    i = tl.arange(0, 16)[None, :]
    block, first = here >> 2, (here >> 1 & 1) * 8 + (here & 1)  # of every second sub-block
    to = out + block * 84
    scale, low_scale = load_half(to + 80), load_half(to + 82)
    packed = tl.zeros((ROWS, 16), tl.int32)
    for k in tl.static_range(4):
        j = first + 2 * k
        levels = load_byte(to + j)
        d = (scale * (levels & 15).to(tl.float32))[:, None]
        m = (low_scale * (levels >> 4).to(tl.float32))[:, None]
        _, _, factor, low = load_record(found, block * 16 + j)
        v = tl.load(x + ((block * 16 + j) * 16)[:, None] + i)
        code = tl.where(d != 0, nearest_whole(tl.div_rn(v + m, d)), nearest_whole(factor[:, None] * (v - low[:, None])))
        packed |= tl.minimum(tl.maximum(code, 0), 3) << 2 * k
    store_byte((to + 16 + (here & 3) * 16)[:, None] + i, packed, live)


def quantize_q2_k(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    blocks = x.numel() // 256
    found = x.new_empty(16 * blocks, 4)
    squares = sums = None
    per_row = 0
    if weights is not None:
        squares, sums, per_row = sums_of_squares(x, 256), x.new_empty(16 * blocks), len(weights) // 16
    launch_lanes(_search, 16 * blocks, x, weights, squares, found, sums, per_row)
    launch_lanes(_scales, blocks, found, sums, out)
    launch_tiles(_codes, 4 * blocks, 64, x, found, out)


@triton.jit
def _q2_k(blocks, row, i):
    """row: a sub-block of 16."""
    at, j = blocks + (row >> 4) * 84, row & 15
    levels = load_byte(at + j)
    d, m = load_half(at + 80) * (levels & 15).to(tl.float32), load_half(at + 82) * (levels >> 4).to(tl.float32)
    packed = load_byte((at + 16 + (j >> 3) * 32 + (j & 1) * 16)[:, None] + i[None, :])
    code = packed >> (j & 6)[:, None] & 3
    return d[:, None] * code.to(tl.float32) - m[:, None]


dequantize_q2_k = decoder(_q2_k, 16)
