"""What the formats with super-blocks of 256 numbers do alike: sub-blocks as lanes, then super-blocks as lanes, then tiles.

A search leaves a record per sub-block (lanes.store_record), for the launches that follow it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .lanes import load_lanes, spread, weights_of


@triton.jit
def weighted_sub_blocks(x, weights, squares, row, per_row, N: tl.constexpr, FACTOR: tl.constexpr):
    """Sub-blocks of N numbers, and their weights spread by FACTOR times the mean square of the super-block.

    squares: float32 per super-block, from sums_of_squares(); per_row: sub-blocks of a row of the matrix.
    """
    xs = load_lanes(x + row * N, N)
    sigma2 = tl.load(squares + row // (256 // N)) * FACTOR * 0.00390625  # / 256, which is exact either way
    return xs, spread(weights_of(weights, row, N, per_row), xs, sigma2)


@triton.jit
def scales_and_minimums(found, row, PARTS: tl.constexpr):
    """Of the records that fit_scale_and_minimum() left: the scales and (not negative) minimums of PARTS sub-blocks."""
    records = load_lanes(found + row * (4 * PARTS), 4 * PARTS)
    scales, mins = (), ()
    for j in tl.static_range(PARTS):
        scales += (records[4 * j],)
        mins += (-records[4 * j + 1],)
    return scales, mins


@triton.jit
def magnitudes(xs):
    result = ()
    for i in tl.static_range(len(xs)):
        result += (tl.abs(xs[i]),)
    return result
