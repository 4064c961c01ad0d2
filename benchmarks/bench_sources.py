"""An FP8 checkpoint of 0.6 B parameters -> GGUF beside the peer: seconds and peak anonymous memory; each decoder by itself.

    GGUFX_LLAMA_CPP=.. GGUFX_LIBGGML=.. python benchmarks/bench_sources.py [--work DIR] [--runs N]

As bench_convert, which makes the model that is quantized here: blocks of 128 with float32 scales, as DeepSeek-V3's. The
decoders' figures are gigabytes of float32 per second of one thread's time, beside a copy of that much. Writes
benchmarks/results/sources.json.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from bench_convert import CONVERTER, LLAMA_QUANTIZE, ROOT, make_model, run
from bench_quantize import commit, machine
from ggufx.converters.ops import Grid, Unpack
from safetensors.torch import load_file, save_file

RESULT = ROOT / "benchmarks" / "results" / "sources.json"
ROWS, COLS = 256, 4096  # of a tile


def quantize_fp8(folder: Path) -> None:
    """Every projection of a bf16 folder in FP8, with a scale per block."""
    stored = {}
    for name, w in load_file(folder / "model.safetensors").items():
        if "proj" not in name:
            stored[name] = w
            continue
        rows, cols = (n // 128 for n in w.shape)
        blocks = w.float().reshape(rows, 128, cols, 128)
        scales = blocks.abs().amax((1, 3)) / 448
        stored[name] = (blocks / scales[:, None, :, None]).to(torch.float8_e4m3fn).reshape(w.shape)
        stored[f"{name}_scale_inv"] = scales
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    (folder / "config.json").write_text(json.dumps(config))


def decoders() -> dict[str, float]:
    """GB/s of float32, and of a copy."""
    rng = np.random.default_rng(0)

    def floats(*shape: int) -> np.ndarray:
        return rng.random(shape, np.float32)

    def bits(kind: type, *shape: int) -> np.ndarray:
        return rng.integers(0, np.iinfo(kind).max, shape, kind)

    scales = ("scales", Grid())
    cases = {
        "FP8 blocks": (Unpack((ROWS, COLS), (("codes", Grid("F8_E4M3")), scales), (128, 128)),
                       [bits(np.uint8, ROWS, COLS), floats(ROWS // 128, COLS // 128)]),
        "int8": (Unpack((ROWS, COLS), (("codes", Grid("I")), scales), (1, COLS)),
                 [bits(np.uint8, ROWS, COLS), floats(ROWS, 1)]),
        "int4 (compressed-tensors)": (Unpack((ROWS, COLS), (("codes", Grid("U-", 4)), scales), (1, 32)),
                                      [bits(np.uint32, ROWS, COLS // 8), floats(ROWS, COLS // 32)]),
        "int4 (GPTQ)": (Unpack((ROWS, COLS), (("codes", Grid("U", 4, axis=0, turned=True)), ("scales", Grid(turned=True)),
                                              ("zeros", Grid("U+1", 4, turned=True))), (1, 128)),
                        [bits(np.uint32, COLS // 8, ROWS), floats(COLS // 128, ROWS), bits(np.uint32, COLS // 128, ROWS // 8)]),
        "NVFP4": (Unpack((ROWS, COLS), (("codes", Grid("E2M1", 4)), ("scales", Grid("F8_E4M3")), ("factor", Grid())), (1, 16)),
                  [bits(np.uint8, ROWS, COLS // 2), bits(np.uint8, ROWS, COLS // 16), floats(1)]),
    }
    found = {}
    target, source = np.empty((ROWS, COLS), np.float32), floats(ROWS, COLS)
    for name, work in {**{n: lambda op=op, xs=xs: op.forward(xs) for n, (op, xs) in cases.items()},
                       "a copy": lambda: np.copyto(target, source)}.items():
        work()
        best = min(_seconds(work) for _ in range(30))
        found[name] = round(4 * ROWS * COLS / best / 1e9, 2)
        print(f"{name:28} {found[name]:6.2f} GB/s", flush=True)
    return found


def _seconds(work) -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="ggufx-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    llama_cpp, ggml = os.environ["GGUFX_LLAMA_CPP"], os.environ["GGUFX_LIBGGML"]
    model, python = work / "model-fp8", sys.executable
    if not model.exists():
        make_model(model)
        quantize_fp8(model)
    ours = [python, "-m", "ggufx", "hf-to-gguf", str(model), "-f", "-t", "2", "-o", str(work / "ours.gguf"), "--outtype"]
    peer = [python, "-c", CONVERTER, llama_cpp, str(model), "--outtype", "bf16", "--outfile", str(work / "peer.gguf")]
    quantize = [python, "-c", LLAMA_QUANTIZE, ggml, str(work / "peer.gguf"), str(work / "peer-q.gguf"), "15", "2"]
    tasks = {"HF FP8 -> GGUF bf16": {"ggufx": [[*ours, "bf16"]], "llama.cpp": [peer]},
             "HF FP8 -> GGUF Q4_K_M": {"ggufx": [[*ours, "q4_k_m"]], "llama.cpp": [peer, quantize]}}
    run([*ours, "q4_k_m"])  # compiles once
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for _ in range(options.runs):
        for task, sides in tasks.items():
            for who, commands in sides.items():
                steps = [run(command) for command in commands]
                found.setdefault(task, {}).setdefault(who, []).append((sum(s for s, _ in steps), max(p for _, p in steps)))
                print(f"{task:24} {who:14} {found[task][who][-1][0]:7.1f} s {found[task][who][-1][1]:7.0f} MB", flush=True)
    table = {}
    for task, sides in found.items():
        seconds = {who: statistics.median(s for s, _ in runs) for who, runs in sides.items()}
        table[task] = {"seconds": {who: round(s, 2) for who, s in seconds.items()},
                       "peak_anonymous_mb": {who: round(max(p for _, p in runs)) for who, runs in sides.items()},
                       "times_faster": round(seconds["llama.cpp"] / seconds["ggufx"], 2)}
        print(f"{task:24} {table[task]['times_faster']:.1f} times llama.cpp")
    RESULT.write_text(json.dumps({"machine": machine(), "commit": commit(), "threads": 2, "runs": options.runs,
                                  "results": table, "decoders_gb_s": decoders()}, indent=1) + "\n")
    if options.work is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
