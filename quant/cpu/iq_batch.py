"""How the IQ kernels take their input: sixteen sub-blocks at a time, and what is the same for all of them.

Sixteen sub-blocks are those of one block where a sub-block has 16 numbers, and of two blocks where it has 32. Element i of
all sixteen is load(x, 16 * i).
"""

from __future__ import annotations

import numpy as np

from .compile import inline
from .lanes import load, splat, store, transpose, where
from .search import nearest_whole

f32 = np.float32
HALF, ONE = f32(0.5), f32(1)


@inline
def batch_of(x, weights, weighted, row, block, n, sums, tile, values, w):
    """Fill values and (where `weighted`) w, both [n, 16], from `block` and, where n is 32, the next one.

    `row` is the length of weights; sums [16] are kept from call to call, tile [512] is scratch. Returns the sum of x * x
    over each sub-block's whole block, taken in order.
    """
    blocks = x.size // 256
    if block % 16 == 0:
        _sums_of_squares(x, block, min(16, blocks - block), sums, tile)
    second = block if n == 16 else min(block + 1, blocks - 1)  # a last odd block is its own partner
    _transposed(x, 256 * block, 256 * second, n, values, tile)
    if weighted:
        _transposed(weights, 256 * block % row, 256 * second % row, n, w, tile)
    for lane in range(16):
        tile[lane] = sums[block % 16 if lane < 8 else second % 16]
    return load(tile, 0)


@inline
def _transposed(x, first, second, n, out, tile):
    if n == 16:
        transpose(x, first, 16, out, 0)
    else:
        for i in range(256):
            tile[i] = x[first + i]
            tile[256 + i] = x[second + i]
        transpose(tile, 0, 32, out, 0)
        transpose(tile, 16, 32, out, 256)


@inline
def _sums_of_squares(x, first, count, sums, tile):
    """The sums over blocks of 256, each in order, for `count` blocks (up to 16)."""
    if count == 16:
        total = splat(f32(0))
        for part in range(0, 256, 16):
            transpose(x, 256 * first + part, 256, tile, 0)
            for i in range(16):
                v = load(tile, 16 * i)
                total += v * v
        store(sums, 0, total)
    else:
        for block in range(count):
            total = f32(0)
            for i in range(256 * (first + block), 256 * (first + block + 1)):
                total += x[i] * x[i]
            sums[block] = total


@inline
def greatest(values, first, count):
    """The greatest of `count` numbers from `first` on, or 0."""
    top = f32(0)
    for i in range(first, first + count):
        top = values[i] if values[i] > top else top
    return top


@inline
def scale_codes(scales, factor, top):
    """How the scales of sub-blocks are stored: clamp(nint(0.5 * (factor * scale - 1)), 0, top)."""
    code = nearest_whole(splat(HALF) * (splat(factor) * scales - splat(ONE)))
    code = where(code > 0, code, splat(0))
    return where(code < top, code, splat(top))
