"""The CUDA kernels as compiled for a GPU: their PTX, executed on numpy, gives ggml's bytes. Needs Triton, and no GPU.

Here are all decoders and some quantizers; `scripts/gpu_check --emulate 90` does it for every kernel.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)
if not (ROOT / "scripts" / "gpu_check.py").exists():
    pytest.skip("no scripts: an unpacked source distribution", allow_module_level=True)

sys.path.insert(0, str(Path(__file__).parent))
from ptx import Kernel, Run  # noqa: E402
from ptx_operations import Fault  # noqa: E402

FORMATS = ("F16", "BF16", "Q4_0", "Q5_1", "Q8_0", "Q3_K", "Q4_K", "Q6_K", "IQ4_NL", "TQ1_0", "MXFP4", "NVFP4", "Q1_0", "stored")
# Fails if a kernel is compiled with fused arithmetic, as it would be without `enable_fp_fusion=False`.
FUSED = """
import sys
sys.argv = ["gpu_check"]
sys.path.insert(0, "scripts")
import gpu_check, triton
gpu_check.mount()
from gpu_compile import emulated
compile = triton.compile
triton.compile = lambda source, target, options: compile(source, target=target, options=options | {"enable_fp_fusion": True})
compiler = emulated(90)
gpu_check.check(["Q4_1"], "tiny")
"""


def test_bytes(tmp_path):
    command = [sys.executable, "scripts/gpu_check.py", "--emulate", "90", "--tiny", "--formats", ",".join(FORMATS), "--output",
               str(tmp_path / "report.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["different"] == {name: [] for name in ("data", *FORMATS)}
    assert len(report["compiled"]) > 30
    assert all(row["suspect"] == [] and row["spilled bytes"] == 0 for row in report["compiled"])


def test_fused_arithmetic_would_be_seen():
    done = subprocess.run([sys.executable, "-c", FUSED], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "fma.rn.f32" in done.stderr


def run(body: str, array: np.ndarray, threads: int = 32) -> np.ndarray:
    """A kernel of these instructions; %rd1 is where the array begins, %rd2 the thread's place in it, 4 bytes each."""
    ptx = f""".visible .entry k(
    .param .u64 .ptr .global .align 1 k_param_0
)
.reqntid {threads}
{{
    ld.param.b64 %rd1, [k_param_0];
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd2, %rd1, %rd2;
    {body}
    ret;
}}
"""
    Run(Kernel(ptx), len(array) // threads, [array.view(np.uint8)], 256)()
    return array


def results(instruction: str, values: list[float]) -> list[int]:
    array = np.zeros(32, np.float32)
    array[: len(values)] = values
    body = f"ld.global.b32 %r2, [%rd2]; {instruction} st.global.b32 [%rd2], %r3;".replace("; ", ";\n")
    return run(body, array).view(np.uint32)[: len(values)].tolist()


def test_what_the_hardware_does_otherwise_than_x86():
    inf, nan = np.inf, np.nan
    assert results("add.rn.f32 %r3, %r2, 0fFF800000;", [inf, 1.0]) == [0x7FFFFFFF, 0xFF800000]
    assert results("cvt.rzi.s32.f32 %r3, %r2;", [nan, 3e9, -3e9, -1.5]) == [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
    assert results("min.f32 %r3, %r2, 0f00000000;", [nan, -0.0, 1.0]) == [0, 0x80000000, 0]
    assert results("max.f32 %r3, %r2, 0f80000000;", [nan, 0.0, -1.0]) == [0x80000000, 0, 0x80000000]
    assert results("setp.geu.f32 %p1, %r2, 0f3F800000; selp.b32 %r3, 7, 9, %p1;", [nan, 1.0, 0.5]) == [7, 7, 9]
    assert results("mul.rn.f32 %r3, %r2, 0f3F000000;", [np.float32(3e-45)]) == [1]  # subnormals are kept
    assert results("shl.b32 %r3, %r2, 32;", [1.0]) == [0]


def test_threads_that_branch_differently_meet_again():
    body = """and.b32 %r2, %r1, 3;
    setp.eq.b32 %p1, %r2, 0;
    @%p1 bra $L__end;
$L__loop:
    add.s32 %r3, %r3, %r2;
    add.s32 %r2, %r2, -1;
    setp.ne.b32 %p2, %r2, 0;
    @%p2 bra $L__loop;
$L__end:
    bar.sync 0;
    st.global.b32 [%rd2], %r3;"""
    assert run(body, np.zeros(32, np.uint32)).tolist() == [0, 1, 3, 6] * 8


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("st.global.b32 [%rd2+4], %r1;", "outside of every array"),
        ("ld.global.b32 %r2, [%rd2+-4];", "outside of every array"),
        ("st.global.b32 [%rd2+2], %r1;", "not aligned"),
        ("st.shared.b32 [%r1+256], %r1;", "outside of the shared memory"),
        ("div.full.f32 %r2, %r1, %r1;", "not known here"),
        ("setp.lt.u32 %p1, %r1, 5;\n@%p1 bra $L__x;\nbar.sync 0;\n$L__x:", "meets at a barrier"),
    ],
)
def test_what_a_gpu_would_not_forgive(body, message):
    if "shared" in body:
        body = "shl.b32 %r1, %r1, 2;\n" + body
    with pytest.raises(Fault, match=message):
        run(body, np.zeros(32, np.uint32))
