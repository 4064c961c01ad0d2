"""What the codes of quantized weights stand for: floats of 6 and 8 bits, E2M1, whole numbers with and without sign."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def values_of(kind: str, bits: int) -> np.ndarray:
    """float32 [256]: what each code stands for. `bits`: of a code that is less than a byte."""
    codes = np.arange(256)
    if kind in FLOAT8:
        return FLOAT8[kind]
    if kind == "E2M1":
        return np.tile(np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32), 16)
    if kind == "E2M3":
        return np.tile(np.concatenate([FLOAT6, -FLOAT6]), 4)
    half = 1 << (bits or 8) - 1
    numbers = {"U": codes, "U-": codes - half, "I": (codes ^ half) - half, "U+1": codes + 1 & 2 * half - 1,
               "T": codes - 1}
    return numbers[kind].astype(np.float32)


def _small_floats(exponent_bits: int, bias: int, nan: Sequence[int], infinities: bool = False) -> np.ndarray:
    """The values of 8 bits: sign, exponent, mantissa."""
    codes = np.arange(256)
    mantissa_bits = 7 - exponent_bits
    exponent, mantissa = (codes & 127) >> mantissa_bits, codes & (1 << mantissa_bits) - 1
    fraction = np.where(exponent == 0, mantissa, mantissa + (1 << mantissa_bits)) * 2.0**-mantissa_bits
    values = np.where(codes > 127, -1.0, 1.0) * np.ldexp(fraction, np.maximum(exponent, 1) - bias)
    if infinities:
        top = exponent == (1 << exponent_bits) - 1
        values = np.where(top, np.where(mantissa == 0, np.copysign(np.inf, values), np.nan), values)
    values[list(nan)] = np.nan
    return values.astype(np.float32)


FLOAT8 = {
    "F8_E4M3": _small_floats(4, 7, (0x7F, 0xFF)), "F8_E5M2": _small_floats(5, 15, (), infinities=True),
    "F8_E4M3FNUZ": _small_floats(4, 8, (0x80,)), "F8_E5M2FNUZ": _small_floats(5, 16, (0x80,)),
    "F8_E8M0": np.append(np.ldexp(1.0, np.arange(255) - 127), np.nan).astype(np.float32),
}  # fmt: skip

FLOAT6 = np.array([m / 8 if e == 0 else (1 + m / 8) * 2.0 ** (e - 1) for e in range(4) for m in range(8)], np.float32)
