"""The test bed tests itself: rows are the same everywhere, load in transformers, and the judges agree on them.

The comparison of llama.cpp with transformers on every row takes minutes and judges llama.cpp, not ggufx: it runs only with
GGUFX_PEER_CHECK=1.
"""

import hashlib
import json
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from zoo import golden, models, peers
from zoo.build import build
from zoo.faults import RUNTIME_TOKENS, repaired
from zoo.files import stored
from zoo.fill import bell, bits, parameter
from zoo.kinds import VOCABS, sample_ids, vocab
from zoo.models import MODELS
from zoo.models.rows import tensors
from zoo.proof import beside
from zoo.texts import HARD_TEXTS

Zoo = Callable[[str], Path]


def test_weights_come_from_integers_alone():
    assert [f"{word:016x}" for word in bits("a", 2)] == ["a872a244a29ce2aa", "3e834d3a7287ce70"]
    values = bell("name", (64, 64))
    assert hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()[:16] == "c52af024998108ad"
    assert abs(float(values.mean())) < 0.05
    assert 1.0 < float(values.std()) < 1.3
    assert float(np.abs(parameter("x.norm.weight", (256,)) - 1).mean()) > 0.1


def test_a_row_has_the_same_bytes_each_time(tmp_path: Path):
    first, second = build("gptoss-mxfp4-v4", tmp_path / "1"), build("gptoss-mxfp4-v4", tmp_path / "2")
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names
    assert [(first / name).read_bytes() for name in names] == [(second / name).read_bytes() for name in names]


def test_another_seed_gives_other_weights_of_the_same_model(tmp_path: Path):
    first, second = build("embeddinggemma", tmp_path / "1"), build("embeddinggemma", tmp_path / "2", seed=2)
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    changed = [str(name) for name in names if (first / name).read_bytes() != (second / name).read_bytes()]
    assert changed == ["2_Dense/model.safetensors", "3_Dense/model.safetensors", "model.safetensors"]
    one, two = stored(first), stored(second)
    assert one.keys() == two.keys()
    assert not [name for name in one if one[name][:2] != two[name][:2] or one[name][2] == two[name][2]]


def test_transformers_4_and_5_configurations_mean_the_same_model(zoo: Zoo):
    for name in ("llama-llama3", "gemma3", "phi3-longrope", "deepseek3"):
        new, old = zoo(name), zoo(f"{name}-v4")
        assert "rope_parameters" not in (old / "config.json").read_text()
        ids = sample_ids(MODELS[name].vocab, 24)
        np.testing.assert_array_equal(peers.transformers_logits(new, ids), peers.transformers_logits(old, ids))


@pytest.mark.parametrize("name", ["llama", "qwen35-vl", "gemma4-moe", "mixtral", "xlmr"])
def test_rows_are_alive(zoo: Zoo, name: str):
    row, folder = MODELS[name], zoo(name)
    forward = peers.transformers_embeddings if row.embeds else peers.transformers_logits
    out = forward(folder, sample_ids(row.vocab, 16))
    assert np.isfinite(out).all()
    assert 0.5 < float(out.std()) < 20
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2_200_000


def test_shapes_from_a_table():
    rows = tensors({"x.{b}.{e}.w": "2*width//3 heads", "y": "width"}, b="layers", e="range(1,heads)")
    assert rows({"layers": 2, "width": 6, "heads": 3}) == {
        "x.0.1.w": (4, 3), "x.0.2.w": (4, 3), "x.1.1.w": (4, 3), "x.1.2.w": (4, 3), "y": (6,)}


@pytest.mark.parametrize("kind", [kind for kind in VOCABS if vocab(kind).tokenizer])
def test_tokenizers_spell_out_what_they_read(kind: str):
    from tokenizers import Tokenizer

    made = vocab(kind)
    tool = Tokenizer.from_str(json.dumps(made.tokenizer))
    assert tool.get_vocab_size() == made.size
    assert sorted(tool.get_vocab().values()) == list(range(made.size))
    if not kind.startswith("bert") and kind not in ("xlmr", "xlmr-json", "camembert", "t5"):
        lost = [text for text in HARD_TEXTS if tool.decode(tool.encode(text, add_special_tokens=False).ids) != text]
        assert len(lost) <= (10 if kind == "llama-spm-json" else 4), lost


