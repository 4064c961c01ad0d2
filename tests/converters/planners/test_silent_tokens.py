"""Tokens without an embedding are named in files of MiniMax-01, as llama.cpp's converter names them."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoo.build import build
from zoo.faults import repaired
from zoo.kinds import vocab
from zoo.models import MODELS
from zoo.peers import llama_cpp_convert, missing_converter, read_peer_gguf

from ggufx import hf_to_gguf

KEY = "tokenizer.ggml.suppress_tokens"


def silenced(folder: Path, rows: list[int]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"][rows] = 0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def found(path: Path) -> list[int] | None:
    kind_and_value = read_peer_gguf(path).values.get(KEY)
    return None if kind_and_value is None else list(kind_and_value[1])


def test_added_tokens_alone(tmp_path: Path):
    """A zero row of the vocabulary itself is none of them."""
    folder, size = build("minimax-01", tmp_path / "m"), vocab("minimax-m2").size
    silenced(folder, [5, size - 3, size - 1])
    hf_to_gguf(folder, tmp_path / "m.gguf", outtype="f32")
    assert found(tmp_path / "m.gguf") == [size - 3, size - 1]
    if missing_converter() is None:
        source = repaired(folder, MODELS["minimax-01"].fault, tmp_path / "indexed")
        assert found(llama_cpp_convert(source, "f32", tmp_path / "theirs.gguf", "minimax-m2")) == [size - 3, size - 1]


@pytest.mark.parametrize("name", ["minimax-01", "minimax-m2"])
def test_no_key_where_there_is_none(tmp_path: Path, name: str):
    folder = build(name, tmp_path / "m")
    if name == "minimax-m2":  # another architecture
        silenced(folder, [vocab(name).size - 1])
    hf_to_gguf(folder, tmp_path / "m.gguf", outtype="f32")
    assert found(tmp_path / "m.gguf") is None
