"""verify --tokenizer: the same texts through the checkpoint's tokenizer and llama.cpp's."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError, InputError, UnsupportedError
from ggufx.converters.io.values import string
from ggufx.converters.verify import tokenizers as module
from ggufx.converters.verify.tokenizers import probe
from zoo.changed import change_folder, change_gguf

import ggufx

Zoo = Callable[[str], Path]
runtime = pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="xllamacpp is not installed")


@pytest.fixture(scope="module")
def llama(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probe") / "llama.gguf"
    ggufx.hf_to_gguf(zoo("llama"), path)
    return path


@runtime
def test_a_converted_tokenizer_gives_the_ids_of_its_source(zoo: Zoo, llama: Path):
    report = ggufx.verify(zoo("llama"), llama, tokenizer=True)
    assert report.same
    assert report.probes.texts > 50
    assert report.to_json()["tokenizer"] == {"same": True, "texts": report.probes.texts, "different": 0, "first": []}


@runtime
def test_another_pre_tokenizer_is_found(zoo: Zoo, llama: Path, tmp_path: Path):
    other = change_gguf(llama, tmp_path / "other.gguf", keys=lambda k: k.update({"tokenizer.ggml.pre": string("gpt-2")}))
    report = ggufx.verify(zoo("llama"), other, tokenizer=True, ignore=("tokenizer.ggml.pre",))
    assert not report.same
    assert not any(d.counts for d in report.differences)
    text, there, here = report.probes.different[0]
    assert there != here
    assert report.to_json()["tokenizer"]["first"][0] == {"text": text, "a": there, "b": here}


@runtime
def test_a_vocabulary_that_llama_cpp_refuses_is_an_error_of_that_file(llama: Path, tmp_path: Path):
    bad = change_gguf(llama, tmp_path / "bad.gguf", keys=lambda k: k.update({"tokenizer.ggml.pre": string("nobody's")}))
    with pytest.raises(GgufxError, match=r"bad\.gguf"):
        probe(llama, bad)


def test_without_the_runtime_it_says_what_to_install(llama: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match="xllamacpp") as caught:
        probe(llama, llama)
    assert caught.value.hint == "pip install xllamacpp"


def test_a_tokenizer_file_that_is_none_is_an_error_of_that_file(zoo: Zoo, tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "Nothing"}}')
    with pytest.raises(InputError, match=r"tokenizer\.json"):
        probe(zoo("llama"), tmp_path)


def test_a_folder_without_tokenizer_json_is_read_by_transformers(zoo: Zoo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    folder = change_folder(zoo("gpt2-v4"), tmp_path / "old")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match="no tokenizer"):  # transformers makes an empty one
        probe(folder, folder)
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("\n".join(m if isinstance(m, str) else " ".join(m) for m in model["merges"]))
    assert probe(folder, zoo("gpt2-v4")).same
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UnsupportedError, match="transformers is not installed"):
        probe(folder, folder)
