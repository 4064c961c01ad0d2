"""Low-rank updates of weights, in the order of operations that peft's merge on a CPU has.

The product is a chain of fused multiply-adds over the rank, each rounded once to float32, which is what torch's matrix
product gives for ranks up to 192. `llvm.fma` is exact on every processor, in hardware or not, so the bytes are the same on
all of them.
"""

from __future__ import annotations

import numba
import numpy as np
from numba.extending import intrinsic

from .compile import kernel

WIDTH = 256  # columns whose sums stay in the first-level cache


@intrinsic
def fma(typing_context, a, b, c):
    """a * b + c, rounded once."""
    signature = numba.float32(numba.float32, numba.float32, numba.float32)
    return signature, lambda context, builder, signature, arguments: builder.fma(*arguments)


@kernel
def product(b, a, scale, out):
    """(b @ a) * scale, the scale after the sum: float32 [rows, r], [r, cols] -> [rows, cols].

    Two rows at a time share what is read of `a`; their sums are arrays of their own, so that the compiler knows that they are
    apart from it.
    """
    rows, cols = out.shape
    rank = b.shape[1]
    upper, lower = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    for start in range(0, cols, WIDTH):
        count = min(WIDTH, cols - start)
        for i in range(0, rows, 2):
            other = min(i + 1, rows - 1)  # of an odd number of rows the last one twice
            for j in range(count):
                upper[j] = lower[j] = np.float32(0)
            k = 0
            while k + 4 <= rank:
                p0, p1, p2, p3 = b[i, k], b[i, k + 1], b[i, k + 2], b[i, k + 3]
                q0, q1, q2, q3 = b[other, k], b[other, k + 1], b[other, k + 2], b[other, k + 3]
                for j in range(count):
                    at = start + j
                    a0, a1, a2, a3 = a[k, at], a[k + 1, at], a[k + 2, at], a[k + 3, at]
                    upper[j] = fma(p3, a3, fma(p2, a2, fma(p1, a1, fma(p0, a0, upper[j]))))
                    lower[j] = fma(q3, a3, fma(q2, a2, fma(q1, a1, fma(q0, a0, lower[j]))))
                k += 4
            while k < rank:
                p0, q0 = b[i, k], b[other, k]
                for j in range(count):
                    upper[j] = fma(p0, a[k, start + j], upper[j])
                    lower[j] = fma(q0, a[k, start + j], lower[j])
                k += 1
            for j in range(count):
                out[i, start + j] = upper[j] * scale
                out[other, start + j] = lower[j] * scale


@kernel
def row_norms(x, out):
    """The Euclidean norm of each row: float32 [rows, cols] -> [rows]; summed in float64 from left to right, rounded once."""
    for i in range(x.shape[0]):
        sum = 0.0
        for j in range(x.shape[1]):
            sum += np.float64(x[i, j]) * np.float64(x[i, j])
        out[i] = np.sqrt(sum)


@kernel
def add_squares(x, sums):
    """The squares of each column, added to its sum: float32 [rows, cols], float64 [cols]; from top to bottom."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            sums[j] += np.float64(x[i, j]) * np.float64(x[i, j])
