"""F16 and BF16: numpy's way for little and the compiled way for much give the same bits, for every kind of number."""

from __future__ import annotations

import numpy as np
import pytest
import quant_cases as cases
from ggufx.quant import dequantize, quantize
from ggufx.quant.cpu import floats

SPECIAL = [
    0x00000000, 0x80000000, 0x00000001, 0x33000000, 0x33000001, 0x387FC000, 0x387FF000, 0x38800000,
    0x477FE000, 0x477FEFFF, 0x477FF000, 0x47800000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7F800001,
    0x7FC00000, 0xFFC12345, 0xFF812345,
]


@pytest.fixture(params=["little", "much"])
def way(request, monkeypatch):
    monkeypatch.setattr(floats, "LITTLE", 1 << 40 if request.param == "little" else 0)
    return request.param


def every_4097th() -> np.ndarray:
    bits = np.concatenate([np.array(SPECIAL, np.uint32), np.arange(0, 1 << 32, 4097, dtype=np.uint64).astype(np.uint32)])
    return bits.view(np.float32).reshape(1, -1)


@pytest.mark.parametrize("format", ["F16", "BF16"])
def test_both_ways_round_alike(monkeypatch, format):
    x = every_4097th()
    monkeypatch.setattr(floats, "LITTLE", 1 << 40)
    little = quantize(x, format)
    monkeypatch.setattr(floats, "LITTLE", 0)
    assert np.array_equal(quantize(x, format), little)


def test_f16_is_what_numpy_rounds_to(way):
    x = every_4097th()
    x = x[:, ~np.isnan(x[0])].copy()
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    assert np.array_equal(quantize(x, "F16").view(np.float16), expected)


def test_f16_nan_keeps_its_sign_only(way):
    x = np.array([[0x7F800001, 0x7FC12345, 0xFF812345, 0xFFC00000]], np.uint32).view(np.float32)
    assert quantize(x, "F16").view(np.uint16).tolist() == [[0x7E00, 0x7E00, 0xFE00, 0xFE00]]


def test_bf16_rounds_half_to_even(way):
    bits = [0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x7F7FFFFF, 0x7F800001, 0xFFC00001, 0x00008001]
    expected = [0x3F80, 0x3F82, 0x3F81, 0x3F80, 0x7F80, 0x7FC0, 0xFFC0, 0x0001]
    x = np.array([bits], np.uint32).view(np.float32)
    assert quantize(x, "BF16").view(np.uint16).tolist() == [expected]


def test_every_half_comes_back(way):
    halves = np.arange(1 << 16, dtype=np.uint16).reshape(1, -1)
    values = dequantize(halves.view(np.uint8), "F16")
    nan = np.isnan(halves.view(np.float16))
    assert np.array_equal(values[~nan], halves.view(np.float16)[~nan].astype(np.float32))
    assert np.array_equal(np.isnan(values), nan)
    assert (values[nan].view(np.uint32) >> 22 & 1).all()  # quiet
    assert np.array_equal(quantize(values[~nan].reshape(1, -1), "F16").view(np.uint16), halves[~nan].reshape(1, -1))


def test_every_bfloat16_keeps_its_bits(way):
    halves = np.arange(1 << 16, dtype=np.uint16).reshape(1, -1)
    values = dequantize(halves.view(np.uint8), "BF16")
    assert np.array_equal(values.view(np.uint32), halves.astype(np.uint32) << 16)


@pytest.mark.parametrize("source", ["F16", "BF16"])
def test_narrow_input_is_widened_alike(way, source):
    x = cases.data(9, 512)["gaussian"]
    narrow = quantize(x, source)
    stored = narrow.view(np.float16 if source == "F16" else np.uint16)
    expected = quantize(dequantize(narrow, source), "Q8_0")
    assert np.array_equal(quantize(stored, "Q8_0", source=source), expected)
