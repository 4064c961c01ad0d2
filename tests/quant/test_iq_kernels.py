"""IQ1, IQ2 and IQ3: ggml's bytes, from golden digests everywhere and from the library where it can be had."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
from ggufx.quant import dequantize, quantize
from ggufx.quant.formats import FORMATS

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("golden_iq", ROOT / "scripts" / "golden" / "iq.py")
golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)
ANSWERS = json.loads(golden.GOLDEN.read_text())
DATA = golden.samples()


def test_the_data_is_that_of_the_golden_digests():
    assert {name: golden.digest(values) for name, values in DATA.items()} == {
        key.removeprefix("data / "): value for key, value in ANSWERS.items() if key.startswith("data / ")
    }


@pytest.mark.parametrize("name", golden.NAMES)
def test_quantized_bytes_equal_ggmls(name):
    cases = [case for case in golden.cases() if case[0] == name]
    assert len(cases) == len(DATA) * (2 if name in golden.REQUIRED else 3)
    wrong = [
        (sample, kind)
        for _, sample, kind in cases
        if golden.digest(quantize(DATA[sample], name, golden.weights(kind), threads=1))
        != ANSWERS[f"{name} / {sample} / {kind}"]
    ]
    assert not wrong


@pytest.mark.parametrize("name", golden.NAMES)
def test_decoded_bits_equal_ggmls_on_arbitrary_bytes(name):
    values = dequantize(golden.random_blocks(name), name, threads=1)
    assert golden.digest(values) == ANSWERS[f"{name} / decoded"]
    assert np.isnan(values).any()  # the sign of NaN counts too


@pytest.fixture(scope="module")
def ggml():
    library = os.environ.get("GGUFX_LIBGGML")
    if not library:
        pytest.skip("GGUFX_LIBGGML names no libggml-base.so")
    return golden.Ggml(library)


@pytest.mark.parametrize("name", golden.NAMES)
def test_the_library_agrees_now(ggml, name):
    """More rows than the golden cases, whole batches of sixteen blocks among them, and data of many scales."""
    size = 11 * 512
    x = (golden.uniform(size, 50) * 2.0 ** np.floor(20 * golden.uniform(size, 51))).astype(np.float32).reshape(11, 512)
    weights = (1 + golden.uniform(512, 52)).astype(np.float32)
    for given in (weights,) if name in golden.REQUIRED else (weights, None):
        blocks = quantize(x, name, given)
        np.testing.assert_array_equal(blocks, ggml.quantize(x, name, given))
        np.testing.assert_array_equal(dequantize(blocks, name), ggml.dequantize(blocks, name))


@pytest.mark.parametrize("name", golden.NAMES)
@pytest.mark.parametrize("blocks", [1, 2, 3, 17])
def test_no_block_depends_on_its_neighbours(name, blocks):
    """The kernels take blocks in pairs and sums in sixteens: any number of rows gives the bytes of single rows."""
    x = DATA["gaussian"].reshape(-1, 256)[:blocks] if blocks < 15 else np.tile(DATA["gaussian"].reshape(-1, 256), (2, 1))[:17]
    weights = golden.weights("random")[:256]
    together = quantize(np.ascontiguousarray(x), name, weights, threads=1)
    apart = np.concatenate([quantize(row[None].copy(), name, weights, threads=1) for row in x])
    np.testing.assert_array_equal(together, apart)


def test_a_group_of_zeros_moves_what_follows_in_iq3_s():
    """A defect of the reference that the bytes keep: after a sub-block of zeros IQ3_S decodes to other numbers."""
    x = DATA["gaussian"].reshape(-1, 256)[:1].copy()
    x[0, 32:64] = 0
    values = dequantize(quantize(x, "IQ3_S"), "IQ3_S")
    assert np.abs(values - x)[0, :32].max() < 0.02
    assert np.abs(values - x)[0, 64:].max() > 0.02
    assert np.abs(dequantize(quantize(x, "IQ3_XXS"), "IQ3_XXS") - x).max() < 0.03


@pytest.mark.parametrize("name", golden.NAMES)
def test_error_is_what_the_bits_allow(name):
    x, weights = DATA["gaussian"], np.ones(golden.COLS, np.float32)
    values = dequantize(quantize(x, name, weights), name)
    error = float(((values - x) ** 2).mean() / (x**2).mean())
    assert error < 2.6 * 4.0 ** -FORMATS[name].bits_per_weight
