"""IQ3_XXS and IQ3_S: groups of 4 numbers from a grid, with signs apart."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .arithmetic import store_byte, store_half
from .iq_decode import dequantize_iq3_s as dequantize_iq3_s
from .iq_decode import dequantize_iq3_xxs as dequantize_iq3_xxs
from .iq_search import (
    any_off,
    greatest,
    greatest_of,
    nibbles,
    refit,
    scale_levels,
    search,
    settle,
    split_signs,
    store_scale,
)
from .lanes import load_lanes, spread, squares, stacked, sums_of_squares, weights_of
from .launch import launch_lanes, launch_tiles
from .tables import grid_on_device


@triton.jit(do_not_specialize=("per_row", "count"))
def _search(
    x, weights, sums, scales, words, places, entries, near, per_row, count, SMALL: tl.constexpr, ROWS: tl.constexpr
):
    """IQ3_XXS (SMALL: an even number of signs is stored) and IQ3_S: sub-blocks of 32.

    Leaves a scale each, and of eight numbers a word: the places of two points in the grid in ten bits each, then eight
    signs; bit 30 is set in sub-blocks that are not zeros.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    xs = load_lanes(x + here * 8, 8)
    if weights is not None:
        total = tl.load(sums + (here >> 5))
        ws = spread(weights_of(weights, here, 8, per_row), xs, (total + total) * 0.00390625)
    else:
        ws = squares(xs)
    sizes, roots, wxs, sign = split_signs(xs, ws, SMALL)
    high = greatest_of(greatest(sizes), 4)
    some = (high >= 1e-8) if SMALL else (high != 0)
    start = tl.div_rn(high, 15.0)
    if SMALL:
        scale, codes, off = search(sizes, ws, roots, wxs, some, high, start, entries, near, 4, 15, 0.2, 0, 3)
    else:
        scale, codes, off = search(sizes, ws, roots, wxs, some, high, start, entries, near, 4, 9, 0.2, 1, 3)
    redo = some & any_off(off, 4) & (scale > 0)
    scale, codes = refit(sizes, ws, roots, wxs, scale, redo, codes, off, entries, near, 4, SMALL, 3)
    scale, sign = settle(scale, some, sign, SMALL)
    store_scale(scales, row, live, scale, 4)
    word = tl.load(places + codes[0]) | tl.load(places + codes[1]) << 10 | sign << 20 | some.to(tl.int32) << 30
    tl.store(words + row, word, mask=live)


@triton.jit
def _points(words, here, point):
    """The grid points `point` (int32 [1, n]) of sub-blocks."""
    return tl.load(words + here[:, None] * 4 + (point >> 1)) >> (point & 1) * 10 & 1023


@triton.jit(do_not_specialize=("count",))
def _scales_xxs(scales, levels, out, count, ROWS: tl.constexpr):
    """levels: those of the sub-blocks, -1 in a super-block of zeros."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    values = load_lanes(scales + tl.minimum(row, count - 1) * 8, 8)
    top = greatest(values)
    d = tl.div_rn(top, 31.0)
    store_half(out + row * 98, d * 1.0125, live)
    found = tl.where((top != 0)[:, None], stacked(scale_levels(values, tl.div_rn(1.0, d), 15)), -1)
    tl.store(levels + row[:, None] * 8 + tl.arange(0, 8)[None, :], found, mask=live[:, None])


@triton.jit(do_not_specialize=("count",))
def _write_xxs(words, levels, out, count, ROWS: tl.constexpr):
    """Per sub-block eight grid points, and elsewhere four times seven signs and a scale in a word."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)
    level = tl.load(levels + here)
    word, zero = level << 28, (level < 0)[:, None]
    for group in tl.static_range(4):
        word |= (tl.load(words + here * 4 + group) >> 20 & 127) << 7 * group
    i, j = tl.arange(0, 8)[None, :], tl.arange(0, 4)[None, :]
    to, sub = out + (here >> 3) * 98 + 2, here & 7
    store_byte((to + sub * 8)[:, None] + i, tl.where(zero, 0, _points(words, here, i)), live)
    store_byte((to + 64 + sub * 4)[:, None] + j, tl.where(zero, 0, word[:, None] >> 8 * j), live)


@triton.jit(do_not_specialize=("count",))
def _scales_s(scales, words, slots, out, count, ROWS: tl.constexpr):
    """slots: where the points and signs of a sub-block go.

    The reference does not step over a sub-block of zeros: the grid points and signs of the sub-blocks after it move up
    by one, while their ninth bits and scales stay. Such a block decodes to other numbers, there as here.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    values = load_lanes(scales + here * 8, 8)
    top = greatest(values)
    d = tl.div_rn(top, 31.0)
    to = out + row * 110
    store_half(to, d * 1.033, live)
    packed = tl.where((top != 0)[:, None], stacked(nibbles(scale_levels(values, tl.div_rn(1.0, d), 15))), 0)
    store_byte(to[:, None] + 106 + tl.arange(0, 4)[None, :], packed, live[:, None])
    used = ()
    following, behind = tl.zeros((ROWS,), tl.int32), tl.zeros((ROWS,), tl.int32)
    for j in tl.static_range(8):
        used += (tl.load(words + (here * 8 + j) * 4) >> 30 & 1,)
        behind += used[j]
    found = ()
    for j in tl.static_range(8):
        found += (tl.where(used[j] != 0, following, behind),)
        following += used[j]
        behind += 1 - used[j]
    tl.store(slots + row[:, None] * 8 + tl.arange(0, 8)[None, :], stacked(found), mask=live[:, None])


@triton.jit(do_not_specialize=("count",))
def _write_s(words, slots, out, count, ROWS: tl.constexpr):
    """Per sub-block: eight bits of eight grid points, their ninth bits, 32 signs."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    i, j = tl.arange(0, 8)[None, :], tl.arange(0, 4)[None, :]
    points, word, slot = _points(words, here, i), tl.load(words + here[:, None] * 4 + j), tl.load(slots + here)
    used = (tl.load(words + here * 4) >> 30 & 1 != 0)[:, None]
    to = out + (here >> 3) * 110
    store_byte((to + 2 + slot * 8)[:, None] + i, tl.where(used, points, 0), live[:, None])
    store_byte((to + 74 + slot * 4)[:, None] + j, tl.where(used, word >> 20, 0), live[:, None])
    store_byte(to + 66 + (here & 7), tl.sum(points >> 8 << i, axis=1), live)  # of bits that nothing shares


def _found(x: torch.Tensor, weights: torch.Tensor | None, small: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The sub-blocks' scales, words, and room for an int32 each."""
    scales, words = x.new_empty(x.numel() // 32), x.new_empty(x.numel() // 8, dtype=torch.int32)
    sums, per_row = (None, 0) if weights is None else (sums_of_squares(x, 256), len(weights) // 8)
    tables = grid_on_device("IQ3_XXS" if small else "IQ3_S", x.device)
    launch_lanes(_search, len(words), x, weights, sums, scales, words, *tables, per_row, warps=1, SMALL=small)
    return scales, words, words.new_empty(len(scales))


def quantize_iq3_xxs(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    scales, words, levels = _found(x, weights, small=True)
    launch_lanes(_scales_xxs, len(scales) // 8, scales, levels, out)
    launch_tiles(_write_xxs, len(scales), 8, words, levels, out)


def quantize_iq3_s(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    scales, words, slots = _found(x, weights, small=False)
    launch_lanes(_scales_s, len(scales) // 8, scales, words, slots, out)
    launch_tiles(_write_s, len(scales), 8, words, slots, out)
