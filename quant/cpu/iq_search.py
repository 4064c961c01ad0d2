"""The search for grid points and a scale that IQ2 and IQ3 share, sixteen sub-blocks at a time.

A sub-block is 16 or 32 magnitudes with one scale; its groups of 8 (IQ2) or 4 (IQ3) are points near a grid. Element i of
the sixteen sub-blocks is load(x, 16 * i). A scale is tried for all sixteen together: round, look up the near points of
each group, and compare them, eight of one group and eight of the next at a time. What happens to one sub-block is,
operation by operation, what quantize_row_iq2_xs_impl and its kin in ggml-quants.c do to it.

`width` is the bits of a level in a group's code: 2 for IQ2, 3 for IQ3. Numba compiles these functions into each format's
kernel, where width and sizes are constants.
"""

from __future__ import annotations

import numpy as np

from .compile import inline
from .lanes import any_lane, bits, load, shift_right, splat, sqrt, store, to_f32, transpose, where
from .lookup import first_least, first_least_lanes, has_pick, item, pick, repeat4, repeat8, two_eights
from .search import MAGIC, greater

f32 = np.float32
ONE, HALF = f32(1), f32(0.5)
LEVELS_4 = np.tile(np.arange(4, dtype=np.float32), 4)  # in the places of a table where the near points' codes look
LEVELS_8 = np.tile(np.arange(8, dtype=np.float32), 2)
LANE = np.arange(16, dtype=np.int32) & 7
UPPER = np.repeat(np.array([0, -0x77777778], np.int32), 8)  # bit 3 of each four bits, in the upper lanes
# nearest_int adds 2^22 to each level of a code; together, wrapped to 32 bits:
BIAS_2 = sum(1 << 22 + 2 * i for i in range(8)) & 0xFFFFFFFF
BIAS_3 = (sum(1 << 22 + 3 * i for i in range(4)) & 0xFFFFFFFF) - (1 << 32)


@inline
def group_size(width):
    return 8 if width == 2 else 4


@inline
def code_of(x, at, width, factor):
    """Each lane's code of the group at `at`: levels nint(0.5 * (factor * x - 1)), limited to what there is.

    nint as in ggml: what exceeds 2^22 wraps, NaN gives 0.
    """
    top = 0x400002 if width == 2 else 0x400007
    code = splat(0)
    for i in range(group_size(width)):
        level = bits(splat(HALF) * (factor * load(x, at + 16 * i) - splat(ONE)) + MAGIC) & 0x7FFFFF
        level = where(level > 0x400000, level, 0x400000)
        code += where(level < top, level, top) << (width * i)
    return code - (BIAS_2 if width == 2 else BIAS_3)


@inline
def _tables(scale, factor, offset, wide, at, width):
    """The weighted distances of two groups' numbers from each level: four tables for pick()."""
    values = scale * ((load(LEVELS_4, 0) if width == 2 else load(LEVELS_8, 0)) * splat(factor) + offset)
    t0, t1 = values - load(wide, at), values - load(wide, at + 32)
    t2, t3 = values - load(wide, at + 64), values - load(wide, at + 96)
    t0, t1 = load(wide, at + 16) * t0 * t0, load(wide, at + 48) * t1 * t1
    return t0, t1, load(wide, at + 80) * t2 * t2, load(wide, at + 112) * t3 * t3


@inline
def _picked_distances(points, tables, width):
    """Sums over a group's numbers, in order: four bits of a point say which level a number has."""
    t0, t1, t2, t3 = tables
    points = points | load(UPPER, 0)
    d = pick(t0, points)
    if width == 2:
        d += pick(t0, shift_right(points, 4))
        d += pick(t1, shift_right(points, 8))
        d += pick(t1, shift_right(points, 12))
        d += pick(t2, shift_right(points, 16))
        d += pick(t2, shift_right(points, 20))
        d += pick(t3, shift_right(points, 24))
        d += pick(t3, shift_right(points, 28))
    else:
        d += pick(t1, shift_right(points, 4))
        d += pick(t2, shift_right(points, 8))
        d += pick(t3, shift_right(points, 12))
    return d


