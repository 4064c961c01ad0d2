"""The searches for a block's scale, sixteen blocks at a time.

Each function gets blocks of n numbers transposed: element i of the sixteen blocks is load(x, 16 * i); weights too.
What happens to one lane is, operation by operation, what the function of ggml-quants.c named in the docstring does to a
block. Most searches do not hand back codes but what they follow from, for `offset_codes` and `signed_codes`.
"""

from __future__ import annotations

import numpy as np

from .compile import inline
from .lanes import any_lane, bits, from_bits, load, magnitude, splat, store, to_f32, to_i32, where

f32 = np.float32
MAGIC = f32(12582912.0)  # 1.5 * 2^23: after adding it the fraction is gone, rounded half to even
TINY = f32(1e-15)  # GROUP_MAX_EPS: a block smaller than this is taken for zero


@inline
def greater(a, b):
    return where(a > b, a, b)


@inline
def lesser(a, b):
    return where(a < b, a, b)


@inline
def nearest(v):
    """nearest_int as float: halves to even; what exceeds 2^22 wraps and NaN gives 0, bit for bit as there."""
    return from_bits((bits(v + MAGIC) & 0x7FFFFF) | 0x4B000000) - MAGIC


@inline
def nearest_whole(v):
    """nearest_int as I32."""
    return (bits(v + MAGIC) & 0x7FFFFF) - 0x400000


@inline
def limited(v, low, high):
    return lesser(greater(v, low), high)


@inline
def offset_codes(v, factor, low, top):
    """The codes 0..top of a block with a minimum."""
    return limited(nearest(factor * (v - low)), splat(f32(0)), splat(top))


@inline
def signed_codes(v, factor, top):
    """The codes -top..top-1 of a block around zero."""
    return limited(nearest(factor * v), splat(-top), splat(top - f32(1)))


@inline
def _deviation(x, w, codes, n, scale, low, absolute):
    """Sum of w * |scale * code + low - x|, or of its square."""
    total = splat(f32(0))
    if absolute:
        for i in range(n):
            total += load(w, 16 * i) * magnitude(scale * load(codes, 16 * i) + low - load(x, 16 * i))
    else:
        for i in range(n):
            off = scale * load(codes, 16 * i) + low - load(x, 16 * i)
            total += load(w, 16 * i) * (off * off)
    return total


@inline
def fit_scale_and_minimum(x, w, n, top, first, step, steps, absolute, codes):
    """make_qkx2_quants and make_qkx3_quants: x is about scale * code - minimum, codes 0..top.

    Tries nmax + first + step * k for k = 0..steps; `absolute` weighs |error| instead of its square; codes: scratch.
    Returns scale, -minimum (not positive), the sum of weights, and factor and low for offset_codes().
    """
    zero, one = splat(f32(0)), splat(f32(1))
    low = high = load(x, 0)
    sum_w = load(w, 0)
    sum_x = sum_w * low
    for i in range(1, n):
        v, u = load(x, 16 * i), load(w, 16 * i)
        low, high = lesser(v, low), greater(v, high)
        sum_w += u
        sum_x += u * v
    low = where(low > zero, zero, low)
    flat = high == low
    flat_low = low
    factor = splat(top) / (high - low)
    scale = one / factor
    for i in range(n):
        store(codes, 16 * i, offset_codes(load(x, 16 * i), factor, low, top))
    best = _deviation(x, w, codes, n, scale, low, absolute)
    won_factor, won_low = factor, low
    for k in range(steps + 1):
        factor = splat(first + step * f32(k) + top) / (high - low)  # low: the best minimum so far, not the data's
        sum_l = sum_ll = sum_xl = zero
        for i in range(n):
            v = load(x, 16 * i)
            q = offset_codes(v, factor, low, top)
            store(codes, 16 * i, q)
            wq = load(w, 16 * i) * q
            sum_l += wq
            sum_ll += wq * q
            sum_xl += wq * v
        det = sum_w * sum_ll - sum_l * sum_l
        new_scale = (sum_w * sum_xl - sum_x * sum_l) / det
        new_low = (sum_ll * sum_x - sum_l * sum_xl) / det
        above = new_low > zero
        new_low = where(above, zero, new_low)
        new_scale = where(above, sum_xl / sum_ll, new_scale)
        error = _deviation(x, w, codes, n, new_scale, new_low, absolute)
        better = (det > zero) & (error < best)
        best = where(better, error, best)
        won_factor, won_low = where(better, factor, won_factor), where(better, low, won_low)
        scale, low = where(better, new_scale, scale), where(better, new_low, low)
    scale = where(flat, zero, scale)
    low = where(flat, flat_low, low)
    return scale, low, sum_w, where(flat, zero, won_factor), where(flat, zero, won_low)


@inline
def extreme(x, n):
    """The element of largest magnitude (the first of equals), and that magnitude."""
    peak = most = splat(f32(0))
    for i in range(n):
        v = load(x, 16 * i)
        m = magnitude(v)
        larger = m > most
        peak, most = where(larger, v, peak), where(larger, m, most)
    return peak, most


