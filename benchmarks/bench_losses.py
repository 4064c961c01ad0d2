"""What `--report` costs: CPU seconds of the same conversion with and without it, on one thread.

    python benchmarks/bench_losses.py [--numbers 2**25] [--types q8_0,q4_k,..]

The source is a GGUF file of normal random bf16 numbers in rows of 4096, in /dev/shm where there is one; the best of three runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from ggufx.converters.io.gguf import encode_header, layout
from ggufx.converters.io.values import string, u32
from ggufx.converters.planners.quantization import Quantization
from ggufx.converters.planners.quantize import QuantizePlanner
from ggufx.converters.run.execute import execute


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--numbers", type=int, default=1 << 25)
    options.add_argument("--types", default="bf16,f16,q8_0,q4_0,q6_k,q4_k_s,q3_k_s,iq4_xs")
    options = options.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        source, out = Path(folder, "in.gguf"), Path(folder, "out.gguf")
        write(source, options.numbers // 4096)
        for kind in options.types.split(","):
            plan = QuantizePlanner(source, out, Quantization(pure=True)).plan(kind)
            plain, reporting = (best(plan, losses) for losses in (False, True))
            print(f"{kind:8} {plain:6.2f} s, with a report {reporting:6.2f} s: {reporting / plain - 1:+.0%}", flush=True)


def write(path: Path, rows: int) -> None:
    laid = layout([("blk.0.ffn_up.weight", "BF16", (rows, 4096))])
    keys = {"general.architecture": string("llama"), "llama.block_count": u32(1)}
    bits = np.random.default_rng(0).normal(0, 0.02, (rows, 4096)).astype(np.float32).view(np.uint32) >> 16
    path.write_bytes(encode_header(keys, laid) + bits.astype(np.uint16).tobytes())


def best(plan, losses: bool) -> float:
    """CPU seconds of the process."""
    seconds = []
    for _ in range(4):  # the first one compiles
        begun = time.process_time()
        execute(plan, threads=1, device="cpu", force=True, checksums=False, losses=losses)
        seconds.append(time.process_time() - begun)
    return min(seconds[1:])


if __name__ == "__main__":
    main()
