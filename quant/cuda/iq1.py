"""IQ1_S and IQ1_M: groups of 8 numbers -1, 0 and 1 from a grid, shifted by +-0.125, with one scale per sub-block.

Three levels cut a sorted sub-block at two places, so all cuts are tried: numbers are ranked (equal ones keep their order),
sums over the first few of them are taken, and the cuts are compared, a sub-block per lane; then the levels go to the grid,
eight numbers per lane. A sub-block that is not live (zeros, or no cut better than none) keeps code 0, which is the grid's
first point, and scale 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl

from .arithmetic import half_bits, store_byte, store_half
from .iq_decode import dequantize_iq1_m as dequantize_iq1_m
from .iq_decode import dequantize_iq1_s as dequantize_iq1_s
from .iq_search import greatest, greatest_of, nearest_point, ordered_sum, scale_levels, store_scale
from .lanes import load_lanes, load_record, spread, squares, stacked, store_record, sums_of_squares, weights_of
from .launch import launch_lanes, launch_tiles
from .search import greater
from .tables import grid_on_device

PIECE = 1 << 22  # numbers at a time: the sums take twice the space of the numbers
LOWEST = tl.constexpr(-3.4028234663852886e38)


@triton.jit(do_not_specialize=("per_row", "count"))
def _rank(
    x, weights, sums, ranks, parts, highs, per_row, count, N: tl.constexpr, HALVES: tl.constexpr, ROWS: tl.constexpr
):
    """Each number's place in its sorted sub-block of N, as uint8; at these places w * x and w, for the prefix sums.

    parts: float32 [2, HALVES, N + 1, count], zero before: first of w * x, then of w; HALVES 2: the sub-block's two halves
    apart from each other. highs: the greatest magnitudes.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)
    i = tl.arange(0, N)[None, :]
    at = x + here * N
    v = tl.load(at[:, None] + i)
    if weights is not None:
        total = tl.load(sums + here // (256 // N))
        sigma2 = ((total + total) * 0.00390625)[:, None]
        w = tl.load(weights + (here % per_row * N)[:, None] + i) * tl.sqrt_rn(sigma2 + v * v)
    else:
        w = v * v
    rank = tl.zeros((ROWS, N), tl.int32)
    for j in range(N):
        other = tl.load(at + j)[:, None]
        rank += tl.where(i > j, other <= v, other < v).to(tl.int32)
    tl.store(ranks + row[:, None] * N + i, rank.to(tl.uint8), mask=live)
    tl.store(highs + row, tl.max(tl.abs(v), axis=1), mask=row < count)
    half = i // (N // HALVES)
    tl.store(parts + (half * (N + 1) + rank + 1) * count + row[:, None], w * v, mask=live)
    tl.store(parts + ((HALVES + half) * (N + 1) + rank + 1) * count + row[:, None], w, mask=live)


@triton.jit(do_not_specialize=("count",))
def _add_up(parts, count, N: tl.constexpr, PLANES: tl.constexpr, ROWS: tl.constexpr):
    """The sums of the first 0..N numbers in place of the numbers."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    for plane in range(PLANES):
        total = tl.zeros((ROWS,), tl.float32)
        for j in range(1, N + 1):
            at = parts + (plane * (N + 1) + j) * count + row
            total += tl.load(at, mask=live)
            tl.store(at, total, mask=live)


@triton.jit
def _sums_s(x, w, mid_x, mid_w, tail_x, tail_w, DOWN: tl.constexpr):
    """A sub-block's sums of w * x * q and w * q * q, from those of w * x and w below, between and above two cuts."""
    low: tl.constexpr = -1.125 if DOWN else -0.875
    mid: tl.constexpr = -0.125 if DOWN else 0.125
    top: tl.constexpr = 0.875 if DOWN else 1.125
    return x * low + mid_x * mid + tail_x * top, w * low * low + mid_w * mid * mid + tail_w * top * top


@triton.jit(do_not_specialize=("count",))
def _cuts_s(parts, highs, found, count, ROWS: tl.constexpr):
    """IQ1_S: the best cuts and shift of 32 sorted numbers.

    found: scale, the places of the cuts (the first is -1 where no cut was better than none), the shift's sign.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = tl.minimum(row, count - 1)
    xs, ws = parts + here, parts + 33 * count + here
    last_x, last_w = tl.load(xs + 32 * count), tl.load(ws + 32 * count)
    scale, best = tl.load(highs + here), tl.full((ROWS,), LOWEST, tl.float32)
    alive = scale >= 1e-12
    first, second = tl.full((ROWS,), -1, tl.int32), tl.full((ROWS,), -1, tl.int32)
    sign = tl.zeros((ROWS,), tl.int32)
    for i in range(33):
        x, w = tl.load(xs + i * count), tl.load(ws + i * count)
        for j in range(i, 33):
            x_j, w_j = tl.load(xs + j * count), tl.load(ws + j * count)
            for shift in tl.static_range(2):
                xq, qq = _sums_s(x, w, x_j - x, w_j - w, last_x - x_j, last_w - w_j, shift)
                better = (qq > 0) & (xq * xq > best * qq)
                ratio = tl.div_rn(xq, qq)
                scale, best = tl.where(better, ratio, scale), tl.where(better, ratio * xq, best)
                first, second = tl.where(better, i, first), tl.where(better, j, second)
                sign = tl.where(better, -1 if shift else 1, sign)
    first = tl.where(alive, first, -1)
    store_record(found, row, row < count, scale, first.to(tl.float32), second.to(tl.float32), sign.to(tl.float32))


@triton.jit
def _half_sums(all_x, all_w, cut, w_i, w_j, DOWN: tl.constexpr):
    """Half a sub-block's sums of w * x * q and w * q * q, in the form that ggml's formula has collapsed to."""
    top: tl.constexpr = 0.875 if DOWN else 1.125
    first: tl.constexpr = 1.25 if DOWN else 0.75  # low * low - mid * mid
    second: tl.constexpr = -0.75 if DOWN else -1.25  # mid * mid - top * top
    return all_x * top - cut, all_w * top * top + w_i * first + w_j * second


@triton.jit(do_not_specialize=("count",))
def _cuts_m(parts, highs, found, count, ROWS: tl.constexpr):
    """IQ1_M: the best cuts of 16 sorted numbers, each half with a shift of its own.

    found: as above, but last which halves are shifted down: 1 the second, 2 the first, 3 both.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = tl.minimum(row, count - 1)
    x0, x1 = parts + here, parts + 17 * count + here
    w0, w1 = parts + 34 * count + here, parts + 51 * count + here
    all_x0, all_x1 = tl.load(x0 + 16 * count), tl.load(x1 + 16 * count)
    all_w0, all_w1 = tl.load(w0 + 16 * count), tl.load(w1 + 16 * count)
    scale, best = tl.load(highs + here), tl.full((ROWS,), LOWEST, tl.float32)
    alive = scale >= 1e-7
    first, second = tl.full((ROWS,), -1, tl.int32), tl.full((ROWS,), -1, tl.int32)
    down = tl.zeros((ROWS,), tl.int32)
    for i in range(17):
        x0_i, x1_i, w0_i, w1_i = (
            tl.load(x0 + i * count), tl.load(x1 + i * count), tl.load(w0 + i * count), tl.load(w1 + i * count),
        )  # fmt: skip
        for j in range(i, 17):
            cut0, cut1 = x0_i + tl.load(x0 + j * count), x1_i + tl.load(x1 + j * count)
            w0_j, w1_j = tl.load(w0 + j * count), tl.load(w1 + j * count)
            for which in tl.static_range(4):
                xq0, qq0 = _half_sums(all_x0, all_w0, cut0, w0_i, w0_j, which // 2)
                xq1, qq1 = _half_sums(all_x1, all_w1, cut1, w1_i, w1_j, which % 2)
                xq, qq = xq0 + xq1, qq0 + qq1
                better = (qq > 0) & (xq * xq > best * qq)
                ratio = tl.div_rn(xq, qq)
                scale, best = tl.where(better, ratio, scale), tl.where(better, ratio * xq, best)
                first, second = tl.where(better, i, first), tl.where(better, j, second)
                down = tl.where(better, which, down)
    first = tl.where(alive, first, -1)
    store_record(found, row, row < count, scale, first.to(tl.float32), second.to(tl.float32), down.to(tl.float32))


@triton.jit
def _to_grid(xs, ws, ranks, row, record, shift, turned, entries, near, GROUPS: tl.constexpr):
    """The grid points of eight numbers' levels, and the scale that fits them where some point of the sub-block moved.

    Levels are 0 below the first cut, 1 between, 2 above; turned round where the scale was negative.
    """
    scale, first, second, _ = record
    live = first >= 0
    scale = tl.where(turned, -scale, scale)
    places = load_lanes(ranks + row * 8, 8)
    code = tl.zeros(row.shape, tl.int32)
    for i in tl.static_range(8):
        place = places[i].to(tl.float32)
        level = (place >= first).to(tl.int32) + (place >= second).to(tl.int32)
        code |= tl.where(turned, 2 - level, level) << 2 * i
    code = tl.where(live, code, 0)
    point = nearest_point(xs, ws, 0, scale, 1.0, shift - 1.0, code, entries, near, 2)
    moved = greatest_of((point != code).to(tl.int32), GROUPS) != 0
    xq, qq = (), ()
    for i in tl.static_range(8):
        q = ((point >> 2 * i & 3) - 1).to(tl.float32) + shift
        wq = ws[i] * q
        xq += (wq * xs[i],)
        qq += (wq * q,)
    sum_xq, sum_qq = ordered_sum(xq, GROUPS), ordered_sum(qq, GROUPS)
    scale = tl.where(moved & (sum_xq > 0) & (sum_qq > 0), tl.div_rn(sum_xq, sum_qq), scale)
    return tl.where(live, scale, 0.0), point


@triton.jit(do_not_specialize=("per_row", "count"))
def _fit_s(x, weights, sums, ranks, found, scales, words, places, entries, near, per_row, count, ROWS: tl.constexpr):
    """words: of eight numbers the place of their point in the grid, and 1 << 16 where the shift is down."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    xs, total = load_lanes(x + here * 8, 8), tl.load(sums + (here >> 5))
    ws = spread(weights_of(weights, here, 8, per_row), xs, (total + total) * 0.00390625)
    record = load_record(found, here >> 2)
    turned = record[0] < 0
    sign = tl.where(turned, -record[3], record[3])
    scale, point = _to_grid(xs, ws, ranks, here, record, sign * 0.125, turned, entries, near, 4)
    store_scale(scales, row, live, scale, 4)
    below = (record[1] >= 0) & (sign < 0)
    tl.store(words + row, tl.load(places + point) | below.to(tl.int32) << 16, mask=live)


@triton.jit
def _numbers_m(x, weights, sums, row, per_row):
    """Eight numbers and their weights."""
    xs = load_lanes(x + row * 8, 8)
    if weights is None:
        return xs, squares(xs)
    else:  # noqa: RET505 - what follows a return is compiled too
        total = tl.load(sums + (row >> 5))
        return xs, spread(weights_of(weights, row, 8, per_row), xs, (total + total) * 0.00390625)


@triton.jit(do_not_specialize=("per_row", "count"))
def _fit_m(x, weights, sums, ranks, found, scales, words, places, entries, near, per_row, count, ROWS: tl.constexpr):
    """words: of eight numbers the place of their point in the grid, 1 << 11 where the shift is down, above it the code."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    xs, ws = _numbers_m(x, weights, sums, here, per_row)
    record = load_record(found, here >> 1)
    turned = record[0] < 0
    down = record[3].to(tl.int32)
    down = tl.where(record[1] >= 0, tl.where(turned, 3 - down, down), 0)
    below = down & (2 - (here & 1)) != 0
    shift = tl.where(below, -0.125, 0.125)
    scale, point = _to_grid(xs, ws, ranks, here, record, shift, turned, entries, near, 2)
    store_scale(scales, row, live, scale, 2)
    tl.store(words + row, tl.load(places + point) | below.to(tl.int32) << 11 | point << 12, mask=live)


@triton.jit(do_not_specialize=("count",))
def _scales_s(scales, levels, out, count, ROWS: tl.constexpr):
    """levels: those of the sub-blocks, -1 in a super-block of zeros."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    values = load_lanes(scales + tl.minimum(row, count - 1) * 8, 8)
    top = greater(greatest(values), 0.0)
    d = tl.div_rn(top, 15.0)
    store_half(out + row * 50, d * 1.125, live)
    found = tl.where((top != 0)[:, None], stacked(scale_levels(values, tl.div_rn(1.0, d), 7)), -1)
    tl.store(levels + row[:, None] * 8 + tl.arange(0, 8)[None, :], found, mask=live[:, None])


@triton.jit(do_not_specialize=("count",))
def _write_s(words, levels, out, count, ROWS: tl.constexpr):
    """Per sub-block: eight bits of four grid points; three more bits of each, the scale and the shift's sign."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)
    i, j = tl.arange(0, 4)[None, :], tl.arange(0, 2)[None, :]
    word, level = tl.load(words + here[:, None] * 4 + i), tl.load(levels + here)
    high = tl.sum((word >> 8 & 7) << 3 * i, axis=1)  # of bits that nothing shares
    below = tl.load(words + here * 4) >> 16 & 1
    high |= tl.where(level < 0, 0, (level | below << 3) << 12)
    to, sub = out + (here >> 3) * 50, here & 7
    store_byte((to + 2 + sub * 4)[:, None] + i, word, live)
    store_byte((to + 34 + sub * 2)[:, None] + j, high[:, None] >> 8 * j, live)


@triton.jit(do_not_specialize=("count",))
def _levels_m(scales, levels, tops, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    values = load_lanes(scales + tl.minimum(row, count - 1) * 16, 16)
    top = greater(greatest(values), 0.0)
    found = stacked(scale_levels(values, tl.div_rn(1.0, tl.div_rn(top, 15.0)), 7))
    found = tl.where((top != 0)[:, None], found, 0)
    tl.store(levels + row[:, None] * 16 + tl.arange(0, 16)[None, :], found, mask=live[:, None])
    tl.store(tops + row, top, mask=live)


@triton.jit(do_not_specialize=("per_row", "count"))
def _scales_m(x, weights, sums, words, levels, tops, out, per_row, count, ROWS: tl.constexpr):
    """The super-block's scale, fitted to all of its 256 numbers in order, in the upper bits of four words of levels."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    top = tl.load(tops + here)
    sum_xq, sum_qq = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS,), tl.float32)
    for eight in range(32):
        xs, ws = _numbers_m(x, weights, sums, here * 32 + eight, per_row)
        word = tl.load(words + here * 32 + eight)
        shift = tl.where((word >> 11 & 1) != 0, -0.125, 0.125)
        level = (2 * tl.load(levels + here * 16 + eight // 2) + 1).to(tl.float32)
        for i in tl.static_range(8):
            q = (((word >> 12 + 2 * i & 3) - 1).to(tl.float32) + shift) * level
            wq = ws[i] * q
            sum_xq += wq * xs[i]
            sum_qq += wq * q
    d = tl.where(sum_qq > 0, tl.div_rn(sum_xq, sum_qq), tl.div_rn(top, 15.0))
    half = half_bits(d * 1.1125).to(tl.int32)
    for part in tl.static_range(4):
        word = (half >> 4 * part & 15) << 12
        for i in tl.static_range(4):
            word |= tl.load(levels + here * 16 + 4 * part + i) << 3 * i
        word = tl.where(top != 0, word, 0)
        at = (out + row * 56 + 48 + 2 * part).to(tl.pointer_type(tl.int16))
        tl.store(at, word.to(tl.int16), mask=live)


@triton.jit(do_not_specialize=("count",))
def _write_m(words, tops, out, count, ROWS: tl.constexpr):
    """Per super-block eight bits of 32 grid points; then of each three more bits, and its shift."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = (row < count)[:, None], tl.minimum(row, count - 1)[:, None]
    i, j = tl.arange(0, 32)[None, :], tl.arange(0, 16)[None, :]
    word, to = tl.load(words + here * 32 + i), out + here * 56
    store_byte(to + i, word, live)
    shifted = tl.where(tl.load(tops + here) != 0, word >> 11 & 1, 0)
    parts = tl.reshape(word >> 8 & 7 | shifted << 3, (ROWS, 16, 2)) << (4 * tl.arange(0, 2))[None, None, :]
    store_byte(to + 32 + j, tl.sum(parts, axis=2), live)  # of bits that nothing shares


def _pieces(x: torch.Tensor, out: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    step = max(1, PIECE // x.shape[1])
    for start in range(0, len(x), step):
        yield x[start : start + step], out[start : start + step]


def _search(x: torch.Tensor, weights: torch.Tensor | None, size: int, halves: int, cuts, fit) -> tuple:
    """Scales of the sub-blocks of `size` numbers, a word per eight numbers, and the sums of squares of the super-blocks."""
    subs = x.numel() // size
    ranks, highs = x.new_empty(x.numel(), dtype=torch.uint8), x.new_empty(subs)
    parts, found = x.new_zeros(2 * halves * (size + 1), subs), x.new_empty(subs, 4)
    scales, words = x.new_empty(subs), x.new_empty(x.numel() // 8, dtype=torch.int32)
    sums, cols = (None, 0) if weights is None else (sums_of_squares(x, 256), len(weights))
    launch_tiles(_rank, subs, size, x, weights, sums, ranks, parts, highs, cols // size, N=size, HALVES=halves)
    launch_lanes(_add_up, subs, parts, N=size, PLANES=2 * halves)
    launch_lanes(cuts, subs, parts, highs, found)
    tables = grid_on_device("IQ1_S", x.device)  # also IQ1_M's
    launch_lanes(fit, len(words), x, weights, sums, ranks, found, scales, words, *tables, cols // 8, warps=1)
    return scales, words, sums


def quantize_iq1_s(x: torch.Tensor, weights: torch.Tensor, out: torch.Tensor) -> None:
    for piece, blocks in _pieces(x, out):
        scales, words, _ = _search(piece, weights, 32, 1, _cuts_s, _fit_s)
        levels = words.new_empty(len(scales))
        launch_lanes(_scales_s, len(scales) // 8, scales, levels, blocks)
        launch_tiles(_write_s, len(scales), 4, words, levels, blocks)


def quantize_iq1_m(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    for piece, blocks in _pieces(x, out):
        scales, words, sums = _search(piece, weights, 16, 2, _cuts_m, _fit_m)
        supers = len(scales) // 16
        levels, tops = words.new_empty(len(scales)), scales.new_empty(supers)
        per_row = 0 if weights is None else len(weights) // 8
        launch_lanes(_levels_m, supers, scales, levels, tops)
        launch_lanes(_scales_m, supers, piece, weights, sums, words, levels, tops, blocks, per_row)
        launch_tiles(_write_m, supers, 64, words, tops, blocks)
