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

WIDTH = 1024  # columns whose sums stay in the first-level cache


@intrinsic
def fma(typing_context, a, b, c):
    """a * b + c, rounded once."""
    signature = numba.float32(numba.float32, numba.float32, numba.float32)
    return signature, lambda context, builder, signature, arguments: builder.fma(*arguments)


@kernel
def product(b, a, scale, out):
    """(b @ a) * scale, the scale after the sum: float32 [rows, r], [r, cols] -> [rows, cols]."""
    rows, cols = out.shape
    rank = b.shape[1]
    for start in range(0, cols, WIDTH):
        stop = min(start + WIDTH, cols)
        for i in range(rows):
            for j in range(start, stop):
                out[i, j] = np.float32(0)
            k = 0
            while k + 4 <= rank:
                b0, b1, b2, b3 = b[i, k], b[i, k + 1], b[i, k + 2], b[i, k + 3]
                for j in range(start, stop):
                    sum = fma(b1, a[k + 1, j], fma(b0, a[k, j], out[i, j]))
                    out[i, j] = fma(b3, a[k + 3, j], fma(b2, a[k + 2, j], sum))
                k += 4
            while k < rank:
                b0 = b[i, k]
                for j in range(start, stop):
                    out[i, j] = fma(b0, a[k, j], out[i, j])
                k += 1
            for j in range(start, stop):
                out[i, j] *= scale


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