@inline
def _computed_distances(points, group, wide, at, width):
    """The same sums where a table cannot be picked from fast."""
    scale, factor, offset = group
    d = splat(f32(0))
    for i in range(group_size(width)):
        place = at + 32 * (i // 2) + 4 * (i & 1) if width == 2 else at + 32 * i
        level = shift_right(points, 4 * i) & (3 if width == 2 else 7)
        off = scale * (to_f32(level) * splat(factor) + offset) - repeat8(wide, place, place + 8)
        d += repeat8(wide, place + 16, place + 24) * off * off
    return d


@inline
def _distances(near, a, b, tables, group, wide, at, width):
    """The weighted distances of eight near points of one group, from `a` on, and eight of another."""
    points = two_eights(near, a, b)
    if has_pick():
        return _picked_distances(points, tables, width)
    return _computed_distances(points, group, wide, at, width)


@inline
def nearest_points(scale, factor, offset, wide, at, entry, other, near, width):
    """The codes of the near points with the least distance, the first of equals, for two groups side by side.

    A level stands for scale * (level * factor + offset); wide: the groups' numbers and weights from `at` on, as `spread`
    left them (iq2_find_best_neighbour and its kin).
    """
    group = scale, factor, offset
    tables = _tables(scale, factor, offset, wide, at, width)
    a, b = entry >> 6 << 4, other >> 6 << 4
    count_a, count_b = entry & 63, other & 63
    chunks = max(count_a, count_b)
    best = _distances(near, a, b, tables, group, wide, at, width)
    if chunks == 1:
        in_a, in_b = first_least_lanes(best)
    else:
        place = load(LANE, 0)
        won = place
        for chunk in range(1, chunks):
            # The shorter list repeats its last chunk, which is never nearer than itself.
            next_a, next_b = a + 16 * min(chunk, count_a - 1), b + 16 * min(chunk, count_b - 1)
            d = _distances(near, next_a, next_b, tables, group, wide, at, width)
            nearer = d < best
            best = where(nearer, d, best)
            won = where(nearer, place + 16 * chunk, won)
        in_a, in_b = first_least(best, won)
    return item(near, a + 8 + in_a), item(near, b + 8 + in_b)


@inline
def spread(x, w, n, width, root, wide, scratch):
    """x, and w or its square root, once per level: what nearest_points() makes its tables from.

    x, w: [n, 16]; wide: [16, pairs of groups, 4, x and w, 16]; scratch: [16, 16]. Sixteen numbers make a table for two
    groups: its lower half is for all levels of one or two numbers of the first, its upper half for the second's.
    """
    for part in range(0, n, 16):
        transpose(x, 16 * part, 16, scratch, 0)
        _spread_rows(scratch, n, part, width, wide, 0)
        transpose(w, 16 * part, 16, scratch, 0)
        if root:
            for i in range(0, 256, 16):
                store(scratch, i, sqrt(load(scratch, i)))
        _spread_rows(scratch, n, part, width, wide, 16)


@inline
def _spread_rows(rows, n, part, width, wide, which):
    for lane in range(16):
        at, to = 16 * lane, (2 << width) * (n * lane + part) + which
        if width == 2:
            for i in range(4):
                store(wide, to + 32 * i, repeat4(rows, at + 2 * i, at + 8 + 2 * i))
        else:
            for i in range(4):
                store(wide, to + 32 * i, repeat8(rows, at + i, at + 4 + i))
                store(wide, to + 128 + 32 * i, repeat8(rows, at + 8 + i, at + 12 + i))


@inline
def to_grid(codes, moved, scales, n, width, wide, tables):
    """Write to `moved` the codes of the nearest grid points; a group that is on the grid is its own nearest point."""
    _, entries, near = tables
    two, one = f32(2), splat(ONE)
    pairs = n // group_size(width) // 2
    for pair in range(pairs):
        for lane in range(16):
            a = 32 * pair + lane
            entry, other = item(entries, item(codes, a)), item(entries, item(codes, a + 16))
            scale, at = splat(item(scales, lane)), 128 * (pairs * lane + pair)
            moved[a], moved[a + 16] = nearest_points(scale, two, one, wide, at, entry, other, near, width)


@inline
def projections(codes, w, wx, n, width):
    """The sums of w * x * q and of w * q * q, q = 2 * level + 1."""
    size = group_size(width)
    sum_xq = sum_qq = splat(f32(0))
    for group in range(n // size):
        code = load(codes, 16 * group) << 1
        for i in range(size):
            at = 16 * (size * group + i)
            q = to_f32(shift_right(code, width * i) & (6 if width == 2 else 14) | 1)
            sum_xq += load(wx, at) * q
            sum_qq += load(w, at) * q * q
    return sum_xq, sum_qq


@inline
def scratch_for(n, width):
    """What search() and refit() work in: codes tried and where the grid moved them, scales, numbers spread out."""
    size = 16 * n // group_size(width)
    return (
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(16, np.float32),
        np.empty((32 << width) * n, np.float32),
    )


@inline
def search(x, w, wx, n, width, live, reference, start, steps, step, always_off, codes, off, scratch, tables):
    """Try the scales reference / (top + k * step), k = -steps..steps, and fit the best one's scale to its points.

    Leaves that one's codes in `codes`, and in `off` which groups were moved to the grid; returns its scale, or `start`
    with codes 0 where no scale was better than none. `always_off`: what `off` is then.
    """
    tried, moved, scales, wide = scratch
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
        to_grid(tried, moved, scales, n, width, wide, tables)
        sum_xq, sum_qq = projections(moved, w, wx, n, width)
        better = live & (sum_qq > zero) & (sum_xq * sum_xq > best * sum_qq)
        if any_lane(better):
            ratio = sum_xq / sum_qq
            scale = where(better, ratio, scale)
            best = where(better, ratio * sum_xq, best)
            for group in range(groups):
                now = load(moved, 16 * group)
                store(codes, 16 * group, where(better, now, load(codes, 16 * group)))
                store(off, 16 * group, where(better, now ^ load(tried, 16 * group), load(off, 16 * group)))
    return scale


@inline
def refit(x, w, wx, n, width, scale, redo, only_off, codes, off, scratch, tables):
    """Round the lanes of `redo` again with their final scale, all groups or those that were off the grid; new scale."""
    tried, _, scales, wide = scratch
    zero = splat(f32(0))
    factor = where(redo, splat(ONE) / scale, zero)
    store(scales, 0, scale)
    for group in range(n // group_size(width)):
        code = code_of(x, 16 * group_size(width) * group, width, factor)
        again = redo
        if only_off:
            again = again & (load(off, 16 * group) != 0)
        store(tried, 16 * group, where(again, code, load(codes, 16 * group)))
    to_grid(tried, codes, scales, n, width, wide, tables)
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
