"""torch is for pickled checkpoints and for GPUs: everything else runs where it cannot be imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HIDDEN = ("torch", "triton", "transformers", "peft")
SCRIPT = f"""
import sys
for name in {HIDDEN!r}:
    sys.modules[name] = None  # an import fails as where it is not installed
from pathlib import Path
import ggufx
model, adapter, out, pickled = map(Path, sys.argv[1:])
ggufx.hf_to_gguf(model, out / "a.gguf")
ggufx.hf_to_gguf(model, out / "q.gguf", outtype="q8_0")
ggufx.gguf_to_hf(out / "a.gguf", out / "back")
ggufx.quantize(out / "a.gguf", out / "q2.gguf", "q8_0")
assert ggufx.verify(model, out / "a.gguf", tokenizer=True).same
assert ggufx.verify(model, out / "back").same
assert ggufx.verify(model, out / "q.gguf").same and ggufx.verify(model, out / "q2.gguf").same
assert ggufx.inspect(model).parameters > 0 and ggufx.inspect(out / "a.gguf").parameters > 0
ggufx.lora_to_gguf(adapter, base=model, outfile=out / "adapter.gguf")
ggufx.gguf_to_hf(out / "adapter.gguf", out / "peft", base=model)
ggufx.merge_lora(adapter, out / "merged", base=model)
for device in ("cuda", "cpu"):
    for source in (model, pickled):
        try:
            ggufx.hf_to_gguf(source, out / f"{{source.name}}-{{device}}.gguf", outtype="q8_0", device=device)
            print("made")
        except ggufx.GgufxError as error:
            print(error.code, str(error).replace(chr(10), " "))
print(sorted(name for name in sys.modules if name.partition(".")[0] in {HIDDEN!r} and sys.modules[name] is not None))
"""


def adapter_of(model: Path, folder: Path) -> Path:
    """One pair of factors, as peft writes them."""
    folder.mkdir()
    width = json.loads((model / "config.json").read_text())["hidden_size"]
    name = "base_model.model.model.layers.0.self_attn.o_proj.lora_{}.weight"
    save_file({name.format("A"): np.full((2, width), 0.5, np.float32), name.format("B"): np.full((width, 2), 0.25, np.float32)},
              folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["o_proj"], "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None, "bias": "none", "fan_in_fan_out": False}))
    return folder


def test_what_runs_and_what_says_why_not(zoo, tmp_path):
    import torch
    from safetensors.torch import load_file

    model, pickled = zoo("llama-llama3"), tmp_path / "pickled"
    shutil.copytree(model, pickled)
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    command = [sys.executable, "-c", SCRIPT, model, adapter_of(model, tmp_path / "adapter"), tmp_path, pickled]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *said, imported = done.stdout.strip().splitlines()
    assert imported == "[]"
    assert said[0] == said[0].split("\n")[0]
    assert said[0].startswith("unsupported cuda cannot be used: torch is not installed")
    assert said[2] == "made"
    for line in (said[1], said[3]):
        assert line.startswith("unsupported ")
        assert "pytorch_model.bin: a pickled checkpoint is read with torch" in line
        assert "pip install torch, or take the model's safetensors files." in line
