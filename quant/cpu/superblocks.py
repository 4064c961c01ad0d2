"""Groups of blocks, cut out of a tensor so that sixteen lanes are always full, and what formats do alike with them."""

from __future__ import annotations

import numpy as np

from .compile import inline
from .lanes import load, splat, store, to_f32, transpose, where
from .search import greater, nearest_whole

f32 = np.float32
GROUP = 16  # super-blocks of 256 that are handled together
SIZE = 256 * GROUP


@inline
def window(x, at, size, pad):
    """x[at : at + size] as an array and an index into it; what lies beyond x's end is zero."""
    if at + size <= x.size:
        return x, at
    for i in range(size):
        pad[i] = x[at + i] if at + i < x.size else f32(0)
    return pad, 0


@inline
def weights_window(weights, at, size, pad):
    """The weights of `size` elements from element `at` of a tensor on: each row starts anew."""
    at %= weights.size
    if at + size <= weights.size:
        return weights, at
    for i in range(size):
        pad[i] = weights[at]
        at += 1
        if at == weights.size:
            at = 0
    return pad, 0


@inline
def sums_of_squares(x, at, size, stride, scratch, sums):
    """Sum of x * x, in their order, over each of sixteen blocks of `size` numbers that begin `stride` apart."""
    total = splat(f32(0))
    for i in range(0, size, 16):
        transpose(x, at + i, stride, scratch, 0)
        for k in range(16):
            v = load(scratch, 16 * k)
            total += v * v
    store(sums, 0, total)


@inline
def scale_codes(values, n, top, limit, codes, scales):
    """Codes of n scales (or minimums) of sixteen super-blocks: value / highest * top, rounded, as uint8, up to `limit`.

    values, codes: [n, 16]; scales: each super-block's scale of these codes.
    """
    zero = splat(f32(0))
    high = zero
    for j in range(n):
        high = greater(load(values, 16 * j), high)
    factor = where(high > zero, splat(top) / high, zero)
    for j in range(n):
        code = nearest_whole(factor * load(values, 16 * j)) & 0xFF
        store(codes, 16 * j, to_f32(where(code > limit, limit, code)))
    store(scales, 0, high / splat(top))
