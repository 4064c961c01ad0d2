"""The kernels' bytes and values are those of ggml, as recorded: on every machine, without the library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import quant_cases as cases
from ggufx.quant import KERNELS, dequantize, quantize

GOLDEN = Path(__file__).parents[1] / "golden"


def _digests(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}.json").read_text())["digests"]


def test_data_is_the_same_everywhere():
    assert {name: cases.digest(x) for name, x in cases.data().items()} == _digests("quant_data")


def test_every_format_is_recorded():
    assert set(_digests("quant_values")) == set(KERNELS) - {"F32"}
    left_out = {"F32", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"}
    assert set(_digests("quant_blocks")) == set(cases.QUANTIZED) == set(KERNELS) - left_out


@pytest.mark.parametrize("format", cases.QUANTIZED)
def test_blocks(format):
    expected = _digests("quant_blocks")[format]
    found = {name: cases.digest(quantize(x, format, weights, threads=1)) for name, x, weights in cases.cases(format)}
    assert [name for name in expected if found.get(name) != expected[name]] == []
    assert found.keys() == expected.keys()


@pytest.mark.parametrize("format", [name for name in KERNELS if name != "F32"])
def test_values(format):
    assert cases.digest(dequantize(cases.blocks(format), format, threads=1)) == _digests("quant_values")[format]
