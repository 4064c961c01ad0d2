"""quantize() and dequantize(): shapes, types, threads, devices and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import quant_cases as cases
from ggufx.quant import FORMATS, KERNELS, Weights, dequantize, quantize
from ggufx.quant.cpu import rows
from ggufx.quant.dispatch import Kernels, cols_of, kernel


@pytest.fixture(scope="module")
def x():
    return cases.data(9, 512)["gaussian"]


@pytest.fixture(scope="module")
def weights():
    return cases.weights(512)["random"]


def test_every_quantizable_format_is_in_the_table():
    assert set(FORMATS) - set(KERNELS) == {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"}
    for name in KERNELS:
        assert callable(kernel(name, "quantize", "cpu"))
        assert callable(kernel(name, "dequantize", "cpu"))
    assert {name for name in KERNELS if KERNELS[name].weights is Weights.REQUIRED} == {"IQ2_XXS", "IQ2_XS", "IQ1_S"}


@pytest.mark.parametrize("format", ["F32", "F16", "Q8_0", "Q4_K"])
def test_shapes(x, format):
    blocks = quantize(x, format)
    assert (blocks.dtype, blocks.shape) == (np.uint8, (9, FORMATS[format].row_bytes(512)))
    values = dequantize(blocks, format)
    assert (values.dtype, values.shape) == (np.float32, (9, 512))
    for shape in ((0, 512), (3, 0)):
        empty = quantize(np.empty(shape, np.float32), format)
        assert empty.shape == (shape[0], FORMATS[format].row_bytes(shape[1]))
        assert dequantize(empty, format).shape == shape


def test_out_is_written_and_returned(x):
    expected = quantize(x, "Q4_K")
    out = np.full_like(expected, 0xAA)
    assert quantize(x, "Q4_K", out=out) is out
    assert np.array_equal(out, expected)
    values = np.full_like(x, np.nan)
    assert dequantize(out, "Q4_K", out=values) is values
    assert np.array_equal(values, dequantize(expected, "Q4_K"))


@pytest.mark.parametrize("format", ["F16", "BF16", "Q8_0", "Q4_K", "Q4_0", "IQ4_NL"])
def test_no_byte_depends_on_the_number_of_threads(monkeypatch, format):
    monkeypatch.setattr(rows, "TILE", 512)  # so that many small pieces are shared
    x, weights = cases.data(37, 768)["heavy tails"], cases.weights(768)["random"]
    for w in (None, weights):
        one = quantize(x, format, w, threads=1)
        for threads in (2, 3, 8):
            assert np.array_equal(quantize(x, format, w, threads=threads), one)
    values = dequantize(one, format, threads=1)
    assert np.array_equal(dequantize(one, format, threads=5), values)


@pytest.mark.parametrize("format", ["F32", "F16", "BF16", "Q8_0", "Q4_K", "Q4_1"])
@pytest.mark.parametrize("tile", [256, 1 << 16])
def test_narrow_input_is_widened(monkeypatch, x, weights, format, tile):
    monkeypatch.setattr(rows, "TILE", tile)
    half = (x * np.float32(0.01)).astype(np.float16)
    brain = quantize(x, "BF16").view(np.uint16)
    wide = cases.to_bfloat16(dequantize(brain.view(np.uint8), "BF16"))
    for w in (None, weights):
        assert np.array_equal(quantize(half, format, w), quantize(half.astype(np.float32), format, w))
        assert np.array_equal(quantize(half, format, w, source="F16"), quantize(half, format, w))
        assert np.array_equal(quantize(brain, format, w, source="BF16"), quantize(wide, format, w))


def test_read_only_input_needs_no_second_compilation(x, weights):
    from ggufx.quant.cpu import q45_k

    expected, values = quantize(x, "Q4_K", weights), dequantize(quantize(x, "Q4_K"), "Q4_K")
    before = len(q45_k._quantize.signatures), len(q45_k._dequantize.signatures)
    fixed_x, fixed_weights = np.frombuffer(x.tobytes(), np.float32).reshape(x.shape), weights.copy()
    fixed_weights.flags.writeable = False
    assert not fixed_x.flags.writeable
    assert np.array_equal(quantize(fixed_x, "Q4_K", fixed_weights), expected)
    blocks = quantize(x, "Q4_K")
    blocks.flags.writeable = False
    assert np.array_equal(dequantize(blocks, "Q4_K"), values)
    assert (len(q45_k._quantize.signatures), len(q45_k._dequantize.signatures)) == before


def test_weights_that_have_no_use_are_ignored(x, weights):
    for format in ("Q8_0", "MXFP4", "TQ2_0"):
        assert np.array_equal(quantize(x, format, weights), quantize(x, format))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Q4_K_M",), "'Q4_K_M' is not a tensor type"),
        (("I32",), "I32 holds no quantized weights: it cannot be quantized"),
        (("IQ2_XS",), "IQ2_XS cannot be quantized without importance weights"),
        (("Q4_K", None, "tpu"), "'tpu' is not a device"),
        (("Q4_K", None, "cpu:0"), "'cpu:0' is not a device"),
        (("Q4_K", None, "cuda:x"), "'cuda:x' is not a device"),
        (("Q4_K", None, "cpu", 0), "threads must be 1 or more"),
        (("Q4_K", np.ones(256, np.float32)), r"weights must be a C-contiguous float32 array of shape \[512\]"),
        (("Q4_K", np.ones(512)), r"weights must be .*; it is float64 \[512\]"),
        (("Q8_0", None, "cpu", 1, np.empty((9, 543), np.uint8)), r"out must be .* of shape \[9, 544\]"),
    ],
)
def test_refused(x, arguments, message):
    with pytest.raises(ValueError, match=message):
        quantize(x, *arguments)


def test_refused_arrays(x):
    with pytest.raises(ValueError, match="not C-contiguous"):
        quantize(x.T.copy().T, "Q4_0")
    with pytest.raises(ValueError, match=r"shape \[\*, \*\]; it is float32 \[4608\]"):
        quantize(x.reshape(-1), "Q4_0")
    with pytest.raises(ValueError, match="a row of 500 is not a multiple"):
        quantize(np.ascontiguousarray(x[:, :500]), "Q4_K")
    with pytest.raises(ValueError, match="x has dtype uint16; "):
        quantize(x.view(np.uint16), "Q4_0")
    with pytest.raises(ValueError, match="x has dtype float32 and source='BF16'; "):
        quantize(x, "Q4_0", source="BF16")
    with pytest.raises(ValueError, match="x has dtype float64; "):
        quantize(x.astype(np.float64), "Q4_0")
    with pytest.raises(ValueError, match="x must be a numpy array, not list"):
        quantize(x.tolist(), "Q4_0")
    with pytest.raises(ValueError, match="stores blocks of 144 bytes; a row of 143"):
        dequantize(np.zeros((2, 143), np.uint8), "Q4_K")
    with pytest.raises(ValueError, match="blocks must be"):
        dequantize(x, "Q4_K")
    with pytest.raises(ValueError, match="Q8_1 holds no quantized weights: it cannot be dequantized"):
        dequantize(np.zeros((2, 36), np.uint8), "Q8_1")
    out = np.empty((9, 288), np.uint8)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        quantize(x, "Q4_0", out=out)


@pytest.mark.parametrize("format", cases.QUANTIZED)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_harms_its_own_block_only(format, poison):
    x = cases.data(4, 1024)["gaussian"]
    clean = quantize(x, format)
    x[1, 300:320] = poison
    x[2, 777] = poison
    harmed = np.repeat(~np.isfinite(x).reshape(-1, 256).all(1), 256).reshape(-1, FORMATS[format].block_size).all(1)
    blocks = (clean.reshape(-1, FORMATS[format].block_bytes), quantize(x, format).reshape(-1, FORMATS[format].block_bytes))
    assert np.array_equal(blocks[0][~harmed], blocks[1][~harmed])


def test_a_missing_kernel_is_named(monkeypatch):
    monkeypatch.setitem(KERNELS, "I8", Kernels("no_such_module", Weights.IGNORED))
    for device in ("cpu", "tpu"):
        with pytest.raises(ValueError, match=f"there is no kernel that can quantize I8 on {device}"):
            kernel("I8", "quantize", device)


def test_columns_of_a_row():
    assert cols_of(FORMATS["Q4_K"], 288) == 512


def test_numpy_is_enough_for_floats_and_nothing_for_the_table():
    script = """
import sys
from ggufx.quant import FORMATS, KERNELS, quantize, dequantize, cpu
assert "numpy" not in sys.modules
import numpy as np
x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(2, 32)
for name in ("F32", "F16", "BF16"):
    assert abs(dequantize(quantize(x, name), name) - x).max() < 0.01
assert not {"numba", "llvmlite", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
