"""Conversions that change no byte of a tensor, beside `cp` and a sync of the same bytes: seconds to bytes on the disk.

    python benchmarks/bench_copy.py [--work DIR] [--runs N] [--layers N]

With checksums and the look for NaN, as always. The ways take turns; a ratio is that of a run to the `cp` before it, and the
median of each counts. ggufx runs in this process, so its imports (which bench_convert counts) are left out. Writes
benchmarks/results/copy.json, with the machine's load beside.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bench_convert
from bench_convert import ROOT
from bench_quantize import commit, machine

import ggufx

RESULT = ROOT / "benchmarks" / "results" / "copy.json"


def ways(work: Path) -> dict[str, Callable[[Path], object]]:
    """What is done into a new folder."""
    model, gguf = work / "model", work / "model.gguf"
    return {
        "HF bf16 -> GGUF bf16": lambda out: ggufx.hf_to_gguf(model, out / "m.gguf"),
        "GGUF bf16 -> HF": lambda out: ggufx.gguf_to_hf(gguf, out / "hf"),
        "edit": lambda out: ggufx.edit(gguf, out / "m.gguf", set={"general.name": "another"}),
        "split": lambda out: ggufx.split(gguf, out / "p", max_size=max(1 << 28, gguf.stat().st_size // 3)),
        "join": lambda out: ggufx.join(next((work / "parts").glob("p-00001-of-*.gguf")), out / "m.gguf"),
    }


def taken(work: Path, act: Callable[[Path], object]) -> float:
    """Seconds until what it makes is on the disk."""
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    begun = time.perf_counter()
    act(out)
    seconds = time.perf_counter() - begun
    shutil.rmtree(out)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="ggufx-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    bench_convert.LAYERS = options.layers
    if not (work / "model").exists():
        bench_convert.make_model(work / "model")
    if not (work / "model.gguf").exists():
        ggufx.hf_to_gguf(work / "model", work / "model.gguf")
    if not (work / "parts").exists():
        (work / "parts").mkdir()
        ways(work)["split"](work / "parts")
    size = (work / "model.gguf").stat().st_size

    def copy(out: Path) -> None:
        subprocess.run(f"cp {work}/model.gguf {out}/m.gguf; sync {out}/m.gguf", shell=True, check=True)

    found: dict[str, list[tuple[float, float]]] = {}
    loads = []
    for number in range(options.runs + 1):
        for name, act in ways(work).items():
            base, ours = taken(work, copy), taken(work, act)
            loads.append(os.getloadavg()[0])
            if number:  # the first compiles and fills caches
                found.setdefault(name, []).append((ours, base))
                print(f"{name:22} {ours:6.2f} s, cp {base:6.2f} s, {ours / base:.2f}; load {loads[-1]:.1f}", flush=True)
    rows = {name: {"seconds": round(statistics.median(o for o, _ in runs), 2),
                   "cp": round(statistics.median(c for _, c in runs), 2),
                   "times_cp": round(statistics.median(o / c for o, c in runs), 2)} for name, runs in found.items()}
    print(json.dumps(rows, indent=1))
    RESULT.write_text(json.dumps({
        "machine": machine(), "commit": commit(), "date": time.strftime("%Y-%m-%d"), "source_bytes": size, "runs": options.runs,
        "load": [round(min(loads), 1), round(statistics.median(loads), 1), round(max(loads), 1)], "results": rows},
        indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
