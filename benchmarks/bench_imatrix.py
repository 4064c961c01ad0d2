"""An importance matrix against the bare prefill of the same text by transformers, and against llama-imatrix where there is one;
and how much memory one of a model of three billion weights takes.

    python benchmarks/bench_imatrix.py [--hidden 1024] [--layers 4] [--chunks 4] [--threads 2] [--rounds 3]
    python benchmarks/bench_imatrix.py --memory [--folder FOLDER]

The model is made up: a Llama of the zoo, larger. Each run is a process of its own, in turns; told is the least processor time
of the rounds, from the moment that everything is imported. GGUFX_LLAMA_IMATRIX: the path of a llama-imatrix, which runs
an F32 file without perplexity. `--memory` writes 5.6 GB into FOLDER layer by layer, fails where a matrix takes more than its
`--max-memory`, and removes them. Both write into benchmarks/results/.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
RESULTS = ROOT / "benchmarks" / "results"
CONTEXT = 512
CORPUS = ROOT / "tests" / "zoo" / "corpus.txt"

BILLIONS = {"hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24,
            "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 4096}
MEMORY = 600 << 20  # --max-memory of the model of BILLIONS: a layer in float32 is 403 MB
SHORT = 64  # tokens of its chunks


def build(folder: Path, hidden: int, layers: int) -> Path:
    from zoo.build import build_row
    from zoo.models import MODELS

    heads = hidden // 64
    size = {"hidden_size": hidden, "intermediate_size": 4 * hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": heads, "head_dim": 64, "max_position_embeddings": 4096}
    row = MODELS["llama"]
    return build_row(dataclasses.replace(row, name="bench", config={**row.config, **size}), folder)


def build_billions(folder: Path) -> Path:
    """Three billion random BF16 weights, a layer to a file; no more than a weight in memory."""
    import numpy as np
    from ggufx.converters.io.safetensors import encode_safetensors_header, layout
    from zoo.build import build as build_small
    from zoo.build import header

    small = header(build_small("llama", folder) / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    to = {config[key]: BILLIONS[key] for key in ("hidden_size", "intermediate_size")}
    key_rows = config["num_key_value_heads"] * config["hidden_size"] // config["num_attention_heads"]
    to[key_rows] = BILLIONS["num_key_value_heads"] * BILLIONS["head_dim"]
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text(json.dumps(config | BILLIONS))
    largest = BILLIONS["hidden_size"] * BILLIONS["intermediate_size"]
    bits = np.random.default_rng(0).standard_normal(largest, np.float32)
    weights = ((bits * np.float32(0.02)).view(np.uint32) >> 16).astype("<u2").tobytes()
    files, names = {}, [name for name in small if "layers.1." not in name]
    for number in range(-1, BILLIONS["num_hidden_layers"]):
        made = [(name.replace("layers.0.", f"layers.{number}."), "BF16", tuple(to.get(n, n) for n in small[name]))
                for name in names if ("layers.0." in name) == (number >= 0)]
        laid = layout(made)
        file = f"layer-{number + 1}.safetensors"
        with open(folder / file, "wb") as out:
            out.write(encode_safetensors_header(laid))
            for tensor in laid:
                out.write(weights[: tensor.nbytes])
        files |= {name: file for name, _, _ in made}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return folder


def peak_kb() -> int:
    """Of this program: what getrusage tells includes that of the process that started it."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def spent(function) -> None:
    """Runs it, and prints what it took, and its memory beyond what was there before."""
    before = peak_kb()
    begun, cpu = time.monotonic(), time.process_time()
    function()
    peak = peak_kb()
    print(json.dumps({"seconds": round(time.monotonic() - begun, 2), "cpu_seconds": round(time.process_time() - cpu, 2),
                      "peak_mb": peak >> 10, "more_mb": (peak - before) >> 10}))


def imatrix(folder: str, text: str, chunks: int, threads: int) -> None:
    run_imatrix(folder, text, CONTEXT, chunks, threads, 4 << 30)


def bounded(folder: str, text: str, chunks: int, threads: int) -> None:
    run_imatrix(folder, text, SHORT, chunks, threads, MEMORY)


def run_imatrix(folder: str, text: str, context: int, chunks: int, threads: int, memory: int) -> None:
    import torch  # noqa: F401
    import transformers  # noqa: F401
    from ggufx.converters.calibrate.imatrix import ImatrixOptions, make_imatrix
    from ggufx.converters.calibrate.text import TextOptions
    from transformers import LlamaForCausalLM  # noqa: F401

    options = ImatrixOptions(TextOptions(context, chunks), device="cpu", threads=threads, force=True, max_memory=memory)
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


def llama_imatrix(folder: str, text: str, chunks: int, threads: int) -> None:
    """In its seconds is the loading of the file."""
    binary = os.environ["GGUFX_LLAMA_IMATRIX"]
    begun = time.monotonic()
    subprocess.run([binary, "-m", Path(folder, "f32.gguf"), "-f", text, "-o", text + ".theirs.gguf", "-t", str(threads), "-c",
                    str(CONTEXT), "--chunks", str(chunks), "--no-ppl"], check=True, capture_output=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"seconds": round(time.monotonic() - begun, 2), "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
                      "peak_mb": used.ru_maxrss >> 10}))


RUNS = {"imatrix": imatrix, "prefill": prefill, "llama-imatrix": llama_imatrix, "bounded": bounded}


def run(name: str, *arguments: object) -> dict[str, float]:
    command = [sys.executable, __file__, "--run", name, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def speed(asked: argparse.Namespace, home: Path) -> dict[str, object]:
    import ggufx

    folder, text = build(home / "model", asked.hidden, asked.layers), home / "text.txt"
    text.write_text(CORPUS.read_text() * (asked.chunks + 2))
    names = ["imatrix", "prefill"]
    if "GGUFX_LLAMA_IMATRIX" in os.environ:
        ggufx.hf_to_gguf(folder, folder / "f32.gguf", outtype="f32")
        names.append("llama-imatrix")
    rounds = [{name: run(name, folder, text, asked.chunks, asked.threads) for name in names} for _ in range(asked.rounds)]
    found = {name: min((r[name] for r in rounds), key=lambda one: one["cpu_seconds"]) for name in names}
    over = {f"cpu_over_{name}": round(found["imatrix"]["cpu_seconds"] / found[name]["cpu_seconds"], 3) for name in names[1:]}
    size = {name: getattr(asked, name) for name in ("hidden", "layers", "chunks", "threads", "rounds")}
    return {**size, "context": CONTEXT, **found, **over}


def memory(asked: argparse.Namespace, home: Path) -> dict[str, object]:
    folder, text = build_billions(home / "model"), home / "text.txt"
    text.write_text(CORPUS.read_text())
    used = run("bounded", folder, text, 2, asked.threads)
    if used["more_mb"] > MEMORY >> 20:
        raise SystemExit(f"--max-memory {MEMORY >> 20} MB, and {used['more_mb']} MB are used")
    return {"model": BILLIONS, "chunks": 2, "context": SHORT, "max_memory_mb": MEMORY >> 20, **used}


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("hidden", 1024), ("layers", 4), ("chunks", 4), ("threads", 2), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as home:
        found = (memory if asked.memory else speed)(asked, Path(home))
    out = RESULTS / "imatrix.json"
    told = json.loads(out.read_text()) if out.exists() else {}
    told["memory" if asked.memory else f"speed at {asked.hidden}, {asked.threads} threads"] = found
    out.write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        RUNS[sys.argv[2]](*sys.argv[3:5], *map(int, sys.argv[5:]))
    else:
        main()
