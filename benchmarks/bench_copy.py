"""Conversions that change no byte of a tensor, beside `cp` and a sync of the same bytes: seconds to bytes on the disk.

    python benchmarks/bench_copy.py [--work DIR] [--runs N] [--layers N]

With checksums and the look for NaN, as always; so the second peer is `cp`, a sync, and then a SHA-256 of what was made. All
take turns; a ratio is that of a run to the peers beside it, and the median of each counts. Seconds of all cores together (CPU)
are what a busy machine changes least. ggufx runs in this process, so its imports (which bench_convert counts) are left out.
Writes benchmarks/results/copy.json, with the machine's load beside.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
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


def taken(work: Path, act: Callable[[Path], object]) -> tuple[float, float]:
    """Seconds until what it makes is on the disk, and those of all cores together."""
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    begun, before = time.perf_counter(), os.times()
    act(out)
    seconds, after = time.perf_counter() - begun, os.times()
    shutil.rmtree(out)
    return seconds, sum(after[:4]) - sum(before[:4])


def median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)


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

    def copy_and_hash(out: Path) -> None:
        copy(out)
        with (out / "m.gguf").open("rb") as file:
            hashlib.file_digest(file, "sha256")

    found: dict[str, list[tuple[tuple[float, float], ...]]] = {}
    loads = []
    for number in range(options.runs + 1):
        for name, act in ways(work).items():
            runs = tuple(taken(work, way) for way in (act, copy, copy_and_hash))
            loads.append(os.getloadavg()[0])
            if number:  # the first compiles and fills caches
                found.setdefault(name, []).append(runs)
                print(f"{name:22}" + ", ".join(f"{who} {took:5.2f} s (CPU {cpu:.2f} s)" for who, (took, cpu) in zip(
                    ("", "cp", "with SHA-256"), runs, strict=True)) + f"; load {loads[-1]:.1f}", flush=True)
    rows = {name: {
        "seconds": median(ours[0] for ours, _, _ in runs), "cpu": median(ours[1] for ours, _, _ in runs),
        **{who: {"seconds": median(run[i][0] for run in runs), "cpu": median(run[i][1] for run in runs),
                 "times": median(run[0][0] / run[i][0] for run in runs),
                 "times_cpu": median(run[0][1] / run[i][1] for run in runs)}
           for i, who in ((1, "cp"), (2, "cp_and_sha256"))}} for name, runs in found.items()}
    print(json.dumps(rows, indent=1))
    RESULT.write_text(json.dumps({
        "machine": machine(), "commit": commit(), "date": time.strftime("%Y-%m-%d"), "source_bytes": size, "runs": options.runs,
        "load": [round(min(loads), 1), round(statistics.median(loads), 1), round(max(loads), 1)], "results": rows},
        indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
