"""The `general.*` key-values: equal to llama.cpp's where that is right, and unharmed by what strangers write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ggufx.converters.errors import GgufxError, InputError
from ggufx.converters.io.values import ValueType, f32, i32, plain, string, strings
from ggufx.converters.metadata.general import general_metadata, sampling_parameters
from ggufx.converters.metadata.model_card import model_card
from ggufx.converters.metadata.naming import ParameterCount
from hypothesis import example, given, settings
from hypothesis import strategies as st

COUNT = ParameterCount(1_235_814_400, 1_235_814_400, 0, 0)
MIXTURE = ParameterCount(46_702_792_704, 1_605_000_000, 5_637_000_000, 8)
ADAPTER = ParameterCount(-1_000_000_000, 1_000_000_000, 0, 0)

CARD = """\
---
license: llama3.2
license_name: community
license_link: https://example.org/LICENSE
language:
- en
- no
- de
pipeline_tag: text-generation
tags:
- facebook
- "pytorch"
base_model:
- meta-llama/Llama-3.2-1B
- https://huggingface.co/mistralai/Mistral-7B-v0.1
- https://example.org/a/b/c
- {name: Own, author: Me, repo_url: "https://example.org/own"}
datasets: HuggingFaceH4/ultrachat_200k
model_creator: Somebody
description: |
  Two
  lines
extra: {deep: [1, 2, {3: 4}]}
---
# Title
---
not: front matter
"""
GENERATION = {"temperature": 0.6, "top_p": 0.9, "top_k": 40, "min_p": 0, "repetition_penalty": 1.1, "do_sample": True,
              "eos_token_id": [1, 2], "mirostat": 2, "mirostat_tau": 5.0, "sequence": "penalties;top_k"}

# folder name, files, parameter count, kind, model name, --metadata
CASES = {
    "bare": ("Qwen2.5-Coder-1.5B-Instruct", {}, COUNT, "model", None, None),
    "card": ("Llama-3.2-1B-Instruct", {"README.md": CARD}, COUNT, "model", None, None),
    "generation": ("m", {"generation_config.json": json.dumps(GENERATION)}, COUNT, "model", None, None),
    "name or path": ("step-1", {"config.json": '{"_name_or_path": "o/Mix-8x7B-v0.1"}'}, MIXTURE, "model", None, None),
    "context length": ("Phi-3-mini-128k-instruct", {}, COUNT, "model", None, None),
    "own name": ("m", {"README.md": "---\nname: N\nmodel_type: llama\n---\n"}, COUNT, "model", "Mine", None),
    "no end": ("m", {"README.md": "---\nlicense: mit\n"}, COUNT, "model", None, None),
    "crlf, tabs": ("m", {"README.md": "---\r\nlicense:\tmit\r\n---\r\n"}, COUNT, "model", None, None),
    "licences": ("m", {"README.md": "---\nlicense: [mit, apache-2.0]\n---\n"}, COUNT, "model", None, None),
    "no card": ("m", {"README.md": "# Just text\n---\nlicense: mit\n"}, COUNT, "model", None, None),
    "adapter": ("L-3.2-1B-chat-lora", {"README.md": "---\nbase_model: o/B-1B\n---\n"}, ADAPTER, "adapter", None, None),
    "override": ("m", {"README.md": CARD}, COUNT, "model", None, {
        "general.name": "Given", "general.sampling.top_k": 7, "general.sampling.temp": 1, "general.tags": ["a"],
        "general.author": None, "general.url": "https://example.org", "general.quantized_by": "me",
        "general.base_models": [{"name": "B", "organization": "O"}], "general.license.name": "L"}),
}

ORACLE = """
import json, pathlib, sys
import gguf
answers = []
for case in json.load(sys.stdin):
    folder = pathlib.Path(case["folder"])
    override = case["override"] and pathlib.Path(case["override"])
    metadata = gguf.Metadata.load(override, folder, case["model_name"], case["count"][0])
    if metadata.name is None:
        metadata.name = folder.name
    if metadata.size_label is None and case["count"][0] > 0:
        metadata.size_label = gguf.size_label(*case["count"])
    writer = gguf.GGUFWriter(None, "llama")
    writer.add_type(case["kind"])
    if case["kind"] == "adapter":
        writer.add_string("adapter.type", "lora")
    metadata.set_gguf_meta_model(writer)
    answers.append([[key, int(value.type), value.value] for key, value in writer.kv_data[0].items()])
