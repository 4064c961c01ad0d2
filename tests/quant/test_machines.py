"""No byte depends on the vector instructions of the machine: the recorded digests, with code made for lesser CPUs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FORMATS = ("F16", "BF16", "Q4_K", "Q3_K", "Q4_0", "MXFP4")
CPUS = {
    "x86-64": "+sse2",
    "haswell": "+sse2,+sse4.2,+avx,+avx2,+fma,+f16c,+bmi,+bmi2",
    "skylake-avx512": "+sse2,+sse4.2,+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512cd",
}
NEEDS = {"x86-64": (), "haswell": ("avx2", "fma", "f16c"), "skylake-avx512": ("avx512bw", "avx512dq", "avx512vl", "avx512cd")}
SCRIPT = f"""
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("cases", sys.argv[1])
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)
from ggufx.quant import dequantize, quantize
from ggufx.quant.cpu import floats
floats.LITTLE = 0
found = {{}}
for format in {FORMATS!r}:
    blocks = {{name: cases.digest(quantize(x, format, weights)) for name, x, weights in cases.cases(format)}}
    found[format] = [blocks, cases.digest(dequantize(cases.blocks(format), format))]
print(json.dumps(found))
"""


def _flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these are kinds of x86-64")
@pytest.mark.parametrize("cpu", CPUS)
def test_bytes_are_those_of_every_machine(cpu, tmp_path):
    if missing := set(NEEDS[cpu]) - _flags():
        pytest.skip(f"this machine cannot run code for {cpu}: it lacks {', '.join(sorted(missing))}")
    chosen = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": CPUS[cpu], "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT, str(HERE / "cases.py")]
    done = subprocess.run(command, env=os.environ | chosen, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    golden = HERE.parent / "golden"
    blocks, values = (json.loads((golden / f"quant_{kind}.json").read_text())["digests"] for kind in ("blocks", "values"))
    assert found == {name: [blocks[name], values[name]] for name in FORMATS}
