"""The searches for a block's scale, one block per lane: tuples of n numbers xs and of as many weights ws.

What happens to one lane is, operation by operation, what the function of ggml-quants.c named in the docstring does to a
block. Most searches do not hand back codes but what they follow from, for `offset_code` and `signed_code`. The loops over
steps stay loops; only those over elements are unrolled.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .arithmetic import nearest, nearest_whole

TINY = tl.constexpr(1e-15)  # GROUP_MAX_EPS: a block smaller than this is taken for zero


@triton.jit
def greater(a, b):
    """The reference's comparison; tl.maximum is free to choose among zeros and NaN."""
    return tl.where(a > b, a, b)


@triton.jit
def lesser(a, b):
    return tl.where(a < b, a, b)


@triton.jit
def limited(v, LOW: tl.constexpr, HIGH: tl.constexpr):
    """A whole number, so neither NaN nor -0."""
    return tl.minimum(tl.maximum(v, LOW), HIGH)


@triton.jit
def offset_code(v, factor, low, TOP: tl.constexpr):
    """The code 0..TOP of a number in a block with a minimum, as float."""
    return limited(nearest(factor * (v - low)), 0.0, TOP)


@triton.jit
def signed_code(v, factor, TOP: tl.constexpr):
    """The code -TOP..TOP-1 of a number in a block around zero, as float."""
    return limited(nearest(factor * v), -TOP, TOP - 1.0)


@triton.jit
def _deviation(xs, ws, codes, scale, low, ABSOLUTE: tl.constexpr):
    """Sum of w * |scale * code + low - x|, or of its square."""
    total = tl.zeros_like(low)
    for i in tl.static_range(len(xs)):
        off = scale * codes[i] + low - xs[i]
        if ABSOLUTE:
            total += ws[i] * tl.abs(off)
        else:
            total += ws[i] * (off * off)
    return total


@triton.jit
def fit_scale_and_minimum(
    xs, ws, TOP: tl.constexpr, FIRST: tl.constexpr, STEP: tl.constexpr, STEPS: tl.constexpr, ABSOLUTE: tl.constexpr
):
    """make_qkx2_quants and make_qkx3_quants: x is about scale * code - minimum, codes 0..TOP.

    Tries nmax + FIRST + STEP * k for k = 0..STEPS; ABSOLUTE weighs |error| instead of its square.
    Returns scale, -minimum (not positive), the sum of weights, and factor and low for offset_code().
    """
    low, high = xs[0], xs[0]
    sum_w, sum_x = ws[0], ws[0] * xs[0]
    for i in tl.static_range(1, len(xs)):
        low, high = lesser(xs[i], low), greater(xs[i], high)
        sum_w += ws[i]
        sum_x += ws[i] * xs[i]
    low = tl.where(low > 0, 0.0, low)
    flat, flat_low = high == low, low
    factor = tl.div_rn(TOP, high - low)
    scale = tl.div_rn(1.0, factor)
    codes = ()
    for i in tl.static_range(len(xs)):
        codes += (offset_code(xs[i], factor, low, TOP),)
    best = _deviation(xs, ws, codes, scale, low, ABSOLUTE)
    won_factor, won_low = factor, low
    for k in range(STEPS + 1):
        # low: the best minimum so far, not the data's
        factor = tl.div_rn(FIRST + STEP * tl.cast(k, tl.float32) + TOP, high - low)
        sum_l, sum_ll, sum_xl = tl.zeros_like(low), tl.zeros_like(low), tl.zeros_like(low)
        codes = ()
        for i in tl.static_range(len(xs)):
            q = offset_code(xs[i], factor, low, TOP)
            codes += (q,)
            wq = ws[i] * q
            sum_l += wq
            sum_ll += wq * q
            sum_xl += wq * xs[i]
        det = sum_w * sum_ll - sum_l * sum_l
        new_scale = tl.div_rn(sum_w * sum_xl - sum_x * sum_l, det)
        new_low = tl.div_rn(sum_ll * sum_x - sum_l * sum_xl, det)
        above = new_low > 0
        new_low = tl.where(above, 0.0, new_low)
        new_scale = tl.where(above, tl.div_rn(sum_xl, sum_ll), new_scale)
        error = _deviation(xs, ws, codes, new_scale, new_low, ABSOLUTE)
        better = (det > 0) & (error < best)
        best = tl.where(better, error, best)
        won_factor, won_low = tl.where(better, factor, won_factor), tl.where(better, low, won_low)
        scale, low = tl.where(better, new_scale, scale), tl.where(better, new_low, low)
    scale = tl.where(flat, 0.0, scale)
    low = tl.where(flat, flat_low, low)
    return scale, low, sum_w, tl.where(flat, 0.0, won_factor), tl.where(flat, 0.0, won_low)


