"""What an installed ggufx must do, without this checkout and without torch: a model made here of nothing but numpy, to GGUF and
back, by the API and by the command; and one line where torch is needed.

Run by scripts/wheel in an empty environment.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import ggufx

WIDTH, HIDDEN, WORDS = 64, 128, 264


def checkpoint(folder: Path) -> Path:
    """A Llama of one block, and a byte-level tokenizer."""
    folder.mkdir()
    rng = np.random.Generator(np.random.PCG64(0))
    shapes = {"model.embed_tokens": (WORDS, WIDTH), "lm_head": (WORDS, WIDTH), "model.norm": (WIDTH,)}
    block = {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (WIDTH, WIDTH), "self_attn.v_proj": (WIDTH, WIDTH),
             "self_attn.o_proj": (WIDTH, WIDTH), "mlp.gate_proj": (HIDDEN, WIDTH), "mlp.up_proj": (HIDDEN, WIDTH),
             "mlp.down_proj": (WIDTH, HIDDEN), "input_layernorm": (WIDTH,), "post_attention_layernorm": (WIDTH,)}
    shapes |= {f"model.layers.0.{name}": shape for name, shape in block.items()}
    weights = {f"{n}.weight": rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": WIDTH, "intermediate_size": HIDDEN,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": WORDS, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 128, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": False,
        "torch_dtype": "float32", "bos_token_id": 256, "eos_token_id": 257}), encoding="utf-8")
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    special = [{"id": 256 + i, "content": f"<s{i}>", "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False} for i in range(WORDS - 256)]
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None, "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {c: i for i, c in enumerate(letters)}, "merges": []}}), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s0>", "eos_token": "<s1>"}), encoding="utf-8")
    return folder


def adapter(folder: Path) -> Path:
    """One pair of factors, as peft writes them."""
    folder.mkdir()
    name = "base_model.model.model.layers.0.self_attn.o_proj.lora_{}.weight"
    save_file({name.format("A"): np.full((2, WIDTH), 0.5, np.float32), name.format("B"): np.full((WIDTH, 2), 0.25, np.float32)},
              folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["o_proj"], "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None, "bias": "none", "fan_in_fan_out": False}), encoding="utf-8")
    return folder


def command(*words: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-W", "error::DeprecationWarning:ggufx", "-m", "ggufx", *map(str, words)],
                          capture_output=True, text=True)
    assert done.returncode == status, (words, done.stdout, done.stderr)
    return done


def by_command(model: Path, work: Path) -> None:
    """The same files as the API's; split and joined, in shards; a pickled checkpoint says what it lacks."""
    command("hf-to-gguf", model, "--outfile", work / "c.gguf", "--verify")
    assert (work / "c.gguf").read_bytes() == (work / "a.gguf").read_bytes()
    assert json.loads(command("verify", model, work / "c.gguf", "--json").stdout)["same"]
    assert json.loads(command("inspect", work / "c.gguf", "--json").stdout)["summary"]["architecture"] == "llama"
    command("split", work / "c.gguf", work / "part", "--max-tensors", 6)
    command("join", work / "part-00001-of-00002.gguf", work / "joined.gguf")
    assert ggufx.verify(work / "a.gguf", work / "joined.gguf").same
    planned = command("plan", "quantize", work / "a.gguf", work / "s.gguf", "q4_0").stdout
    (work / "plan.json").write_text(planned, encoding="utf-8")
    for shard in range(2):
        command("run", work / "plan.json", "--shard", f"{shard}/2")
    command("commit", work / "plan.json")
    assert (work / "s.gguf").read_bytes() == (work / "q.gguf").read_bytes()
    pickled = work / "pickled"
    shutil.copytree(model, pickled)
    (pickled / "model.safetensors").unlink()
    with zipfile.ZipFile(pickled / "pytorch_model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    said = command("hf-to-gguf", pickled, "--outfile", work / "p.gguf", status=4).stderr
    assert said.startswith("error: ")
    assert "pip install torch" in said


def metadata() -> None:
    """What an index shows of the package."""
    shown = importlib.metadata.metadata("ggufx")
    lacking = [field for field in ("Summary", "License-Expression", "License-File", "Classifier", "Keywords", "Project-URL",
                                   "Requires-Python", "Description-Content-Type") if not shown.get_all(field)]
    assert not lacking, lacking
    assert len(shown.get_payload()) > 10_000, "the README"


def main() -> None:
    metadata()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = checkpoint(work / "model")
        ggufx.hf_to_gguf(model, work / "a.gguf")
        ggufx.quantize(work / "a.gguf", work / "q.gguf", "q4_0")
        ggufx.gguf_to_hf(work / "a.gguf", work / "back")
        assert ggufx.verify(model, work / "q.gguf").same
        before, after = load_file(model / "model.safetensors"), load_file(work / "back" / "model.safetensors")
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)
        assert ggufx.inspect(work / "q.gguf").architecture == "llama"
        ggufx.lora_to_gguf(adapter(work / "adapter"), base=model, outfile=work / "adapter.gguf")
        ggufx.gguf_to_hf(work / "adapter.gguf", work / "peft", base=model)
        ggufx.merge_lora(work / "adapter", work / "merged", base=model)
        by_command(model, work)
    assert Path(ggufx.__file__).with_name("py.typed").exists()
    assert importlib.util.find_spec("torch") is None, "this is to be tried where torch is absent"


if __name__ == "__main__":
    main()