@inline
def fit_scale(x, w, n, top, wx):
    """make_qx_quants with weights: x is about scale * code, codes -top..top-1. wx: scratch.

    Returns scale, factor for signed_codes(), and what is to be added to those codes: top, or 0 for a block of zeros.
    """
    zero = splat(f32(0))
    peak, most = extreme(x, n)
    empty = most < TINY
    for i in range(n):
        store(wx, 16 * i, load(w, 16 * i) * load(x, 16 * i))
    scale = best = won = zero
    for k in range(-10, 10):
        if k == 0:
            continue
        tried = top if k == -10 else top + f32(0.1) * f32(k)  # the first is the reference's starting point
        factor = splat(-tried) / peak
        sum_xl = sum_ll = zero
        for i in range(n):
            q = signed_codes(load(x, 16 * i), factor, top)
            sum_xl += load(wx, 16 * i) * q
            sum_ll += load(w, 16 * i) * q * q
        ratio = sum_xl / sum_ll
        if k == -10:
            scale = where(sum_ll != zero, ratio, zero)
            best = scale * sum_xl
            won = factor
        else:
            better = (sum_ll > zero) & (sum_xl * sum_xl > best * sum_ll)
            scale = where(better, ratio, scale)
            best = where(better, ratio * sum_xl, best)
            won = where(better, factor, won)
    return where(empty, zero, scale), where(empty, zero, won), where(empty, zero, splat(top))


@inline
def fit_scales_by_descent(x, sets, n, top, codes, sums, scales):
    """make_q3_quants for several sets of sixteen blocks: codes -top..top-1 improved one by one, weights x * x.

    x: [sets, n, 16]; codes, likewise, receives codes + top; scales: [sets, 16]; sums: scratch [2, sets, 16]. A step
    waits for the division of the step before it, so the sets take turns. A sweep that changes nothing would be followed
    by equal ones, so blocks that are done may go on with the others.
    """
    zero = splat(f32(0))
    for s in range(sets):
        at = 16 * n * s
        peak, _ = extreme(x[at : at + 16 * n], n)
        factor = splat(-top) / peak
        sum_xl = sum_ll = zero
        for i in range(n):
            v = load(x, at + 16 * i)
            q = signed_codes(v, factor, top)
            store(codes, at + 16 * i, q)
            w = v * v
            sum_xl += w * v * q
            sum_ll += w * q * q
        store(sums, 16 * s, sum_xl)
        store(sums, 16 * (sets + s), sum_ll)
    for _ in range(5):
        changed = zero != zero
        for i in range(n):
            for s in range(sets):
                at = 16 * (n * s + i)
                v, q = load(x, at), load(codes, at)
                sum_xl, sum_ll = load(sums, 16 * s), load(sums, 16 * (sets + s))
                w = v * v
                xl, ll = sum_xl - w * v * q, sum_ll - w * q * q
                new = limited(nearest(v * ll / xl), splat(-top), splat(top - f32(1)))
                new_xl, new_ll = xl + w * v * new, ll + w * new * new
                better = (xl > zero) & (new != q) & (new_ll > zero)
                better &= new_xl * new_xl * sum_ll > sum_xl * sum_xl * new_ll
                store(codes, at, where(better, new, q))
                store(sums, 16 * s, where(better, new_xl, sum_xl))
                store(sums, 16 * (sets + s), where(better, new_ll, sum_ll))
                changed |= better
        if not any_lane(changed):
            break
    for s in range(sets):
        at = 16 * n * s
        _, most = extreme(x[at : at + 16 * n], n)
        empty = most < TINY
        sum_xl, sum_ll = load(sums, 16 * s), load(sums, 16 * (sets + s))
        store(scales, 16 * s, where(empty, zero, where(sum_ll > zero, sum_xl / sum_ll, zero)))
        for i in range(n):
            store(codes, at + 16 * i, where(empty, zero, load(codes, at + 16 * i) + top))


@inline
def _byte(q):
    """A whole number as it comes back from a uint8."""
    return to_f32(to_i32(q) & 0xFF)


@inline
def fit_positive_scale(x, w, n, top, codes):
    """make_qp_quants: x is about scale * code for x >= 0, codes 0..top, left in `codes`. Returns scale.

    Codes pass through uint8, which tells where x is negative.
    """
    zero, one = splat(f32(0)), splat(f32(1))
    high = zero
    for i in range(n):
        high = greater(high, load(x, 16 * i))
    empty = high < TINY
    won = splat(top) / high
    best = zero
    for i in range(n):
        v = load(x, 16 * i)
        off = v - one / won * _byte(nearest(won * v))
        best += load(w, 16 * i) * off * off
    for k in range(-4, 5):
        if k == 0:
            continue
        factor = splat(f32(0.1) * f32(k) + top) / high
        scale = one / factor
        error = zero
        for i in range(n):
            v = load(x, 16 * i)
            off = v - scale * lesser(nearest(factor * v), splat(top))
            error += load(w, 16 * i) * off * off
        better = error < best
        best, won = where(better, error, best), where(better, factor, won)
    sum_xl = sum_ll = zero
    for i in range(n):
        v = load(x, 16 * i)
        q = lesser(nearest(won * v), splat(top))
        store(codes, 16 * i, _byte(q))
        wi = load(w, 16 * i)
        sum_xl += wi * v * q
        sum_ll += wi * q * q
    for _ in range(5):
        changed = zero != zero
        for i in range(n):
            v, wi, q = load(x, 16 * i), load(w, 16 * i), load(codes, 16 * i)
            xl, ll = sum_xl - wi * v * q, sum_ll - wi * q * q
            new = lesser(nearest(v * ll / xl), splat(top))
            new_xl, new_ll = xl + wi * v * new, ll + wi * new * new
            better = (xl > zero) & (ll > zero) & (new != q) & (new_xl * new_xl * sum_ll > sum_xl * sum_xl * new_ll)
            store(codes, 16 * i, where(better, _byte(new), q))
            sum_xl, sum_ll = where(better, new_xl, sum_xl), where(better, new_ll, sum_ll)
            changed |= better
        if not any_lane(changed):
            break
    for i in range(n):
        store(codes, 16 * i, where(empty, zero, load(codes, 16 * i)))
    return where(empty, zero, where(sum_ll > zero, sum_xl / sum_ll, zero))
