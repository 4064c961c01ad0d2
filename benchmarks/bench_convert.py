"""Whole conversions of a 0.6 B-parameter model against the peers, in one run: seconds, and peak anonymous memory.

    GGUFX_LLAMA_CPP=.. GGUFX_LIBGGML=.. python benchmarks/bench_convert.py [--work DIR] [--runs N]

Peers: llama.cpp's converter (GGUFX_LLAMA_CPP), llama-quantize's own function (libllama beside GGUFX_LIBGGML),
transformers' GGUF loader with save_pretrained. Each command is a process of its own, imports included; the runs of all
commands alternate, and the median counts. Writes benchmarks/results/convert.json.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_quantize import commit, machine

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "convert.json"
HIDDEN, FF, LAYERS, HEADS, HEADS_KV, VOCAB = 1536, 5632, 16, 12, 4, 32000

LLAMA_QUANTIZE = """
import ctypes, pathlib, sys
folder = pathlib.Path(sys.argv[1]).parent
base = ctypes.CDLL(str(next(folder.glob("libggml-base*.so"))), mode=ctypes.RTLD_GLOBAL)
ggml = ctypes.CDLL(str(next(folder.glob("libggml.*so"))), mode=ctypes.RTLD_GLOBAL)
ggml.ggml_backend_load_all_from_path(str(folder).encode())
lib = ctypes.CDLL(str(next(folder.glob("libllama.*so"))))
class Params(ctypes.Structure):
    _fields_ = [("words", ctypes.c_int32 * 64)]
lib.llama_model_quantize_default_params.restype = Params
params = lib.llama_model_quantize_default_params()
params.words[0], params.words[1] = int(sys.argv[5]), int(sys.argv[4])  # nthread, ftype
sys.exit(lib.llama_model_quantize(sys.argv[2].encode(), sys.argv[3].encode(), ctypes.byref(params)))
"""
TRANSFORMERS = """
import sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
source = Path(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.bfloat16,
                                             quantization_config=GgufConfig(dequantize=True))
tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
model.save_pretrained(sys.argv[2])
tokenizer.save_pretrained(sys.argv[2])
"""
CONVERTER = """
import runpy, sys
root, *arguments = sys.argv[1:]
sys.path[:0] = [root, root + "/gguf-py"]
import conversion
conversion.TextModel.get_vocab_base_pre = lambda self, tokenizer: "default"
sys.argv = ["convert_hf_to_gguf.py", *arguments]
runpy.run_path(root + "/convert_hf_to_gguf.py", run_name="__main__")
"""


def make_model(folder: Path) -> int:
    """A Llama of realistic shape with gaussian bf16 weights and a padded tiny tokenizer; the number of parameters."""
    sys.path.insert(0, str(ROOT / "tests"))
    from ggufx.converters.io.safetensors import encode_safetensors_header, shard
    from zoo.build import build

    build("llama-mha", folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_size": HIDDEN, "intermediate_size": FF, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
               "num_key_value_heads": HEADS_KV, "vocab_size": VOCAB, "dtype": "bfloat16", "head_dim": HIDDEN // HEADS}
    (folder / "config.json").write_text(json.dumps(config))
    kv = HEADS_KV * HIDDEN // HEADS
    rows = [("model.embed_tokens.weight", (VOCAB, HIDDEN)), ("model.norm.weight", (HIDDEN,)),
            ("lm_head.weight", (VOCAB, HIDDEN))]
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        rows += [(p + "input_layernorm.weight", (HIDDEN,)), (p + "post_attention_layernorm.weight", (HIDDEN,)),
                 (p + "self_attn.q_proj.weight", (HIDDEN, HIDDEN)), (p + "self_attn.k_proj.weight", (kv, HIDDEN)),
                 (p + "self_attn.v_proj.weight", (kv, HIDDEN)), (p + "self_attn.o_proj.weight", (HIDDEN, HIDDEN)),
                 (p + "mlp.gate_proj.weight", (FF, HIDDEN)), (p + "mlp.up_proj.weight", (FF, HIDDEN)),
                 (p + "mlp.down_proj.weight", (HIDDEN, FF))]
    (part,) = shard([(name, "BF16", shape) for name, shape in rows], 1 << 40)
    rng = np.random.default_rng(0)
    with open(folder / part.file_name, "wb") as file:
        file.write(encode_safetensors_header(part.tensors))
        for t in part.tensors:
            values = rng.standard_normal(t.shape, np.float32) * np.float32(0.02)
            file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
    return sum(int(np.prod(shape)) for _, shape in rows)


def run(command: list[str]) -> tuple[float, float]:
    """Seconds and peak anonymous megabytes of a process; it must succeed."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        peak = 0
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max(peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")))
            except (OSError, TypeError):
                pass
            time.sleep(0.01)
        seconds = time.perf_counter() - begun
        if process.returncode:
            log.seek(0)
            sys.exit(f"{command[:4]} failed:\n{log.read().decode(errors='replace')[-3000:]}")
    return seconds, peak / 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="ggufx-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    llama_cpp, ggml = os.environ["GGUFX_LLAMA_CPP"], os.environ["GGUFX_LIBGGML"]
    model = work / "model"
    if not model.exists():
        print(f"making a model of {make_model(model) / 1e9:.2f} B parameters", flush=True)
    python = sys.executable
    ours = [python, "-m", "ggufx"]
    converter = [python, "-c", CONVERTER, llama_cpp, str(model)]
    quantize = [python, "-c", LLAMA_QUANTIZE, ggml, str(work / "peer.gguf"), str(work / "peer-q.gguf"), "15", "2"]
    # task -> who -> the commands that do it
    tasks = {
        "HF bf16 -> GGUF bf16": {
            "ggufx": [[*ours, "hf-to-gguf", str(model), "-o", str(work / "ours.gguf"), "--outtype", "bf16", "-f", "-t", "2"]],
            "llama.cpp": [[*converter, "--outtype", "bf16", "--outfile", str(work / "peer.gguf")]],
        },
        "GGUF bf16 -> HF bf16": {
            "ggufx": [[*ours, "gguf-to-hf", str(work / "peer.gguf"), str(work / "back"), "-f", "-t", "2"]],
            "transformers": [[python, "-c", TRANSFORMERS, str(work / "peer.gguf"), str(work / "back-peer")]],
        },
        "HF bf16 -> GGUF Q4_K_M": {
            "ggufx": [[*ours, "hf-to-gguf", str(model), "-o", str(work / "ours-q.gguf"), "--outtype", "q4_k_m", "-f",
                       "-t", "2"]],
            "llama.cpp": [[*converter, "--outtype", "bf16", "--outfile", str(work / "peer.gguf")], quantize],
        },
    }
    run([*ours, "hf-to-gguf", str(model), "-o", str(work / "ours-q.gguf"), "--outtype", "q4_k_m", "-f"])  # compiles once
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for _ in range(options.runs):
        for task, sides in tasks.items():
            for who, commands in sides.items():
                shutil.rmtree(work / "back-peer", ignore_errors=True)
                steps = [run(command) for command in commands]
                found.setdefault(task, {}).setdefault(who, []).append((sum(s for s, _ in steps), max(p for _, p in steps)))
                print(f"{task:24} {who:14} {found[task][who][-1][0]:7.1f} s {found[task][who][-1][1]:7.0f} MB", flush=True)
    table = {}
    for task, sides in found.items():
        seconds = {who: statistics.median(s for s, _ in runs) for who, runs in sides.items()}
        peer = next(who for who in seconds if who != "ggufx")
        table[task] = {
            "seconds": {who: round(s, 2) for who, s in seconds.items()},
            "peak_anonymous_mb": {who: round(max(p for _, p in runs)) for who, runs in sides.items()},
            "times_faster": round(seconds[peer] / seconds["ggufx"], 2),
        }
        print(f"{task:24} {table[task]['times_faster']:.1f} times {peer}")
    parameters = 2 * VOCAB * HIDDEN + LAYERS * (HIDDEN * HIDDEN * 2 + 2 * HEADS_KV * HIDDEN // HEADS * HIDDEN + 3 * HIDDEN * FF)
    RESULT.write_text(json.dumps({"machine": machine(), "commit": commit(), "parameters": parameters, "threads": 2,
                                  "runs": options.runs, "results": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
