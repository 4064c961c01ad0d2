"""Norms by what was seen in training, which files hold as scales and shifts; what a conformer of another kind would need."""

import json
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.planners.gguf_to_hf import HfOptions
from ggufx.converters.planners.hf_to_gguf import GgufOptions
from ggufx.converters.planners.pair_to_hf import plan_model_to_hf
from ggufx.converters.planners.projector import ProjectorPlanner
from ggufx.converters.run.execute import execute
from zoo.files import load_folder
from zoo.peers import read_peer_gguf
from zoo.tower_trial import make_projector
from zoo.towers import TOWERS, build_tower

import ggufx


@pytest.fixture(scope="module", params=["granite-plus-ear", "lfm2-audio-ear"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tower(TOWERS[request.param], tmp_path_factory.mktemp("conformer") / request.param)


def test_scale_and_shift_do_what_the_norm_does(folder: Path, tmp_path: Path):
    made = read_peer_gguf(make_projector(folder, tmp_path / "out.gguf", "f16", plain=True)).tensors
    held = load_folder(folder)
    stem = next(name for name in held if name.endswith("layers.1.conv.batch_norm.weight")).removesuffix("weight")
    norm = {name: held[stem + name].float().numpy() for name in ("weight", "bias", "running_mean", "running_var")}
    scale, shift = (np.frombuffer(made[f"a.blk.1.conv_norm.{p}"][2], np.float32) for p in ("weight", "bias"))
    x = np.linspace(-3, 3, len(scale), dtype=np.float32)
    expected = (x - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5) * norm["weight"] + norm["bias"]
    np.testing.assert_allclose(x * scale + shift, expected, rtol=1e-5, atol=1e-5)


def test_a_file_of_others_comes_back_as_a_norm_that_makes_the_same_file(folder: Path, tmp_path: Path):
    """Each scale and shift bit for bit, though not the four vectors that they were made of."""
    text, heard, again = tmp_path / "text.gguf", tmp_path / "mmproj.gguf", tmp_path / "again.gguf"
    ggufx.hf_to_gguf(folder, text, plain=True)
    make_projector(folder, heard, "f32", plain=True)
    execute(plan_model_to_hf(text, tmp_path / "back", HfOptions("f32", mmproj=heard)))
    make_projector(tmp_path / "back", again, "f32", plain=True)
    assert read_peer_gguf(again).tensors == read_peer_gguf(heard).tensors


@pytest.mark.parametrize(("path", "value", "said"), [
    ("projector_config.num_hidden_layers", 3, "projector_config.num_hidden_layers has no GGUF form"),
    ("encoder_config.dim_head", 8, "encoder_config.dim_head has no GGUF form")])
def test_what_the_runtime_takes_to_be_one_value_is_refused(path: str, value: int, said: str, tmp_path: Path):
    folder = build_tower(TOWERS["granite-ear"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    part, key = path.split(".")
    config[part][key] = value
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(GgufxError, match=said):
        ProjectorPlanner(folder, None, GgufOptions())


def test_frames_of_another_length_are_refused(tmp_path: Path):
    folder = build_tower(TOWERS["granite-ear"], tmp_path / "model")
    said = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    said["melspec_kwargs"]["hop_length"] = 200
    (folder / "preprocessor_config.json").write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(GgufxError, match="hop_length has no GGUF form"):
        ProjectorPlanner(folder, None, GgufOptions())


def test_a_layer_that_the_runtime_hears_otherwise_is_said(tmp_path: Path):
    folder = build_tower(TOWERS["granite-plus-ear"], tmp_path / "model")
    file = folder / "config.json"
    for layers, expected in ([0, 3], False), ([0, 2], True):
        config = json.loads(file.read_text(encoding="utf-8"))
        config["encoder_config"]["cat_hidden_layers"] = layers
        file.write_text(json.dumps(config), encoding="utf-8")
        notes = ProjectorPlanner(folder, None, GgufOptions()).plan("f16").notes
        assert any("CTC" in note for note in notes) == expected