print(json.dumps(answers))
"""


def written(root: Path, case: str) -> dict:
    """The case's folder on disk, as the arguments of `general_metadata`."""
    name, files, count, kind, model_name, override = CASES[case]
    folder = root / case / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_bytes(text.encode())
    if override is not None:
        (root / case / "override.json").write_text(json.dumps(override))
    return {"folder": folder, "tensors_params": count, "kind": kind, "model_name": model_name, "arch": "llama",
            "override_file": root / case / "override.json" if override is not None else None}


def as_lists(metadata) -> list:
    return [[key, int(value.type), value.data] for key, value in metadata.items()]


def test_equal_to_llama_cpp(tmp_path):
    if not (home := os.environ.get("GGUFX_LLAMA_CPP")):
        pytest.skip("GGUFX_LLAMA_CPP (a llama.cpp folder) is not set")
    calls = {case: written(tmp_path, case) for case in CASES}
    asked = [{"folder": str(c["folder"]), "override": c["override_file"] and str(c["override_file"]), "kind": c["kind"],
              "model_name": c["model_name"], "count": c["tensors_params"]} for c in calls.values()]
    answer = subprocess.run(
        [sys.executable, "-c", ORACLE], input=json.dumps(asked), capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(home) / "gguf-py")})
    for (case, call), expected in zip(calls.items(), json.loads(answer.stdout), strict=True):
        assert as_lists(general_metadata(**call)) == expected, case


def test_the_card_case_in_full(tmp_path):
    assert plain(general_metadata(**written(tmp_path, "card"))) == {
        "general.architecture": "llama", "general.type": "model",
        "general.name": "Llama 3.2 1B Instruct", "general.author": "Somebody",
        "general.finetune": "Instruct", "general.basename": "Llama-3.2", "general.description": "Two\nlines\n",
        "general.size_label": "1B",
        "general.license": "llama3.2", "general.license.name": "community",
        "general.license.link": "https://example.org/LICENSE",
        "general.base_model.count": 4,
        "general.base_model.0.name": "Llama 3.2 1B", "general.base_model.0.organization": "Meta Llama",
        "general.base_model.0.repo_url": "https://huggingface.co/meta-llama/Llama-3.2-1B",
        "general.base_model.1.name": "Mistral 7B v0.1", "general.base_model.1.version": "v0.1",
        "general.base_model.1.organization": "Mistralai",
        "general.base_model.1.repo_url": "https://huggingface.co/mistralai/Mistral-7B-v0.1",
        "general.base_model.2.repo_url": "https://example.org/a/b/c",
        "general.base_model.3.name": "Own", "general.base_model.3.author": "Me",
        "general.base_model.3.repo_url": "https://example.org/own",
        "general.dataset.count": 1, "general.dataset.0.name": "Ultrachat_200K",
        "general.dataset.0.organization": "HuggingFaceH4",
        "general.dataset.0.repo_url": "https://huggingface.co/HuggingFaceH4/ultrachat_200k",
        "general.tags": ["facebook", "pytorch", "text-generation"], "general.languages": ["en", "no", "de"],
    }


def general(folder: Path, **options) -> dict:
    folder.mkdir(parents=True, exist_ok=True)
    return plain(general_metadata(folder, arch="llama", tensors_params=options.pop("count", COUNT), **options))


