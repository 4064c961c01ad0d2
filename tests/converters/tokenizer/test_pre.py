"""The pre-tokenizer table, and recognition by structure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ggufx.converters.errors import UnsupportedError
from ggufx.converters.tokenizer.folder import Folder
from ggufx.converters.tokenizer.pre import canonical, check_name, pieces, pre_table, probes, recognise
from ggufx.converters.tokenizer.rules import RULES, rules_for

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
NAMES = [name for name, row in pre_table().items() if not row.byte_fallback and name != "whitespace"]


def folder(tmp_path: Path, pre_tokenizer: object, normalizer: object = None, **model: object) -> Folder:
    document = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
                "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]], **model}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    return Folder(tmp_path)


def steps(row) -> list:
    return [canonical(structure["pre_tokenizer"]) for structure in (row.runtime, row.own) if structure]


def test_the_table_has_all_names_of_the_runtime():
    assert len(pre_table()) == 91
    assert {name for rules in RULES.values() for name in rules.pre} <= pre_table().keys()


@pytest.mark.parametrize("own", [False, True], ids=["runtime", "own"])
@pytest.mark.parametrize("name", NAMES)
def test_each_structure_is_recognised_as_a_name_that_behaves_alike(tmp_path: Path, name: str, own: bool):
    row = pre_table()[name]
    structure = row.own if own and row.own else row.runtime
    found = recognise(folder(tmp_path, structure["pre_tokenizer"], structure["normalizer"],
                             ignore_merges=row.ignore_merges))
    same = pre_table()[found.name]
    assert same.ignore_merges == row.ignore_merges
    texts = probes()
    assert pieces(same.runtime["pre_tokenizer"], texts) == pieces(row.runtime["pre_tokenizer"], texts)
    if own and row.own and row.own["normalizer"]:
        assert any("NFC" in note for note in found.notes)


@pytest.mark.parametrize("name", NAMES)
def test_the_preferred_name_is_taken(tmp_path: Path, name: str):
    row = pre_table()[name]
    found = recognise(folder(tmp_path, row.runtime["pre_tokenizer"], ignore_merges=row.ignore_merges), (name,))
    assert found.name == name


def test_probes_tell_apart_whatever_differs():
    """Two structures that cut all probes alike are spelled alike, or known to be the same."""
    seen: dict[str, str] = {}
    for name in NAMES:
        cut = json.dumps(pieces(pre_table()[name].runtime["pre_tokenizer"], probes()))
        first = seen.setdefault(cut, name)
        if canonical(pre_table()[first].runtime["pre_tokenizer"]) != canonical(
                pre_table()[name].runtime["pre_tokenizer"]):
            assert {"bailingmoe", "bailingmoe2", "llada-moe"} & {first, name}
    assert len(seen) >= 25


def test_what_does_not_change_the_pieces_does_not_matter(tmp_path: Path):
    """Nesting, offsets, defaults left out, unknown fields, and the other spelling of "isolated"."""
    inner = pre_table()["qwen2"].runtime["pre_tokenizer"]["pretokenizers"][0]
    spelled = {**inner, "behavior": "Removed", "invert": True, "comment": "x"}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    nested = {"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": [spelled]}, byte_level]}
    found = recognise(folder(tmp_path, nested, {"type": "Sequence", "normalizers": [{"type": "NFC"}]}), ("qwen2",))
    assert found.name == "qwen2"
    assert recognise(folder(tmp_path, {"type": "ByteLevel"})).name == "gpt-2"


def test_a_regex_in_another_spelling_is_recognised_by_what_it_does(tmp_path: Path):
    """cl100k as tiktoken has it: possessive quantifiers, and contractions grouped."""
    regex = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+"
             r"|\s+(?!\S)|\s+")
    step = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    source = folder(tmp_path, {"type": "Sequence", "pretokenizers": [step, BYTE_LEVEL]}, ignore_merges=True)
    found = recognise(source)
    assert found.name == "llama-bpe"
    assert any("what it does" in note for note in found.notes)


def test_nothing_like_it_names_the_nearest_and_the_way_out(tmp_path: Path):
    regex = pre_table()["llama-bpe"].runtime["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    step = {"type": "Split", "pattern": {"Regex": regex.replace("{1,3}", "{1,2}")}, "behavior": "Isolated"}
    splitter = {"type": "Sequence", "pretokenizers": [{**step, "invert": False}, BYTE_LEVEL]}
    with pytest.raises(UnsupportedError) as caught:
        recognise(folder(tmp_path, splitter))
    said = str(caught.value)
    assert "--pre NAME" in said
    assert "tokenizer.json" in said
    assert "nearest: llama-bpe" in said
    assert "but not " in said, "an example of what differs"


def test_another_normalizer_is_refused(tmp_path: Path):
    with pytest.raises(UnsupportedError, match="NFKC"):
        recognise(folder(tmp_path, {"type": "ByteLevel"}, {"type": "NFKC"}))


def test_tokens_that_merges_do_not_reach_are_counted_where_ignore_merges_differs(tmp_path: Path):
    """Tekken as an older library saves it. Where merges reach every token, nothing differs."""
    tekken = pre_table()["tekken"].runtime["pre_tokenizer"]
    found = recognise(folder(tmp_path, tekken, ignore_merges=False))
    assert (found.name, found.notes) == ("tekken", [])
    found = recognise(folder(tmp_path, tekken, ignore_merges=False, merges=[]))
    assert found.name == "tekken"
    assert "the 1 tokens that merges alone do not build" in found.notes[0]


def test_the_name_of_the_architecture_comes_before_a_newer_one_that_fits_better(tmp_path: Path):
    """gpt-oss: o200k with ignore_merges, published as gpt-4o; the only name with both is newer than most runtimes."""
    own = pre_table()["gpt-4o"].own["pre_tokenizer"]
    found = recognise(folder(tmp_path, own, ignore_merges=True), RULES["gpt-oss"].pre)
    assert found.name == "gpt-4o"
    assert any(f"of {len(probes())} hard ones" in note for note in found.notes)
    assert recognise(folder(tmp_path, own, ignore_merges=True)).name == "granite-embed-multi-97m"


@pytest.mark.parametrize("arch", RULES)
def test_the_structures_that_an_architecture_is_published_with_get_its_names(tmp_path: Path, arch: str):
    for name in rules_for(arch).pre:
        row = pre_table()[name]
        structure = row.own or row.runtime
        for ignore_merges in (row.ignore_merges, not row.ignore_merges):
            found = recognise(folder(tmp_path, structure["pre_tokenizer"], structure["normalizer"],
                                     ignore_merges=ignore_merges), rules_for(arch).pre)
            assert found.name == name


def test_an_unknown_name_gets_suggestions():
    assert check_name("qwen2").name == "qwen2"
    with pytest.raises(UnsupportedError, match="llama-bpe"):
        check_name("llama-bp")


def test_a_hostile_structure_is_refused_not_run(tmp_path: Path):
    """A regex that does not compile, steps of wrong types, and nonsense instead of a sequence."""
    for splitter in ({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False},
                     {"type": "Sequence", "pretokenizers": [1, None, BYTE_LEVEL, {"type": []}]},
                     {"type": "Sequence", "pretokenizers": "x"}, {"type": "Sequence", "pretokenizers": 1.5},
                     {"type": "ByteLevel", "use_regex": {}}, {}):
        whole = {"type": "Sequence", "pretokenizers": [splitter, {**BYTE_LEVEL, "use_regex": False}, splitter]}
        with pytest.raises(UnsupportedError):
            recognise(folder(tmp_path, whole))
