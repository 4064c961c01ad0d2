"""A model of 0.6 B parameters and an adapter of rank 16 on all its linear weights -> Q4_K_M, beside the peers.

    GGUFX_LLAMA_CPP=.. GGUFX_LIBGGML=.. python benchmarks/bench_merge.py [--work DIR] [--runs N]

ggufx does it in one step; the peers in four: peft merges and saves, llama.cpp's converter, llama-quantize. Seconds and peak
anonymous memory; that the tensors are the same is what tests/converters/test_merge_lora.py shows. Writes
benchmarks/results/merge.json.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import torch
from bench_convert import CONVERTER, LLAMA_QUANTIZE, ROOT, make_model, run
from bench_quantize import commit, machine
from safetensors import safe_open
from safetensors.torch import save_file

RESULT = ROOT / "benchmarks" / "results" / "merge.json"
RANK = 16
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(2)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto"), sys.argv[2])
model.merge_and_unload().save_pretrained(sys.argv[3])
AutoTokenizer.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[3])
"""


def make_adapter(model: Path, folder: Path) -> None:
    """Random factors on every linear weight, as peft stores them."""
    tensors = {}
    generator = torch.Generator().manual_seed(1)
    with safe_open(model / "model.safetensors", "pt") as file:
        for name in file.keys():  # noqa: SIM118 it is no dict
            module = name.removesuffix(".weight")
            if module.endswith(LINEAR):
                out, inner = file.get_slice(name).get_shape()
                for side, shape in (("A", (RANK, inner)), ("B", (out, RANK))):
                    tensors[f"base_model.model.{module}.lora_{side}.weight"] = 0.01 * torch.randn(shape, generator=generator)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 32, "target_modules": list(LINEAR)}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="ggufx-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    llama_cpp, ggml = os.environ["GGUFX_LLAMA_CPP"], os.environ["GGUFX_LIBGGML"]
    model, adapter, merged, python = work / "model", work / "adapter", work / "peft", sys.executable
    if not model.exists():
        make_model(model)
        make_adapter(model, adapter)
    sides = {
        "ggufx": [[python, "-m", "ggufx", "hf-to-gguf", str(model), "--lora", str(adapter), "-f", "-t", "2",
                   "--outtype", "q4_k_m", "-o", str(work / "ours.gguf")]],
        "peers": [[python, "-c", PEFT, str(model), str(adapter), str(merged)],
                  [python, "-c", CONVERTER, llama_cpp, str(merged), "--outtype", "bf16", "--outfile", str(work / "peer.gguf")],
                  [python, "-c", LLAMA_QUANTIZE, ggml, str(work / "peer.gguf"), str(work / "peer-q.gguf"), "15", "2"]],
    }
    run(sides["ggufx"][0])  # compiles once
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.runs):
        for who, commands in sides.items():
            shutil.rmtree(merged, ignore_errors=True)
            steps = [run(command) for command in commands]
            found.setdefault(who, []).append((sum(s for s, _ in steps), max(p for _, p in steps)))
            print(f"{who:8} {found[who][-1][0]:7.1f} s {found[who][-1][1]:7.0f} MB", flush=True)
    seconds = {who: statistics.median(s for s, _ in runs) for who, runs in found.items()}
    peak = {who: max(p for _, p in runs) for who, runs in found.items()}
    result = {"seconds": {who: round(s, 2) for who, s in seconds.items()},
              "peak_anonymous_mb": {who: round(p) for who, p in peak.items()},
              "times_faster": round(seconds["peers"] / seconds["ggufx"], 2),
              "part_of_the_memory": round(peak["ggufx"] / peak["peers"], 3)}
    print(f"{result['times_faster']:.1f} times as fast, in {result['part_of_the_memory']:.2f} of the memory")
    RESULT.write_text(json.dumps({"machine": machine(), "commit": commit(), "threads": 2, "runs": options.runs,
                                  "results": {"HF bf16 + LoRA -> GGUF Q4_K_M": result}}, indent=1) + "\n")
    if options.work is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
