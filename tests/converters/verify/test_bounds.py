"""The bounds of verify: what quantizing makes lies within, what it cannot make lies outside."""

from __future__ import annotations

import numpy as np
import pytest
from ggufx.converters.verify.side import SideTensor
from ggufx.converters.verify.tensors import MAX_RELATIVE_RMSE, MAX_ROW, ROW_FACTOR, Figures, Pair, Verdict, add, judge
from ggufx.quant import FORMATS, dequantize, quantize
from ggufx.quant.dispatch import KERNELS, Weights

ROWS, COLS = 48, 1024
QUANTIZED = [name for name in KERNELS if name not in ("F32", "F16", "BF16")]


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    unequal = rng.standard_normal((ROWS, COLS)) * np.exp(0.7 * rng.standard_normal(COLS))
    made = {"normal": rng.standard_normal((ROWS, COLS)), "laplace": rng.laplace(size=(ROWS, COLS)),
            "student": rng.standard_t(4, size=(ROWS, COLS)), "unequal channels": unequal}
    return {name: np.ascontiguousarray(0.02 * x, np.float32) for name, x in made.items()}


def judged(x: np.ndarray, y: np.ndarray, kind: str) -> Pair:
    pair = Pair("w", SideTensor("w", "F32", x.shape, "F32", ()), SideTensor("w", kind, x.shape, kind, ()), Figures(),
                differs=True)
    error, signal = ((y - x) ** 2).sum(1), (x**2).sum(1)
    part = Figures(x.size, int(np.count_nonzero(x != y)), squares=float(error.sum()), reference=float(signal.sum()))
    part.rows = np.stack([error, signal])
    add(pair.figures, part, 0, len(x))
    judge(pair, None, made=True)
    return pair


def test_every_quantized_type_has_a_bound():
    assert set(MAX_RELATIVE_RMSE) == set(QUANTIZED)
    finer = sorted(MAX_RELATIVE_RMSE, key=lambda kind: -FORMATS[kind].bits_per_weight)
    assert MAX_RELATIVE_RMSE[finer[0]] == min(MAX_RELATIVE_RMSE.values())
    assert all(bound < MAX_ROW < 1.2 for bound in MAX_RELATIVE_RMSE.values())


@pytest.mark.parametrize("kind", QUANTIZED)
def test_quantized_weights_are_within_and_others_outside(kind: str):
    importance = np.exp(np.random.default_rng(3).standard_normal(COLS)).astype(np.float32)
    for name, x in weights().items():
        for given in (importance,) if KERNELS[kind].weights is Weights.REQUIRED else (None, importance):
            y = dequantize(quantize(x, kind, weights=given), kind)
            pair = judged(x, y, kind)
            assert pair.verdict is Verdict.CLOSE, (name, pair.detail)
            assert pair.figures.relative < pair.bound
            assert judged(x, y[::-1].copy(), kind).verdict is Verdict.DIFFERENT
            assert judged(x, np.roll(y, 1, axis=1), kind).verdict is Verdict.DIFFERENT
            one = y.copy()
            one[5] = y[6]
            if name == "normal":
                assert judged(x, one, kind).detail.startswith("row 5") or judged(x, one, kind).figures.relative > pair.bound


def test_a_row_that_rounds_to_nothing_is_measured_against_the_tensor():
    """Rows of tokens that were never trained are near zero; a format with one scale per 256 values loses them."""
    x = weights()["normal"]
    x[3] *= 1e-7
    y = dequantize(quantize(x, "Q4_K"), "Q4_K")
    assert np.abs(y[3]).max() == 0 or not np.allclose(y[3], x[3], rtol=0.2, atol=0)
    assert judged(x, y, "Q4_K").verdict is Verdict.CLOSE


def test_the_bound_of_a_row():
    assert ROW_FACTOR * MAX_RELATIVE_RMSE["Q8_0"] < 0.1 < ROW_FACTOR * MAX_RELATIVE_RMSE["Q4_K"]
    x = weights()["normal"]
    y = x.copy()
    y[9] *= 1.2  # off by a fifth: more than Q8_0 may be, less than Q4_K
    assert judged(x, y, "Q8_0").detail.startswith(("row 9", "above"))
    assert judged(x, y, "Q4_K").verdict is Verdict.CLOSE
