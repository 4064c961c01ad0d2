"""Look-ups in registers: the same results with AVX-512, with AVX2 and with neither."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from ggufx.quant.cpu.compile import STRICT
from ggufx.quant.cpu.lanes import load, store
from ggufx.quant.cpu.lookup import (first_least, first_least_lane, four_rows, pick_high, pick_low, repeat4, repeat8,
                                    two_rows)
import numba

@numba.njit(**STRICT)
def run(x, index, rows, values, whole):
    table = load(x, 0)
    store(values, 0, pick_low(table, load(index, 0)))
    store(values, 16, pick_high(table, load(index, 0) | 8))
    store(values, 32, repeat4(x, 3))
    store(values, 48, repeat8(x, 5))
    store(whole, 0, two_rows(rows, 8, 24))
    store(whole, 16, four_rows(rows, 4, 0, 12, 28))
    whole[32] = first_least_lane(load(x, 16))
    whole[33] = first_least(load(x, 16), load(index, 16))
    whole[34] = first_least_lane(load(x, 32))
    whole[35] = first_least(load(x, 32), load(index, 16))

r = np.random.default_rng(0)
x = r.standard_normal(48).astype(np.float32)
x[16:32] = [5, 2, 7, 2, 9, 2, 3, 4, 8, 2, 6, 7, 8, 9, 5, 4]
x[32:48] = np.nan
index = r.integers(0, 8, 32, dtype=np.int32)
index[16:32] = [9, 70, 8, 33, 5, 90, 1, 0, 2, 41, 3, 4, 6, 7, 10, 11]
rows = r.integers(-128, 128, 64).astype(np.int8)
values, whole = np.zeros(64, np.float32), np.zeros(48, np.int32)
run(x, index, rows, values, whole)
assert (values[:16] == x[index[:16]]).all()
assert (values[16:32] == x[8 + index[:16]]).all()
assert (values[32:48] == np.repeat(x[3:7], 4)).all()
assert (values[48:64] == np.repeat(x[5:7], 8)).all()
assert (whole[:16] == np.r_[rows[8:16], rows[24:32]]).all()
assert (whole[16:32] == np.r_[rows[4:8], rows[0:4], rows[12:16], rows[28:32]]).all()
assert whole[32:34].tolist() == [1, 33]
assert 0 <= whole[34] < 16 and whole[35] in index[16:32]
print("the same")
"""


@pytest.mark.parametrize(
    ("cpu", "features"), [("", ""), ("haswell", "+avx2,+avx,+sse4.2"), ("x86-64", "-avx2")], ids=["this", "avx2", "sse2"]
)
def test_results_do_not_depend_on_the_machine(cpu, features):
    environment = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features} if cpu else {}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "the same", done.stderr
