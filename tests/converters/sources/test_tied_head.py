"""A tied model saved under either of the two names that its embedding and its head share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import read_gguf
from safetensors.torch import load_file, save_file

import ggufx

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
MODELS = {
    "llama-tied": (EMBED, HEAD), "gemma": (EMBED, HEAD), "gpt2": ("transformer.wte.weight", HEAD),
    "gemma3-vl": ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"),
    "bert": ("embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"),
    "roberta": ("embeddings.word_embeddings.weight", "lm_head.decoder.weight"),
}


def under_the_head(folder: Path, copy: Path, model: str) -> Path:
    embedding, head = MODELS[model]
    shutil.copytree(folder, copy)
    tensors = load_file(copy / "model.safetensors")
    tensors.pop(head, None)
    tensors[head] = tensors.pop(embedding)
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


@pytest.mark.parametrize("model", MODELS)
def test_the_same_tensors_and_the_same_name_back(model: str, zoo, tmp_path: Path):
    there = under_the_head(zoo(model), tmp_path / "there", model)
    ggufx.hf_to_gguf(zoo(model), tmp_path / "a.gguf", plain=True)
    ggufx.hf_to_gguf(there, tmp_path / "b.gguf")
    a, b = (read_gguf(tmp_path / f"{x}.gguf") for x in "ab")
    assert a.tensors.keys() == b.tensors.keys()
    assert ggufx.verify(tmp_path / "a.gguf", tmp_path / "b.gguf").same
    assert ggufx.verify(there, tmp_path / "b.gguf").same
    ggufx.gguf_to_hf(tmp_path / "b.gguf", tmp_path / "back")
    head = MODELS[model][1] if model != "gemma3-vl" else EMBED  # that one comes back as its text part
    back, before = (load_file(f / "model.safetensors") for f in (tmp_path / "back", there))
    assert back[head].equal(before[MODELS[model][1]])
    assert model == "gemma3-vl" or back.keys() == before.keys()


@pytest.mark.parametrize("untied", [{"tie_word_embeddings": False}, {"tie_word_embeddings": None}])
def test_an_untied_model_still_needs_its_embedding(untied: dict, zoo, tmp_path: Path):
    """Llama does not tie unless config.json says so."""
    there = under_the_head(zoo("llama-tied"), tmp_path / "there", "llama-tied")
    config = json.loads((there / "config.json").read_text())
    (there / "config.json").write_text(json.dumps({**config, **untied}))
    with pytest.raises(GgufxError, match=r"model\.embed_tokens\.weight: missing"):
        ggufx.hf_to_gguf(there, tmp_path / "a.gguf")
