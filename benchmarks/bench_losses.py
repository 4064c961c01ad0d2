"""What `--report` costs: CPU seconds of the same conversion with and without it, on one thread.

    python benchmarks/bench_losses.py [--numbers 2**25] [--types q8_0,q4_k,..]

The source is a GGUF file of normal random bf16 numbers in rows of 4096, in /dev/shm where there is one. Both run in turns, and
the best of ROUNDS counts. Written to benchmarks/results/losses.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from ggufx.converters.io.gguf import encode_header, layout
from ggufx.converters.io.values import string, u32
from ggufx.converters.planners.quantization import Quantization
from ggufx.converters.planners.quantize import QuantizePlanner
from ggufx.converters.run.execute import execute

ROUNDS = 5
RESULTS = Path(__file__).with_name("results") / "losses.json"


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--numbers", type=int, default=1 << 25)
    options.add_argument("--types", default="bf16,f16,q8_0,q4_0,q6_k,q4_k_s,q3_k_s,iq4_xs")
    options = options.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        source, out = Path(folder, "in.gguf"), Path(folder, "out.gguf")
        write(source, options.numbers // 4096)
        found = {}
        for kind in options.types.split(","):
            plan = QuantizePlanner(source, out, Quantization(pure=True)).plan(kind)
            rounds = [[seconds(plan, losses) for losses in (False, True)] for _ in range(ROUNDS + 1)]  # the first one compiles
            plain, reporting = (min(column) for column in zip(*rounds[1:], strict=True))
            more = round(reporting / plain - 1, 3)
            found[kind] = {"cpu_seconds": round(plain, 3), "with_report": round(reporting, 3), "more": more}
            print(f"{kind:8} {plain:6.2f} s, with a report {reporting:6.2f} s: {reporting / plain - 1:+.0%}", flush=True)
    RESULTS.write_text(json.dumps({"numbers": options.numbers, "threads": 1, "types": found}, indent=1) + "\n")


def write(path: Path, rows: int) -> None:
    laid = layout([("blk.0.ffn_up.weight", "BF16", (rows, 4096))])
    keys = {"general.architecture": string("llama"), "llama.block_count": u32(1)}
    bits = np.random.default_rng(0).normal(0, 0.02, (rows, 4096)).astype(np.float32).view(np.uint32) >> 16
    path.write_bytes(encode_header(keys, laid) + bits.astype(np.uint16).tobytes())


def seconds(plan, losses: bool) -> float:
    """CPU seconds of the process."""
    begun = time.process_time()
    execute(plan, threads=1, device="cpu", force=True, checksums=False, losses=losses)
    return time.process_time() - begun


if __name__ == "__main__":
    main()
