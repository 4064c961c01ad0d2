"""What is packed beyond the projections of blocks: heads, embeddings, and stacks of experts as one array."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.io.gguf import read_gguf
from safetensors.torch import load_file, save_file
from zoo.packed import hashes, pair, same

import ggufx

from .test_whole_numbers import gptq, settings, stream

CT = {"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized"}}


def only(word: str, change):
    """The change of modules that have the word in their names, which it takes for projections."""
    def changed(module: str, w: torch.Tensor):
        made = change(f"proj.{module}", w) if word in module else None
        return made and ({name.removeprefix("proj."): t for name, t in made[0].items()}, made[1])
    return changed


def pack(zeros: bool = False, bits: int = 4):
    """compressed-tensors, groups of 32, of any number of axes: each matrix of a stack is packed by itself."""
    def change(module: str, w: torch.Tensor):
        rng = np.random.default_rng(len(module))
        shape = (*w.shape[:-1], w.shape[-1] // 32)
        half = 1 << bits - 1
        q, z = rng.integers(0, 1 << bits, w.shape), rng.integers(0, 1 << bits, shape)
        s = torch.from_numpy(rng.random(shape)).bfloat16()

        def words(codes: np.ndarray) -> np.ndarray:
            return stream(codes.reshape(-1, codes.shape[-1]), bits).reshape(*codes.shape[:-1], -1)
        held = {"packed": words(q), **({"zero_point": words(z.swapaxes(-1, -2)).swapaxes(-1, -2)} if zeros else {})}
        name = module if w.dim() == 3 else f"{module}.weight"
        values = torch.from_numpy(q - (z.repeat(32, -1) if zeros else half)).float() * s.float().repeat_interleave(32, -1)
        stored = {f"{name}_{part}": torch.from_numpy(np.ascontiguousarray(t)) for part, t in held.items()}
        return {**stored, f"{name}_scale": s, f"{name}_shape": torch.tensor(w.shape)}, values
    return change


@pytest.mark.parametrize("zeros", [False, True])
def test_experts_that_compressed_tensors_packs_as_one_array(zeros: bool, zoo, tmp_path: Path):
    """`experts.gate_up_proj_packed`, of three axes, as is `_shape`."""
    packed, twin = pair(zoo("qwen35moe-vl"), tmp_path, only("experts.", pack(zeros)), CT, stacks=True)
    same(packed, twin, tmp_path)
    ggufx.hf_to_gguf(packed, tmp_path / "kept.gguf", keep_quantized=True)
    kinds = {t.name: t.type for t in read_gguf(tmp_path / "kept.gguf").tensors.values()}
    assert kinds["blk.0.ffn_gate_exps.weight"] == kinds["blk.0.ffn_down_exps.weight"] == ("Q5_0" if zeros else "Q4_0")
    assert ggufx.verify(packed, tmp_path / "kept.gguf").same
    (packed / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}')
    ggufx.hf_to_gguf(packed, tmp_path / "eye.gguf", mmproj_only=True)
    ggufx.gguf_to_hf(tmp_path / "kept.gguf", tmp_path / "back", mmproj=tmp_path / "eye.gguf", max_memory=1 << 16)
    assert hashes(tmp_path / "back") == hashes(packed)


@pytest.fixture(scope="module")
def llama(zoo, tmp_path_factory) -> Path:
    """With rows for 448 tokens: GPTQ's packers take whole runs of 32, as published vocabularies have them."""
    folder = tmp_path_factory.mktemp("llama") / "llama"
    shutil.copytree(zoo("llama"), folder)
    stored = load_file(folder / "model.safetensors")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        stored[name] = torch.nn.functional.pad(stored[name], (0, 0, 0, 448 - len(stored[name])))
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 448}))
    return folder


@pytest.mark.parametrize("word", ["lm_head", "embed_tokens"])
@pytest.mark.parametrize("form", ["GPTQ", "compressed-tensors"])
def test_heads_and_embeddings(form: str, word: str, llama: Path, tmp_path: Path):
    """GPTQ's `lm_head: true`, embeddings that are quantized: decoded, kept, and back."""
    change, declared = {"GPTQ": (gptq(sym=True), settings(sym=True, lm_head=True)), "compressed-tensors": (pack(), CT)}[form]
    packed, twin = pair(llama, tmp_path, only(word, change), declared)
    same(packed, twin, tmp_path)
    ggufx.hf_to_gguf(packed, tmp_path / "kept.gguf", keep_quantized=True)
    kinds = {t.name: t.type for t in read_gguf(tmp_path / "kept.gguf").tensors.values()}
    assert kinds["output.weight" if word == "lm_head" else "token_embd.weight"] == "Q4_0"
    ggufx.gguf_to_hf(tmp_path / "kept.gguf", tmp_path / "back")
    assert hashes(tmp_path / "back") == hashes(packed)
