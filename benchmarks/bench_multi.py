"""Many files of one model: in one pass, one after another, and llama.cpp's way; seconds and ratios.

    GGUFX_LLAMA_CPP=.. GGUFX_LIBGGML=.. python benchmarks/bench_multi.py [--work DIR] [--runs N] [--layers N]

llama.cpp's way is its converter to bf16 once, then llama-quantize's own function once per type. Each command is a process
of its own, imports included; the ways take turns, and the median of each counts. The files of one pass must equal those
made one by one. Writes benchmarks/results/multi.json.
"""

import argparse
import filecmp
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import bench_convert
from bench_convert import CONVERTER, LLAMA_QUANTIZE, run
from bench_quantize import commit, machine
from ggufx.quant.recipes.recipe import file_type

RESULT = bench_convert.ROOT / "benchmarks" / "results" / "multi.json"
SETS = {
    "4 types": ("q4_k_m", "q5_k_m", "q6_k", "q8_0"),
    "10 types": ("q2_k", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k", "q8_0"),
}
TASKS = ("HF bf16 -> GGUF", "GGUF bf16 -> GGUF")


def ways(task: str, types: tuple[str, ...], work: Path) -> dict[str, list[list[str]]]:
    """Who -> the commands that make a file of each type."""
    python, threads = sys.executable, "2"
    converter = [python, "-c", CONVERTER, os.environ["GGUFX_LLAMA_CPP"], str(work / "model"), "--outtype", "bf16", "--outfile",
                 str(work / "peer.gguf")]
    peer = [[python, "-c", LLAMA_QUANTIZE, os.environ["GGUFX_LIBGGML"], str(work / "peer.gguf"), str(work / f"peer-{t}.gguf"),
             str(file_type(t).number), threads] for t in types]

    def ours(kinds: str, name: str) -> list[str]:
        out = str(work / f"{name}-{{outtype}}.gguf")
        call = (["hf-to-gguf", str(work / "model"), "-o", out, "--outtype", kinds] if task == TASKS[0]
                else ["quantize", str(work / "peer.gguf"), out, kinds])
        return [python, "-m", "ggufx", *call, "-f", "-t", threads]

    return {
        "one pass": [ours(",".join(types), "pass")],
        "one by one": [ours(t, "single") for t in types],
        "llama.cpp": [converter, *peer] if task == TASKS[0] else peer,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--layers", type=int, default=4)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="ggufx-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    bench_convert.LAYERS = options.layers
    if not (work / "model").exists():
        print(f"making a model of {bench_convert.make_model(work / 'model') / 1e9:.2f} B parameters", flush=True)
    source = sum(p.stat().st_size for p in (work / "model").glob("*.safetensors"))
    run([sys.executable, "-m", "ggufx", "warmup"])
    run(ways(TASKS[0], (), work)["llama.cpp"][0])

    found: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    for _ in range(options.runs):
        for task in TASKS:
            for title, types in SETS.items():
                for who, commands in ways(task, types, work).items():
                    steps = [run(command) for command in commands]
                    taken = sum(s for s, _ in steps), max(p for _, p in steps)
                    found.setdefault((task, title), {}).setdefault(who, []).append(taken)
                    print(f"{task:18} {title:9} {who:11} {taken[0]:7.1f} s {taken[1]:7.0f} MB", flush=True)
                for kind in types:
                    if not filecmp.cmp(work / f"pass-{kind}.gguf", work / f"single-{kind}.gguf", shallow=False):
                        sys.exit(f"{task}: the {kind} file of one pass differs from the one that is made alone")
    results = {}
    for (task, title), sides in found.items():
        seconds = {who: statistics.median(s for s, _ in runs) for who, runs in sides.items()}
        results.setdefault(task, {})[title] = {
            "types": SETS[title],
            "seconds": {who: round(s, 2) for who, s in seconds.items()},
            "peak_anonymous_mb": {who: round(max(p for _, p in runs)) for who, runs in sides.items()},
            "times_faster_than": {who: round(s / seconds["one pass"], 2) for who, s in seconds.items() if who != "one pass"},
        }
        print(f"{task:18} {title:9}", results[task][title]["times_faster_than"])
    RESULT.write_text(json.dumps({"machine": machine(), "commit": commit(), "source_bytes": source, "threads": 2,
                                  "runs": options.runs, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
