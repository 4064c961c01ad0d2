"""An importance matrix against the bare prefill of the same text by transformers, and against llama-imatrix where there is one.

    python benchmarks/bench_imatrix.py [--hidden 1024] [--layers 6] [--chunks 6] [--threads 2]

The model is made up: a Llama of the zoo, larger. Each run is a process of its own; told are the seconds of processor time from
the moment that everything is imported, and the largest memory. `GGUFX_LLAMA_IMATRIX`: the path of a llama-imatrix.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
CONTEXT = 512


def build(folder: Path, hidden: int, layers: int) -> Path:
    from zoo.build import build_row
    from zoo.models import MODELS

    heads = hidden // 64
    size = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": heads, "head_dim": 64, "max_position_embeddings": 4096}
    row = MODELS["llama"]
    return build_row(dataclasses.replace(row, name="bench", config={**row.config, **size}), folder)


def spent(function) -> None:
    """Runs it, and prints what it took."""
    begun, cpu = time.monotonic(), time.process_time()
    function()
    print(json.dumps({"seconds": round(time.monotonic() - begun, 2), "cpu_seconds": round(time.process_time() - cpu, 2),
                      "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


def imatrix(folder: str, text: str, chunks: int, threads: int) -> None:
    import torch  # noqa: F401
    import transformers  # noqa: F401
    from ggufx.converters.calibrate.imatrix import ImatrixOptions, make_imatrix
    from ggufx.converters.calibrate.text import TextOptions
    from transformers import LlamaForCausalLM  # noqa: F401

    options = ImatrixOptions(TextOptions(CONTEXT, chunks), device="cpu", threads=threads, force=True)
    spent(lambda: make_imatrix(Path(folder), [Path(text)], Path(text + ".gguf"), options))


def prefill(folder: str, text: str, chunks: int, threads: int) -> None:
    """All layers of the whole model over chunks of the same size, without the head."""
    import torch
    from transformers import LlamaForCausalLM

    torch.set_num_threads(threads)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).model.eval()
    ids = torch.arange(CONTEXT)[None] % 100

    def run() -> None:
        with torch.inference_mode():
            for _ in range(chunks):
                model(input_ids=ids, use_cache=False)

    spent(run)


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("hidden", 1024), ("layers", 6), ("chunks", 6), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as home:
        folder = build(Path(home, "model"), asked.hidden, asked.layers)
        text = Path(home, "text.txt")
        text.write_text((ROOT / "tests" / "zoo" / "corpus.txt").read_text() * (asked.chunks + 2))
        for name in ("imatrix", "prefill"):
            arguments = [name, str(folder), str(text), str(asked.chunks), str(asked.threads)]
            command = [sys.executable, __file__, "--run", *arguments]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found[name] = json.loads(done.stdout.splitlines()[-1])
        if binary := os.environ.get("GGUFX_LLAMA_IMATRIX"):
            found["llama-imatrix"] = theirs(binary, folder, text, asked)
    found["cpu_over_prefill"] = round(found["imatrix"]["cpu_seconds"] / found["prefill"]["cpu_seconds"], 3)
    print(json.dumps({**vars(asked), **found}, indent=1))


def theirs(binary: str, folder: Path, text: Path, asked: argparse.Namespace) -> dict[str, float]:
    import ggufx

    ggufx.hf_to_gguf(folder, folder / "f16.gguf", outtype="f16")
    begun, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([binary, "-m", folder / "f16.gguf", "-f", text, "-o", folder / "theirs.gguf", "-t", str(asked.threads), "-c",
                    str(CONTEXT), "--chunks", str(asked.chunks), "--no-ppl"], check=True, capture_output=True)
    return {"seconds": round(time.monotonic() - begun, 2),
            "cpu_seconds": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - cpu, 2)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        {"imatrix": imatrix, "prefill": prefill}[sys.argv[2]](*sys.argv[3:5], *map(int, sys.argv[5:]))
    else:
        main()
