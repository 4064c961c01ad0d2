"""IQ1_S and IQ1_M: groups of 8 numbers -1, 0 and 1 from a grid, shifted by +-0.125, with one scale per sub-block.

Three levels cut a sorted sub-block at two places, so all cuts are tried. Sixteen sub-blocks go side by side. A lane that is
not live (zeros, or no cut better than none) keeps code 0, which is the grid's first point, and scale 0.
"""

from __future__ import annotations

import numpy as np

from .compile import inline, kernel
from .half import store_half, to_half
from .iq_batch import batch_of, greatest, scale_codes
from .iq_decode import dequantize_iq1_m as dequantize_iq1_m
from .iq_decode import dequantize_iq1_s as dequantize_iq1_s
from .iq_grid import grid
from .iq_search import nearest_points, spread
from .lanes import any_lane, highest, load, magnitude, shift_right, splat, sqrt, store, to_f32, where
from .lookup import item, repeat8
from .search import greater

f32 = np.float32
DELTA = f32(0.125)
LOWEST = f32(-3.4028234663852886e38)


@inline
def ranks_of(x, n, ranks):
    """Each number's place in its sorted sub-block; equal numbers keep their order. ranks: [n, 16]."""
    for i in range(n):
        v = load(x, 16 * i)
        rank = splat(0)
        for j in range(n):
            if j < i:
                rank = where(load(x, 16 * j) <= v, rank + 1, rank)
            elif j > i:
                rank = where(load(x, 16 * j) < v, rank + 1, rank)
        store(ranks, 16 * i, rank)