def with_card(folder: Path, front: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_bytes(b"---\n" + front.encode() + b"\n---\n")
    return folder


def test_yaml_scalars_stay_text(tmp_path):
    front = "license: no\nversion: 1.10\nauthor: 2024-01-02\nlanguage: [en, no, on]\ntags: [1, 0x1f]"
    found = general(with_card(tmp_path / "m", front))
    assert found["general.license"] == "no"
    assert found["general.version"] == "1.10"
    assert found["general.author"] == "2024-01-02"
    assert found["general.languages"] == ["en", "no", "on"]
    assert found["general.tags"] == ["1", "0x1f"]


@pytest.mark.parametrize(("front", "why"), [
    ("license: mit\nx: &a [1]\ny: [*a, *a]", "alias"),
    ("license: mit\nx: " + "[" * 10_000 + "]" * 10_000, "nested"),
    ("license: mit\n  broken: [", "README.md"),
    ("- a\n- list", "not a mapping"),
    ("license: mit\nx: \x07", "README.md"),
])
def test_a_bad_card_costs_only_the_card(tmp_path, front, why):
    notes = []
    found = general(with_card(tmp_path / "Some-7B-Model", front), notes=notes)
    assert found["general.name"] == "Some 7B Model"
    assert "general.license" not in found
    assert len(notes) == 1
    assert why in notes[0]


def test_yaml_tags_make_no_objects(tmp_path):
    victim = tmp_path / "victim"
    front = f"license: mit\nname: !!python/object/apply:os.mkdir [{victim}]\nauthor: !!python/name:os.system ''"
    found = general(with_card(tmp_path / "m", front))
    assert not victim.exists()
    assert found["general.license"] == "mit"
    assert found["general.name"] == "M"


def test_a_card_without_end_is_not_read_whole(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "README.md").write_bytes(b"---\nlicense: mit\n" + b"#" * (5 << 20))
    notes = []
    assert "general.license" not in general(folder, notes=notes)
    assert "4 MiB" in notes[0]


def test_paths_of_other_machines_stay_out(tmp_path):
    notes = []
    front = "base_model: [/home/someone/base, 'C:\\models\\x', ~/x, org/name]\ndatasets: ../data"
    found = general(with_card(tmp_path / "m", front), notes=notes)
    assert found["general.base_model.count"] == 1
    assert found["general.base_model.0.repo_url"] == "https://huggingface.co/org/name"
    assert "general.dataset.count" not in found
    assert len(notes) == 2
    assert not any("someone" in str(value) for value in found.values())


def test_an_adapter_without_a_card_knows_its_base(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "meta-llama/Llama-3.2-1B"}')
    found = general(tmp_path, kind="adapter", count=ADAPTER)
    assert list(found)[:3] == ["general.architecture", "general.type", "adapter.type"]
    assert found["general.base_model.0.name"] == "Llama 3.2 1B"
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "/data/base"}')
    assert "general.base_model.count" not in general(tmp_path, kind="adapter", count=ADAPTER)


def test_a_model_from_the_hub_has_its_repositorys_name(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--meta-llama--Llama-3.2-1B-Instruct" / "snapshots" / commit
    cached.mkdir(parents=True)
    (cached / "config.json").write_text('{"_name_or_path": "other/Thing-3B"}')
    expected = {"general.name": "Llama 3.2 1B Instruct", "general.organization": "Meta Llama",
                "general.size_label": "1B", "general.finetune": "Instruct", "general.basename": "Llama-3.2"}
    assert expected.items() <= general(cached).items()
    assert expected.items() <= general(tmp_path / "x", hub_id="meta-llama/Llama-3.2-1B-Instruct").items()


@pytest.mark.parametrize("given", ['""', '"."', "5", "[]", json.dumps("x" * 1000)])
def test_a_useless_name_or_path_does_not_take_the_name(tmp_path, given):
    (tmp_path / "Some-7B").mkdir()
    (tmp_path / "Some-7B" / "config.json").write_text(f'{{"_name_or_path": {given}}}')
    assert general(tmp_path / "Some-7B")["general.name"] == "Some 7B"


def test_a_relative_folder_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "Tiny-1B").mkdir()
    monkeypatch.chdir(tmp_path / "Tiny-1B")
    assert general(Path("."))["general.name"] == "Tiny 1B"


@pytest.mark.parametrize("bad", ['"hot"', "true", "[1]", "NaN", "1e300", "Infinity", "{}"])
def test_a_bad_sampling_value_costs_only_itself(tmp_path, bad):
    (tmp_path / "generation_config.json").write_text(f'{{"temperature": {bad}, "top_k": 3.0, "top_p": null}}')
    notes = []
    found = general(tmp_path, notes=notes)
    assert found["general.sampling.top_k"] == 3
    assert not {"general.sampling.temp", "general.sampling.top_p"} & set(found)
    assert notes[0].startswith("generation_config.json: temperature")


