"""Folder -> GGUF with `ggufx.*` -> folder: everything is as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ggufx.converters.io.values import Metadata, ValueType, array, string, strings
from ggufx.converters.tokenizer import tokenizer_files, tokenizer_metadata
from ggufx.converters.tokenizer.own_keys import residue
from vocabularies.cases import CASES, FIRST, Case, through_file, write_files
from zoo.texts import HARD_TEXTS

CONFIG = "config.json"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.name != CONFIG}


def carried(case: Case, folder: Path, path: Path) -> Metadata:
    result = case.forward(folder)
    return through_file({**result.metadata, **residue(folder, result.metadata)}, case.arch, path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_file_comes_back(case: Case, tmp_path: Path):
    """Byte for byte, JSON files and SentencePiece models included."""
    source = case.write(tmp_path / "source")
    metadata = carried(case, source, tmp_path / "v.gguf")
    result = tokenizer_files(metadata, arch=case.arch)
    before = contents(source)
    assert set(result.files) == set(before)
    assert [name for name in before if before[name] != result.files[name]] == []
    assert result.notes == []
    strings_ = sum(len(value.data) for key, value in metadata.items()
                   if key.startswith("ggufx.") and value.type == ValueType.STRING)
    assert strings_ < 8000


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.name)
def test_auto_tokenizer_gives_the_same_ids(case: Case, tmp_path: Path):
    from transformers import AutoTokenizer

    source = case.write(tmp_path / "source")
    metadata = carried(case, source, tmp_path / "v.gguf")
    made = write_files(tokenizer_files(metadata, arch=case.arch).files, tmp_path / "made")
    a, b = AutoTokenizer.from_pretrained(source), AutoTokenizer.from_pretrained(made)
    assert len(a) == len(b)
    names = [token.content for token in a.added_tokens_decoder.values()]
    texts = [*HARD_TEXTS, *names, *(f"a{name}b {name}" for name in names)]
    for split in (False, True):
        ids = [[t.encode(text, split_special_tokens=split) for text in texts] for t in (a, b)]
        assert ids[0] == ids[1]
    assert a("one", "two").input_ids == b("one", "two").input_ids
    assert {**a.special_tokens_map} == {**b.special_tokens_map}


def _tokenizer(vocab: object, **parts: object) -> dict:
    model = {"type": "BPE", "vocab": vocab, "merges": [], **parts.pop("model", {})}
    return {"version": "1.0", "truncation": {"max_length": 5}, "padding": None, "added_tokens": [],
            "normalizer": None, "pre_tokenizer": {"type": "ByteLevel"}, "post_processor": None,
            "decoder": {"type": "ByteLevel"}, "model": model, **parts}


def _round(tmp_path: Path, files: dict[str, object], arch: str = "llama", size: int = 8) -> dict[str, bytes]:
    source = write_files({name: content if isinstance(content, bytes) else json.dumps(content).encode()
                          for name, content in files.items()}, tmp_path / "source")
    forward = tokenizer_metadata(source, arch=arch, hf_class="X", config={}, vocab_size=size)
    metadata = through_file({**forward.metadata, **residue(forward.source, forward.metadata)}, arch, tmp_path / "v.gguf")
    result = tokenizer_files(metadata, arch=arch)
    assert result.notes == []
    before = contents(source)
    assert {name for name in before if before[name] != result.files[name]} == set()
    assert set(before) == set(result.files)
    return result.files


def test_what_gguf_respells_comes_back(tmp_path: Path):
    """User-defined tokens lose their byte spelling and U+2581, ids beyond the model are dropped, pads filled in."""
    added = [{"id": 3, "content": "Ġx", "special": False, "normalized": False, "lstrip": True},
             {"id": 4, "content": "▁▁", "special": False, "normalized": True, "rstrip": True, "odd": [1]},
             {"id": 5, "content": "<s>", "special": True}, {"id": 900, "content": "<late>", "special": True}]
    decoder = {str(token["id"]): {"content": token["content"], "special": token["special"]} for token in added}
    _round(tmp_path, {"tokenizer.json": _tokenizer({"a": 0, "b": 1, "ab": 2}, added_tokens=added,
                                                   model={"merges": ["a b"], "dropout": 0.1}),
                      "tokenizer_config.json": {"added_tokens_decoder": decoder, "x": {"y": [None, 1.5]}},
                      "special_tokens_map.json": {"bos_token": {"content": "<s>", "lstrip": False}}})


def test_merges_with_spaces_come_back(tmp_path: Path):
    vocab = {"a": 0, " ": 1, "a ": 2, "a a": 3}
    _round(tmp_path, {"tokenizer.json": _tokenizer(vocab, model={"merges": [["a", " "], ["a ", "a"]]})})


def test_merges_that_scores_do_not_give_are_carried(tmp_path: Path):
    """A SentencePiece vocabulary whose merges are in an order of their own, one of them missing."""
    vocab = {"<unk>": 0, "<0x41>": 1, "▁": 2, "a": 3, "b": 4, "ab": 5, "▁ab": 6, "▁a": 7}
    model = {"byte_fallback": True, "unk_token": "<unk>", "merges": [["▁", "ab"], ["a", "b"]]}
    _round(tmp_path, {"tokenizer.json": _tokenizer(vocab, model=model, pre_tokenizer=None)})


def test_scores_beyond_float32_come_back(tmp_path: Path):
    entries = [["<unk>", 0.0], ["a", -1.1], ["b", -2.123456789012345]]
    model = {"unk_id": 0, "vocab": entries, "byte_fallback": False}  # old files leave the type out
    document = _tokenizer({}, pre_tokenizer={"type": "Metaspace", "prepend_scheme": "always"})
    document["model"] = model
    _round(tmp_path, {"tokenizer.json": document})


def test_templates_come_back_wherever_they_were(tmp_path: Path):
    files = {"tokenizer.json": _tokenizer({"a": 0}), "chat_template.jinja": b"{{ a }}\r\n",
             "additional_chat_templates/rag-1.jinja": b"{{ b }}",
             "tokenizer_config.json": {"chat_template": [{"name": "default", "template": "{{ c }}"},
                                                         {"name": "tool use", "template": "{{ d }}"}]},
             "chat_template.json": {"chat_template": "{{ e }}"}}
    _round(tmp_path, files)


def test_a_changed_vocabulary_is_not_forced_into_the_old_files(tmp_path: Path):
    case = next(case for case in FIRST if case.kind == "gpt2")
    metadata = carried(case, case.write(tmp_path / "source"), tmp_path / "v.gguf")
    tokens = list(metadata["tokenizer.ggml.tokens"].data)
    tokens[5] = "other"
    metadata["tokenizer.ggml.tokens"] = strings(tokens)
    result = tokenizer_files(metadata, arch=case.arch)
    assert any("was changed" in note for note in result.notes)
    assert "other" in json.loads(result.files["tokenizer.json"])["model"]["vocab"]


@pytest.mark.parametrize("damage", [
    "", "{", "[]", "null", '{"tokens": 1}', "[" * 100_000, '{"tokens": %d, "check": %d}',
    '{"tokens": %d, "check": %d, "json": {"rest": {"model": {}}, "vocab": {"groups": [[null, [[0, 1e9]]]], "texts": {}}}}',
    '{"tokens": %d, "check": %d, "json": {"rest": {"model": {}}, "vocab": {"groups": [[null, [[0, 9999999999]]]],'
    ' "texts": {}}}}',
    '{"tokens": %d, "check": %d, "json": {"rest": {"model": {}}, "vocab": {"groups": [[null, [[-5, 5]]]], "texts": {}}}}',
    '{"tokens": %d, "check": %d, "models": {"tokenizer.model": {"pieces": 9e15, "shift": false, "texts": {}, '
    '"different": [], "rest": [], "charsmap": false}}}',
])
def test_damaged_ggufx_keys_fall_back_to_the_standard_ones(damage: str, tmp_path: Path):
    case = next(case for case in FIRST if case.kind == "gpt2")
    metadata = carried(case, case.write(tmp_path / "source"), tmp_path / "v.gguf")
    kept = json.loads(metadata["ggufx.tokenizer"].data)
    text = damage % (kept["tokens"], kept["check"]) if "%d" in damage else damage
    metadata["ggufx.tokenizer"] = string(text)
    metadata["ggufx.tokenizer_config"] = string('{"templates": {"../../evil.jinja": {"text": "x"}}}')
    result = tokenizer_files(metadata, arch=case.arch)
    assert any("made from the standard keys" in note for note in result.notes)
    assert "tokenizer.json" in result.files
    assert not [name for name in result.files if ".." in name]


def test_wrong_types_of_ggufx_keys_do_no_harm(tmp_path: Path):
    case = next(case for case in FIRST if case.kind == "gpt2")
    metadata = carried(case, case.write(tmp_path / "source"), tmp_path / "v.gguf")
    for key in ("ggufx.tokenizer", "ggufx.tokenizer_config"):
        changed = {**metadata, key: array(ValueType.UINT8, [1])}
        assert "tokenizer.json" in tokenizer_files(changed, arch=case.arch).files