@inline
def move_to_grid(wide, n, codes, off, scales, shifts, entries, near):
    """Every group goes to the near point with the least weighted distance (iq1_find_best_neighbour2)."""
    for pair in range(n // 16):
        for lane in range(16):
            a = 32 * pair + lane
            code, next_code = item(codes, a), item(codes, a + 16)
            scale, offset = splat(item(scales, lane)), repeat8(shifts, a, a + 16) - splat(f32(1))
            at = 128 * (n // 16 * lane + pair)
            entry, other = item(entries, code), item(entries, next_code)
            first, second = nearest_points(scale, f32(1), offset, wide, at, entry, other, near, 2)
            off[a], off[a + 16] = first != code, second != next_code
            codes[a], codes[a + 16] = first, second


@inline
def group_codes(ranks, group, first, second, turned):
    """Levels 0 below the first cut, 1 between, 2 above; turned round where the scale was negative."""
    code = splat(0)
    for i in range(8):
        rank = load(ranks, 16 * (8 * group + i))
        level = where(rank >= first, splat(1), splat(0)) + where(rank >= second, splat(1), splat(0))
        code += where(turned, 2 - level, level) << 2 * i
    return code


@inline
def shifted_level(code, i, shift):
    return to_f32((shift_right(code, 2 * i) & 3) - 1) + shift


@inline
def fit_again(x, w, n, codes, shifts, scale, moved):
    """The scale that fits the grid points, for lanes where a group was moved."""
    sum_xq = sum_qq = splat(f32(0))
    for group in range(n // 8):
        code, shift = load(codes, 16 * group), load(shifts, 16 * group)
        for i in range(8):
            at = 16 * (8 * group + i)
            q = shifted_level(code, i, shift)
            wq = load(w, at) * q
            sum_xq += wq * load(x, at)
            sum_qq += wq * q
    zero = splat(f32(0))
    return where(moved & (sum_xq > zero) & (sum_qq > zero), sum_xq / sum_qq, scale)


@inline
def highest_magnitude(x, n):
    high = magnitude(load(x, 0))
    for i in range(1, n):
        high = greater(high, magnitude(load(x, 16 * i)))
    return high


@inline
def best_cuts_s(sum_x, sum_w, tails, high):
    """IQ1_S: the best cuts and shift of 32 sorted numbers, from prefix sums [33, 16].

    Returns scale, the places of the cuts (the first is -1 where no cut was better than none), the shift's sign.
    """
    zero = splat(f32(0))
    low_p, mid_p, top_p = f32(-1) + DELTA, DELTA, f32(1) + DELTA
    low_m, mid_m, top_m = f32(-1) - DELTA, -DELTA, f32(1) - DELTA
    last_x, last_w = load(sum_x, 16 * 32), load(sum_w, 16 * 32)
    for j in range(33):
        x, w = last_x - load(sum_x, 16 * j), last_w - load(sum_w, 16 * j)
        store(tails, 64 * j, x * splat(top_p))
        store(tails, 64 * j + 16, w * splat(top_p) * splat(top_p))
        store(tails, 64 * j + 32, x * splat(top_m))
        store(tails, 64 * j + 48, w * splat(top_m) * splat(top_m))
    scale, best = high, splat(LOWEST)
    first, second, sign = splat(-1), splat(-1), splat(0)
    for i in range(33):
        x, w = load(sum_x, 16 * i), load(sum_w, 16 * i)
        x_p, x_m = x * splat(low_p), x * splat(low_m)
        w_p, w_m = w * splat(low_p) * splat(low_p), w * splat(low_m) * splat(low_m)
        for j in range(i, 33):
            mid_x, mid_w = load(sum_x, 16 * j) - x, load(sum_w, 16 * j) - w
            xq = x_p + mid_x * splat(mid_p) + load(tails, 64 * j)
            qq = w_p + mid_w * splat(mid_p) * splat(mid_p) + load(tails, 64 * j + 16)
            better = (qq > zero) & (xq * xq > best * qq)
            if any_lane(better):
                ratio = xq / qq
                scale, best = where(better, ratio, scale), where(better, ratio * xq, best)
                first, second, sign = where(better, i, first), where(better, j, second), where(better, 1, sign)
            xq = x_m + mid_x * splat(mid_m) + load(tails, 64 * j + 32)
            qq = w_m + mid_w * splat(mid_m) * splat(mid_m) + load(tails, 64 * j + 48)
            better = (qq > zero) & (xq * xq > best * qq)
            if any_lane(better):
                ratio = xq / qq
                scale, best = where(better, ratio, scale), where(better, ratio * xq, best)
                first, second, sign = where(better, i, first), where(better, j, second), where(better, -1, sign)
    return scale, first, second, sign


@kernel
def _quantize_s(x, weights, row, places, entries, near, out):
    """IQ1_S: eight sub-blocks of 32 per block."""
    n = 32
    values, w, ranks = np.empty(512, f32), np.empty(512, f32), np.empty(512, np.int32)
    sum_x, sum_w, tails = np.empty(528, f32), np.empty(528, f32), np.empty(2112, f32)
    codes, off, shifts = np.empty(64, np.int32), np.empty(64, np.int32), np.empty(64, f32)
    scales, levels, signs = np.empty(16, f32), np.empty(16, np.int32), np.empty(16, np.int32)
    sums, tile, wide = np.empty(16, f32), np.empty(512, f32), np.empty(4096, f32)
    zero = splat(f32(0))
    blocks = x.size // 256
    for block in range(0, blocks, 2):
        total = batch_of(x, weights, True, row, block, n, sums, tile, values, w)
        sigma2 = (total + total) / splat(f32(256))
        for i in range(n):
            v = load(values, 16 * i)
            store(w, 16 * i, load(w, 16 * i) * sqrt(sigma2 + v * v))
        high = highest_magnitude(values, n)
        live = high >= splat(f32(1e-12))
        ranks_of(values, n, ranks)
        store(sum_x, 0, zero)
        store(sum_w, 0, zero)
        for i in range(16 * n):
            at = 16 * (ranks[i] + 1) + i % 16
            sum_x[at] = w[i] * values[i]
            sum_w[at] = w[i]
        for i in range(n):
            store(sum_x, 16 * i + 16, load(sum_x, 16 * i) + load(sum_x, 16 * i + 16))
            store(sum_w, 16 * i + 16, load(sum_w, 16 * i) + load(sum_w, 16 * i + 16))
        scale, first, second, sign = best_cuts_s(sum_x, sum_w, tails, high)
        live = live & (first >= 0)
        turned = scale < zero
        scale = where(turned, zero - scale, scale)
        sign = where(turned, 0 - sign, sign)
        store(scales, 0, scale)
        for group in range(4):
            code = group_codes(ranks, group, first, second, turned)
            store(codes, 16 * group, where(live, code, splat(0)))
            store(shifts, 16 * group, to_f32(sign) * splat(DELTA))
        spread(values, w, n, 2, False, wide, tile)
        move_to_grid(wide, n, codes, off, scales, shifts, entries, near)
        moved = (load(off, 0) | load(off, 16) | load(off, 32) | load(off, 48)) != 0
        scale = where(live, fit_again(values, w, n, codes, shifts, scale, moved), zero)
        store(scales, 0, scale)
        store(signs, 0, where(live, sign, splat(1)))
        for which in range(min(2, blocks - block)):
            at = 50 * (block + which)
            top = greatest(scales, 8 * which, 8)
            d = top / f32(15)
            store_half(out, at, d * f32(1.125))
            store(levels, 0, scale_codes(scale, f32(1) / d, 7) if top != f32(0) else splat(0))
            for sub in range(8):
                lane = 8 * which + sub
                word = 0
                for group in range(4):
                    point = places[codes[16 * group + lane]]
                    out[at + 2 + 4 * sub + group] = point & 255
                    word |= (point >> 8) << 3 * group
                if top != f32(0):
                    word |= (levels[lane] | (8 if signs[lane] < 0 else 0)) << 12
                out[at + 34 + 2 * sub] = word & 255
                out[at + 35 + 2 * sub] = word >> 8


@inline
def best_cuts_m(sums, tails, high):
    """IQ1_M: the best cuts of 16 sorted numbers, each half with a shift of its own, from prefix sums per half.

    sums [4, 17, 16]: of w * x for the first and the second half, of w for either. Returns scale, the places of the cuts
    (the first is -1 where no cut was better than none), and which halves are shifted down: 1 the second, 2 the first.
    """
    zero = splat(f32(0))
    low_p, mid_p, top_p = f32(-1) + DELTA, DELTA, f32(1) + DELTA
    low_m, mid_m, top_m = f32(-1) - DELTA, -DELTA, f32(1) - DELTA
    first_p, second_p = splat(low_p * low_p - mid_p * mid_p), splat(mid_p * mid_p - top_p * top_p)
    first_m, second_m = splat(low_m * low_m - mid_m * mid_m), splat(mid_m * mid_m - top_m * top_m)
    x0, x1, w0, w1 = 0, 272, 544, 816
    all0, all1 = load(sums, x0 + 256), load(sums, x1 + 256)
    all0_p, all0_m, all1_p, all1_m = all0 * splat(top_p), all0 * splat(top_m), all1 * splat(top_p), all1 * splat(top_m)
    all0, all1 = load(sums, w0 + 256), load(sums, w1 + 256)
    whole0_p, whole0_m = all0 * splat(top_p) * splat(top_p), all0 * splat(top_m) * splat(top_m)
    whole1_p, whole1_m = all1 * splat(top_p) * splat(top_p), all1 * splat(top_m) * splat(top_m)
    for j in range(17):
        w_first, w_second = load(sums, w0 + 16 * j), load(sums, w1 + 16 * j)
        store(tails, 64 * j, w_first * second_p)
        store(tails, 64 * j + 16, w_first * second_m)
        store(tails, 64 * j + 32, w_second * second_p)
        store(tails, 64 * j + 48, w_second * second_m)
    scale, best = high, splat(LOWEST)
    first, second, down = splat(-1), splat(-1), splat(0)
    for i in range(17):
        w_first, w_second = load(sums, w0 + 16 * i), load(sums, w1 + 16 * i)
        head0_p, head0_m = whole0_p + w_first * first_p, whole0_m + w_first * first_m
        head1_p, head1_m = whole1_p + w_second * first_p, whole1_m + w_second * first_m
        for j in range(i, 17):
            cut0 = load(sums, x0 + 16 * i) + load(sums, x0 + 16 * j)
            cut1 = load(sums, x1 + 16 * i) + load(sums, x1 + 16 * j)
            qq0_p, qq0_m = head0_p + load(tails, 64 * j), head0_m + load(tails, 64 * j + 16)
            qq1_p, qq1_m = head1_p + load(tails, 64 * j + 32), head1_m + load(tails, 64 * j + 48)
            for which in range(4):
                xq = (all0_m if which & 2 else all0_p) - cut0 + ((all1_m if which & 1 else all1_p) - cut1)
                qq = (qq0_m if which & 2 else qq0_p) + (qq1_m if which & 1 else qq1_p)
                better = (qq > zero) & (xq * xq > best * qq)
                if any_lane(better):
                    ratio = xq / qq
                    scale, best = where(better, ratio, scale), where(better, ratio * xq, best)
                    first, second = where(better, i, first), where(better, j, second)
                    down = where(better, which, down)
    return scale, first, second, down


@kernel
def _quantize_m(x, weights, weighted, row, places, entries, near, out):
    """IQ1_M: sixteen sub-blocks of 16 per block."""
    n = 16
    values, w, ranks = np.empty(256, f32), np.empty(256, f32), np.empty(256, np.int32)
    x_parts, q_parts = np.empty(256, f32), np.empty(256, f32)
    cut_sums, tails = np.empty(1088, f32), np.empty(1088, f32)
    codes, off, shifts = np.empty(32, np.int32), np.empty(32, np.int32), np.empty(32, f32)
    scales, levels, downs = np.empty(16, f32), np.empty(16, np.int32), np.empty(16, np.int32)
    sums, tile, wide = np.empty(16, f32), np.empty(512, f32), np.empty(2048, f32)
    zero = splat(f32(0))
    for block in range(x.size // 256):
        total = batch_of(x, weights, weighted, row, block, n, sums, tile, values, w)
        sigma2 = (total + total) / splat(f32(256))
        for i in range(n):
            v = load(values, 16 * i)
            store(w, 16 * i, load(w, 16 * i) * sqrt(sigma2 + v * v) if weighted else v * v)
        high = highest_magnitude(values, n)
        live = high >= splat(f32(1e-7))
        ranks_of(values, n, ranks)
        cut_sums[:] = 0
        for i in range(16 * n):
            half = 0 if i < 128 else 272
            at = 16 * (ranks[i] + 1) + i % 16
            cut_sums[at + half] = w[i] * values[i]
            cut_sums[at + half + 544] = w[i]
        for part in range(4):
            for at in range(272 * part, 272 * part + 256, 16):
                store(cut_sums, at + 16, load(cut_sums, at) + load(cut_sums, at + 16))
        scale, first, second, down = best_cuts_m(cut_sums, tails, high)
        live = live & (first >= 0)
        turned = scale < zero
        scale = where(turned, zero - scale, scale)
        down = where(live, where(turned, 3 - down, down), splat(0))
        store(scales, 0, scale)
        store(downs, 0, down)
        for group in range(2):
            code = group_codes(ranks, group, first, second, turned)
            store(codes, 16 * group, where(live, code, splat(0)))
            shifted_down = (down & (2 - group)) != 0
            store(shifts, 16 * group, where(shifted_down, splat(-DELTA), splat(DELTA)))
        spread(values, w, n, 2, False, wide, tile)
        move_to_grid(wide, n, codes, off, scales, shifts, entries, near)
        moved = (load(off, 0) | load(off, 16)) != 0
        scale = where(live, fit_again(values, w, n, codes, shifts, scale, moved), zero)
        top = highest(scale)
        at = 56 * block
        d = top / f32(15)
        level = scale_codes(scale, f32(1) / d, 7) if top != f32(0) else splat(0)
        store(levels, 0, level)
        for sub in range(16):
            point, other = places[codes[sub]], places[codes[16 + sub]]
            out[at + 2 * sub] = point & 255
            out[at + 2 * sub + 1] = other & 255
            bits = point >> 8 | other >> 8 << 4
            if top != f32(0):
                bits |= (downs[sub] & 1) << 7 | (downs[sub] & 2) << 2
            out[at + 32 + sub] = bits
        out[at + 48 : at + 56] = 0
        if top == f32(0):
            continue
        for group in range(2):
            code, shift = load(codes, 16 * group), load(shifts, 16 * group)
            for i in range(8):
                place = 16 * (8 * group + i)
                q = shifted_level(code, i, shift) * to_f32(2 * level + 1)
                wq = load(w, place) * q
                store(x_parts, place, wq * load(values, place))
                store(q_parts, place, wq * q)
        sum_xq = sum_qq = f32(0)
        for sub in range(16):
            for i in range(16):
                sum_xq += x_parts[16 * i + sub]
                sum_qq += q_parts[16 * i + sub]
        if sum_qq > f32(0):
            d = sum_xq / sum_qq
        half = to_half(d * f32(1.1125))
        for part in range(4):
            word = (half >> 4 * part & 15) << 12
            for i in range(4):
                word |= levels[4 * part + i] << 3 * i
            out[at + 48 + 2 * part] = word & 255
            out[at + 49 + 2 * part] = word >> 8


def quantize_iq1_s(x: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    _quantize_s(x.reshape(-1), weights, x.shape[1], *grid("IQ1_S").search, out.reshape(-1))


def quantize_iq1_m(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    weighted = weights is not None
    weights = weights if weighted else np.empty(0, f32)
    _quantize_m(x.reshape(-1), weights, weighted, x.shape[1], *grid("IQ1_S").search, out.reshape(-1))  # the same grid
