"""The search for grid points and a scale that IQ2 and IQ3 share, sixteen sub-blocks at a time.

A sub-block is 16 or 32 magnitudes with one scale; its groups of 8 (IQ2) or 4 (IQ3) are points near a grid. Element i of
the sixteen sub-blocks is load(x, 16 * i). A scale is tried for all sixteen together: round, look each group up, and where
it is off the grid, compare its near points, sixteen at a time. What happens to one sub-block is, operation by operation,
what quantize_row_iq2_xs_impl and its kin in ggml-quants.c do to it.

`width` is the bits of a level in a group's code: 2 for IQ2, 3 for IQ3. Numba compiles these functions into each format's
kernel, where width and sizes are constants.
"""

from __future__ import annotations

import numpy as np

from .compile import inline
from .lanes import any_lane, bits, load, shift_right, splat, sqrt, store, transpose, where
from .lookup import first_least, first_least_lane, pick_high, pick_low, repeat4, repeat8
from .search import MAGIC, greater

f32 = np.float32
ONE, HALF = f32(1), f32(0.5)
ODD_4 = np.tile(np.array([1, 3, 5, 7], np.float32), 4)  # by level, in the places where the near points' codes look
ODD_8 = np.tile(np.arange(1, 16, 2, dtype=np.float32), 2)
LANE = np.arange(16, dtype=np.int32)
# nearest_int adds 2^22 to each level of a code; together, wrapped to 32 bits:
BIAS_2 = sum(1 << 22 + 2 * i for i in range(8)) & 0xFFFFFFFF
BIAS_3 = (sum(1 << 22 + 3 * i for i in range(4)) & 0xFFFFFFFF) - (1 << 32)


@inline
def group_size(width):
    return 8 if width == 2 else 4


@inline
def odd_numbers(width):
    """2 * level + 1 for every level, as a table for pick_low()."""
    return load(ODD_4, 0) if width == 2 else load(ODD_8, 0)


@inline
def code_of(x, at, width, factor):
    """The codes of a group of each lane: levels nint(0.5 * (factor * x - 1)), limited to what there is."""
    top = 0x400002 if width == 2 else 0x400007
    code = splat(0)
    for i in range(group_size(width)):
        level = bits(splat(HALF) * (factor * load(x, at + 16 * i) - splat(ONE)) + MAGIC) & 0x7FFFFF
        level = where(level > 0x400000, level, 0x400000)
        code += where(level < top, level, top) << (width * i)
    return code - (BIAS_2 if width == 2 else BIAS_3)


@inline
def distances(near, at, low, high, width):
    """The weighted distances of sixteen near points, from the tables of the group's distances by place and level."""
    points = load(near, at)
    d = pick_low(low, points)
    if width == 2:
        d += pick_low(low, shift_right(points, 4))
        d += pick_high(low, shift_right(points, 8))
        d += pick_high(low, shift_right(points, 12))
        d += pick_low(high, shift_right(points, 16))
        d += pick_low(high, shift_right(points, 20))
        d += pick_high(high, shift_right(points, 24))
        d += pick_high(high, shift_right(points, 28))
    else:
        d += pick_high(low, shift_right(points, 4))
        d += pick_low(high, shift_right(points, 8))
        d += pick_high(high, shift_right(points, 12))
    return d


@inline
def nearest_point(near, nearby, entry, low, high, width):
    """The code of the near point with the least distance, the first of equals (iq2_find_best_neighbour and its kin)."""
    chunks = (-1 - entry) & 31
    at = (-1 - entry) >> 5 << 4
    best = distances(near, at, low, high, width)
    if chunks == 1:
        return nearby[at + first_least_lane(best)]
    won = load(LANE, 0)
    for chunk in range(1, chunks):
        d = distances(near, at + 16 * chunk, low, high, width)
        nearer = d < best
        best = where(nearer, d, best)
        won = where(nearer, load(LANE, 0) + 16 * chunk, won)
    return nearby[at + first_least(best, won)]