def test_rows_and_digests_lie_with_the_family_of_their_table():
    """One architecture: one table file, one file of rows, one of digests."""
    for path in Path(models.__file__).parent.glob("*.py"):
        if path.stem not in ("__init__", "rows"):
            rows = import_module(f"zoo.models.{path.stem}").ROWS
            assert {row.name: golden.FAMILY[row.name] for row in rows} == {row.name: path.stem for row in rows}
    for path in golden.GOLDEN.glob("*.json"):
        held = json.loads(path.read_text())["models"]
        assert {name: golden.FAMILY[name] for name in held} == dict.fromkeys(held, path.stem)


def test_golden_digests_belong_to_these_rows(zoo: Zoo):
    assert set(golden.names()) == {name for name, row in MODELS.items() if not row.fault.hopeless}
    for name in golden.names():
        made = hashlib.sha256((zoo(name) / "model.safetensors").read_bytes()).hexdigest()
        assert golden.source(name) == made, f"{name}: run scripts/golden/forward.py"


peer = pytest.mark.skipif(
    bool(os.environ.get("GGUFX_PEER_CHECK") != "1" or peers.missing_converter() or peers.missing_runtime()),
    reason=f"GGUFX_PEER_CHECK=1 not given, or {peers.missing_converter() or peers.missing_runtime()}",
)


@peer
@pytest.mark.peer
@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_agrees_with_transformers_but_for_known_faults(zoo: Zoo, name: str, tmp_path: Path):
    row, folder, fault = MODELS[name], zoo(name), MODELS[name].fault
    source = repaired(folder, fault, tmp_path / "repaired")
    made = peers.llama_cpp_convert(source, "f32", tmp_path / "model.gguf", vocab(row.vocab).pre,
                                   (*fault.options, *peers.of_target(**beside(name, zoo))))
    if not fault.hopeless:
        assert golden.differences(made, name, "f32") == []
    ids = sample_ids(row.vocab)
    if row.shapes:
        assert np.isfinite(peers.llama_logits(made, ids)).all()
        return
    ours, theirs = (
        (peers.llama_embeddings, peers.transformers_embeddings)
        if row.embeds
        else (peers.llama_scores if row.scores else peers.llama_logits, peers.transformers_logits)
    )
    if {"gpt2.feed_forward_length", "bert.classifier.output_labels"} & {*fault.keys}:
        with pytest.raises(peers.PeerError):
            ours(made, ids)
        return
    error = peers.relative_error(ours(made, ids), theirs(folder, ids))
    wrong = fault.runtime or fault.hopeless or "cls.weight" in fault.keys
    assert (error > 0.01) if wrong else (error <= row.stored_tolerance), f"{name}: {error:.2e}"


@peer
@pytest.mark.peer
@pytest.mark.parametrize("kind", [kind for kind in VOCABS if vocab(kind).tokenizer])
def test_llama_cpp_reads_text_as_the_tokenizer_does(zoo: Zoo, kind: str, tmp_path: Path):
    from tokenizers import Tokenizer

    name = next(name for name, row in MODELS.items() if row.vocab == kind)
    source = repaired(zoo(name), MODELS[name].fault, tmp_path / "repaired")
    options = MODELS[name].fault.options
    made = peers.llama_cpp_convert(source, "f32", tmp_path / "model.gguf", vocab(kind).pre, options)
    tool = Tokenizer.from_file(str(zoo(name) / "tokenizer.json"))
    texts = [text for text in HARD_TEXTS if "\0" not in text]
    ours = peers.tokenize(made, texts)
    theirs = [tool.encode(text, add_special_tokens=False).ids for text in texts]
    _, excused = RUNTIME_TOKENS.get(kind, ("", lambda text: False))
    assert [text for text, mine, other in zip(texts, ours, theirs, strict=True) if mine != other and not excused(text)] == []


@peer
@pytest.mark.peer
@pytest.mark.parametrize("name", ["phi3-longrope", "phi3-longrope-v4"])
def test_long_texts_take_the_long_factors(zoo: Zoo, name: str, tmp_path: Path):
    made = peers.llama_cpp_convert(zoo(name), "f32", tmp_path / "model.gguf", "default")
    ids = sample_ids("phi3", 300)
    assert peers.relative_error(peers.llama_logits(made, ids), peers.transformers_logits(zoo(name), ids)) < 1e-4


@pytest.mark.skipif(bool(peers.missing_runtime()), reason=str(peers.missing_runtime()))
def test_a_broken_file_ends_the_call_not_the_run(tmp_path: Path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(60))
    for _ in range(2):
        with pytest.raises(peers.PeerError, match="does not load"):
            peers.llama_logits(tmp_path / "broken.gguf", [1, 2])
