"""Functions rounded once: to the value that many more digits give, and on lesser processors to the same bits."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from ggufx.converters.ops import exact

RNG = np.random.Generator(np.random.PCG64(7))
POINTS = np.concatenate([RNG.uniform(-20, 20, 60), RNG.uniform(-1e-3, 1e-3, 15), RNG.uniform(-100, 88.7, 15),
                         [0.0, np.log(2), 88.72283, -103.97, -745.0]]).astype(np.float32).astype(np.float64)


def nearest(value: Decimal) -> np.float32:
    """By whole numbers: the float32 that is nearest to a decimal one, ties to even."""
    wanted = Fraction(value)
    near = np.float32(float(value))
    return min((np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))),
               key=lambda f: (abs(Fraction(float(f)) - wanted), int(f.view(np.uint32)) & 1))


def decimal_sine(v: Decimal) -> Decimal:
    """From half angles: sin 3x = 3 sin x - 4 sin^3 x."""
    if abs(v) < Decimal("1e-20"):
        return v - v**3 / 6
    third = decimal_sine(v / 3)
    return 3 * third - 4 * third**3


CASES = {
    "exp": (exact.exp, POINTS, Decimal.exp),
    "log": (exact.log, np.abs(POINTS[POINTS != 0]), Decimal.ln),
    "silu": (exact.silu, POINTS, lambda v: v / (1 + (-v).exp())),
    "softplus": (exact.softplus, POINTS, lambda v: (1 + v.exp()).ln()),
    "inverse": (exact.inverse_softplus, np.abs(POINTS[POINTS != 0]), lambda v: (v.exp() - 1).ln()),
    "sin": (exact.sin, POINTS * 15, decimal_sine),
    "cos": (exact.cos, POINTS * 15, lambda v: 1 - 2 * decimal_sine(v / 2) ** 2),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("slack", [exact.SLACK, 1.0])
def test_the_nearest_float(monkeypatch, name, slack):
    """`slack` 1: every value is taken for doubtful, so the decimal way is tried on all."""
    function, points, reference = CASES[name]
    points = points.astype(np.float32)[:: 1 if slack < 1 else 10]
    monkeypatch.setattr(exact, "SLACK", slack)
    found = function(points if name in ("sin", "cos") else points.astype(np.float64))
    assert found.dtype == np.float32
    with localcontext(prec=80):
        expected = [nearest(reference(Decimal(float(x)))) for x in points]
    assert found.tolist() == expected


def test_a_product_is_the_nearest_float_whatever_the_sizes_of_its_numbers():
    """Of rows whose values span few powers of two; where they span many, what is left out counts against the largest."""
    x, weight = (RNG.standard_normal((7, 50)).astype(np.float32) * np.float32(scale) for scale in (1e20, 1e-30))
    bias = RNG.standard_normal(7).astype(np.float32) * np.float32(1e-9)
    for a, b in ((x, weight), (np.ldexp(x, -RNG.integers(0, 60, x.shape)), weight), (np.zeros_like(x), weight)):
        true = [[float(sum(Fraction(float(u)) * Fraction(float(v)) for u, v in zip(i, j, strict=True)) + Fraction(float(c)))
                 for j, c in zip(b, bias, strict=True)] for i in a]
        most = 50 * np.abs(a).max(1, keepdims=True).astype(float) * np.abs(b).max(1).astype(float)
        found = exact.linear(a, b, bias)
        assert found.dtype == np.float32
        assert (np.abs(found - np.array(true)) <= np.spacing(np.abs(found)) / 2 + most * 2.0**-32).all()
    x[2, 3], x[4, 1] = np.inf, np.nan
    found = exact.linear(x, weight, bias)
    assert np.isnan(found[[2, 4]]).all()
    assert np.isfinite(found[[0, 1, 3, 5, 6]]).all()


def test_a_value_next_to_the_middle_of_two():
    """float64's exp gives the very middle, so which float32 is nearer shows in its later digits alone."""
    low = np.float32(1.5)
    middle = float(low) + 2.0**-24
    value = Decimal(middle)
    with localcontext(prec=60):
        assert exact._nearest(value + Decimal("1e-40")) == np.nextafter(low, np.float32(2))
        assert exact._nearest(value - Decimal("1e-40")) == low
    assert exact._nearest(Decimal("1e60")) == np.inf


SCRIPT = """
import hashlib, numpy as np
from ggufx.converters.arch.projectors.omni import sinusoids
from ggufx.converters.ops import exact, NegExp, Softplus, Ternary, UnitNorm
from ggufx.converters.rules import rope
from ggufx.converters.ops.code_values import FLOAT6, FLOAT8
words = np.random.PCG64(5).random_raw(1 << 15)
x = ((words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-21) - 4).reshape(128, 256)
made = {type(op).__name__ + str(undo): op.forward([y])[0] for op, undo, y in (
    (NegExp(), 0, x), (NegExp(True), 1, -abs(x) - np.float32(0.01)), (Softplus(), 0, x),
    (Softplus(True), 1, abs(x) + np.float32(0.01)),
    (UnitNorm(), 0, x), (UnitNorm(columns=True), 1, x), (Ternary(), 0, x))}
made |= {f"rope {base}": rope._llama3_divisors(rope._frequencies(128, base), 8, 1, 4, 8192) for base in (1e4, 5e5, 1e6)}
made["linear"] = exact.linear(x, x[::-1] * x[0], x[:, 7])
made |= {"sinusoids": sinusoids(256), "float6": FLOAT6, **FLOAT8}
from numpy._core._multiarray_umath import __cpu_features__ as found
print(sum(found.values()))
for name, y in made.items():
    y = np.asarray(y)
    print(name, y.dtype, hashlib.sha256(np.where(np.isnan(y), 0, y).tobytes()).hexdigest()[:16])
"""


def test_lesser_processors_give_the_same_bits():
    """numpy chooses its code by what the processor has, and so does its BLAS; here they are told to do without."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    wide = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    if not wide:
        pytest.skip("numpy has no code of its own for this processor that could be left out")
    less = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(wide), "OPENBLAS_CORETYPE": "Nehalem",
                         "OPENBLAS_NUM_THREADS": "1"}
    full, plain = (subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=True)
                   .stdout.splitlines() for env in (dict(os.environ), less))
    assert int(plain[0]) < int(full[0]), "nothing was left out"
    assert plain[1:] == full[1:]
    assert len(full) > 15
    assert hashlib.sha256("\n".join(full[1:]).encode()).hexdigest()[:16] == RECORDED, "other bits than were recorded"


RECORDED = "22cb98c46c9d016f"