@inline
def spread(x, w, n, width, root, x_wide, w_wide, scratch):
    """x, and w or its square root, once per level, lane after lane: what tables of distances are made from.

    x, w: [n, 16]; wide: [16, n, 4 or 8]; scratch: [16, 16].
    """
    times = 4 if width == 2 else 8
    for part in range(0, n, 16):
        transpose(x, 16 * part, 16, scratch, 0)
        for lane in range(16):
            for i in range(0, 16, 16 // times):
                at = times * (lane * n + part + i)
                store(x_wide, at, repeat4(scratch, 16 * lane + i) if times == 4 else repeat8(scratch, 16 * lane + i))
        transpose(w, 16 * part, 16, scratch, 0)
        if root:
            for i in range(0, 256, 16):
                store(scratch, i, sqrt(load(scratch, i)))
        for lane in range(16):
            for i in range(0, 16, 16 // times):
                at = times * (lane * n + part + i)
                store(w_wide, at, repeat4(scratch, 16 * lane + i) if times == 4 else repeat8(scratch, 16 * lane + i))


@inline
def to_grid(codes, off, scales, n, width, wide_x, wide_root, entries, near, nearby):
    """Move the groups that are off the grid to the nearest point; `off` [groups, 16] tells which those were."""
    size = group_size(width)
    odd = odd_numbers(width)
    for group in range(n // size):
        for lane in range(16):
            entry = np.int64(entries[codes[16 * group + lane]])
            off[16 * group + lane] = entry < 0
            if entry < 0:
                at = (1 << width) * (lane * n + size * group)
                scale = splat(scales[lane])
                low = scale * odd - load(wide_x, at)
                high = scale * odd - load(wide_x, at + 16)
                low = load(wide_root, at) * low * low
                high = load(wide_root, at + 16) * high * high
                codes[16 * group + lane] = nearest_point(near, nearby, entry, low, high, width)


@inline
def projections(codes, w, wx, n, width):
    """The sums of w * x * q and of w * q * q, q = 2 * level + 1."""
    size = group_size(width)
    odd = odd_numbers(width)
    sum_xq = sum_qq = splat(f32(0))
    for group in range(n // size):
        code = load(codes, 16 * group)
        for i in range(size):
            at = 16 * (size * group + i)
            q = pick_low(odd, shift_right(code, width * i))
            sum_xq += load(wx, at) * q
            sum_qq += load(w, at) * q * q
    return sum_xq, sum_qq


@inline
def scratch_for(n, width):
    """What search() and refit() work in: codes tried and whether they were off the grid, scales, numbers spread out."""
    size = 16 * n // group_size(width)
    wide = (16 << width) * n
    return (
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(16, np.float32),
        np.empty(wide, np.float32),
        np.empty(wide, np.float32),
    )


@inline
def search(x, w, wx, n, width, live, reference, start, steps, step, always_off, codes, off, scratch, tables):
    """Try the scales reference / (top + k * step), k = -steps..steps, and fit the best one's scale to its points.

    Leaves that one's codes in `codes`, and in `off` which groups were moved to the grid; returns its scale, or `start`
    with codes 0 where no scale was better than none. `always_off`: what `off` is then.
    """
    tried, tried_off, scales, wide_x, wide_root = scratch
    entries, near, nearby = tables
    groups = n // group_size(width)
    zero, one = splat(f32(0)), splat(ONE)
    top = f32(5) if width == 2 else f32(15)
    scale, best = start, zero
    for group in range(groups):
        store(codes, 16 * group, splat(0))
        store(off, 16 * group, splat(always_off))
    for k in range(-steps, steps + 1):
        factor = splat(top + f32(k) * step) / reference
        store(scales, 0, one / factor)
        factor = where(live, factor, zero)
        for group in range(groups):
            store(tried, 16 * group, code_of(x, 16 * group_size(width) * group, width, factor))
        to_grid(tried, tried_off, scales, n, width, wide_x, wide_root, entries, near, nearby)
        sum_xq, sum_qq = projections(tried, w, wx, n, width)
        better = live & (sum_qq > zero) & (sum_xq * sum_xq > best * sum_qq)
        if any_lane(better):
            ratio = sum_xq / sum_qq
            scale = where(better, ratio, scale)
            best = where(better, ratio * sum_xq, best)
            for group in range(groups):
                store(codes, 16 * group, where(better, load(tried, 16 * group), load(codes, 16 * group)))
                store(off, 16 * group, where(better, load(tried_off, 16 * group), load(off, 16 * group)))
    return scale


@inline
def refit(x, w, wx, n, width, scale, redo, only_off, codes, off, scratch, tables):
    """Round the lanes of `redo` again with their final scale, all groups or those that were off the grid; new scale."""
    _, tried_off, scales, wide_x, wide_root = scratch
    entries, near, nearby = tables
    zero = splat(f32(0))
    factor = where(redo, splat(ONE) / scale, zero)
    store(scales, 0, scale)
    for group in range(n // group_size(width)):
        code = code_of(x, 16 * group_size(width) * group, width, factor)
        again = redo
        if only_off:
            again = again & (load(off, 16 * group) != 0)
        store(codes, 16 * group, where(again, code, load(codes, 16 * group)))
    to_grid(codes, tried_off, scales, n, width, wide_x, wide_root, entries, near, nearby)
    sum_xq, sum_qq = projections(codes, w, wx, n, width)
    return where(redo & (sum_qq > zero), sum_xq / sum_qq, scale)


@inline
def any_off(off, groups):
    """Lanes with a group that was off the grid."""
    some = load(off, 0)
    for group in range(1, groups):
        some = some | load(off, 16 * group)
    return some != 0


@inline
def split_signs(x, w, n, even, magnitudes, wx, signs):
    """|x|, w * |x|, and the signs, a bit per number, per 8 numbers in signs [n / 8, 16]; returns the greatest magnitude.

    `even`: an even number of signs is stored, so where it is odd the number that matters least changes its sign (and
    its magnitude becomes negative).
    """
    zero = splat(f32(0))
    for group in range(n // 8):
        sign, least_at = splat(0), splat(0)
        odd = zero != zero
        least = zero
        for i in range(8):
            at = 16 * (8 * group + i)
            v = load(x, at)
            negative = v < zero
            sign = sign | where(negative, 1 << i, splat(0))
            store(magnitudes, at, where(negative, zero - v, v))
            if even:
                odd = odd ^ negative
                matters = load(w, at) * v * v
                if i == 0:
                    least = matters
                else:
                    less = matters < least
                    least = where(less, matters, least)
                    least_at = where(less, i, least_at)
        if even:
            for i in range(8):
                at = 16 * (8 * group + i)
                turned = odd & (least_at == i)
                v = load(magnitudes, at)
                store(magnitudes, at, where(turned, zero - v, v))
                sign = sign ^ where(turned, 1 << i, splat(0))
            sign = sign & 127
        store(signs, 16 * group, sign)
    high = load(magnitudes, 0)
    for i in range(n):
        v = load(magnitudes, 16 * i)
        store(wx, 16 * i, load(w, 16 * i) * v)
        high = greater(high, v)
    return high


@inline
def settle(scale, live, signs, count, mask):
    """Scales that cannot be negative: a negative one turns its signs round; lanes that are not live have scale 0."""
    zero = splat(f32(0))
    negative = scale < zero
    for group in range(count):
        sign = load(signs, 16 * group)
        sign = where(negative, sign ^ mask, sign)
        store(signs, 16 * group, where(live, sign, splat(0)))
    return where(live, where(negative, zero - scale, scale), zero)
