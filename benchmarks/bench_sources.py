"""An FP8 checkpoint of 0.6 B parameters -> GGUF beside the peer: seconds and peak anonymous memory; each decoder by itself.

    GGUFX_LLAMA_CPP=.. GGUFX_LIBGGML=.. python benchmarks/bench_sources.py [--work DIR] [--runs N]
    python benchmarks/bench_sources.py --decoders

As bench_convert, which makes the model that is quantized here: blocks of 128 with float32 scales, as DeepSeek-V3's. Writes
benchmarks/results/sources.json. `--decoders`: of each stored form gigabytes of float32 per second of one thread's time, beside
what the same thread writes of plain float32 to memory; benchmarks/results/decoders.json. It takes seconds, and no peer.
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
from typing import Any

import numpy as np
import torch
from bench_convert import CONVERTER, LLAMA_QUANTIZE, ROOT, make_model, run
from bench_quantize import commit, machine
from ggufx.converters.ops import Grid, Unpack
from ggufx.converters.sources.packed.whole_numbers import AWQ_ORDER, fast_order
from safetensors.torch import load_file, save_file

RESULT, DECODERS = (ROOT / "benchmarks" / "results" / f"{name}.json" for name in ("sources", "decoders"))
ROWS, COLS = 256, 4096  # of a tile
TURNS, WRITTEN = 30, 1 << 24  # numbers, more than caches hold


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


def forms() -> dict[str, tuple[Unpack, list[np.ndarray]]]:
    """An op of each stored form, as `converters/sources/packed` makes them, and the arrays that it takes of one tile."""
    rng = np.random.default_rng(0)

    def floats(*shape: int) -> np.ndarray:
        return rng.random(shape, np.float32)

    def bits(kind: type, *shape: int, below: int = 0) -> np.ndarray:
        return rng.integers(0, below or np.iinfo(kind).max, shape, kind)

    def words(*shape: int) -> np.ndarray:
        return bits(np.uint32, *shape)

    def of(codes: Grid, *parts: tuple[str, Grid], block: tuple[int, int] = (1, 32), **more: Any) -> Unpack:
        return Unpack((ROWS, COLS), (("codes", codes), *parts), block, **more)

    def grouped(size: int) -> np.ndarray:
        return floats(ROWS, COLS // size)

    scales, biases, turned = ("scales", Grid()), ("biases", Grid()), ("scales", Grid(turned=True))
    columns = [floats(COLS // 128, ROWS), words(COLS // 128, ROWS // 8)]  # scales and zeros of turned matrices
    awq = Grid("U", 4, turned=True, order=AWQ_ORDER)
    fast = Grid("U", 4, order=fast_order(), lanes=4, word=16)
    bands = Grid("U", 4, bands=2, high=True)
    table = ("values", Grid())
    return {
        "FP8, blocks": (of(Grid("F8_E4M3"), scales, block=(128, 128)), [bits(np.uint8, ROWS, COLS), floats(2, COLS // 128)]),
        "FP8, rows": (of(Grid("F8_E4M3"), scales, block=(1, COLS)), [bits(np.uint8, ROWS, COLS), floats(ROWS, 1)]),
        "MXFP8": (of(Grid("F8_E4M3"), ("scales", Grid("F8_E8M0"))),
                  [bits(np.uint8, ROWS, COLS), bits(np.uint8, ROWS, COLS // 32)]),
        "int8, rows": (of(Grid("I"), scales, block=(1, COLS)), [bits(np.uint8, ROWS, COLS), floats(ROWS, 1)]),
        "int8, groups, zeros": (of(Grid("I"), scales, ("zeros", Grid("I"))), [
            bits(np.uint8, ROWS, COLS), grouped(32), bits(np.uint8, ROWS, COLS // 32)]),
        "compressed-tensors, int4": (of(Grid("U-", 4), scales), [words(ROWS, COLS // 8), grouped(32)]),
        "compressed-tensors, int4, zeros": (of(Grid("U", 4), scales, ("zeros", Grid("U", 4, axis=0))), [
            words(ROWS, COLS // 8), grouped(32), words(ROWS // 8, COLS // 32)]),
        "compressed-tensors, int3": (of(Grid("U-", 3), scales), [words(ROWS, COLS * 3 // 32), grouped(32)]),
        "compressed-tensors, int8": (of(Grid("U-", 8), scales), [words(ROWS, COLS // 4), grouped(32)]),
        "GPTQ, int4": (of(Grid("U", 4, axis=0, turned=True), turned, ("zeros", Grid("U+1", 4, turned=True)), block=(1, 128)),
                       [words(COLS // 8, ROWS), *columns]),
        "GPTQ, int4, order": (
            of(Grid("U", 4, axis=0, turned=True), turned, ("zeros", Grid("U+1", 4, turned=True)), ("groups", Grid()),
               block=(1, 128)), [words(COLS // 8, ROWS), *columns, (rng.permutation(COLS) // 128).astype(np.uint32)]),
        "GPTQ, int8": (of(Grid("U-", 8, axis=0, turned=True), turned, block=(1, 128)), [words(COLS // 4, ROWS), columns[0]]),
        "GPTQ, int3": (of(Grid("U-", 3, axis=0, turned=True), turned, block=(1, 128)), [
            words(COLS * 3 // 32, ROWS), columns[0]]),
        "AWQ, gemm": (of(awq, turned, ("zeros", awq), block=(1, 128)), [words(COLS, ROWS // 8), *columns]),
        "AWQ, gemv": (of(Grid("U", 4), scales, ("zeros", Grid("U", 4)), block=(1, 128)), [
            words(ROWS, COLS // 8), grouped(128), words(ROWS, COLS // 128 // 8)]),
        "AWQ, gemv_fast": (of(fast, turned, ("biases", Grid(turned=True)), block=(1, 128)), [
            bits(np.uint16, ROWS // 4, COLS), columns[0], columns[0]]),
        "MXFP4": (of(Grid("E2M1", 4), ("scales", Grid("F8_E8M0"))), [
            bits(np.uint8, ROWS, COLS // 2), bits(np.uint8, ROWS, COLS // 32)]),
        "NVFP4": (of(Grid("E2M1", 4), ("scales", Grid("F8_E4M3")), ("factor", Grid()), block=(1, 16)), [
            bits(np.uint8, ROWS, COLS // 2), bits(np.uint8, ROWS, COLS // 16), floats(1)]),
        "bitsandbytes, NF4": (of(Grid("E2M1", 4, order=(1, 0)), scales, table, block=(1, 64), width=64), [
            bits(np.uint8, ROWS * COLS // 64, 32), floats(ROWS * COLS // 64, 1), floats(16)]),
        "bitsandbytes, int8": (of(Grid("I"), scales, block=(1, COLS), after=0.007874015718698502), [
            bits(np.uint8, ROWS, COLS), floats(ROWS, 1)]),
        "MLX, int4": (of(Grid("U", 4), scales, biases, block=(1, 64)), [words(ROWS, COLS // 8), grouped(64), grouped(64)]),
        "MLX, int6": (of(Grid("U", 6), scales, biases, block=(1, 64)), [words(ROWS, COLS * 6 // 32), grouped(64), grouped(64)]),
        "HQQ, int4": (of(bands, scales, ("zeros", Grid()), block=(1, 64), width=64, once=True), [
            bits(np.uint8, ROWS * COLS // 64 // 2, 64), floats(ROWS * COLS // 64, 1), floats(ROWS * COLS // 64, 1)]),
        "BitNet": (of(Grid("T", 2, bands=4), ("divisor", Grid()), block=(ROWS, COLS)), [
            bits(np.uint8, ROWS // 4, COLS), floats(1)]),
        "ModelOpt, int4": (of(Grid("I", 4, axis=0, word=8), scales, block=(1, 128)), [
            bits(np.uint8, ROWS // 2, COLS), grouped(128)]),
    }


def decoders() -> dict[str, dict[str, float]]:
    """Of each form GB/s, and as a share of the write beside it; the best of some, taken turn by turn."""
    target, found = np.zeros(WRITTEN, np.float32), {}
    for name, (op, xs) in forms().items():
        op.forward(xs)  # compiles
        times = [(_seconds(lambda op=op, xs=xs: op.forward(xs)), _seconds(lambda: target.fill(1))) for _ in range(TURNS)]
        ours, write = (4 * size / min(column) / 1e9 for size, column in zip((ROWS * COLS, WRITTEN), zip(*times, strict=True),
                                                                            strict=True))
        found[name] = {"gb_s": round(ours, 2), "write_gb_s": round(write, 2), "of_a_write": round(ours / write, 2)}
        print(f"{name:34} {ours:6.2f} GB/s, {ours / write:5.2f} of a write", flush=True)
    return found


def _seconds(work) -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--decoders", action="store_true")
    options = parser.parse_args()
    about = {"machine": machine(), "commit": commit()}
    if options.decoders:
        DECODERS.write_text(json.dumps({**about, "results": decoders()}, indent=1) + "\n")
        return
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
    RESULT.write_text(json.dumps({**about, "threads": 2, "runs": options.runs, "results": table}, indent=1) + "\n")
    if options.work is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
