"""Meta's and Mistral's own layouts as checkpoints: the values, element types, settings and ids of the Hugging Face folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ggufx.cli.main import app
from ggufx.converters.errors import UsageError
from safetensors.torch import load_file
from typer.testing import CliRunner
from zoo import originals

import ggufx


@pytest.mark.parametrize("ranks", [1, 2])
def test_llama(zoo: Callable[[str], Path], tmp_path: Path, ranks: int):
    source = originals.padded(zoo("llama-mha"), tmp_path / "hf", 4, max_position_embeddings=2048)
    folder = originals.meta(source, tmp_path / "m", ranks)
    originals.copy(source, folder, "tokenizer.model")
    ggufx.original_to_hf(folder, tmp_path / "out", max_shard_size=60_000)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    made = {k: t for file in (tmp_path / "out").glob("*.safetensors") for k, t in load_file(file).items()}
    theirs = load_file(source / "model.safetensors")
    assert made.keys() == theirs.keys()
    assert all(made[k].dtype == t.dtype and torch.equal(made[k], t) for k, t in theirs.items())
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == (source / "tokenizer.model").read_bytes()
    assert ggufx.verify(source, tmp_path / "out").same
    assert ggufx.verify(folder, tmp_path / "out").same


def test_it_loads_and_computes_the_same(zoo: Callable[[str], Path], tmp_path: Path):
    """In transformers, tokenizer and all; and it makes the GGUF file that the original makes."""
    import transformers

    source = originals.padded(zoo("llama"), tmp_path / "hf", 1024)
    folder = originals.meta(source, tmp_path / "m", 2, by_columns=False)
    pieces = originals.ranks_file(source, folder / "tokenizer.model")
    (tmp_path / "out").mkdir()
    ggufx.original_to_hf(folder, tmp_path / "out" / "m", context_length=256)
    ids = torch.tensor([[1, 5, 300, 2, 77]])
    ours, theirs = (transformers.AutoModelForCausalLM.from_pretrained(f) for f in (tmp_path / "out" / "m", source))
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours(ids).logits, theirs(ids).logits)
    ours, theirs = (transformers.AutoTokenizer.from_pretrained(f) for f in (tmp_path / "out" / "m", source))
    text = "the then\n\n  in 12345 é thing"
    assert ours(text).input_ids == [pieces, *theirs(text, add_special_tokens=False).input_ids]
    for name, f in (("a", folder), ("b", tmp_path / "out" / "m")):
        stated = {"context_length": 256} if name == "a" else {}
        ggufx.hf_to_gguf(f, tmp_path / f"{name}.gguf", plain=True, **stated)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    ggufx.hf_to_gguf(folder, tmp_path / "kept.gguf", context_length=256)
    ggufx.gguf_to_hf(tmp_path / "kept.gguf", tmp_path / "back")
    kept, made = ((f / "config.json").read_bytes() for f in (tmp_path / "back", tmp_path / "out" / "m"))
    assert kept == made
    assert ggufx.verify(tmp_path / "back", tmp_path / "out" / "m").same


def test_mixtral(zoo: Callable[[str], Path], tmp_path: Path):
    source = zoo("mixtral")
    folder = originals.mistral(source, tmp_path / "m", 2)
    originals.copy(source, folder, "tokenizer.json", "tokenizer_config.json")
    ggufx.original_to_hf(folder, tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["num_local_experts"] == 4
    assert ggufx.verify(source, tmp_path / "out").same


def test_a_hugging_face_folder_is_none(zoo: Callable[[str], Path], tmp_path: Path):
    with pytest.raises(UsageError, match="is in Hugging Face's layout already"):
        ggufx.original_to_hf(zoo("llama"), tmp_path / "out")


def test_a_folder_called_original(zoo: Callable[[str], Path], tmp_path: Path):
    """The model is called after the one around it; the runtime's own templates are none of Hugging Face's."""
    folder = originals.mistral(zoo("mistral"), tmp_path / "Some-Model-7B" / "original")
    originals.copy(zoo("mistral"), folder, "tokenizer.model")
    result = ggufx.hf_to_gguf(folder, tmp_path / "a.gguf", outtype="q8_0")
    assert ggufx.inspect(result.files[0].path).name == "Some Model 7B"
    ggufx.original_to_hf(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "chat_template.jinja").exists()
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["bos_token"] == "<s>"


def test_by_the_command(zoo: Callable[[str], Path], tmp_path: Path):
    folder = originals.mistral(zoo("mistral"), tmp_path / "m", params={"max_seq_len": None})
    originals.copy(zoo("mistral"), folder, "tokenizer.model")
    call = ["original-to-hf", str(folder), str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, [*call, "--dry-run"])
    assert done.exit_code == 3
    assert "--context-length" in json.loads(done.stdout)["error"]["hint"]
    done = CliRunner().invoke(app, [*call, "--dry-run", "--context-length", "512"])
    assert done.exit_code == 0
    assert not (tmp_path / "out").exists()
    done = CliRunner().invoke(app, [*call, "--verify", "--context-length", "512"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["verify"]["same"] is True
    assert json.loads((tmp_path / "out" / "config.json").read_text())["max_position_embeddings"] == 512
