"""The CUDA kernels' bytes are those of the CPU kernels. They run in Triton's interpreter, here and everywhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import quant_cases as cases
from ggufx.quant import FORMATS, KERNELS, Weights, dequantize, quantize
from interpreter import Interpreter

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

ROWS, COLS = 3, 1024
_spec = importlib.util.spec_from_file_location("golden_iq", Path(__file__).parents[2] / "scripts" / "golden" / "iq.py")
iq = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(iq)


@pytest.fixture(scope="module")
def cuda():
    interpreter = Interpreter(Path(__file__).with_name("interpreted.py"))
    yield interpreter
    interpreter.close()


@pytest.fixture(scope="module")
def stacked():
    """All data sets one below the other: an interpreted operation costs the same for few numbers and for many."""
    data = cases.data(ROWS, COLS)
    return list(data), np.concatenate(list(data.values()))


@pytest.fixture(scope="module")
def weights():
    """Each kind of weights for a quarter of the columns."""
    kinds = cases.weights(COLS // 4)
    return np.concatenate([kinds[name] for name in ("random", "holes", "half zero", "zero")])


def _check(format: str, names: list[str], found: np.ndarray, expected: np.ndarray) -> None:
    wrong = (found != expected).reshape(len(names), -1, FORMATS[format].block_bytes)
    assert {name: f"{w.any(1).sum()} blocks" for name, w in zip(names, wrong, strict=True) if w.any()} == {}


@pytest.mark.parametrize("format", ["F32", *cases.QUANTIZED])
def test_blocks(cuda, stacked, weights, format):
    names, x = stacked
    _check(format, names, cuda.blocks_of(x, format), quantize(x, format))
    if KERNELS[format].weights is Weights.USED:
        _check(format, names, cuda.blocks_of(x, format, weights), quantize(x, format, weights))


@pytest.mark.parametrize("format", iq.NAMES)
def test_blocks_of_grids(cuda, format):
    """As above with the data of IQ1, IQ2 and IQ3, five super-blocks of each set; weights are random, then with zeros."""
    data = iq.samples()
    x = np.concatenate([values[:1] for values in data.values()])
    weights = np.concatenate([iq.weights("random")[:768], iq.weights("zeros")[768:]])
    for w in (weights,) if format in iq.REQUIRED else (weights, None):
        _check(format, list(data), cuda.blocks_of(x, format, w), quantize(x, format, w))


def _same(found: np.ndarray, expected: np.ndarray) -> None:
    nan = np.isnan(expected)
    assert np.array_equal(np.isnan(found), nan)
    assert np.array_equal(found.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])


@pytest.mark.parametrize("format", KERNELS)
def test_values(cuda, format):
    blocks = cases.blocks(format, 24, 768, seed=4)
    blocks[:2] = 0
    blocks[2:4] = 0xFF
    _same(cuda.values_of(blocks, format), dequantize(blocks, format))


@pytest.mark.parametrize("format", ["F16", "BF16", "Q1_0", "Q5_1", "Q3_K", "NVFP4"])
def test_many_programs(cuda, format):
    x, w = cases.data(7, 768)["half zero"], cases.weights(768)["random"]
    for weights in (None, w) if KERNELS[format].weights is Weights.USED else (None,):
        blocks, values = cuda.small_programs(x, format, weights)
        assert np.array_equal(blocks, quantize(x, format, weights))
        _same(values, dequantize(blocks, format))


def test_tensors_come_back_as_tensors(cuda, stacked):
    x = stacked[1][:9]
    for dtype, source in (("float32", "F32"), ("float16", "F16"), ("bfloat16", "BF16")):
        blocks, values, kinds, written = cuda.tensors(x, "Q8_0", dtype)
        expected = quantize(dequantize(quantize(x, source), source), "Q8_0")
        assert np.array_equal(blocks, expected)
        assert np.array_equal(values, dequantize(expected, "Q8_0"))
        assert kinds == ["torch.uint8", "torch.float32"]
        assert written


def test_arrays_as_on_the_cpu(cuda, stacked, weights):
    x = stacked[1][:5]
    brain = quantize(x, "BF16").view(np.uint16)
    half = (x * np.float32(0.01)).astype(np.float16)
    for w in (None, weights):
        assert np.array_equal(cuda.blocks_of(brain, "Q4_0", w, source="BF16"), quantize(brain, "Q4_0", w, source="BF16"))
        assert np.array_equal(cuda.blocks_of(half, "Q4_0", w), quantize(half, "Q4_0", w))
    for shape in ((0, 512), (3, 0)):
        empty = cuda.blocks_of(np.empty(shape, np.float32), "Q4_K")
        assert empty.shape == (shape[0], FORMATS["Q4_K"].row_bytes(shape[1]))
        assert cuda.values_of(empty, "Q4_K").shape == shape


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda x: x.T.copy().T, ("Q4_0",), "x must be C-contiguous"),
        (lambda x: x.reshape(-1), ("Q4_0",), r"x must be .* of shape \[\*, \*\]; it is float32 \[4608\]"),
        (lambda x: x[:, :500].copy(), ("Q4_K",), "a row of 500 is not a multiple"),
        (lambda x: x.view(np.uint16), ("Q4_0",), "x has dtype uint16; "),
        (lambda x: x.astype(np.float64), ("Q4_0",), "x has dtype float64; "),
        (lambda x: x.tolist(), ("Q4_0",), "x must be a torch tensor or a numpy array, not list"),
        (lambda x: x, ("Q4_K", np.ones(256, np.float32)), r"weights must be a C-contiguous float32 .* \[512\]; it is"),
        (lambda x: x, ("IQ2_XS",), "IQ2_XS cannot be quantized without importance weights"),
    ],
)
def test_refused(cuda, change, arguments, message):
    x = cases.data(9, 512)["gaussian"]
    with pytest.raises(ValueError, match=message):
        cuda.blocks_of(change(x), *arguments)
    with pytest.raises(ValueError, match="out must be"):
        cuda.blocks_of(x, "Q4_0", out=np.empty((9, 287), np.uint8))