@triton.jit
def extreme(xs):
    """The element of largest magnitude (the first of equals), and that magnitude."""
    peak, most = tl.zeros_like(xs[0]), tl.zeros_like(xs[0])
    for i in tl.static_range(len(xs)):
        magnitude = tl.abs(xs[i])
        larger = magnitude > most
        peak, most = tl.where(larger, xs[i], peak), tl.where(larger, magnitude, most)
    return peak, most


@triton.jit
def _signed_sums(xs, ws, factor, TOP: tl.constexpr):
    sum_xl, sum_ll = tl.zeros_like(factor), tl.zeros_like(factor)
    for i in tl.static_range(len(xs)):
        q = signed_code(xs[i], factor, TOP)
        sum_xl += ws[i] * xs[i] * q
        sum_ll += ws[i] * q * q
    return sum_xl, sum_ll


@triton.jit
def fit_scale(xs, ws, TOP: tl.constexpr):
    """make_qx_quants with weights: x is about scale * code, codes -TOP..TOP-1.

    Returns scale, factor for signed_code(), and what is to be added to those codes: TOP, or 0 for a block of zeros.
    """
    peak, most = extreme(xs)
    empty = most < TINY
    won = tl.div_rn(-TOP, peak)
    sum_xl, sum_ll = _signed_sums(xs, ws, won, TOP)
    scale = tl.where(sum_ll != 0, tl.div_rn(sum_xl, sum_ll), 0.0)
    best = scale * sum_xl
    for step in range(18):
        k = tl.cast(step, tl.int32) - 9
        k = tl.where(k < 0, k, k + 1)  # -9..9 without 0
        factor = tl.div_rn(-(TOP + 0.1 * k.to(tl.float32)), peak)
        sum_xl, sum_ll = _signed_sums(xs, ws, factor, TOP)
        better = (sum_ll > 0) & (sum_xl * sum_xl > best * sum_ll)
        ratio = tl.div_rn(sum_xl, sum_ll)
        scale = tl.where(better, ratio, scale)
        best = tl.where(better, ratio * sum_xl, best)
        won = tl.where(better, factor, won)
    return tl.where(empty, 0.0, scale), tl.where(empty, 0.0, won), tl.where(empty, 0.0, TOP)


@triton.jit
def fit_scale_by_descent(xs, TOP: tl.constexpr):
    """make_q3_quants: codes improved one by one, weights x * x. Returns scale and the codes 0..2*TOP-1, as floats.

    A sweep that changes nothing would be followed by equal ones, so blocks that are done may go on with the others.
    """
    peak, most = extreme(xs)
    factor = tl.div_rn(-TOP, peak)
    sum_xl, sum_ll = tl.zeros_like(peak), tl.zeros_like(peak)
    codes = ()
    for i in tl.static_range(len(xs)):
        w = xs[i] * xs[i]
        q = signed_code(xs[i], factor, TOP)
        codes += (q,)
        sum_xl += w * xs[i] * q
        sum_ll += w * q * q
    for _ in range(5):
        swept = ()
        for i in tl.static_range(len(xs)):
            w, q = xs[i] * xs[i], codes[i]
            xl, ll = sum_xl - w * xs[i] * q, sum_ll - w * q * q
            new = limited(nearest(tl.div_rn(xs[i] * ll, xl)), -TOP, TOP - 1.0)
            new_xl, new_ll = xl + w * xs[i] * new, ll + w * new * new
            better = (xl > 0) & (new != q) & (new_ll > 0) & (new_xl * new_xl * sum_ll > sum_xl * sum_xl * new_ll)
            swept += (tl.where(better, new, q),)
            sum_xl, sum_ll = tl.where(better, new_xl, sum_xl), tl.where(better, new_ll, sum_ll)
        codes = swept
    empty = most < TINY
    biased = ()
    for i in tl.static_range(len(xs)):
        biased += (tl.where(empty, 0.0, codes[i] + TOP),)
    return tl.where(empty, 0.0, tl.where(sum_ll > 0, tl.div_rn(sum_xl, sum_ll), 0.0)), biased