@pytest.mark.parametrize("bad", ["{", "[]", "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")])
def test_bad_json_costs_only_itself(tmp_path, bad):
    (tmp_path / "generation_config.json").write_text(bad)
    (tmp_path / "config.json").write_text(bad)
    notes = []
    assert general(tmp_path / ".", notes=notes)["general.type"] == "model"
    assert len(notes) == 2


def test_half_surrogates_are_replaced(tmp_path):
    (tmp_path / "config.json").write_text('{"_name_or_path": "org/x\\ud800-7B"}')
    assert general(tmp_path)["general.name"] == "X? 7B"


# --- the --metadata file


def overridden(tmp_path: Path, document: object, **options) -> dict:
    path = tmp_path / "given.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return general(with_card(tmp_path / "m", "license: mit\nbase_model: org/one"), override_file=path, **options)


def test_every_key_can_be_set(tmp_path):
    texts = ("name", "author", "version", "organization", "finetune", "basename", "description", "quantized_by",
             "size_label", "license", "license.name", "license.link", "url", "doi", "uuid", "repo_url", "source.url",
             "source.doi", "source.uuid", "source.repo_url", "sampling.sequence")
    numbers = ("top_k", "top_p", "min_p", "xtc_probability", "xtc_threshold", "temp", "penalty_last_n",
               "penalty_repeat", "mirostat", "mirostat_tau", "mirostat_eta")
    document = {f"general.{key}": f"a {key}" for key in texts} | {f"general.sampling.{key}": 2 for key in numbers}
    document |= {"general.tags": ["t"], "general.languages": ["en"]}
    assert document.items() <= overridden(tmp_path, document).items()


def test_origins_by_list_and_by_key(tmp_path):
    found = overridden(tmp_path, {
        "general.base_model.count": 2, "general.base_model.1.name": "Two", "general.base_model.0.author": "A",
        "general.datasets": [{"name": "D"}, {"url": "u"}]})
    assert found["general.base_model.count"] == 2
    assert (found["general.base_model.0.name"], found["general.base_model.0.author"]) == ("One", "A")
    assert found["general.base_model.1.name"] == "Two"
    assert (found["general.dataset.0.name"], found["general.dataset.1.url"]) == ("D", "u")


def test_null_removes_but_a_model_has_a_name(tmp_path):
    found = overridden(tmp_path, {"general.license": None, "general.name": None, "general.base_models": None})
    assert "general.license" not in found
    assert "general.base_model.count" not in found
    assert found["general.name"] == "m"


def test_the_model_name_wins(tmp_path):
    assert overridden(tmp_path, {"general.name": "File"}, model_name="Call")["general.name"] == "Call"


@pytest.mark.parametrize(("document", "texts"), [
    ({"general.licence": "x", "general.sampling.topk": 3}, ["general.license", "general.sampling.top_k", "2 problems"]),
    ({"llama.block_count": 3}, ["not a key"]),
    ({"general.name": ["x"]}, ["general.name", "text"]),
    ({"general.author": True}, ["text"]),
    ({"general.sampling.top_k": 2.5}, ["32-bit integer"]),
    ({"general.sampling.top_k": 1 << 40}, ["32-bit integer"]),
    ({"general.sampling.temp": "1"}, ["number"]),
    ({"general.tags": [1]}, ["list of texts"]),
    ({"general.base_models": ["org/x"]}, ["list of objects"]),
    ({"general.base_models": [{"nam": "x"}]}, ["nam is not one of"]),
    ({"general.base_model.5.name": "x"}, ["entry 1 is missing"]),
    ({"general.base_model.count": 9}, ["9 announced, 1 described"]),
    ({"general.base_model.0.name": None}, ["text"]),
    ("[]", ["an object"]),
    ('{"general.name": "a", "general.name": "b"}', ["twice"]),
    ("{", ["not JSON"]),
])
def test_what_cannot_be_set_is_said(tmp_path, document, texts):
    with pytest.raises(GgufxError) as caught:
        overridden(tmp_path, document)
    assert caught.value.code == "input"
    assert all(text in str(caught.value) for text in texts)


def test_an_absent_metadata_file_is_an_error(tmp_path):
    with pytest.raises(InputError):
        general(tmp_path, override_file=tmp_path / "none.json")


