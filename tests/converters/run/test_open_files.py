"""However a checkpoint lies on disk, the result is the same: shards, .bin files, split GGUF files, sharded output."""

import json
import shutil
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import encode_header, layout, read_gguf
from ggufx.converters.io.values import Value, ValueType
from safetensors.torch import load_file, save_file

import ggufx


@pytest.fixture
def folder(zoo, tmp_path: Path) -> Path:
    """A copy of a checkpoint without its weights."""
    copy = tmp_path / "copy"
    shutil.copytree(zoo("llama"), copy)
    (copy / "model.safetensors").unlink()
    return copy


@pytest.fixture
def expected(zoo, tmp_path: Path) -> bytes:
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "whole.gguf", model_name="m")
    return (tmp_path / "whole.gguf").read_bytes()


def converted(folder: Path, target: Path) -> bytes:
    ggufx.hf_to_gguf(folder, target, model_name="m")
    return target.read_bytes()


def in_parts(tensors: dict) -> list[dict]:
    names = sorted(tensors)
    return [{n: tensors[n].contiguous() for n in names[i::3]} for i in range(3)]


def test_shards_with_an_index(zoo, folder: Path, expected: bytes, tmp_path: Path):
    index = {}
    for i, part in enumerate(in_parts(load_file(zoo("llama") / "model.safetensors")), 1):
        name = f"model-{i:05d}-of-00003.safetensors"
        save_file(part, folder / name, metadata={"format": "pt"})
        index |= dict.fromkeys(part, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    converted(folder, tmp_path / "a.gguf")
    assert tensor_bytes(tmp_path / "a.gguf") == tensor_bytes(tmp_path / "whole.gguf")
    apart, whole = (read_gguf(tmp_path / f"{name}.gguf").metadata for name in ("a", "whole"))
    assert apart.keys() == whole.keys()
    assert [key for key in whole if str(apart[key]) != str(whole[key])] == ["ggufx.source"]  # which file held which tensor


def tensor_bytes(path: Path) -> dict[str, bytes]:
    raw = path.read_bytes()
    return {n: raw[t.offset : t.offset + t.nbytes] for n, t in read_gguf(path).tensors.items()}


def test_pickled_weights(zoo, folder: Path, expected: bytes, tmp_path: Path):
    import torch

    torch.save(load_file(zoo("llama") / "model.safetensors"), folder / "pytorch_model.bin")
    plan = ggufx.hf_to_gguf(folder, tmp_path / "a.gguf", dry_run=True)
    assert any(".bin" in note for note in plan.notes)
    converted(folder, tmp_path / "a.gguf")
    assert tensor_bytes(tmp_path / "a.gguf") == tensor_bytes(tmp_path / "whole.gguf")


def test_output_in_shards(zoo, expected: bytes, tmp_path: Path):
    from transformers import AutoModelForCausalLM

    ggufx.gguf_to_hf(tmp_path / "whole.gguf", tmp_path / "back", max_shard_size=40_000)
    files = sorted(p.name for p in (tmp_path / "back").glob("*.safetensors"))
    assert len(files) > 3
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    merged = {n: t for f in files for n, t in load_file(tmp_path / "back" / f).items()}
    source = load_file(zoo("llama") / "model.safetensors")
    assert {n: t.tolist() for n, t in merged.items()} == {n: t.tolist() for n, t in source.items()}
    AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    assert tensor_bytes_of_model(tmp_path / "back", tmp_path / "again.gguf") == tensor_bytes(tmp_path / "whole.gguf")


def tensor_bytes_of_model(folder: Path, target: Path) -> dict[str, bytes]:
    converted(folder, target)
    return tensor_bytes(target)


def split(path: Path, parts: int) -> list[Path]:
    """The file as llama.cpp's gguf-split would cut it."""
    whole, raw = read_gguf(path), path.read_bytes()
    groups = [list(whole.tensors.values())[i::parts] for i in range(parts)]
    out = []
    for i, tensors in enumerate(groups):
        keys = dict(whole.metadata) if i == 0 else {}
        keys |= {"split.no": Value(ValueType.UINT16, i), "split.count": Value(ValueType.UINT16, parts),
                 "split.tensors.count": Value(ValueType.INT32, len(whole.tensors))}
        laid = layout([(t.name, t.type, t.shape) for t in tensors])
        data = bytearray(encode_header(keys, laid))
        start = len(data)
        for t, place in zip(tensors, laid, strict=True):
            data += bytes(start + place.offset - len(data)) + raw[t.offset : t.offset + t.nbytes]
        data += bytes(-len(data) % 32)
        name = path.with_name(f"{path.stem}-{i + 1:05d}-of-{parts:05d}.gguf")
        name.write_bytes(bytes(data))
        out.append(name)
    return out


def test_a_split_gguf_comes_back(zoo, expected: bytes, tmp_path: Path):
    first, *others = split(tmp_path / "whole.gguf", 3)
    ggufx.gguf_to_hf(first, tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() != b""
    source, back = (load_file(f / "model.safetensors") for f in (zoo("llama"), tmp_path / "back"))
    assert {n: t.tolist() for n, t in back.items()} == {n: t.tolist() for n, t in source.items()}
    others[0].unlink()
    with pytest.raises(GgufxError, match="00002-of-00003"):
        ggufx.gguf_to_hf(first, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_vocabulary_alone_comes_back(expected: bytes, tmp_path: Path):
    whole = read_gguf(tmp_path / "whole.gguf")
    (tmp_path / "vocab.gguf").write_bytes(encode_header(dict(whole.metadata), []))
    ggufx.gguf_to_hf(tmp_path / "vocab.gguf", tmp_path / "tokenizer")
    from transformers import AutoTokenizer

    names = sorted(p.name for p in (tmp_path / "tokenizer").iterdir())
    assert "tokenizer.json" in names
    assert not any(n.endswith(".safetensors") for n in names)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "tokenizer"))
