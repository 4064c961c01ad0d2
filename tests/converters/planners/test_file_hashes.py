"""Files that the usual libraries wrote come back with the same hash: one file or several, index and tokenizer included."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from ggufx.converters.errors import InputError
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.planners.own_keys import Source
from safetensors.torch import load_file, save_file

import ggufx


def saved(folder: Path, made: Path, **options: object) -> Path:
    """The model as transformers saves it."""
    cls = getattr(transformers, json.loads((folder / "config.json").read_text())["architectures"][0])
    cls.from_pretrained(folder, dtype="auto").save_pretrained(made, **options)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(made)
    return made


def there_and_back(folder: Path, tmp_path: Path, **options: object) -> dict[str, bytes]:
    ggufx.hf_to_gguf(folder, tmp_path / "model.gguf")
    ggufx.gguf_to_hf(tmp_path / "model.gguf", tmp_path / "back", **options)
    return contents(tmp_path / "back")


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "README.md"}


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "60kB"}], ids=["one", "several"])
@pytest.mark.parametrize("name", ["llama", "mixtral", "gemma3", "bert", "t5"])
def test_a_folder_of_transformers_comes_back_with_its_hashes(zoo, tmp_path, name, options):
    source = saved(zoo(name), tmp_path / "source", **options)
    assert len([*source.glob("*.safetensors")]) > len(options)
    back = there_and_back(source, tmp_path)
    assert {file: data == back.get(file) for file, data in contents(source).items()} == dict.fromkeys(contents(source), True)


def test_parts_of_mixed_types_under_names_of_their_own(zoo, tmp_path):
    source = saved(zoo("llama"), tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    parts = {"a+b.safetensors": {}, "z-1.safetensors": {}}
    for i, (name, tensor) in enumerate(tensors.items()):
        parts[[*parts][i % 3 == 0]][name] = tensor.to(torch.float32) if "norm" in name else tensor
    for file, part in parts.items():
        save_file(part, source / file, {"format": "pt"})
    (source / "model.safetensors.index.json").write_text(json.dumps(
        {"metadata": {"total_size": 1, "by": "hand"}, "weight_map": {n: f for f, part in parts.items() for n in part}},
        indent=2, sort_keys=True) + "\n")
    assert there_and_back(source, tmp_path) == contents(source)


def test_a_size_that_is_asked_for_wins(zoo, tmp_path):
    source = saved(zoo("llama"), tmp_path / "source", max_shard_size="60kB")
    back = there_and_back(source, tmp_path, max_shard_size=10**9)
    assert [file for file in back if file.endswith(".safetensors")] == ["model.safetensors"]


@pytest.mark.parametrize(("field", "value"), [
    ("files", ["../a.safetensors", "b.safetensors"]), ("files", ["a.safetensors", "a.safetensors"]), ("files", [1, 2]),
    ("files", ["config.json", "b.safetensors"]), ("places", [[2, 1]]), ("places", [[0, 1]]), ("places", [[0, -1], [1, 1]]),
    ("places", [[0], [1]]), ("places", {}), ("index", []),
])
def test_a_damaged_record_of_files_is_refused(zoo, tmp_path, field, value):
    ggufx.hf_to_gguf(saved(zoo("llama"), tmp_path / "source", max_shard_size="150kB"), tmp_path / "model.gguf")
    metadata = read_gguf(tmp_path / "model.gguf").metadata
    kept = json.loads(metadata["ggufx.source"].data)
    assert len(kept["files"]) == 2
    metadata["ggufx.source"] = type(metadata["ggufx.source"])(metadata["ggufx.source"].type, json.dumps({**kept, field: value}))
    with pytest.raises(InputError, match=r"ggufx\.source is damaged"):
        Source.of(metadata, tmp_path / "model.gguf")
