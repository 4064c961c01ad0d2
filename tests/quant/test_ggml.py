"""The kernels beside the library itself: other numbers and shapes than the recorded ones."""

from __future__ import annotations

import numpy as np
import pytest
import quant_cases as cases
from ggufx.quant import FORMATS, KERNELS, dequantize, quantize

# One super-block to a row; a row that fills a group of sixteen but for one; one long row; seventeen rows, and a wide one.
SHAPES = ((3, 256), (2, 3840), (1, 5376), (17, 512))


@pytest.mark.parametrize("format", cases.QUANTIZED)
def test_blocks(ggml, format):
    wrong = []
    for seed, shape in enumerate(SHAPES, start=2):
        for name, x, weights in cases.cases(format, *shape, seed):
            found, expected = quantize(x, format, weights, threads=1), ggml.quantize(x, format, weights)
            if not np.array_equal(found, expected):
                differing = (found != expected).reshape(-1, FORMATS[format].block_bytes).any(1).sum()
                wrong.append(f"{shape}, {name}: {differing} blocks")
    assert wrong == []


@pytest.mark.parametrize("format", [name for name in KERNELS if name != "F32"])
def test_values(ggml, format):
    blocks = cases.blocks(format, 40, 1024, seed=2)
    found, expected = dequantize(blocks, format, threads=1), ggml.dequantize(blocks, format)
    nan = np.isnan(expected)
    assert np.array_equal(np.isnan(found), nan)
    assert np.array_equal(found.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])


@pytest.mark.parametrize("format", ["F16", "BF16"])
def test_floats_at_their_limits(ggml, format):
    bits = cases.words(1 << 14, seed=3).view(np.uint32)
    near = np.concatenate([(e << 23) + np.arange(-70, 70) for e in range(1, 255)]).astype(np.uint32)
    fine = np.arange(0x387FE000, 0x38802000, dtype=np.uint32)  # around 2^-14, where float16 becomes subnormal
    x = np.concatenate([bits, near, near | np.uint32(1 << 31), fine, np.uint32([0x7F800000, 0x7F800001, 0xFFC00000])])
    x = x.view(np.float32).reshape(1, -1)
    assert np.array_equal(quantize(x, format, threads=1), ggml.quantize(x, format))
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(1, -1)
    found, expected = dequantize(halves, format, threads=1), ggml.dequantize(halves, format)
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))
