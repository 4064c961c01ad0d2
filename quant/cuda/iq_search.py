"""The search for grid points and a scale that IQ2 and IQ3 share, eight numbers per lane.

A sub-block has one scale and 2 or 4 such lanes beside each other (GROUPS of them); what belongs to the sub-block is the same
in all of its lanes. Eight numbers are one point near a grid (IQ2, and IQ1) or two (IQ3), each a code of its levels; WIDTH is
the bits of a level in a code, 2 or 3. What happens to one sub-block is, operation by operation, what
quantize_row_iq2_xs_impl and its kin in ggml-quants.c do to it.

Near points are compared eight at a time; a program goes on until the longest list among its lanes is through, so it has one
warp only (launch_lanes).
"""

from __future__ import annotations

import triton
import triton.language as tl

from .arithmetic import nearest_whole
from .search import greater


@triton.jit
def ordered_sum(parts, GROUPS: tl.constexpr):
    """Of tuples of numbers per lane, the sum over each sub-block, from its first number to its last, one by one."""
    rows: tl.constexpr = parts[0].shape[0]
    group = tl.arange(0, GROUPS)[None, :]
    total = tl.zeros_like(parts[0])
    for g in tl.static_range(GROUPS):
        for i in tl.static_range(len(parts)):
            total += parts[i]
        # What lane g has is handed to all of them; the others add zeros to it, which changes nothing
        chosen = tl.sum(tl.where(group == g, tl.reshape(total, (rows // GROUPS, GROUPS)), 0.0), axis=1)
        total = tl.reshape(tl.broadcast_to(chosen[:, None], (rows // GROUPS, GROUPS)), (rows,))
    return total


@triton.jit
def greatest_of(values, GROUPS: tl.constexpr):
    """The greatest number of each sub-block's lanes."""
    rows: tl.constexpr = values.shape[0]
    most = tl.max(tl.reshape(values, (rows // GROUPS, GROUPS)), axis=1)
    return tl.reshape(tl.broadcast_to(most[:, None], (rows // GROUPS, GROUPS)), (rows,))


@triton.jit
def split_signs(xs, ws, EVEN: tl.constexpr):
    """|x|, the roots of w, w * |x|, and the signs as bits.

    EVEN: an even number of signs is stored, so where it is odd the number that matters least changes its sign (and its
    magnitude becomes negative).
    """
    sign, least_at = tl.zeros(xs[0].shape, tl.int32), tl.zeros(xs[0].shape, tl.int32)
    odd = tl.zeros(xs[0].shape, tl.int32)
    least = ws[0] * xs[0] * xs[0]
    for i in tl.static_range(8):
        below = (xs[i] < 0).to(tl.int32)
        sign |= below << i
        odd ^= below
        if EVEN and i > 0:
            matters = ws[i] * xs[i] * xs[i]
            least_at = tl.where(matters < least, i, least_at)
            least = tl.where(matters < least, matters, least)
    magnitudes, roots, wxs = (), (), ()
    for i in tl.static_range(8):
        v = tl.where(xs[i] < 0, -xs[i], xs[i])
        if EVEN:
            turned = (odd != 0) & (least_at == i)
            v = tl.where(turned, -v, v)
            sign ^= tl.where(turned, 1 << i, 0)
        magnitudes += (v,)
        roots += (tl.sqrt_rn(ws[i]),)
        wxs += (ws[i] * v,)
    return magnitudes, roots, wxs, sign & (127 if EVEN else 255)


@triton.jit
def greatest(values):
    """The greatest number of a tuple."""
    top = values[0]
    for i in tl.static_range(1, len(values)):
        top = greater(values[i], top)
    return top


@triton.jit
def _code(xs, FIRST: tl.constexpr, factor, WIDTH: tl.constexpr):
    """The code of a point from element FIRST on: levels nint(0.5 * (factor * x - 1)), limited to what there is."""
    code = tl.zeros(factor.shape, tl.int32)
    for i in tl.static_range(8 if WIDTH == 2 else 4):
        level = nearest_whole(0.5 * (factor * xs[FIRST + i] - 1.0))
        code |= tl.minimum(tl.maximum(level, 0), 2 if WIDTH == 2 else 7) << WIDTH * i
    return code


@triton.jit
def _distance(x, w, value):
    return w * (value - x) * (value - x)


@triton.jit
def nearest_point(
    xs, ws, FIRST: tl.constexpr, scale, FACTOR: tl.constexpr, offset, code, entries, near, WIDTH: tl.constexpr
):
    """The code of the near point with the least distance, the first of equals; a point on the grid is its own.

    A level stands for scale * (level * FACTOR + offset) (iq2_find_best_neighbour and its kin).
    """
    size: tl.constexpr = 8 if WIDTH == 2 else 4
    known = ()  # three levels are few enough to know each number's distance from each of them before
    if WIDTH == 2:
        for i in tl.static_range(8):
            x, w = xs[FIRST + i], ws[FIRST + i]
            known += (_distance(x, w, scale * offset)[:, None],)
            known += (_distance(x, w, scale * (FACTOR + offset))[:, None],)
            known += (_distance(x, w, scale * (2.0 * FACTOR + offset))[:, None],)
    entry = tl.load(entries + code)
    at = near + (entry >> 6) * 16 + 8  # of each chunk the second eight are codes
    chunks = entry & 63
    longest = tl.max(chunks, axis=0)
    place = tl.arange(0, 8)[None, :]
    best, won = tl.zeros_like(scale), code
    chunk = tl.zeros((), tl.int32)
    while chunk < longest:
        # A shorter list repeats its last chunk, which is never nearer than itself.
        points = tl.load((at + tl.minimum(chunk, chunks - 1) * 16)[:, None] + place)
        d = tl.zeros(points.shape, tl.float32)
        for i in tl.static_range(size):
            level = points >> WIDTH * i & (3 if WIDTH == 2 else 7)
            if WIDTH == 2:
                upper = tl.where(level == 1, known[3 * i + 1], known[3 * i + 2])
                d += tl.where(level == 0, known[3 * i], upper)
            else:
                value = scale[:, None] * (level.to(tl.float32) * FACTOR + offset)
                d += _distance(xs[FIRST + i][:, None], ws[FIRST + i][:, None], value)
        least = tl.min(d, axis=1)
        first = tl.min(tl.where(d == least[:, None], place, 8), axis=1)
        point = tl.sum(tl.where(place == first[:, None], points, 0), axis=1)  # one number, and zeros
        nearer = (chunk == 0) | (least < best)
        best, won = tl.where(nearer, least, best), tl.where(nearer, point, won)
        chunk += 1
    return won


@triton.jit
def _projections(codes, ws, wxs, GROUPS: tl.constexpr, WIDTH: tl.constexpr):
    """The sums of w * x * q and of w * q * q over each sub-block, q = 2 * level + 1."""
    size: tl.constexpr = 8 if WIDTH == 2 else 4
    xq, qq = (), ()
    for i in tl.static_range(8):
        level = codes[i // size] >> WIDTH * (i % size) & (3 if WIDTH == 2 else 7)
        q = (2 * level + 1).to(tl.float32)
        xq += (wxs[i] * q,)
        qq += (ws[i] * q * q,)
    return ordered_sum(xq, GROUPS), ordered_sum(qq, GROUPS)


@triton.jit
def search(
    xs, ws, roots, wxs, live, reference, start, entries, near,
    GROUPS: tl.constexpr, STEPS: tl.constexpr, STEP: tl.constexpr, ALWAYS_OFF: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Try the scales reference / (top + k * STEP), k = -STEPS..STEPS, and fit the best one's scale to its points.

    roots: the roots of the weights, by which points are compared. Returns the scale, its codes, and what of them was moved
    to the grid (not zero); or `start` with codes 0 where no scale was better than none, ALWAYS_OFF being what moved then.
    """
    size: tl.constexpr = 8 if WIDTH == 2 else 4
    top: tl.constexpr = 5.0 if WIDTH == 2 else 15.0
    scale, best = start, tl.zeros_like(start)
    codes, off = (), ()
    for _ in tl.static_range(8 // size):
        codes += (tl.zeros(start.shape, tl.int32),)
        off += (tl.full(start.shape, ALWAYS_OFF, tl.int32),)
    for step in range(2 * STEPS + 1):
        k = (tl.cast(step, tl.int32) - STEPS).to(tl.float32)
        factor = tl.div_rn(top + k * STEP, reference)
        this_scale = tl.div_rn(1.0, factor)
        factor = tl.where(live, factor, 0.0)
        tried, moved = (), ()
        for point in tl.static_range(8 // size):
            code = _code(xs, size * point, factor, WIDTH)
            tried += (code,)
            moved += (nearest_point(xs, roots, size * point, this_scale, 2.0, 1.0, code, entries, near, WIDTH),)
        sum_xq, sum_qq = _projections(moved, ws, wxs, GROUPS, WIDTH)
        better = live & (sum_qq > 0) & (sum_xq * sum_xq > best * sum_qq)
        ratio = tl.div_rn(sum_xq, sum_qq)
        scale, best = tl.where(better, ratio, scale), tl.where(better, ratio * sum_xq, best)
        kept, apart = (), ()
        for point in tl.static_range(8 // size):
            kept += (tl.where(better, moved[point], codes[point]),)
            apart += (tl.where(better, moved[point] ^ tried[point], off[point]),)
        codes, off = kept, apart
    return scale, codes, off


@triton.jit
def any_off(off, GROUPS: tl.constexpr):
    """Whether something in the sub-block was off the grid."""
    some = off[0]
    for point in tl.static_range(1, len(off)):
        some |= off[point]
    return greatest_of((some != 0).to(tl.int32), GROUPS) != 0


@triton.jit
def refit(
    xs, ws, roots, wxs, scale, redo, codes, off, entries, near,
    GROUPS: tl.constexpr, ONLY_OFF: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Round the lanes of `redo` again with their final scale, all points or those off the grid. Returns scale and codes."""
    size: tl.constexpr = 8 if WIDTH == 2 else 4
    factor = tl.where(redo, tl.div_rn(1.0, scale), 0.0)
    moved = ()
    for point in tl.static_range(8 // size):
        again = redo
        if ONLY_OFF:
            again = again & (off[point] != 0)
        code = tl.where(again, _code(xs, size * point, factor, WIDTH), codes[point])
        moved += (nearest_point(xs, roots, size * point, scale, 2.0, 1.0, code, entries, near, WIDTH),)
    sum_xq, sum_qq = _projections(moved, ws, wxs, GROUPS, WIDTH)
    return tl.where(redo & (sum_qq > 0), tl.div_rn(sum_xq, sum_qq), scale), moved


@triton.jit
def settle(scale, live, sign, EVEN: tl.constexpr):
    """Scales that cannot be negative: a negative one turns its signs round; sub-blocks that are not live have scale 0."""
    negative = scale < 0
    sign = tl.where(negative, sign ^ (127 if EVEN else 255), sign)
    return tl.where(live, tl.where(negative, -scale, scale), 0.0), tl.where(live, sign, 0)


@triton.jit
def store_scale(scales, row, live, scale, GROUPS: tl.constexpr):
    """Once per sub-block."""
    tl.store(scales + row // GROUPS, scale, mask=live & (row % GROUPS == 0))


@triton.jit
def scale_levels(scales, factor, TOP: tl.constexpr):
    """How the scales of sub-blocks are stored: clamp(nint(0.5 * (factor * scale - 1)), 0, TOP), side by side."""
    levels = ()
    for j in tl.static_range(len(scales)):
        level = nearest_whole(0.5 * (factor * scales[j] - 1.0))
        levels += (tl.minimum(tl.maximum(level, 0), TOP),)
    return levels


@triton.jit
def nibbles(levels):
    """Two levels to a byte, the first one low."""
    packed = ()
    for j in tl.static_range(0, len(levels), 2):
        packed += (levels[j] | levels[j + 1] << 4,)
    return packed
