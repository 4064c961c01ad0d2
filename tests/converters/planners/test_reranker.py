"""Qwen3's rerankers: two rows of the head, written once more as a classifier."""

import json
from pathlib import Path

import numpy as np
import pytest
from zoo.build import build
from zoo.changed import change_gguf
from zoo.files import stored
from zoo.peers import missing_runtime, read_peer_gguf

import ggufx


def model(folder: Path) -> Path:
    """A tiny Qwen3 whose last two tokens are yes and no."""
    build("qwen3", folder)
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    for token, word in zip(tokenizer["added_tokens"][-2:], ("yes", "no"), strict=True):
        token |= {"content": word, "special": False}
    file.write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model(tmp_path_factory.mktemp("m") / "Qwen3-Reranker-tiny")


@pytest.fixture(scope="module")
def made(reranker: Path) -> Path:
    file = reranker.with_name("m.gguf")
    ggufx.hf_to_gguf(reranker, file)
    return file


def test_the_classifier_is_two_rows_of_the_head(made: Path):
    file = read_peer_gguf(made)
    kind, shape, data = file.tensors["cls.output.weight"]
    _, (rows, width), head = file.tensors["output.weight"]
    row = width * len(data) // (2 * width)
    assert (kind, shape, rows) == ("BF16", (2, 64), 430)
    assert data == head[428 * row : 430 * row]  # yes, no: their order among the tokens
    values = {key: value for key, (_, value) in file.values.items()}
    assert values["qwen3.pooling_type"] == 4
    assert values["qwen3.classifier.output_labels"] == ["yes", "no"]
    assert values["tokenizer.chat_templates"] == ["rerank"]
    assert "{query}" in values["tokenizer.chat_template.rerank"]


def test_it_comes_back_without_the_classifier(reranker: Path, made: Path, tmp_path: Path):
    ggufx.gguf_to_hf(made, tmp_path / "back")
    assert stored(tmp_path / "back") == stored(reranker)
    assert (tmp_path / "back" / "tokenizer.json").read_bytes() == (reranker / "tokenizer.json").read_bytes()
    assert not (tmp_path / "back" / "modules.json").exists()
    assert ggufx.verify(reranker, made).same


@pytest.mark.skipif(missing_runtime() is not None, reason=str(missing_runtime()))
def test_the_runtime_scores(reranker: Path, tmp_path: Path):
    from zoo.kinds import sample_ids
    from zoo.peers import llama_scores, transformers_logits

    ids = sample_ids("qwen2", 12)
    logits = transformers_logits(reranker, ids)[-1, 428:430].astype(np.float64)
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    ggufx.hf_to_gguf(reranker, tmp_path / "f32.gguf", outtype="f32")
    np.testing.assert_allclose(llama_scores(tmp_path / "f32.gguf", ids), expected, atol=1e-4)


def test_a_title_says_it_as_well_and_other_names_do_not(tmp_path: Path):
    folder = model(tmp_path / "plain")
    assert "cls.output.weight" not in {t.name for t in ggufx.hf_to_gguf(folder, tmp_path / "m.gguf", dry_run=True).tensors}
    (folder / "README.md").write_text("text\n# Qwen3-Reranker-0.6B\n")
    plan = ggufx.hf_to_gguf(folder, tmp_path / "m.gguf", dry_run=True)
    assert "cls.output.weight" in {t.name for t in plan.tensors}
    assert "its name says that it is a reranker: it scores by its tokens yes and no" in map(str, plan.notes)


def test_a_file_with_the_classifier_alone(made: Path, tmp_path: Path):
    """As llama.cpp's converter makes it of a model with a head of its own."""
    change_gguf(made, tmp_path / "m.gguf", lambda tensors: tensors.pop("output.weight"), lambda keys: [
        keys.pop(key) for key in [*keys] if key.startswith("ggufx.")])
    plan = ggufx.gguf_to_hf(tmp_path / "m.gguf", tmp_path / "back", dry_run=True)
    assert any("of the head the file has the rows of a classifier alone" in str(note) for note in plan.notes)
