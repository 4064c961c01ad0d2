"""Other key-values, the same tensors: what each change gives, what the way back makes of it, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError, InputError, UsageError
from ggufx.converters.io.gguf import encode_header, layout, read_gguf, read_gguf_model
from ggufx.converters.io.values import ValueType, array, boolean, f32, i32, string, strings, u32
from ggufx.converters.planners.edit import FIXED
from zoo import peers

import ggufx

TEMPLATE = "{% for m in messages %}\n<{{ m['role'] }}>é{{ m['content'] }}{% endfor %}\n"


@pytest.fixture(scope="module")
def whole(zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("edit") / "m.gguf"
    ggufx.hf_to_gguf(zoo("llama"), path)
    return path


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "m.gguf"))


def data(path: Path) -> bytes:
    return path.read_bytes()[read_gguf(path).data_offset:]


def value(path: Path, key: str):
    found = read_gguf(path).metadata.get(key)
    return None if found is None else (found.type, list(found.data) if found.item_type is not None else found.data)


@pytest.mark.parametrize(("options", "key", "expected"), [
    ({"set": {"general.name": "Ünïcode = x"}}, "general.name", string("Ünïcode = x")),
    ({"set": {"general.url": "x"}}, "general.url", string("x")),
    ({"set": {"llama.context_length": 131072}}, "llama.context_length", u32(131072)),
    ({"set": {"llama.rope.freq_base": 1000000}}, "llama.rope.freq_base", f32(1e6)),
    ({"set": {"llama.rope.scaling.factor": 4}}, "llama.rope.scaling.factor", f32(4.0)),
    ({"set": {"llama.rope.scaling.type": "none"}}, "llama.rope.scaling.type", string("none")),
    ({"set": {"llama.expert_weights_norm": True}}, "llama.expert_weights_norm", boolean(True)),
    ({"set": {"tokenizer.ggml.add_eos_token": True}}, "tokenizer.ggml.add_eos_token", boolean(True)),
    ({"set": {"general.tags": ["a", "b"]}}, "general.tags", strings(["a", "b"])),
    ({"set": {"general.base_model.0.name": "x"}}, "general.base_model.0.name", string("x")),
    ({"set": {"general.sampling.temp": 0.5}}, "general.sampling.temp", f32(0.5)),
    ({"set": ["my.key:i32=-5"]}, "my.key", i32(-5)), ({"set": ["my.key:str=a:b=c"]}, "my.key", string("a:b=c")),
    ({"set": ["my.key:i32[]=[1, -2]"]}, "my.key", array(ValueType.INT32, [1, -2])),
    ({"unset": ["general.size_label"]}, "general.size_label", None), ({"unset": ["ggufx.*"]}, "ggufx.source", None),
    ({"tokens": {"eot": "<|eot_id|>"}}, "tokenizer.ggml.eot_token_id", u32(424)),
    ({"tokens": {"fim_pre": "<|eot_id|>"}}, "tokenizer.ggml.fim_pre_token_id", u32(424)),
    ({"set": {"tokenizer.ggml.pre": "qwen2"}}, "tokenizer.ggml.pre", string("qwen2")),
    ({"set": {"general.file_type": 7}}, "general.file_type", u32(7)),
])
def test_one_change(model: Path, options, key: str, expected):
    before, size = read_gguf(model), model.stat().st_size
    kept = {k for k in before.metadata if k != key and not k.startswith("ggufx.")}
    tensors = data(model)
    ggufx.edit(model, **options)
    after = read_gguf(model)
    assert value(model, key) == (None if expected is None else (expected.type, expected.data))
    assert {k for k in after.metadata if k != key and not k.startswith("ggufx.")} == kept
    assert data(model) == tensors
    assert [(t.name, t.offset - after.data_offset) for t in after.tensors.values()] \
        == [(t.name, t.offset - before.data_offset) for t in before.tensors.values()]
    assert [p.name for p in model.parent.iterdir()] == ["m.gguf"]
    assert size != 0


def test_a_template_there_and_back(zoo, model: Path, tmp_path: Path):
    """--chat-template takes the place of named templates too; the way back gives the file."""
    file = tmp_path / "t.jinja"
    file.write_bytes(TEMPLATE.replace("\n", "\r\n").encode())
    ggufx.edit(model, tmp_path / "named.gguf", set={"tokenizer.chat_template.tool_use": "old"})
    ggufx.edit(tmp_path / "named.gguf", chat_template=file)
    assert value(tmp_path / "named.gguf", "tokenizer.chat_template.tool_use") is None
    ggufx.edit(model, chat_template=file)
    assert value(model, "tokenizer.chat_template") == (ValueType.STRING, TEMPLATE)
    ggufx.gguf_to_hf(model, tmp_path / "back")
    assert (tmp_path / "back" / "chat_template.jinja").read_text() == TEMPLATE
    assert (tmp_path / "back" / "tokenizer.json").read_bytes() == (zoo("llama") / "tokenizer.json").read_bytes()
    ggufx.hf_to_gguf(zoo("llama"), tmp_path / "made.gguf", chat_template=file)
    assert value(tmp_path / "made.gguf", "tokenizer.chat_template") == (ValueType.STRING, TEMPLATE)
    ggufx.gguf_to_hf(tmp_path / "made.gguf", tmp_path / "again")
    assert (tmp_path / "again" / "chat_template.jinja").read_text() == TEMPLATE


def test_a_template_where_the_original_has_none_or_several(zoo, model: Path, tmp_path: Path):
    """It comes back all the same; named ones of the original stay files of its own."""
    (tmp_path / "t").write_text(TEMPLATE)
    folder = Path(shutil.copytree(zoo("llama"), tmp_path / "folder"))
    for name, more in (("none", False), ("several", True)):
        if more:
            (folder / "chat_template.jinja").write_text("old")
            (folder / "additional_chat_templates").mkdir()
            (folder / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
        else:
            (folder / "chat_template.jinja").unlink()
        ggufx.hf_to_gguf(folder, tmp_path / "a.gguf", chat_template=tmp_path / "t", force=True)
        ggufx.hf_to_gguf(folder, tmp_path / "b.gguf", force=True)
        ggufx.edit(tmp_path / "b.gguf", chat_template=tmp_path / "t")
        for made in ("a", "b"):
            assert [k for k in read_gguf(tmp_path / f"{made}.gguf").metadata if k.startswith("tokenizer.chat")] \
                == ["tokenizer.chat_template"]
            back = tmp_path / f"back-{made}-{name}"
            ggufx.gguf_to_hf(tmp_path / f"{made}.gguf", back)
            assert (back / "chat_template.jinja").read_text() == TEMPLATE
    assert (tmp_path / "back-a-several" / "additional_chat_templates" / "tool_use.jinja").read_text() == "tools"


def test_the_way_back_follows_the_changes(model: Path, tmp_path: Path):
    """What ggufx has kept of the original goes where it would contradict them, and that is said."""
    asked = {"set": {"llama.context_length": 512}, "tokens": {"eos": "<|end_of_text|>"}, "unset": ["tokenizer.chat_template"]}
    plan = ggufx.edit(model, **asked, dry_run=True)
    assert [note.split(":")[0] for note in plan.notes] == ["gguf-to-hf makes anew what was kept of the original"]
    assert {"key": "llama.context_length", "was": 256, "will_be": 512} in plan.facts["changes"]
    ggufx.edit(model, **asked)
    ggufx.gguf_to_hf(model, tmp_path / "back")
    names = ("config.json", "tokenizer_config.json")
    config, tokenizer = (json.loads((tmp_path / "back" / name).read_text()) for name in names)
    assert (config["max_position_embeddings"], config["eos_token_id"]) == (512, 418)
    assert tokenizer["eos_token"] == "<|end_of_text|>"
    assert not (tmp_path / "back" / "chat_template.jinja").exists()


def test_the_vocabulary_of_a_folder(zoo, model: Path, whole: Path, tmp_path: Path):
    """What was changed is as it was made; one of another length is refused where the model has no ids for it."""
    ggufx.edit(model, tokens={"eos": "<|end_of_text|>"}, set={"tokenizer.ggml.pre": "qwen2"})
    ggufx.edit(model, tokenizer_from=zoo("llama"))
    old, new = read_gguf(whole).metadata, read_gguf(model).metadata
    for key in old:
        if key.startswith(("tokenizer.", "ggufx.tokenizer")):
            assert value(model, key) == value(whole, key), key
    assert {k for k in old if k not in new} == {"ggufx.config", "ggufx.generation_config"}
    with pytest.raises(InputError, match="no such folder"):
        ggufx.edit(model, tokenizer_from=tmp_path / "none")
    with pytest.raises(GgufxError, match="tokenizer"):
        ggufx.edit(model, tokenizer_from=tmp_path)


def test_another_file_and_its_own_place(model: Path, tmp_path: Path):
    """With OUT the source stays, and what is there; without, the file is replaced, and whoever has it open keeps the old."""
    before = model.read_bytes()
    ggufx.edit(model, tmp_path / "new.gguf", set={"general.name": "x"})
    assert model.read_bytes() == before
    with pytest.raises(UsageError, match="exists already"):
        ggufx.edit(model, tmp_path / "new.gguf", set={"general.name": "y"})
    with pytest.raises(UsageError, match="same file"):
        ggufx.edit(model, model, set={"general.name": "y"}, force=True)
    model.chmod(0o640)
    with model.open("rb") as reader:
        ggufx.edit(model, set={"general.name": "x"})
        assert reader.read() == before
    assert model.stat().st_mode & 0o777 == 0o640
    assert model.read_bytes() == (tmp_path / "new.gguf").read_bytes()
    inode = model.stat().st_ino
    assert ggufx.edit(model, set={"general.name": "x"}).files == ()
    assert model.stat().st_ino == inode, "nothing changes, nothing is written"


def test_it_is_all_or_nothing(model: Path, interrupted_rename: Callable, monkeypatch: pytest.MonkeyPatch):
    before = model.read_bytes()
    with interrupted_rename(1):
        ggufx.edit(model, set={"general.name": "x"})
    assert model.read_bytes() == before
    ggufx.edit(model, set={"general.name": "x"}, resume=True)
    assert value(model, "general.name") == (ValueType.STRING, "x")
    assert [p.name for p in model.parent.iterdir()] == ["m.gguf"]
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(GgufxError, match="Input/output"):
        ggufx.edit(model, set={"general.name": "y"})
    assert value(model, "general.name") == (ValueType.STRING, "x")
    assert [p.name for p in model.parent.iterdir()] == ["m.gguf"]


def test_the_first_part_of_a_set(model: Path, tmp_path: Path):
    ggufx.split(model, tmp_path / "p", max_tensors=8)
    first, *others = (tmp_path / f"p-0000{n}-of-00003.gguf" for n in (1, 2, 3))
    before = [p.read_bytes() for p in others]
    ggufx.edit(first, set={"general.name": "x"})
    assert [p.read_bytes() for p in others] == before
    assert read_gguf_model(first).metadata["general.name"].data == "x"
    assert len(read_gguf_model(first).tensors) == 21
    ggufx.split(first, tmp_path / "q", max_tensors=100, first_empty=True)
    ggufx.edit(tmp_path / "q-00001-of-00002.gguf", unset=["general.name"])
    assert "general.name" not in read_gguf_model(tmp_path / "q-00001-of-00002.gguf").metadata
    for call, words in ((lambda: ggufx.edit(first, tmp_path / "out", set={"general.name": "y"}), "others belong to it"),
                        (lambda: ggufx.edit(others[0], set={"general.name": "y"}), "not the first part"),
                        (lambda: ggufx.edit(first, set={"llama.feed_forward_length": 97}), "contradict itself")):
        with pytest.raises(GgufxError, match=words):
            call()


@pytest.mark.parametrize(("options", "words"), [
    ({}, "no change"),
    *(({"set": [f"{key.replace('*', 'x')}=1"]}, "does not change") for key in FIXED),
    ({"unset": ["general.architecture"]}, "does not change"),
    ({"set": ["llama.block_count=3"]}, "contradict itself"), ({"set": ["llama.embedding_length=32"]}, "contradict itself"),
    ({"set": ["llama.attention.head_count_kv=4"]}, "contradict itself"), ({"set": ["llama.vocab_size=7"]}, "contradict itself"),
    ({"set": ["llama.expert_count=4"]}, "contradict itself"), ({"unset": ["llama.context_length"]}, "contradict itself"),
    ({"unset": ["tokenizer.ggml.tokens"]}, "another length"), ({"set": ['tokenizer.ggml.tokens=["a"]']}, "another length"),
    ({"set": ["tokenizer.ggml.token_type=[1]"]}, "one for each token"),
    ({"set": ["tokenizer.ggml.eos_token_id=426"]}, "no token of the vocabulary"),
    ({"set": ["tokenizer.ggml.pre=llama33"]}, r"no pre-tokenizer(?s:.*)did you mean"),
    ({"set": ["general.file_type=999"]}, "no file type"), ({"set": ["llama.rope.scaling.type=long"]}, "no such word"),
    ({"set": ["llama.contxt_length=5"]}, r"none that is known(?s:.*)Did you mean llama.context_length"),
    ({"set": ["my.key=5"]}, "State the type"), ({"set": ["my.key:u33=5"]}, "no type"),
    ({"set": ["llama.context_length:i32=5"]}, "another type than its readers expect"),
    ({"set": ["general.tags:str=a"]}, "another type"), ({"set": ["general.tags=a"]}, "no value of type"),
    ({"set": ["general.tags=[1]"]}, "text without NUL"), ({"set": ["general.name=a\0b"]}, "NUL"),
    ({"set": ["llama.context_length=-1"]}, "no value of type u32"), ({"set": ["llama.context_length=4294967296"]}, "u32"),
    ({"set": ["llama.context_length=many"]}, "u32"), ({"set": ["llama.rope.freq_base=nan"]}, "finite"),
    ({"set": ["llama.rope.freq_base=1e39"]}, "f32"), ({"set": ["tokenizer.ggml.add_bos_token=yes"]}, "true or false"),
    ({"set": ["my.key:u8[]=[true]"]}, "a number is needed"), ({"set": ["my.key:u8[]=[1.5]"]}, "u8"),
    ({"set": ["general.name"]}, "KEY=VALUE"), ({"set": ["=x"]}, "KEY=VALUE"),
    ({"set": ["general.name=a", "general.name=b"]}, "more than one change"),
    ({"set": ["general.name=a"], "unset": ["general.*me"]}, "more than one change"),
    ({"unset": ["general.nam"]}, r"no such key(?s:.*)general.name"), ({"tokens": ["eos=<|eot|>"]}, "no such token"),
    ({"tokens": ["end=a"]}, "a NAME of bos"), ({"tokens": ["eos"]}, "NAME=TEXT"),
    ({"set_file": ["general.name=none"]}, "no such file"), ({"chat_template": "none"}, "no such file"),
])
def test_what_is_refused(model: Path, options, words: str):
    before = model.read_bytes()
    with pytest.raises(GgufxError, match=words):
        ggufx.edit(model, **options)
    assert model.read_bytes() == before
    assert [p.name for p in model.parent.iterdir()] == ["m.gguf"]


@pytest.mark.parametrize(("content", "words"), [
    (b"\xff", "is no text: byte 0 is not UTF-8"), (b"ab\0", "byte 2 is NUL"), (b" \n", "empty"),
])
def test_a_template_that_is_no_text(zoo, model: Path, tmp_path: Path, content: bytes, words: str):
    (tmp_path / "t").write_bytes(content)
    for call in (lambda: ggufx.edit(model, chat_template=tmp_path / "t"),
                 lambda: ggufx.hf_to_gguf(zoo("llama"), tmp_path / "out", chat_template=tmp_path / "t")):
        with pytest.raises(InputError, match=words):
            call()


def test_values_from_files(model: Path, tmp_path: Path):
    (tmp_path / "text").write_text("a\nb\n")
    (tmp_path / "list").write_text('["a",\n "b"]\n')
    ggufx.edit(model, set_file={"general.description": tmp_path / "text", "general.languages": tmp_path / "list"})
    assert value(model, "general.description") == (ValueType.STRING, "a\nb\n")
    assert value(model, "general.languages") == (ValueType.ARRAY, ["a", "b"])


def test_links_and_the_cache_stay(model: Path, tmp_path: Path):
    (tmp_path / "link.gguf").symlink_to(model)
    with pytest.raises(UsageError, match=r"is a link(?s:.*)m\.gguf"):
        ggufx.edit(tmp_path / "link.gguf", set={"general.name": "x"})
    snapshot = tmp_path / "models--org--m" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    cached = Path(shutil.copy(model, snapshot / "m.gguf"))
    with pytest.raises(UsageError, match="Hub's cache"):
        ggufx.edit(cached, set={"general.name": "x"})
    ggufx.edit(cached, tmp_path / "out.gguf", set={"general.name": "x"})
    assert cached.read_bytes() == model.read_bytes()


def test_a_fault_that_was_there_can_be_mended(model: Path, tmp_path: Path):
    """A file that contradicts itself already: what makes it no worse is done, what mends it as well."""
    found = read_gguf(model)
    rows = [(t.name, t.type, t.shape) for t in found.tensors.values()]
    broken = tmp_path / "broken.gguf"
    faults = {"llama.block_count": u32(1), "general.file_type": u32(999)}
    broken.write_bytes(encode_header({**found.metadata, **faults}, layout(rows)) + data(model))
    ggufx.edit(broken, set={"general.name": "x"})
    ggufx.edit(broken, set={"llama.block_count": 2, "general.file_type": 32})
    assert ggufx.verify(broken, model).same


def test_an_architecture_without_a_table(tmp_path: Path):
    path = tmp_path / "a.gguf"
    path.write_bytes(encode_header({"general.architecture": string("newest"), "newest.block_count": u32(1)}, []))
    ggufx.edit(path, set=["newest.word:str=x", "general.name=y"])
    assert value(path, "newest.word") == (ValueType.STRING, "x")
    with pytest.raises(GgufxError, match="no tensors of newest"):
        ggufx.edit(path, set={"newest.block_count": 2})


@pytest.mark.parametrize("tokens", [u32(5), string("abc"), array(ValueType.INT32, [1, 2]), strings([])])
def test_a_vocabulary_that_is_none(tmp_path: Path, tokens):
    path = tmp_path / "a.gguf"
    keys = {"general.architecture": string("llama"), "tokenizer.ggml.model": string("gpt2"), "tokenizer.ggml.tokens": tokens}
    path.write_bytes(encode_header(keys, []))
    ggufx.edit(path, set={"general.name": "x"})
    for options, words in (({"tokens": {"eos": "a"}}, "no such token"),
                           ({"set": ["tokenizer.ggml.eos_token_id=0"]}, "no token of the vocabulary"),
                           ({"tokenizer_from": tmp_path}, "no embedding of tokens")):
        with pytest.raises(GgufxError, match=words):
            ggufx.edit(path, **options)


@pytest.mark.skipif(peers.missing_runtime() is not None, reason="no llama.cpp")
def test_llama_cpp_loads_it(model: Path, tmp_path: Path):
    before = peers.llama_logits(model, [1, 2, 3])
    (tmp_path / "t").write_text(TEMPLATE)
    ggufx.edit(model, tmp_path / "new.gguf", set={"general.name": "x" * 1000, "llama.context_length": 128, "my.key:f64": 0.5},
               chat_template=tmp_path / "t", tokens={"eos": "<|end_of_text|>"}, unset=["ggufx.*"])
    assert np.array_equal(peers.llama_logits(tmp_path / "new.gguf", [1, 2, 3]), before)
