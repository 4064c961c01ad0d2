"""Speed of quantize() and dequantize() beside ggml's, gguf-py's and memcpy, per format and thread, same data, same run.

Usage: GGUFX_LIBGGML=/path/to/libggml-base.so python benchmarks/bench_quantize.py [--formats Q4_K,Q8_0] [--quick]
Prints a table and writes benchmarks/results/quantize.json. Speeds are MB/s of float32 on the float side; each is the best of
several runs that take turns. Bytes are compared too: a kernel that differs from ggml is not worth a number.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ggufx.quant import KERNELS, Weights, dequantize, quantize

ROOT = Path(__file__).parents[1]
COLS = 4096


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(calls: dict[str, Callable[[], object]], size: int, seconds: float) -> dict[str, float]:
    """MB/s of each call on `size` bytes; they take turns until `seconds` per call are spent, twice at least."""
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    end = time.perf_counter() + seconds * len(calls)
    rounds = 0
    while rounds < 2 or (time.perf_counter() < end and rounds < 50):
        for name, call in calls.items():
            if best[name] < 0.02:  # what the caches hold should be its own, not that of the call before
                call()
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
        rounds += 1
    return {name: round(size / took / 1e6, 1) for name, took in best.items()}


def _gguf_py(format: str):
    """gguf-py's quantizer and decoder for a format, each None where it has none."""
    import gguf

    try:
        kind = gguf.GGMLQuantizationType[format]
    except KeyError:
        return None, None
    sample = np.ones((1, 256), np.float32)
    encode = decode = None
    try:
        blocks = gguf.quants.quantize(sample, kind)
        encode = lambda x: gguf.quants.quantize(x, kind)  # noqa: E731
    except NotImplementedError:
        blocks = np.zeros((1, gguf.quant_shape_to_byte_shape((1, 256), kind)[1]), np.uint8)
    try:
        gguf.quants.dequantize(blocks, kind)
        decode = lambda b: gguf.quants.dequantize(b, kind)  # noqa: E731
    except NotImplementedError:
        pass
    return encode, decode


def bench(format: str, ggml, cases, quick: bool) -> list[dict]:
    """Rows of the table: quantize without and with weights, dequantize."""
    seconds = 0.2 if quick else 1.0
    encode, decode = _gguf_py(format)
    rows = []
    policy = KERNELS[format].weights
    for kind in ("none", "weights"):
        if (kind == "none") is (policy is Weights.REQUIRED) and policy is not Weights.USED:
            continue
        # Large enough to leave the caches for what is fast, small enough to end for what is not
        x = cases.data(64, COLS)["gaussian"]
        weights = cases.weights(COLS)["random"] if kind == "weights" else None
        start = time.perf_counter()
        ggml.quantize(x, format, weights)
        if time.perf_counter() - start < 0.005:
            x = np.tile(x, (16, 1))
        blocks = quantize(x, format, weights, threads=1)
        expected, copy = np.empty_like(blocks), np.empty_like(x)
        calls = {
            "ggufx": lambda x=x, w=weights, out=blocks: quantize(x, format, w, threads=1, out=out),
            "ggml": lambda x=x, w=weights, out=expected: ggml.quantize(x, format, w, out),
            "memcpy": lambda x=x, out=copy: np.copyto(out, x),
            "ggufx, all threads": lambda x=x, w=weights, out=blocks: quantize(x, format, w, out=out),
        }
        if encode and weights is None:
            calls["gguf-py"] = lambda x=x: encode(x)
        speeds = measure(calls, x.nbytes, seconds)
        equal = bool(np.array_equal(blocks, expected))
        rows.append({"format": format, "direction": "quantize", "weights": kind == "weights", "equal": equal, **speeds})
    x = cases.data(256 if quick else 1024, COLS)["gaussian"]
    blocks = quantize(x, format, weights, threads=1)
    values, expected = np.empty_like(x), np.empty_like(x)
    calls = {
        "ggufx": lambda: dequantize(blocks, format, threads=1, out=values),
        "ggml": lambda: ggml.dequantize(blocks, format, expected),
        "memcpy": lambda: np.copyto(expected, x),
        "ggufx, all threads": lambda: dequantize(blocks, format, out=values),
    }
    if decode:
        calls["gguf-py"] = lambda: decode(blocks)
    speeds = measure(calls, x.nbytes, seconds)
    equal = bool(np.array_equal(values.view(np.uint32), ggml.dequantize(blocks, format).view(np.uint32)))
    rows.append({"format": format, "direction": "dequantize", "weights": False, "equal": equal, **speeds})
    return rows


def machine() -> dict:
    """What the figures were measured on."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    flags = next((line.split() for line in _lines("/proc/cpuinfo") if line.startswith("flags")), [])
    vectors = [flag for flag in ("avx512f", "avx2", "sse4_2") if flag in flags]
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = names[0] if names else platform.machine()
    load = round(os.getloadavg()[0], 1)  # well above 1: others were working too, and "all threads" says little
    return {"system": platform.system(), "cpu": cpu, "cpus": cpus, "vectors": vectors, "load": load}


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--formats", default=",".join(name for name in KERNELS if name != "F32"))
    parser.add_argument("--quick", action="store_true", help="less time per figure, less data")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "quantize.json")
    options = parser.parse_args()
    path = os.environ.get("GGUFX_LIBGGML")
    if not path:
        sys.exit("GGUFX_LIBGGML must name libggml-base.so")
    cases, oracle = (_load(ROOT / "tests" / "quant" / name) for name in ("cases.py", "ggml.py"))
    ggml = oracle.Ggml(path)
    rows = []
    heads = f"{'ggufx':>8} {'ggml':>8} {'ratio':>6} {'gguf-py':>8} {'ratio':>6} {'memcpy':>8} {'threads':>8} equal"
    print(f"{'format':8} {'':18} {heads}")
    for format in options.formats.split(","):
        for row in bench(format, ggml, cases, options.quick):
            rows.append(row)
            what = row["direction"] + (" weights" if row["weights"] else "")
            other = row.get("gguf-py")
            python = f"{other:8.0f} {row['ggufx'] / other:6.1f}" if other else f"{'-':>8} {'-':>6}"
            scale = row["ggufx, all threads"] / row["ggufx"]
            print(
                f"{format:8} {what:18} {row['ggufx']:8.0f} {row['ggml']:8.0f} {row['ggufx'] / row['ggml']:6.2f} {python}"
                f" {row['memcpy']:8.0f} {scale:7.2f}x {'yes' if row['equal'] else 'NO'}",
                flush=True,
            )
    packages = ("numpy", "numba", "llvmlite", "gguf")
    versions = {name: importlib.metadata.version(name) for name in packages}
    versions |= {"python": platform.python_version(), "ggml": ggml.version}
    report = {"unit": "MB/s of float32", "machine": machine(), "versions": versions, "commit": commit(), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
