"""What rounding to a type lost, row by row: sums of squares in one order, so that every machine has the same digits.

There are as many sums of a row as lanes: number i goes to sum i % 16, and these are added up at the end.
"""

from __future__ import annotations

import numpy as np

from .compile import kernel
from .half import widened
from .lanes import LANES, load, splat, store, to_f64


@kernel
def squares(x, y, weights, out):
    """Sums over each row of w * (x - y)^2 and of w * x^2 -> float64 [rows, 2].

    x float32 [rows, cols], or uint16: the bits of bfloat16; y float32 [rows, cols]; weights float32 [cols], or [0]: all 1.
    """
    rows, cols = x.shape
    weighted = weights.size > 0
    whole = cols - cols % LANES
    losts, helds = np.empty(LANES, np.float64), np.empty(LANES, np.float64)
    for i in range(rows):
        lost = held = splat(0.0)
        for start in range(0, whole, LANES):
            w = to_f64(load(weights, start)) if weighted else splat(1.0)
            a = to_f64(load(x, i * cols + start))
            d = a - to_f64(load(y, i * cols + start))
            lost += w * (d * d)
            held += w * (a * a)
        store(losts, 0, lost)
        store(helds, 0, held)
        for at in range(whole, cols):
            w, a = np.float64(weights[at]) if weighted else 1.0, np.float64(widened(x[i, at]))
            d = a - np.float64(y[i, at])
            losts[at - whole] += w * (d * d)
            helds[at - whole] += w * (a * a)
        for k in range(1, LANES):
            losts[0] += losts[k]
            helds[0] += helds[k]
        out[i, 0], out[i, 1] = losts[0], helds[0]


@kernel
def exact_sum(numbers, parts):
    """Adds each of float64 [n] to `parts`, float64 [m], whose exact sum grows by theirs: every sum of two is kept with what its
    rounding left (Shewchuk, 1997). How many of the parts count; -1 where m are too few, or a sum is no finite number."""
    count = 0
    for x in numbers:
        kept = 0
        for j in range(count):
            y = parts[j]
            if abs(x) < abs(y):
                x, y = y, x
            high = x + y
            low = y - (high - x)
            if low != 0.0:
                parts[kept] = low
                kept += 1
            x = high
        if kept == parts.size or not np.isfinite(x):
            return -1
        if x != 0.0:
            parts[kept] = x
            kept += 1
        count = kept
    return count
