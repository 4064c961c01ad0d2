"""The plain decoders against the kernels, on arbitrary bytes; and against what the formats promise."""

from __future__ import annotations

import numpy as np
import pytest
import quant_cases as cases
from ggufx.quant import FORMATS, KERNELS, dequantize, quantize, reference


def test_every_format_has_a_decoder():
    assert reference.DECODERS.keys() == KERNELS.keys()
    with pytest.raises(ValueError, match="Q8_1 has no decoder"):
        reference.dequantize(np.zeros((1, 36), np.uint8), "Q8_1")


@pytest.mark.parametrize("format", KERNELS)
def test_kernel_decodes_as_the_reference(format):
    blocks = cases.blocks(format, 24, 768, seed=4)
    found, expected = dequantize(blocks, format, threads=1), reference.dequantize(blocks, format)
    nan = np.isnan(expected)
    assert np.array_equal(np.isnan(found), nan)
    assert np.array_equal(found.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])


@pytest.mark.parametrize("format", ["Q4_K", "Q8_0", "IQ4_XS", "TQ1_0", "NVFP4"])
def test_decoding_and_quantizing_again_finds_the_values(format):
    """Values that a format can hold are held, to within the rounding of its scales."""
    row = FORMATS[format]
    x = np.ascontiguousarray(reference.dequantize(quantize(cases.data(4, 512)["gaussian"], format), format))
    again = dequantize(quantize(x, format), format)
    error = np.abs(again - x).max() / np.abs(x).max()
    assert error < 2.0 ** -row.bits_per_weight
