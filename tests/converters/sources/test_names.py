"""Names under which transformers finds a tensor too: found here as well, and written back as they were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.sources.names import spellings
from safetensors.torch import load_file, save_file

import ggufx


def renamed(folder: Path, copy: Path, rename) -> Path:
    """A copy of a checkpoint whose tensors are called otherwise."""
    shutil.copytree(folder, copy)
    tensors = load_file(copy / "model.safetensors")
    save_file({rename(n): t for n, t in tensors.items()}, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


def data(path: Path) -> dict[str, bytes]:
    raw = path.read_bytes()
    return {t.name: raw[t.offset : t.offset + t.nbytes] for t in read_gguf(path).tensors.values()}


def old_norms(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


@pytest.mark.parametrize(("model", "rename"), [
    ("bert", old_norms), ("bert", lambda n: "bert." + old_norms(n)), ("llama", lambda n: n.removeprefix("model.")),
    ("smollm3", lambda n: n.removeprefix("model.")), ("mixtral", lambda n: n.removeprefix("model.")),
    ("gemma2", lambda n: n.removeprefix("model.")), ("phi3", lambda n: "model." + n if n.startswith("model.") else n),
], ids=["gamma", "gamma in a bert", "llama", "smollm3", "mixtral", "gemma2", "wrapped phi3"])
def test_the_same_file_and_the_same_names_back(model: str, rename, zoo, tmp_path: Path):
    there = renamed(zoo(model), tmp_path / "there", rename)
    ggufx.hf_to_gguf(zoo(model), tmp_path / "a.gguf", plain=True)
    ggufx.hf_to_gguf(there, tmp_path / "b.gguf")
    assert data(tmp_path / "a.gguf") == data(tmp_path / "b.gguf")
    ggufx.gguf_to_hf(tmp_path / "b.gguf", tmp_path / "back")
    before, after = (load_file(f / "model.safetensors") for f in (there, tmp_path / "back"))
    assert before.keys() == after.keys()
    assert all(before[n].equal(after[n]) and before[n].dtype == after[n].dtype for n in before)
    kept = json.loads(str(read_gguf(tmp_path / "b.gguf").metadata["ggufx.source"].data))
    assert len(kept.get("names", {})) < 20, "a rule, not a list of all names"


def test_verify_knows_them_too(zoo, tmp_path: Path):
    there = renamed(zoo("bert"), tmp_path / "there", old_norms)
    assert ggufx.verify(zoo("bert"), there).same


def test_a_name_stays_first_what_it_is():
    assert next(spellings("model.norm.weight")) == "model.norm.weight"
    assert list(spellings("a.LayerNorm.gamma")) == ["a.LayerNorm.gamma", "a.LayerNorm.weight", "model.a.LayerNorm.weight"]
    assert "a.gamma" not in [s.removeprefix("model.") for s in spellings("a.weight")]