# --- the way back


def test_sampling_parameters():
    metadata = {f"general.sampling.{key}": value for key, value in {
        "top_p": f32(0.8999999761581421), "top_k": i32(40), "temp": f32(0.6000000238418579),
        "penalty_repeat": f32(1.100000023841858)}.items()}
    assert sampling_parameters(metadata) == {"top_k": 40, "top_p": 0.9, "temperature": 0.6, "repetition_penalty": 1.1}


def test_the_card_of_a_card(tmp_path):
    metadata = general_metadata(with_card(tmp_path / "Llama-3.2-1B-Instruct", CARD.split("---\n")[1]), arch="llama",
                                tensors_params=COUNT)
    text = model_card(metadata).decode()
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["base_model"] == ["meta-llama/Llama-3.2-1B", "mistralai/Mistral-7B-v0.1", "https://example.org/a/b/c",
                                   "https://example.org/own"]
    assert front["datasets"] == ["HuggingFaceH4/ultrachat_200k"]
    assert front["language"] == ["en", "no", "de"]
    assert (front["pipeline_tag"], front["tags"]) == ("text-generation", ["facebook", "pytorch"])
    assert (front["license"], front["library_name"]) == ("llama3.2", "transformers")
    assert "# Llama 3.2 1B Instruct" in text


def test_a_card_needs_something_to_say():
    assert model_card({"general.architecture": string("llama"), "general.sampling.top_k": i32(1)}) is None


IDS = st.from_regex(r"[A-Za-z0-9]{1,8}/[A-Za-z0-9]{1,6}(-[0-9]{1,2}B|-v[0-9]|-[a-z]{1,5}|\.[0-9]){0,3}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(
    lambda t: t not in ("~", "null", "Null", "NULL"))
TAGS = st.lists(TEXTS, min_size=1, max_size=4)


OWN_WORDS = ("author", "version", "description", "finetune", "basename", "size_label", "license_name", "url")


@given(st.fixed_dictionaries({"name": TEXTS}, optional={
    **dict.fromkeys(OWN_WORDS, TEXTS),
    "license": st.one_of(st.just("mit"), st.just(["mit", "apache-2.0"])), "tags": TAGS, "language": TAGS,
    "pipeline_tag": st.just("fill-mask"), "base_model": st.lists(IDS, min_size=1, max_size=3), "datasets": IDS}))
@settings(max_examples=60, deadline=None)
def test_a_card_made_from_the_key_values_gives_them_again(tmp_path_factory, front):
    folder = tmp_path_factory.mktemp("card") / "m"
    notes = []

    def converted(card: bytes):
        folder.mkdir(exist_ok=True)
        (folder / "README.md").write_bytes(card)
        return general_metadata(folder, arch="bert", tensors_params=COUNT, notes=notes)

    first = converted(b"---\n" + yaml.safe_dump(front, allow_unicode=True).encode() + b"---\n")
    assert notes == []
    assert first["general.name"].data == front["name"]
    assert as_lists(converted(model_card(first))) == as_lists(first)


KEYS = ("general.name", "general.description", "general.license", "general.base_model.0.url")


@given(st.dictionaries(st.sampled_from(KEYS), st.text().map(string)), st.lists(st.text()).map(strings))
@example({"general.description": string("a\x85b\u2028c\u2029\x85")}, strings([]))  # line ends of YAML beside ASCII's
@settings(max_examples=60, deadline=None)
def test_any_texts_make_valid_yaml(metadata, tags):
    card = model_card({**metadata, "general.tags": tags, "general.base_model.count": i32(7)})
    if card is not None:
        front = yaml.safe_load(card.decode().split("\n---\n")[0])
        assert front["library_name"] == "transformers"
        assert set(front) <= {"name", "description", "license", "base_model", "tags", "pipeline_tag", "library_name"}
        assert front.get("description", "") == metadata.get("general.description", string("")).data


def test_types(tmp_path):
    found = general_metadata(**written(tmp_path, "generation"))
    assert found["general.sampling.top_k"].type is ValueType.INT32
    assert found["general.sampling.min_p"] == f32(0.0)
    assert found["general.sampling.sequence"].type is ValueType.STRING
