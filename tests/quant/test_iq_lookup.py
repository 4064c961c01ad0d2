"""Look-ups in registers: the same results with AVX-512, with AVX2 and with neither."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np
from ggufx.quant.cpu.compile import STRICT
from ggufx.quant.cpu.lanes import load, store
from ggufx.quant.cpu.lookup import (first_least, first_least_lanes, four_rows, has_pick, item, pick, repeat4, repeat8,
                                    two_eights, two_rows)
import numba

@numba.njit(**STRICT)
def run(x, index, rows, values, whole):
    store(values, 0, pick(load(x, 0), load(index, 0)))
    store(values, 16, repeat4(x, 3, 9))
    store(values, 32, repeat8(x, 5, 2))
    values[48] = item(x, 7)
    store(whole, 0, two_rows(rows, 8, 24))
    store(whole, 16, four_rows(rows, 4, 0, 12, 28))
    store(whole, 32, two_eights(index, 20, 3))
    whole[48], whole[49] = first_least_lanes(load(x, 16))
    whole[50], whole[51] = first_least(load(x, 16), load(index, 16))
    whole[52], whole[53] = first_least_lanes(load(x, 32))
    whole[54], whole[55] = first_least(load(x, 32), load(index, 16))
    whole[56] = item(index, 17)
    return has_pick()

r = np.random.default_rng(0)
x = r.standard_normal(48).astype(np.float32)
x[16:32] = [5, 2, 7, 2, 9, 2, 3, 4, 8, 3, 6, 7, 3, 9, 5, 3]
x[32:48] = np.nan
index = r.integers(0, 8, 32, dtype=np.int32)
index[8:16] |= 8
index[16:32] = [9, 70, 8, 33, 5, 90, 1, 0, 2, 41, 3, 4, 6, 7, 10, 11]
rows = r.integers(-128, 128, 64).astype(np.int8)
values, whole = np.zeros(64, np.float32), np.zeros(64, np.int32)
fast = run(x, index, rows, values, whole)
assert (values[:16] == x[index[:16]]).all()
assert (values[16:32] == np.repeat(np.r_[x[3:5], x[9:11]], 4)).all()
assert (values[32:48] == np.repeat(x[[5, 2]], 8)).all()
assert values[48] == x[7]
assert (whole[:16] == np.r_[rows[8:16], rows[24:32]]).all()
assert (whole[16:32] == np.r_[rows[4:8], rows[0:4], rows[12:16], rows[28:32]]).all()
assert (whole[32:48] == np.r_[index[20:28], index[3:11]]).all()
assert whole[48:52].tolist() == [1, 1, 33, 6]
assert (whole[52:54] < 8).all() and (whole[52:54] >= 0).all()
assert whole[54] in index[16:24] and whole[55] in index[24:32]
assert whole[56] == 70
print("the same, pick" if fast else "the same")
"""


@pytest.mark.parametrize(
    ("cpu", "features", "said"),
    [("", "", "the same"), ("haswell", "+avx2,+avx,+sse4.2", "the same, pick"), ("x86-64", "-avx2", "the same")],
    ids=["this machine", "avx2", "sse2"],
)
def test_results_do_not_depend_on_the_machine(cpu, features, said):
    if cpu and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("compiles for x86-64")
    environment = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features} if cpu else {}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | environment, capture_output=True, text=True)
    assert done.stdout.startswith(said), done.stderr
