"""Transcendental functions rounded once to float32: the same bits on every processor, with every C library.

numpy's and libm's are off by some units in the last place of float64, by other ones on other machines. That shows in float32
only where the value lies next to the middle between two of them; there, about once in ten million, it is computed in decimal
arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal, localcontext

import numpy as np

SLACK = 2.0**-48  # sixteen units in the last place: more than any library's functions are off by
DIGITS = 60


def exp(x: np.ndarray) -> np.ndarray:
    """float64 -> float32, as all of these."""
    with np.errstate(all="ignore"):
        made = np.exp(x)
    return _rounded(x, made, np.abs(made), Decimal.exp)


def log(x: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        made = np.log(x)
    return _rounded(x, made, np.abs(made), Decimal.ln)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x))."""
    with np.errstate(all="ignore"):
        made = np.logaddexp(0.0, x)
    return _rounded(x, made, np.abs(made), lambda v: (1 + v.exp()).ln())


def inverse_softplus(x: np.ndarray) -> np.ndarray:
    """log(exp(x) - 1), of positive numbers."""
    with np.errstate(all="ignore"):
        part = np.log(-np.expm1(-x))
    return _rounded(x, x + part, np.abs(x) + np.abs(part), lambda v: (v.exp() - 1).ln())


def silu(x: np.ndarray) -> np.ndarray:
    """x / (1 + exp(-x))."""
    with np.errstate(all="ignore"):
        made = x / (1 + np.exp(-x))
    return _rounded(x, made, np.abs(made), lambda v: v / (1 + (-v).exp()))


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """`x` [n, k] times `weight` [m, k] transposed, plus `bias` [m]: float32 [n, m].

    Sums of floats depend on their order, which every BLAS chooses for itself. So these are of whole numbers below 2^53, which
    float64 adds up exactly in any order: each row's values in units of its largest, in two parts of `bits` bits. What is left
    out is less than 2^-32 of what the largest values come to; that is rounded once more, to float32.
    """
    bits = (53 - max(1, x.shape[1]).bit_length()) // 2
    (high, low), step = _parts(x, bits)
    (weight_high, weight_low), weight_step = _parts(weight, bits)
    with np.errstate(all="ignore"):
        sums = high @ weight_high.T + np.ldexp(high @ weight_low.T + low @ weight_high.T, -bits)
        out = (np.ldexp(sums, step + weight_step.T) + bias.astype(np.float64)).astype(np.float32)
    return np.where(np.isnan(out), np.float32(np.nan), out)


def _parts(x: np.ndarray, bits: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Whole numbers in float64, the second in units of 2^-bits of the first's, and the exponents of these [n, 1]."""
    wide = x.astype(np.float64)
    step = np.frexp(np.abs(wide).max(1, keepdims=True, initial=0))[1] - bits
    with np.errstate(all="ignore"):
        scaled = np.ldexp(wide, -step)
        high = np.rint(scaled)
        return (high, np.rint(np.ldexp(scaled - high, bits))), step


def sin(x: np.ndarray) -> np.ndarray:
    """Of float32 values."""
    made = np.fromiter(map(math.sin, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)
    return _rounded(x, made, np.abs(made), lambda v: _series(v, v, 1))


def cos(x: np.ndarray) -> np.ndarray:
    """Of float32 values."""
    made = np.fromiter(map(math.cos, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)
    return _rounded(x, made, np.abs(made), lambda v: _series(v, Decimal(1), 0))


def power(base: float, exponent: float) -> float:
    """base ** exponent of positive numbers, rounded to float64."""
    return float(Context(prec=DIGITS).power(Decimal(base), Decimal(exponent)))


def natural_log(x: float) -> Decimal:
    """Of a positive number, with more digits than any float has."""
    return Context(prec=DIGITS).ln(Decimal(x))


def _rounded(x: np.ndarray, made: np.ndarray, size: np.ndarray, exact: Callable[[Decimal], Decimal]) -> np.ndarray:
    """`made`, whose error is less than `size` times SLACK, as float32; `exact` where that could be either of two."""
    with np.errstate(all="ignore"):
        out = made.astype(np.float32)
        error = size * SLACK
        doubtful = np.isfinite(made) & ((made - error).astype(np.float32) != (made + error).astype(np.float32))
    for at in zip(*np.nonzero(doubtful), strict=True):
        value = Decimal(float(x[at]))
        with localcontext(prec=DIGITS + int(abs(value))):  # series of sines of large numbers lose their first digits
            out[at] = _nearest(exact(value))
    return out


def _nearest(value: Decimal) -> np.float32:
    """The float32 that is nearest. By way of float64, whose rounding shows only where it gives the middle between two."""
    wide = float(value)
    with np.errstate(over="ignore"):
        near = np.float32(wide)
    if float(near) == wide or not math.isfinite(float(near)):
        return near
    other = np.nextafter(near, np.float32(math.copysign(math.inf, wide - float(near))))
    if (float(near) + float(other)) / 2 != wide or Decimal(wide) == value:
        return near
    return max(near, other) if value > Decimal(wide) else min(near, other)


def _series(x: Decimal, term: Decimal, n: int) -> Decimal:
    """The Taylor series of sine or cosine that begins with `term`, of power `n`."""
    sum, square = Decimal(0), x * x
    while abs(term) > Decimal(10) ** -DIGITS or n < abs(x):
        sum += term
        n += 2
        term = -term * square / (n * (n - 1))
    return sum
