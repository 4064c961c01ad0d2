"""Qwen3-TTS: rows of text behind two layers, those of codes behind them, and what the runtime is told of both."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from ggufx.converters.errors import InputError, UnsupportedError
from ggufx.converters.planners import kept_tensors
from zoo.files import load_folder
from zoo.models.qwen3tts import CODES, TALKER
from zoo.peers import read_peer_gguf

import ggufx

Zoo = Callable[[str], Path]
TEXTS, ALL = 440, 440 + CODES
FOLDED = {"model.text_embedding.weight", *(f"text_projection.linear_fc{n}.{p}" for n in "12" for p in ("weight", "bias"))}


def changed(folder: str | Path, **settings: object) -> Path:
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text())
    config["talker_config"] |= settings
    path.write_text(json.dumps(config))
    return path.parent


def test_text_is_embedded_behind_its_projection_and_codes_behind_text(zoo: Zoo, tmp_path: Path):
    import torch

    ggufx.hf_to_gguf(zoo("qwen3tts"), tmp_path / "out.gguf", outtype="f32")
    _, shape, data = read_peer_gguf(tmp_path / "out.gguf").tensors["token_embd.weight"]
    rows, held = np.frombuffer(data, np.float32).reshape(shape), load_folder(zoo("qwen3tts"))
    up, down = ([held[f"talker.text_projection.linear_fc{n}.{p}"].double() for p in ("weight", "bias")] for n in (1, 2))
    inner = torch.nn.functional.linear(held["talker.model.text_embedding.weight"].double(), *up)
    expected = torch.nn.functional.linear(torch.nn.functional.silu(inner), *down)
    np.testing.assert_allclose(rows[:TEXTS], expected.numpy(), rtol=1e-6, atol=5e-7)  # of values up to 1
    assert np.array_equal(rows[TEXTS:], held["talker.model.codec_embedding.weight"].float().numpy())


def test_rows_of_codes_are_called_after_what_they_are_for(zoo: Zoo, tmp_path: Path):
    ggufx.hf_to_gguf(zoo("qwen3tts"), tmp_path / "out.gguf")
    values = read_peer_gguf(tmp_path / "out.gguf").values
    tokens = list(values["tokenizer.ggml.tokens"][1])
    assert len(tokens) == ALL
    assert tokens[TEXTS + 7] == "<|codec_7|>"
    assert tokens.index("<|codec_eos_token|>") == values["tokenizer.ggml.eos_token_id"][1] == TEXTS + 2150
    assert tokens.index("<|codec_language_chinese|>") == TEXTS + 2055
    assert tokens.index("<|spk_uncle_fu|>") == TEXTS + 3010
    assert list(values["tokenizer.ggml.suppress_tokens"][1]) == [n for n in range(ALL - 1024, ALL) if n != TEXTS + 2150]
    assert not any(key.startswith("tokenizer.chat_template") for key in values)


def test_a_file_of_others_tells_what_codes_are_for(zoo: Zoo, tmp_path: Path):
    ggufx.hf_to_gguf(zoo("qwen3tts"), tmp_path / "out.gguf", plain=True)
    notes = str(ggufx.gguf_to_hf(tmp_path / "out.gguf", tmp_path / "back", dry_run=True).notes)
    assert "not in the file, which holds what the model makes of it" in notes
    ggufx.gguf_to_hf(tmp_path / "out.gguf", tmp_path / "back")
    assert FOLDED.isdisjoint(load_folder(tmp_path / "back"))
    config = json.loads((tmp_path / "back" / "config.json").read_text())
    assert config["architectures"] == ["Qwen3TTSTalkerForConditionalGeneration"]
    assert (config["vocab_size"], config["text_vocab_size"]) == (CODES, TEXTS)
    assert {key: config[key] for key in TALKER if key.startswith("codec_") or key == "spk_id"} == {
        key: value for key, value in TALKER.items() if key.startswith("codec_") or key == "spk_id"}


def test_what_is_too_large_to_keep_is_named(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept_tensors, "MAX_KEPT_BYTES", 40_000)
    notes = ggufx.hf_to_gguf(zoo("qwen3tts"), tmp_path / "out.gguf", dry_run=True).notes
    ggufx.hf_to_gguf(zoo("qwen3tts"), tmp_path / "out.gguf")
    (said,) = (note for note in notes if "do not come back, the file holds what the model makes of them" in note)
    assert "talker.model.text_embedding.weight" in said
    ggufx.gguf_to_hf(tmp_path / "out.gguf", tmp_path / "back")
    back, held = load_folder(tmp_path / "back"), load_folder(zoo("qwen3tts"))
    assert FOLDED.isdisjoint(back)
    assert back["model.codec_embedding.weight"].equal(held["talker.model.codec_embedding.weight"])


@pytest.mark.parametrize("settings", [{"vocab_size": 2048}, {"hidden_act": "gelu"}, {"tie_word_embeddings": True}], ids=str)
def test_what_the_runtime_computes_otherwise_is_refused(zoo: Zoo, tmp_path: Path, settings: dict):
    folder = changed(copytree(zoo("qwen3tts"), tmp_path / "model"), **settings)
    with pytest.raises(UnsupportedError, match=f"{next(iter(settings))} has no GGUF form"):
        ggufx.hf_to_gguf(folder, tmp_path / "out.gguf")


@pytest.mark.parametrize("settings", [{"codec_pad_id": CODES}, {"codec_eos_token_id": None}, {"spk_id": {"a": -1}}], ids=str)
def test_a_code_that_is_no_row_is_refused(zoo: Zoo, tmp_path: Path, settings: dict):
    folder = changed(copytree(zoo("qwen3tts"), tmp_path / "model"), **settings)
    with pytest.raises(InputError, match=next(iter(settings))):
        ggufx.hf_to_gguf(folder, tmp_path / "out.gguf")
