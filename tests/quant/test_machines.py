"""No byte depends on the vector instructions of the machine: the recorded digests, with code made for lesser CPUs, and whole
conversions of models with tensors that are computed, with numpy's and BLAS' oldest code."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
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


# Exponentials, softplus and its inverse (Mamba), rotary factors, two layers that are folded (Qwen3-TTS), vectors of length 1
# (Baichuan 2), a projection folded into a table (Pocket TTS), a merged adapter, and its norms (DoRA).
COMPUTED = ("mamba2", "llama-llama3", "phi3-longrope", "qwen3tts", "baichuan", "pocket-tts", "minicpm3")
CONVERT = """
import hashlib, sys
from pathlib import Path
import ggufx
home, out = Path(sys.argv[1]), Path(sys.argv[2])
run = {"threads": 1, "device": "cpu"}
for folder in sorted((home / "models").iterdir()):
    ggufx.hf_to_gguf(folder, out / f"{folder.name}.gguf", **run)
    ggufx.gguf_to_hf(out / f"{folder.name}.gguf", out / folder.name, **run)
ggufx.merge_lora(home / "adapter", out / "merged", base=home / "models" / "llama-llama3", **run)
"""


def _made(home: Path, out: Path, **setting: str) -> dict[str, str]:
    out.mkdir()
    subprocess.run([sys.executable, "-c", CONVERT, str(home), str(out)], env=os.environ | setting, check=True,
                   capture_output=True)
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in out.rglob("*") if p.is_file()}


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names kinds of x86-64")
def test_computed_tensors_are_those_of_every_machine(zoo, tmp_path: Path):
    from numpy._core._multiarray_umath import __cpu_dispatch__ as known  # what numpy has several versions of its loops for
    from zoo.adapters import make_adapter

    (tmp_path / "models").mkdir()
    for name in COMPUTED:
        (tmp_path / "models" / name).symlink_to(zoo(name))
    make_adapter(zoo("llama-llama3"), tmp_path / "adapter", {"target_modules": ["q_proj", "down_proj"], "use_dora": True})
    here = _made(tmp_path, tmp_path / "here")
    there = _made(tmp_path, tmp_path / "there", NPY_DISABLE_CPU_FEATURES=" ".join(known), OPENBLAS_CORETYPE="Prescott",
                  NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="+sse2", NUMBA_CACHE_DIR=str(tmp_path / "numba"))
    assert len(here) > 3 * len(COMPUTED)
    assert there == here


# Functions that round otherwise on other processors, or with other libraries; `math.sqrt` and whole powers do not.
UNEVEN = {"exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "logaddexp", "pow", "power", "float_power", "sin", "cos",
          "tan", "tanh", "sinh", "cosh", "arctan", "atan", "atan2", "arctan2", "erf", "hypot", "cbrt", "dot", "vdot", "inner",
          "matmul", "einsum", "tensordot", "polyfit", "lstsq", "solve", "svd", "linalg", "softmax", "sigmoid"}
# What makes no byte of a model: figures for people, importance matrices and perplexities (torch's and llama.cpp's own sums).
# And `exact`, which rounds once whatever these functions give; grids of whole numbers; the product of factors in laws; the
# rank that RWKV's class itself works out, a multiple of 32.
EXEMPT = {"converters/calibrate", "converters/measure", "converters/report", "converters/verify", "converters/ops/exact.py",
          "quant/cpu/iq_grid.py", "converters/ops/base.py", "converters/arch/rwkv.py"}


def test_nothing_is_computed_that_machines_round_otherwise():
    found, seen = [], 0
    for path in sorted(p for room in ("converters", "quant", "src") for p in (ROOT / room).rglob("*.py")):
        if any(path.is_relative_to(ROOT / exempt) for exempt in EXEMPT):
            continue
        seen += 1
        found += [f"{path.relative_to(ROOT)}:{node.lineno}" for node in ast.walk(ast.parse(path.read_text())) if _uneven(node)]
    assert seen > 300
    assert not found


def _uneven(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id in ("np", "math", "torch", "tl") and node.attr in UNEVEN
    if not isinstance(node, ast.BinOp):
        return False
    fraction = any(isinstance(n, ast.Constant) and isinstance(n.value, float) for n in ast.walk(node.right))
    return isinstance(node.op, ast.MatMult) or (isinstance(node.op, ast.Pow) and fraction)
