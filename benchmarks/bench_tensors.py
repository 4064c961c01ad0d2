"""How planning, printing and carrying out a conversion grow with the number of tensors: CPU seconds, and per tensor.

    python benchmarks/bench_tensors.py [--work DIR] [--counts 1000,10000,100000]

A mixture of experts with so many of them that the checkpoint has about that many tensors, each tiny, to GGUF and back; and a
GGUF file of so many tensors: quantized, edited, split into five parts and joined again. CPU time of this process, so that what
else runs does not count. `plan` is a dry run, `print` the plan as JSON, `all` the whole call. Writes
benchmarks/results/tensors.json.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from bench_convert import ROOT
from bench_quantize import commit, machine
from ggufx.converters.io.gguf import encode_header, layout
from ggufx.converters.io.safetensors import encode_safetensors_header, read_safetensors_header, shard
from ggufx.converters.io.values import string

import ggufx

RESULT = ROOT / "benchmarks" / "results" / "tensors.json"
LAYERS = 8


def experts(folder: Path, count: int) -> None:
    """A tiny Qwen3-MoE of `LAYERS` blocks with `count` tensors, nearly."""
    sys.path.insert(0, str(ROOT / "tests"))
    from zoo.build import build

    build("qwen3moe", folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    each = max(2, count // LAYERS // 3)
    old = {t.name: t for t in read_safetensors_header(folder / "model.safetensors").tensors.values()}
    rows = {}
    for name, t in old.items():
        if (".layers." in name and ".layers.0." not in name) or (".experts." in name and ".experts.0." not in name):
            continue  # the first of each stands for all
        for layer in range(LAYERS if ".layers." in name else 1):
            for e in range(each if ".experts.0." in name else 1):
                shape = (each, *t.shape[1:]) if name.endswith("mlp.gate.weight") else t.shape
                rows[name.replace(".layers.0.", f".layers.{layer}.").replace(".experts.0.", f".experts.{e}.")] = (t.type, shape)
    (part,) = shard([(name, *row) for name, row in rows.items()], 1 << 50)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(encode_safetensors_header(part.tensors))
        file.write(np.full(sum(t.nbytes for t in part.tensors) // 2, 0x3C00, "<u2").tobytes())
    config |= {"num_experts": each, "num_local_experts": each, "num_hidden_layers": LAYERS, "num_experts_per_tok": 2}
    config.pop("layer_types", None)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def flat(path: Path, count: int) -> Path:
    """A GGUF file of matrices of one row."""
    laid = layout([(f"blk.{i}.w.weight", "F32", (1, 32)) for i in range(count)])
    with path.open("wb") as file:
        file.write(encode_header({"general.architecture": string("none"), "general.name": string("old")}, laid))
        file.write(bytes(128 * count))
    return path


def seconds(act: Callable[[], object]) -> float:
    begun = time.process_time()
    act()
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--counts", default="1000,10000,100000")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="ggufx-bench-"))
    results: dict[str, dict[str, dict[str, float]]] = {}
    for count in map(int, options.counts.split(",")):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        model, file = work / "model", flat(work / "flat.gguf", count)
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # transformers' objects are not ours to be collected
            pool.submit(experts, model, count).result()
        out, edited, parts = work / "out.gguf", work / "edited.gguf", work / "p-00001-of-00005.gguf"
        tasks: dict[str, Callable[..., Any]] = {
            "experts, HF -> GGUF": partial(ggufx.hf_to_gguf, model, out),
            "experts, GGUF -> HF": partial(ggufx.gguf_to_hf, out, work / "back"),
            "quantize": partial(ggufx.quantize, file, work / "q.gguf", "q8_0"),
            "edit": partial(ggufx.edit, file, edited, set={"general.name": "new"}),
            "split": partial(ggufx.split, file, work / "p", max_tensors=-(-count // 5)),
            "join": partial(ggufx.join, parts, work / "joined.gguf"),
        }
        for name, act in tasks.items():
            plan = act(dry_run=True)
            row = {"plan": seconds(lambda act=act: act(dry_run=True)),
                   "print": seconds(lambda plan=plan: json.dumps(plan.to_json())),
                   "all": seconds(act)}
            del plan
            results.setdefault(name, {})[str(count)] = {k: round(v, 3) for k, v in row.items()} | {
                "microseconds_each": round(1e6 * row["all"] / count)}
            print(f"{name:20} {count:7}", results[name][str(count)], flush=True)
    RESULT.write_text(json.dumps({"machine": machine(), "commit": commit(), "date": time.strftime("%Y-%m-%d"),
                                  "results": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