@triton.jit
def _byte(q):
    """A whole number as it comes back from a uint8."""
    return (q.to(tl.int32) & 0xFF).to(tl.float32)


@triton.jit
def fit_positive_scale(xs, ws, TOP: tl.constexpr):
    """make_qp_quants: x is about scale * code for x >= 0. Returns scale and the codes 0..TOP, as int32.

    Codes pass through uint8, which tells where x is negative.
    """
    high = tl.zeros_like(xs[0])
    for i in tl.static_range(len(xs)):
        high = greater(high, xs[i])
    empty = high < TINY
    won = tl.div_rn(TOP, high)
    scale = tl.div_rn(1.0, won)
    best = tl.zeros_like(high)
    for i in tl.static_range(len(xs)):
        off = xs[i] - scale * _byte(nearest(won * xs[i]))
        best += ws[i] * off * off
    for step in range(8):
        k = tl.cast(step, tl.int32) - 4
        k = tl.where(k < 0, k, k + 1)  # -4..4 without 0
        factor = tl.div_rn(0.1 * k.to(tl.float32) + TOP, high)
        scale = tl.div_rn(1.0, factor)
        error = tl.zeros_like(high)
        for i in tl.static_range(len(xs)):
            off = xs[i] - scale * tl.minimum(nearest(factor * xs[i]), TOP)
            error += ws[i] * off * off
        better = error < best
        best, won = tl.where(better, error, best), tl.where(better, factor, won)
    sum_xl, sum_ll = tl.zeros_like(high), tl.zeros_like(high)
    codes = ()
    for i in tl.static_range(len(xs)):
        q = tl.minimum(nearest(won * xs[i]), TOP)
        codes += (_byte(q),)
        sum_xl += ws[i] * xs[i] * q
        sum_ll += ws[i] * q * q
    for _ in range(5):
        swept = ()
        for i in tl.static_range(len(xs)):
            q = codes[i]
            xl, ll = sum_xl - ws[i] * xs[i] * q, sum_ll - ws[i] * q * q
            new = tl.minimum(nearest(tl.div_rn(xs[i] * ll, xl)), TOP)
            new_xl, new_ll = xl + ws[i] * xs[i] * new, ll + ws[i] * new * new
            better = (xl > 0) & (ll > 0) & (new != q) & (new_xl * new_xl * sum_ll > sum_xl * sum_xl * new_ll)
            swept += (tl.where(better, _byte(new), q),)
            sum_xl, sum_ll = tl.where(better, new_xl, sum_xl), tl.where(better, new_ll, sum_ll)
        codes = swept
    kept = ()
    for i in tl.static_range(len(xs)):
        kept += (tl.where(empty, 0.0, codes[i]).to(tl.int32),)
    return tl.where(empty, 0.0, tl.where(sum_ll > 0, tl.div_rn(sum_xl, sum_ll), 0.0)), kept


@triton.jit
def scale_codes(values, TOP: tl.constexpr, LIMIT: tl.constexpr):
    """Codes of scales (or minimums): value / highest * TOP, rounded, as uint8, up to LIMIT. Returns scale and int32s."""
    high = tl.zeros_like(values[0])
    for i in tl.static_range(len(values)):
        high = greater(values[i], high)
    factor = tl.where(high > 0, tl.div_rn(TOP, high), 0.0)
    codes = ()
    for i in tl.static_range(len(values)):
        codes += (tl.minimum(nearest_whole(factor * values[i]) & 0xFF, LIMIT),)
    return tl.div_rn(high, TOP), codes
