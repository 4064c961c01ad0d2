"""Projectors and processor files that lie: each is one clear error before anything is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.values import ValueType, array, f32, string, u32
from ggufx.converters.planners.gguf_to_hf import HfOptions
from ggufx.converters.planners.pair_to_hf import plan_model_to_hf
from zoo.changed import change_gguf
from zoo.tower_trial import make_projector
from zoo.towers import TOWERS, build_tower

import ggufx

PATCH, TYPE, MEAN = "clip.vision.patch_size", "clip.projector_type", "clip.vision.image_mean"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    work = tmp_path_factory.mktemp("lying")
    folder = build_tower(TOWERS["gemma3-eye"], work / "model")
    text = work / "text.gguf"
    ggufx.hf_to_gguf(folder, text)
    return {"folder": folder, "text": text, "own": make_projector(folder, work / "mmproj-own.gguf", "f16"),
            "plain": make_projector(folder, work / "mmproj-plain.gguf", "f16", plain=True)}


def says(**values):
    """Keys of the projector with other values; None takes one away."""
    def change(keys):
        for name, value in values.items():
            keys.pop(f"clip.{name}".replace("__", "."), None)
            if value is not None:
                keys[f"clip.{name}".replace("__", ".")] = value
    return change


def keeps(**texts):
    return lambda keys: keys.update({f"ggufx.{name}": string(text) for name, text in texts.items()})


def reshaped(name: str, *shape: int):
    return lambda held: held.update({name: ("F32", shape, np.ones(shape, np.float32))})


KEYS = {  # of a file of others, and of ggufx's, which keeps config.json
    "no patches": (says(vision__patch_size=u32(0)), None),
    "no type": (says(projector_type=None), None),
    "a type that nobody knows": (says(projector_type=string("eye of newt")), None),
    "blocks without end": (says(vision__block_count=u32(2**31)), None),
    "blocks that it has not": (says(vision__block_count=u32(5)), None),
    "two colours": (says(vision__image_mean=array(ValueType.FLOAT32, [0.5, 0.5])), None),
    "a colour that is no number": (says(vision__image_mean=array(ValueType.FLOAT32, [0.5, float("nan"), 0.5])), None),
    "features of another model": (says(vision__projection_dim=u32(2**20)), None),
    "a list for a number": (says(vision__patch_size=array(ValueType.UINT32, [14, 14])), None),
    "a weight without elements": (None, reshaped("v.blk.1.attn_q.weight", 0, 64)),
    "a weight of no block": (None, reshaped("v.blk.9.attn_q.weight", 64, 64)),
}


@pytest.mark.parametrize("kind", ["plain", "own"])
@pytest.mark.parametrize("case", KEYS)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_of_a_projector(made, tmp_path, case, kind):
    keys, tensors = KEYS[case]
    lying = change_gguf(made[kind], tmp_path / "mmproj-lying.gguf", tensors, keys)
    with pytest.raises(GgufxError) as found:
        plan_model_to_hf(made["text"], tmp_path / "back", HfOptions(mmproj=lying))
    assert "mmproj-lying.gguf" in str(found.value)


@pytest.mark.parametrize(("keys", "said"), [
    (says(vision__patch_size=u32(0)), rf"{PATCH}: not what the settings that the file keeps make"),
    (says(projector_type=None, vision__patch_size=u32(0)), rf"{TYPE}, and 1 more"),
    (says(use_silu=f32(1.0)), "clip.use_silu"),
    (says(vision__image_std=array(ValueType.FLOAT32, [0.5, 0.5, 0.25])), "clip.vision.image_std"),
    (keeps(config='{"architectures": ["Gemma3ForConditionalGeneration"]}'), "."),
    (keeps(config="[1]"), "object"),
    (keeps(preprocessor_config="{"), "not JSON"),
    (keeps(preprocessor_config='{"image_mean": "grey"}'), MEAN),
], ids=["a key", "two keys", "one more", "a list", "no tower", "no object", "no JSON", "a colour"])
def test_what_it_keeps_is_what_it_says(made, tmp_path, keys, said):
    """The settings come back from what is kept: a damaged key must not pass unseen."""
    lying = change_gguf(made["own"], tmp_path / "mmproj-lying.gguf", None, keys)
    with pytest.raises(GgufxError, match=said):
        plan_model_to_hf(made["text"], tmp_path / "back", HfOptions(mmproj=lying))


@pytest.mark.parametrize("text", [
    b"[]", b"{", b'"eye"', b'{"image_mean": [0.5, 0.5]}', b'{"image_mean": ["a", "b", "c"]}', b'{"image_mean": [1e400, 0, 0]}',
    b'{"image_mean": {}, "image_std": null}', b'{"image_mean": [0.5], "image_mean": [0.5]}', b"[" * 100_000, b"\xff\xfe",
])
def test_of_processor_files(made, tmp_path, text):
    folder = tmp_path / "model"
    shutil.copytree(made["folder"], folder)
    (folder / "preprocessor_config.json").write_bytes(text)
    with pytest.raises(GgufxError, match=r"preprocessor_config\.json"):
        make_projector(folder, tmp_path / "mmproj.gguf", "f16")
    assert not (tmp_path / "mmproj.gguf").exists()


def test_of_settings_of_a_tower(made, tmp_path):
    config = json.loads((made["folder"] / "config.json").read_text(encoding="utf-8"))
    right = config["vision_config"]
    for settings in (None, [], right | {"num_hidden_layers": 2**40}, right | {"patch_size": -14},
                     right | {"hidden_size": "64"}):
        folder = tmp_path / "model"
        shutil.copytree(made["folder"], folder)
        (folder / "config.json").write_text(json.dumps(config | {"vision_config": settings}), encoding="utf-8")
        with pytest.raises(GgufxError):
            make_projector(folder, tmp_path / "mmproj.gguf", "f16")
        shutil.rmtree(folder)
    assert not (tmp_path / "mmproj.gguf").exists()
