"""IQ2_XXS, IQ2_XS and IQ2_S: groups of 8 numbers from a grid, with signs apart."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .arithmetic import store_byte, store_half
from .iq_decode import dequantize_iq2_s as dequantize_iq2_s
from .iq_decode import dequantize_iq2_xs as dequantize_iq2_xs
from .iq_decode import dequantize_iq2_xxs as dequantize_iq2_xxs
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
from .lanes import load_lanes, spread, stacked, sums_of_squares, weights_of
from .launch import launch_lanes, launch_tiles
from .search import fit_positive_scale
from .tables import grid_on_device


@triton.jit
def _store_found(scales, words, places, row, live, scale, sign, code, GROUPS: tl.constexpr):
    """A sub-block's scale; of eight numbers the place of their point in the grid, above it their signs."""
    store_scale(scales, row, live, scale, GROUPS)
    tl.store(words + row, tl.load(places + code) | sign << 16, mask=live)


@triton.jit(do_not_specialize=("per_row", "count"))
def _start_xxs(x, weights, sums, starts, per_row, count, ROWS: tl.constexpr):
    """The scales of sub-blocks of 32 without a grid."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = tl.minimum(row, count - 1)
    xs = load_lanes(x + here * 32, 32)
    ws = spread(weights_of(weights, here, 32, per_row), xs, tl.load(sums + (here >> 3)) * 0.00390625)
    sizes = ()
    for group in tl.static_range(4):
        part, part_ws = (), ()
        for i in tl.static_range(8):
            part += (xs[8 * group + i],)
            part_ws += (ws[8 * group + i],)
        part, _, _, _ = split_signs(part, part_ws, True)
        sizes += part
    start, _ = fit_positive_scale(sizes, ws, 4.0)
    tl.store(starts + row, start, mask=row < count)


@triton.jit(do_not_specialize=("per_row", "count"))
def _search_xxs(x, weights, sums, starts, scales, words, places, entries, near, per_row, count, ROWS: tl.constexpr):
    """The scales tried surround that of _start_xxs()."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = tl.minimum(row, count - 1)
    xs = load_lanes(x + here * 8, 8)
    ws = spread(weights_of(weights, here, 8, per_row), xs, tl.load(sums + (here >> 5)) * 0.00390625)
    sizes, roots, wxs, sign = split_signs(xs, ws, True)
    start = tl.load(starts + (here >> 2))
    reference = start * 3.0
    live = (greatest_of(greatest(sizes), 4) >= 1e-15) & (reference > 0)
    scale, codes, off = search(sizes, ws, roots, wxs, live, reference, start, entries, near, 4, 6, 0.1, 0, 2)
    scale, codes = refit(sizes, ws, roots, wxs, scale, live & (scale > 0), codes, off, entries, near, 4, False, 2)
    scale, sign = settle(scale, live, sign, True)
    _store_found(scales, words, places, row, row < count, scale, sign, codes[0], 4)


@triton.jit(do_not_specialize=("per_row", "count"))
def _search_16(
    x, weights, sums, scales, words, places, entries, near, per_row, count, EVEN: tl.constexpr, ROWS: tl.constexpr
):
    """IQ2_XS (EVEN: an even number of signs is stored) and IQ2_S: sub-blocks of 16."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = tl.minimum(row, count - 1)
    xs = load_lanes(x + here * 8, 8)
    total = tl.load(sums + (here >> 5))
    sigma2 = (total if EVEN else total + total) * 0.00390625
    if weights is not None:
        ws = spread(weights_of(weights, here, 8, per_row), xs, sigma2)
    else:
        ws = ()
        for i in tl.static_range(8):
            ws += (0.25 * sigma2 + xs[i] * xs[i],)
    sizes, roots, wxs, sign = split_signs(xs, ws, EVEN)
    high = greatest_of(greatest(sizes), 2)
    live = high >= (1e-15 if EVEN else 1e-8)
    start = tl.div_rn(high, 5.0)
    scale, codes, off = search(sizes, ws, roots, wxs, live, high, start, entries, near, 2, 9, 0.1, 0, 2)
    redo = live & any_off(off, 2) & (scale > 0)
    scale, codes = refit(sizes, ws, roots, wxs, scale, redo, codes, off, entries, near, 2, True, 2)
    scale, sign = settle(scale, live, sign, EVEN)
    _store_found(scales, words, places, row, row < count, scale, sign, codes[0], 2)


@triton.jit(do_not_specialize=("count",))
def _scales_xxs(scales, levels, out, count, ROWS: tl.constexpr):
    """levels: those of the sub-blocks, -1 in a super-block of zeros."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    values = load_lanes(scales + tl.minimum(row, count - 1) * 8, 8)
    top = greatest(values)
    d = tl.div_rn(top, 31.0)
    store_half(out + row * 66, d, live)
    found = tl.where((top != 0)[:, None], stacked(scale_levels(values, tl.div_rn(1.0, d), 15)), -1)
    tl.store(levels + row[:, None] * 8 + tl.arange(0, 8)[None, :], found, mask=live[:, None])


