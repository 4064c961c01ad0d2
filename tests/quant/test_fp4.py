"""MXFP4 and NVFP4: the borders between codes, and scales near the powers of two."""

from __future__ import annotations

import numpy as np
import pytest
import quant_cases as cases
from ggufx.quant import quantize
from ggufx.quant.cpu.fp4 import E4M3, ROUNDED_UP
from ggufx.quant.reference import FP4_VALUES


def _codes(blocks: np.ndarray, group: int) -> np.ndarray:
    """Of bytes [n, bytes]: per `group` bytes the lower codes, then the upper ones."""
    parts = blocks.reshape(len(blocks), -1, 1, group)
    return np.concatenate([parts & 15, parts >> 4], axis=2).reshape(len(blocks), -1)


@pytest.mark.parametrize("format", ["MXFP4", "NVFP4"])
def test_every_code_is_the_first_of_the_nearest(format):
    n, size, group = 4000, *((32, 32) if format == "MXFP4" else (64, 16))
    scale = np.ldexp(np.float32(1) + cases.uniform(n, 1), (cases.words(n, 2) % np.uint64(12)).astype(np.int32) - 6)
    x = np.zeros((n, size), np.float32)
    x[:, ::group] = scale[:, None]
    first = quantize(x, format)
    d = np.ldexp(np.float32(1), first[:, 0].astype(np.int32) - 128) if format == "MXFP4" else E4M3[first[:, 0]]
    borders = np.float32([0.5, 1.5, 2.5, 3.5, 5, 7, 10, 0, 1, 2, 3, 4, 6, 8])
    chosen = borders[(cases.words(n * size, 3) % np.uint64(len(borders))).astype(np.int64)].reshape(n, size) * d[:, None]
    steps = (cases.words(n * size, 4) % np.uint64(5)).astype(np.int32).reshape(n, size) - 2
    near = (chosen.view(np.int32) + np.where(chosen > 0, steps, 0)).view(np.float32)
    near = np.where(cases.words(n * size, 5).reshape(n, size) & np.uint64(1), near, -near)
    fits = np.abs(near) <= scale[:, None]
    x = np.where(fits & (x == 0), near, x).astype(np.float32)
    blocks = quantize(x, format)
    assert np.array_equal(blocks[:, 0], first[:, 0])  # the scale is still that of the greatest
    errors = np.abs(FP4_VALUES * d[:, None, None] - x[:, :, None])
    header = 1 if format == "MXFP4" else 4
    assert np.array_equal(_codes(blocks[:, header:], 16 if format == "MXFP4" else 8), errors.argmin(-1))


def test_mxfp4_exponent_follows_log2f():
    """Close below a power of two log2f, rounded to float32, gives the power itself."""
    powers = np.arange(-125, 128)
    top = np.ldexp(np.float32(1), powers).view(np.int32)
    x = np.zeros((len(powers) * 200, 32), np.float32)
    x[:, 5] = (top[:, None] + np.arange(-100, 100)).astype(np.int32).view(np.float32).reshape(-1)
    exponent = quantize(x, "MXFP4")[:, 0]
    exact = np.frexp(x[:, 5])[1] - 1
    rounded = np.log2(x[:, 5].astype(np.float64)).astype(np.float32)
    expected = (np.floor(rounded) + 125).astype(np.int64) & 0xFF
    assert np.array_equal(exponent, expected)
    assert (exponent != (exact + 125 & 0xFF)).sum() == ROUNDED_UP[powers + 149].sum() > 5000


def test_nvfp4_scales_decode_as_defined():
    assert E4M3[0x7E] == 224
    assert E4M3[1] == 2.0**-10
    assert (E4M3[0], E4M3[0x7F], E4M3[0x80]) == (0, 0, 0)
    assert np.array_equal(E4M3[0x81:0xFF], E4M3[0x01:0x7F])


def test_nvfp4_of_numbers_beyond_its_scale():
    """The scale ends at 448: differences to far greater numbers are rounded, and the first of equals may be zero."""
    x = np.zeros((3, 64), np.float32)
    x[0, 0], x[1, 1], x[2, 2] = 1e30, -5000, 3e9
    blocks = quantize(x, "NVFP4")
    assert blocks[:, 0].tolist() == [0x7E] * 3
    errors = np.abs(FP4_VALUES * np.float32(224) - x[:, :16, None])
    assert np.array_equal(_codes(blocks[:, 4:12], 8), errors.argmin(-1))
    assert [errors.argmin(-1)[0, 0], errors.argmin(-1)[1, 1]] == [0, 15]
