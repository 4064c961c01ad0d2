"""Editing, splitting and joining a GGUF file beside `cp` and gguf-split; seconds to bytes that are on the disk, and ratios.

    python benchmarks/bench_pieces.py [--work DIR] [--runs N] [--gigabytes N] [--gguf-split PATH]

Each command is a process of its own, imports included; those that do not sync are followed by `sync -f`. They take turns, and
the median of each counts. Writes benchmarks/results/pieces.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_convert import ROOT
from bench_quantize import commit, machine
from ggufx.converters.io.gguf import encode_header, layout
from ggufx.converters.io.values import string

RESULT = ROOT / "benchmarks" / "results" / "pieces.json"
TENSORS, COLS = 64, 4096


def make(path: Path, gigabytes: float) -> None:
    """A GGUF file of random BF16 tensors."""
    rows = int(gigabytes * 1e9 / TENSORS / COLS / 2)
    laid = layout([(f"blk.{i}.w.weight", "BF16", (rows, COLS)) for i in range(TENSORS)])
    with path.open("wb") as file:
        file.write(encode_header({"general.architecture": string("none"), "general.name": string("old")}, laid))
        for tensor in laid:
            file.write(os.urandom(tensor.nbytes))


def ways(work: Path, peer: Path | None) -> dict[str, str]:
    """Who -> a line of shell."""
    ggufx = f"{sys.executable} -m ggufx"
    out, limit = work / "out", 10**9
    found = {
        "cp": f"cp {work}/m.gguf {out}/m.gguf; sync -f {out}",
        "ggufx edit": f"{ggufx} edit -q {work}/m.gguf {out}/m.gguf --set general.name=new",
        "ggufx split": f"{ggufx} split -q {work}/m.gguf {out}/p --max-size {limit}",
        "ggufx join": f"{ggufx} join -q {work}/parts/p-00001-of-*.gguf {out}/m.gguf",
    }
    if peer is not None:
        found["gguf-split"] = f"{peer} --split-max-size {limit // 10**6}M {work}/m.gguf {out}/p; sync -f {out}"
        found["gguf-split --merge"] = f"{peer} --merge {work}/parts/p-00001-of-*.gguf {out}/m.gguf; sync -f {out}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--gigabytes", type=float, default=3)
    parser.add_argument("--gguf-split", type=Path, default=None)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="ggufx-bench-"))
    (work / "parts").mkdir(parents=True, exist_ok=True)
    make(work / "m.gguf", options.gigabytes)
    split = f"{sys.executable} -m ggufx split -q -f {work}/m.gguf {work}/parts/p --max-size {10**9}"
    subprocess.run(split, shell=True, check=True)
    seconds: dict[str, list[float]] = {}
    for _ in range(options.runs):
        for who, line in ways(work, options.gguf_split).items():
            (work / "out").mkdir()
            begun = time.monotonic()
            subprocess.run(line, shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds.setdefault(who, []).append(time.monotonic() - begun)
            subprocess.run(f"rm -r {work}/out; sync -f {work}", shell=True, check=True)
            print(f"{who:18} {seconds[who][-1]:6.2f} s", flush=True)
    median = {who: round(statistics.median(runs), 2) for who, runs in seconds.items()}
    size = (work / "m.gguf").stat().st_size
    RESULT.write_text(json.dumps({
        "machine": machine(), "commit": commit(), "source_bytes": size, "runs": options.runs, "seconds": median,
        "times_cp": {who: round(taken / median["cp"], 2) for who, taken in median.items()}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
