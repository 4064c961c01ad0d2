"""Kernels are compiled once per machine, say so, and work where nothing can be kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ggufx.quant import cpu, quantize
from ggufx.quant.cpu import compile as compiling

SCRIPT = """
import json, sys
import numpy as np
from ggufx.quant import cpu, dequantize, quantize
names = []
cpu.on_compile(names.append)
x = np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 64)
blocks = quantize(x, "Q2_0")
assert abs(dequantize(blocks, "Q2_0") - x).max() <= 0.5
before = len(names)
quantize(x, "Q2_0")
cpu.warmup(["Q2_0"])
assert len(names) == before
print(json.dumps(names))
"""
BOTH = ["simple._quantize_q2_0", "simple._dequantize_q2_0"]


def _run(cache: Path) -> list[str]:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_compiled_code_is_kept_and_a_damaged_cache_is_replaced(tmp_path):
    assert _run(tmp_path) == BOTH
    assert _run(tmp_path) == []
    indexes = sorted(tmp_path.rglob("*.nbi"))
    assert len(indexes) == 2
    for path in indexes:
        path.write_bytes(path.read_bytes()[:-20])
    assert _run(tmp_path) == BOTH
    assert _run(tmp_path) == []


@pytest.fixture
def heard():
    names = []
    cpu.on_compile(names.append)
    yield names
    cpu.on_compile(None)


def test_without_a_place_to_keep_it_each_process_compiles(monkeypatch, heard):
    def nowhere(function):
        raise RuntimeError("no locator available")

    monkeypatch.setattr(compiling, "_Cache", nowhere)

    @compiling.kernel
    def double(x):
        return x * 2

    assert double(np.float32(4)) == 8
    assert double(np.float32(5)) == 10
    assert heard == ["test_compile.double"]


def test_a_full_disk_costs_nothing_but_time(monkeypatch, tmp_path, heard):
    def full(self, sig, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiling.FunctionCache, "save_overload", full)

    @compiling.kernel
    def triple(x):
        return x * 3

    assert triple(np.float32(4)) == 12
    assert heard == ["test_compile.triple"]


def test_digest_covers_what_a_kernel_is_made_of(tmp_path):
    (tmp_path / "a.py").write_text("from .b import x\nfrom ..formats import FORMATS\n")
    (tmp_path / "b.py").write_text("from .a import y\n")
    (tmp_path / "c.py").write_text("")
    first = compiling.sources_digest(tmp_path / "a.py")
    compiling.sources_digest.cache_clear()
    (tmp_path / "c.py").write_text("changed")
    assert compiling.sources_digest(tmp_path / "a.py") == first
    compiling.sources_digest.cache_clear()
    (tmp_path / "b.py").write_text("from .a import z\n")
    assert compiling.sources_digest(tmp_path / "a.py") != first


def test_warmup_speaks_to_its_own_listener_only(heard):
    quantize(np.ones((1, 64), np.float32), "Q2_0")
    own = []
    cpu.warmup(["Q2_0", "F16"], on_compile=own.append)
    assert not set(own) & set(heard)
    cpu.announce(test_warmup_speaks_to_its_own_listener_only)
    assert heard[-1].endswith("test_warmup_speaks_to_its_own_listener_only")
    with pytest.raises(ValueError, match="'Q9' is not a tensor type"):
        cpu.warmup(["Q9"])
