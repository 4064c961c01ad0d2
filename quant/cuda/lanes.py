"""Blocks as lanes: the numbers of a block are the registers of one thread, element i of every block one tensor.

A tuple of n tensors [ROWS] stands for n numbers of each of ROWS blocks. Loops over it are unrolled, so that an element's
number is known to the compiler and nothing is indexed at run time.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .launch import launch_lanes


@triton.jit
def _columns(tile):
    """[ROWS, n] -> its columns, n tensors [ROWS]; n is a power of two."""
    n: tl.constexpr = tile.shape[1]
    if n == 1:
        return (tl.reshape(tile, (tile.shape[0],)),)
    else:  # noqa: RET505 - what follows a return is compiled too
        even, odd = tl.split(tl.reshape(tile, (tile.shape[0], n // 2, 2)))
        evens, odds = _columns(even), _columns(odd)
        columns = ()
        for i in tl.static_range(n // 2):
            columns += (evens[i], odds[i])
        return columns


@triton.jit
def load_lanes(at, N: tl.constexpr):
    """N neighbouring numbers (a power of two, 4 or more) from each pointer.

    Up to eight are loaded by the thread that will have them, four at a time. More are loaded as a tile, by neighbouring
    threads from neighbouring places, and handed over; that is also compiled sooner, being one load.
    """
    if N <= 8:
        columns = ()
        for i in tl.static_range(0, N, 4):
            columns += _columns(tl.load(at[:, None] + (i + tl.arange(0, 4))[None, :]))
        return columns
    else:  # noqa: RET505 - what follows a return is compiled too
        return _columns(tl.load(at[:, None] + tl.arange(0, N)[None, :]))


@triton.jit
def stacked(values):
    """A tuple of n tensors [ROWS] side by side: [ROWS, n], n a power of two.

    One store of many numbers instead of many stores: the compiler takes a while over each one after a long calculation.
    """
    if len(values) == 1:
        return values[0][:, None]
    else:  # noqa: RET505 - what follows a return is compiled too
        even, odd = (), ()
        for i in tl.static_range(0, len(values), 2):
            even += (values[i],)
            odd += (values[i + 1],)
        return tl.reshape(tl.join(stacked(even), stacked(odd)), (values[0].shape[0], len(values)))


@triton.jit
def store_record(found, row, live, a, b, c, d):
    """Four float32 per row, together."""
    tl.store(found + row[:, None] * 4 + tl.arange(0, 4)[None, :], stacked((a, b, c, d)), mask=live[:, None])


@triton.jit
def load_record(found, row):
    at = found + row * 4
    return tl.load(at), tl.load(at + 1), tl.load(at + 2), tl.load(at + 3)


@triton.jit
def sum_of_squares(xs):
    """In order, from the first on."""
    total = xs[0] * xs[0]
    for i in tl.static_range(1, len(xs)):
        total += xs[i] * xs[i]
    return total


@triton.jit
def weights_of(weights, row, N: tl.constexpr, per_row):
    """The weights of sub-blocks of N numbers; `per_row`: how many of them a row of the matrix has."""
    return load_lanes(weights + row % per_row * N, N)


@triton.jit
def spread(ws, xs, sigma2):
    """How an importance weighs in: w * sqrt(sigma2 + x * x)."""
    spread_ws = ()
    for i in tl.static_range(len(xs)):
        spread_ws += (ws[i] * tl.sqrt_rn(sigma2 + xs[i] * xs[i]),)
    return spread_ws


@triton.jit
def squares(xs):
    """The weights where none are given: x * x."""
    result = ()
    for i in tl.static_range(len(xs)):
        result += (xs[i] * xs[i],)
    return result


@triton.jit(do_not_specialize=("parts", "count"))
def _sums_of_squares(x, out, parts, count, ROWS: tl.constexpr):
    """Over rows of `parts` times 32 numbers."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    at = x + tl.minimum(row, count - 1) * (parts * 32)
    total = tl.zeros((ROWS,), tl.float32)
    part = tl.zeros((), tl.int32)
    while part < parts:  # the interpreter of Triton 3.6 has no range() over a number that is not known before
        for eight in tl.static_range(4):
            xs = load_lanes(at + part * 32 + eight * 8, 8)
            for i in tl.static_range(8):
                total += xs[i] * xs[i]
        part += 1
    tl.store(out + row, total, mask=row < count)


def sums_of_squares(x, size: int):
    """float32 [x.numel() / size]: the sum of squares of each `size` (a multiple of 32) numbers, in order."""
    rows = x.numel() // size
    out = x.new_empty(rows)
    launch_lanes(_sums_of_squares, rows, x, out, size // 32)
    return out
