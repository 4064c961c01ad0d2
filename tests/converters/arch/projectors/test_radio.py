"""The eyes of Nemotron Nano VL, whose size config.json does not say, and the ear beside them in Nemotron Nano Omni."""

import json
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError
from zoo.changed import change_gguf
from zoo.files import stored
from zoo.tower_trial import make_projector
from zoo.towers import TOWERS, build_tower

import ggufx


def test_a_tower_that_is_not_the_published_one_is_refused_by_shape(tmp_path: Path):
    folder = build_tower(TOWERS["nemotron-vl-eye"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["vision_config"] = {"patch_size": 16}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(GgufxError, match=r"embedder\.weight") as refused:
        make_projector(folder, tmp_path / "out.gguf", "f16")
    assert "1280" in str(refused.value)
    assert not (tmp_path / "out.gguf").exists()


def test_an_ear_that_ggml_rewrote_comes_back_the_same(tmp_path: Path):
    """It keeps no axes of 1 in front, which biases and convolutions of the ear have."""
    folder = build_tower(TOWERS["nemotron-omni"], tmp_path / "model")
    ggufx.hf_to_gguf(folder, tmp_path / "text.gguf", plain=True)
    make_projector(folder, tmp_path / "mmproj.gguf", "f32", plain=True)

    def rewrite(tensors: dict) -> None:
        for name, (kind, shape, data) in list(tensors.items()):
            while len(shape) > 1 and shape[0] == 1:
                shape = shape[1:]
            tensors[name] = kind, shape, data

    change_gguf(tmp_path / "mmproj.gguf", tmp_path / "rewritten.gguf", rewrite)
    held = []
    for name in ("mmproj", "rewritten"):
        ggufx.gguf_to_hf(tmp_path / "text.gguf", tmp_path / name, mmproj=tmp_path / f"{name}.gguf")
        held.append({key: value for key, value in stored(tmp_path / name).items() if key.startswith("sound_")})
    assert len(held[0]) > 100
    assert held[0] == held[1]


@pytest.mark.parametrize(("key", "value"), [("subsampling_factor", 4), ("attention_bias", True), ("sampling_rate", 24000)])
def test_an_ear_that_the_runtime_would_hear_otherwise_is_refused(key: str, value: object, tmp_path: Path):
    folder = build_tower(TOWERS["nemotron-omni"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["sound_config"][key] = value
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(GgufxError, match=f"sound_config.{key} has no GGUF form"):
        make_projector(folder, tmp_path / "out.gguf", "f16")
