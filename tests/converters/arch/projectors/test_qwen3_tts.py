"""Qwen3-TTS's codec: what the file holds in place of sums and logarithms, and what comes back of it."""

import json
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.ops import EmaMean
from ggufx.converters.planners import kept_tensors
from zoo.files import load_folder
from zoo.peers import read_peer_gguf
from zoo.tower_trial import make_projector
from zoo.towers import TOWERS, build_tower

import ggufx

CODEC, SNAKES = "decoder.decoder.2.block.3.act1.", ("alpha", "beta")
REST, SUMS = "decoder.quantizer.rvq_rest.vq.layers.", ("embedding_sum", "cluster_usage")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tower(TOWERS["qwen3tts-sound"], tmp_path_factory.mktemp("tts") / "model")


def floats(file: Path, name: str) -> np.ndarray:
    kind, shape, data = read_peer_gguf(file).tensors[name]
    assert kind == "F32"
    return np.frombuffer(data, np.float32).reshape(shape)


def test_codebooks_are_means_and_activations_no_logarithms(folder: Path, tmp_path: Path):
    made, held = make_projector(folder, tmp_path / "out.gguf", "f32", plain=True), load_folder(folder / "speech_tokenizer")
    for n in (0, 14):
        total, used = (held[f"{REST}{n}._codebook.{x}"].numpy() for x in SUMS)
        book = floats(made, "a.gen.wav.quant.rest.codebook.weight")
        np.testing.assert_array_equal(book[n], total / np.maximum(used, np.float32(1e-5))[:, None])
    alpha, beta = (held[CODEC + x].numpy().astype(np.float64) for x in SNAKES)
    for name, expected in (("alpha", np.exp(alpha)), ("beta", 1 / (np.exp(beta) + 1e-9))):
        np.testing.assert_allclose(floats(made, f"a.gen.wav.dac.blk.1.res.1.act1.{name}"), expected, rtol=2e-7)


def test_a_code_that_was_never_used_is_no_division_by_zero():
    (mean,) = EmaMean().forward([np.ones((2, 3), np.float32), np.array([0, 4], np.float32)])
    assert mean.tolist() == [[np.float32(1) / np.float32(1e-5)] * 3, [0.25] * 3]


def test_a_file_of_others_comes_back_as_a_codec_that_makes_the_same_file(folder: Path, tmp_path: Path):
    """But for logarithms, which are rounded once more."""
    ggufx.hf_to_gguf(folder, tmp_path / "text.gguf", plain=True)
    heard = make_projector(folder, tmp_path / "mmproj.gguf", "f32", plain=True)
    ggufx.gguf_to_hf(tmp_path / "text.gguf", tmp_path / "back", mmproj=heard, dtype="f32")
    back, held = load_folder(tmp_path / "back" / "speech_tokenizer"), load_folder(folder / "speech_tokenizer")
    assert {*held} - {*back} == {name for name in held if name.startswith("encoder.")}
    name = "decoder.pre_transformer.layers.7.mlp.down_proj.weight"
    np.testing.assert_array_equal(back[name].numpy(), held[name].numpy())
    again = read_peer_gguf(make_projector(tmp_path / "back", tmp_path / "again.gguf", "f32", plain=True)).tensors
    theirs = read_peer_gguf(heard).tensors
    assert again.keys() == theirs.keys()
    for name, value in theirs.items():
        if name.endswith(SNAKES):
            one, two = (np.frombuffer(held[name][2], np.float32) for held in (again, theirs))
            np.testing.assert_allclose(one, two, rtol=1e-6)
        else:
            assert again[name] == value, name


def test_sums_that_are_too_large_to_keep_come_back_as_means(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a use of each code that makes the same of them: never one without the other."""
    monkeypatch.setattr(kept_tensors, "MAX_KEPT_BYTES", 30000)  # a single codebook and the activations, not the other 15
    plan = ggufx.hf_to_gguf(folder, tmp_path / "model.gguf", mmproj=True, dry_run=True)
    assert any("other factors" in str(note) and "rvq_rest" in str(note) for note in plan.notes)
    ggufx.hf_to_gguf(folder, tmp_path / "model.gguf", mmproj=True)
    (heard,) = tmp_path.glob("mmproj*.gguf")
    ggufx.gguf_to_hf(tmp_path / "model.gguf", tmp_path / "back", mmproj=heard)
    back, held = load_folder(tmp_path / "back" / "speech_tokenizer"), load_folder(folder / "speech_tokenizer")
    first, rest = "decoder.quantizer.rvq_first.vq.layers.0._codebook.", f"{REST}3._codebook."
    for x in SUMS:
        np.testing.assert_array_equal(back[first + x].numpy(), held[first + x].numpy())
    assert (back[rest + "cluster_usage"] == 1).all()
    total, used = (held[rest + x].numpy() for x in SUMS)
    means = total / np.maximum(used, 1e-5)[:, None]
    np.testing.assert_allclose(back[rest + "embedding_sum"].numpy(), means, rtol=1e-3, atol=1e-3)  # behind F16


@pytest.mark.parametrize(("file", "path", "value", "said"), [
    ("config.json", ("talker_config", "num_code_groups"), 8, "talker_config.num_code_groups"),
    ("config.json", ("speaker_encoder_config", "sample_rate"), 16000, "speaker_encoder_config.sample_rate"),
    ("speech_tokenizer/config.json", ("decoder_config", "sliding_window"), 100, "decoder_config.sliding_window"),
    ("speech_tokenizer/config.json", ("decoder_config", "num_hidden_layers"), 9, "decoder_config.num_hidden_layers"),
])
def test_what_the_runtime_takes_to_be_one_value_is_refused(file: str, path: tuple, value: int, said: str, tmp_path: Path):
    folder = build_tower(TOWERS["qwen3tts-sound"], tmp_path / "model")
    config = json.loads((folder / file).read_text(encoding="utf-8"))
    config[path[0]][path[1]] = value
    (folder / file).write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(GgufxError, match=f"{said} has no GGUF form"):
        make_projector(folder, tmp_path / "out.gguf", "f16")


def test_a_model_without_its_codec(tmp_path: Path):
    folder = build_tower(TOWERS["qwen3tts-sound"], tmp_path / "model")
    rmtree(folder / "speech_tokenizer")
    with pytest.raises(GgufxError, match="speech_tokenizer"):
        ggufx.hf_to_gguf(folder, tmp_path / "model.gguf", mmproj=True)
    assert not [*tmp_path.glob("*.gguf")]