@triton.jit(do_not_specialize=("count",))
def _scales_16(scales, levels, out, count, EVEN: tl.constexpr, ROWS: tl.constexpr):
    """levels: int32 [super-blocks], -1 where it is one of zeros."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    values = load_lanes(scales + tl.minimum(row, count - 1) * 16, 16)
    top = greatest(values)
    d = tl.div_rn(top, 31.0)
    to = out + row * (74 if EVEN else 82)
    store_half(to, d if EVEN else d * 0.9875, live)
    packed = stacked(nibbles(scale_levels(values, tl.div_rn(1.0, d), 15)))
    packed = tl.where((top != 0)[:, None], packed, 0)
    store_byte(to[:, None] + (66 if EVEN else 74) + tl.arange(0, 8)[None, :], packed, live[:, None])
    tl.store(levels + row, tl.where(top != 0, 0, -1), mask=live)


@triton.jit(do_not_specialize=("count",))
def _write_xxs(words, levels, out, count, ROWS: tl.constexpr):
    """Per sub-block four grid points, then four times seven signs and a scale to a word."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)
    level = tl.load(levels + here)
    points, signs = tl.zeros((ROWS,), tl.int32), level << 28
    for group in tl.static_range(4):
        word = tl.load(words + here * 4 + group)
        points |= (word & 255) << 8 * group
        signs |= word >> 16 << 7 * group
    i = tl.arange(0, 8)[None, :]
    byte = tl.where(i < 4, points[:, None], signs[:, None]) >> 8 * (i & 3)
    to = out + (here >> 3) * 66 + 2 + (here & 7) * 8
    store_byte(to[:, None] + i, tl.where((level < 0)[:, None], 0, byte), live)


@triton.jit(do_not_specialize=("count",))
def _write_xs(words, levels, out, count, ROWS: tl.constexpr):
    """Per super-block 32 times nine bits of grid and seven of signs."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)[:, None]
    i = tl.arange(0, 64)[None, :]
    word = tl.load(words + here * 32 + (i >> 1))
    byte = (word & 511 | word >> 16 << 9) >> 8 * (i & 1)
    store_byte(out + here * 74 + 2 + i, tl.where(tl.load(levels + here) < 0, 0, byte), live)


@triton.jit(do_not_specialize=("count",))
def _write_s(words, out, count, ROWS: tl.constexpr):
    """Per super-block 32 times eight bits of grid, as many times eight signs, and of each point two more bits."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)[:, None]
    i, j = tl.arange(0, 32)[None, :], tl.arange(0, 8)[None, :]
    word = tl.load(words + here * 32 + i)
    to = out + here * 82 + 2
    store_byte(to + i, word, live)
    store_byte(to + 32 + i, word >> 16, live)
    high = tl.reshape(word >> 8 & 3, (ROWS, 8, 4)) << (2 * tl.arange(0, 4))[None, None, :]
    store_byte(to + 64 + j, tl.sum(high, axis=2), live)  # of bits that nothing shares


def _room(x: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """For the scales of sub-blocks of `size` numbers, and for a word per eight numbers."""
    return x.new_empty(x.numel() // size), x.new_empty(x.numel() // 8, dtype=torch.int32)


def quantize_iq2_xxs(x: torch.Tensor, weights: torch.Tensor, out: torch.Tensor) -> None:
    scales, words = _room(x, 32)
    starts, levels = torch.empty_like(scales), words.new_empty(len(scales))
    sums, per_row = sums_of_squares(x, 256), len(weights) // 8
    tables = grid_on_device("IQ2_XXS", x.device)
    launch_lanes(_start_xxs, len(starts), x, weights, sums, starts, per_row // 4)
    launch_lanes(_search_xxs, len(words), x, weights, sums, starts, scales, words, *tables, per_row, warps=1)
    launch_lanes(_scales_xxs, len(scales) // 8, scales, levels, out)
    launch_tiles(_write_xxs, len(scales), 8, words, levels, out)


def _search_and_scales(format: str, x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor, even: bool) -> tuple:
    scales, words = _room(x, 16)
    levels = words.new_empty(len(scales) // 16)
    sums, per_row = sums_of_squares(x, 256), 0 if weights is None else len(weights) // 8
    tables = grid_on_device(format, x.device)
    launch_lanes(_search_16, len(words), x, weights, sums, scales, words, *tables, per_row, warps=1, EVEN=even)
    launch_lanes(_scales_16, len(levels), scales, levels, out, EVEN=even)
    return words, levels


def quantize_iq2_xs(x: torch.Tensor, weights: torch.Tensor, out: torch.Tensor) -> None:
    words, levels = _search_and_scales("IQ2_XS", x, weights, out, even=True)
    launch_tiles(_write_xs, len(levels), 64, words, levels, out)


def quantize_iq2_s(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    words, levels = _search_and_scales("IQ2_S", x, weights, out, even=False)
    launch_tiles(_write_s, len(levels), 64, words, out)
