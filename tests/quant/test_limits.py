"""What a type has no place for, as its decoder and ggml's validation have it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import quant_cases as cases
from ggufx.quant import FORMATS, KERNELS, dequantize, quantize
from ggufx.quant.dispatch import Weights
from ggufx.quant.limits import BEYOND_BLOCKS, first_unsound, least_bits, least_unfit
from ggufx.quant.reference import dequantize as decode

BLOCKS = [format for format in KERNELS if FORMATS[format].fields]


def arbitrary(format: str) -> np.ndarray:
    """uint8 [blocks, block_bytes]; many scales are infinite or NaN, or nearly."""
    blocks = cases.blocks(format, 4000, FORMATS[format].block_size).copy()
    blocks[1::3] |= np.where(blocks[1::3] % 3 == 0, 0xFC, 0).astype(np.uint8)
    return blocks


def with_one(value: float) -> np.ndarray:
    """Numbers around one, and among them this one."""
    x = cases.bell(1024, 7).reshape(2, 512)
    x[1, 300] = value
    return x


@pytest.mark.parametrize("format", BLOCKS)
def test_unsound_blocks_are_those_that_decode_to_no_number(format):
    blocks = arbitrary(format)
    sound = np.isfinite(decode(blocks, format)).all(1)
    if format == "MXFP4":  # its greatest scale is NaN by its standard; the two below make some codes infinite
        sound = blocks[:, 0] != 0xFF
    assert sound.any()
    assert sound.all() == (format == "NVFP4")
    for start in np.flatnonzero(~sound)[:50].tolist() or [0]:
        assert first_unsound(blocks[start:], format) == (None if format == "NVFP4" else 0)
    assert first_unsound(blocks, format) == (None if sound.all() else int(sound.argmin()))
    assert first_unsound(blocks[sound], format) is None
    assert first_unsound(blocks[:0], format) is None


@pytest.mark.parametrize("format", BLOCKS)
def test_ggml_refuses_the_same_blocks(ggml, format):
    for block in arbitrary(format)[:500]:
        assert ggml.valid(block, format) == (first_unsound(block, format) is None)


@pytest.mark.parametrize("format", BLOCKS)
def test_ggml_refuses_the_same_values(ggml, format):
    """Up to where no block reaches: what llama-quantize refuses, and nothing else, has no place."""
    weights = np.ones(512, np.float32) if KERNELS[format].weights is not Weights.IGNORED else None
    for power in np.arange(8, 28, 0.5):
        x = with_one(np.float32(-(2.0**power)))
        if 2.0**power < least_unfit(format):
            assert ggml.valid(ggml.quantize(x, format, weights), format) == (
                first_unsound(quantize(x, format, weights, threads=1), format) is None)


@pytest.mark.parametrize("format", BLOCKS)
def test_no_block_reaches_what_is_refused_unseen(format):
    blocks = arbitrary(format)
    if format == "NVFP4":
        blocks[:, :4] = np.minimum(blocks[:, :4] & 0x7F, 0x7E)  # the others are none of E4M3
    values = np.abs(decode(blocks, format))
    reached = values[np.isfinite(values)].max()
    assert reached < least_unfit(format)
    if format == "NVFP4":
        assert reached == 448 * 6
        assert np.abs(dequantize(quantize(with_one(np.nextafter(np.float32(2784), 0)), format), format)).max() == reached
    elif format != "MXFP4":
        assert least_unfit(format) == BEYOND_BLOCKS


@pytest.mark.parametrize("format", ["F16", "BF16"])
def test_the_least_value_that_becomes_infinite(format):
    least = np.float32(least_unfit(format))
    x = np.array([[np.nextafter(least, np.float32(0)), least]], np.float32)
    assert np.isfinite(dequantize(quantize(x, format), format)).tolist() == [[True, False]]


@pytest.mark.parametrize("format", ["F32", "F16", "BF16", "NVFP4", "Q4_0"])
@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_the_least_bits_of_a_narrower_type(format, kind):
    least = least_bits(format, kind)
    pair = np.array([[least - 1, least]], np.uint32 if kind == "F32" else np.uint16)
    below, value = dequantize(pair.view(np.uint8), kind)[0].tolist()
    assert below < least_unfit(format) <= value
    assert value < math.inf or least_unfit(format) > below


def test_numbers_have_no_blocks_to_look_at():
    assert first_unsound(np.zeros((6, 1), np.float32), "F32") is None
