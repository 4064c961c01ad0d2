"""BitNet: which weights become ternary, and the models that the runtime cannot compute."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ggufx.converters.errors import GgufxError
from zoo.files import load_folder
from zoo.peers import read_peer_gguf

import ggufx

Zoo = Callable[[str], Path]
WEIGHT = "model.layers.0.self_attn.q_proj.weight"


def changed(source: Path, target: Path, **settings) -> Path:
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | settings))
    return target


def made(folder: Path, file: Path) -> np.ndarray:
    ggufx.hf_to_gguf(folder, file, outtype="f32")
    _, shape, data = read_peer_gguf(file).tensors["blk.0.attn_q.weight"]
    return np.frombuffer(data, "<f4").reshape(shape)


def test_the_first_models_are_ternary(zoo: Zoo, tmp_path: Path):
    weight = load_folder(zoo("bitnet-1"))[WEIGHT].float()
    scale = weight.abs().mean()
    expected = (weight / scale).round().clamp(-1, 1) * scale
    torch.testing.assert_close(torch.from_numpy(made(zoo("bitnet-1"), tmp_path / "m.gguf").copy()), expected)


def test_transformers_class_where_it_is_said(zoo: Zoo, tmp_path: Path):
    plain = made(zoo("bitnet"), tmp_path / "plain.gguf")
    assert np.array_equal(plain, load_folder(zoo("bitnet"))[WEIGHT].float().numpy())
    online = changed(zoo("bitnet"), tmp_path / "online", quantization_config={
        "quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"})
    assert len(np.unique(made(online, tmp_path / "online.gguf"))) == 3


@pytest.mark.parametrize(("settings", "said"), [
    ({"hidden_act": "relu2"}, "hidden_act has no GGUF form"), ({"tie_word_embeddings": False}, "tie_word_embeddings has no")])
def test_what_the_runtime_does_not_compute(zoo: Zoo, tmp_path: Path, settings: dict, said: str):
    with pytest.raises(GgufxError, match=said):
        ggufx.hf_to_gguf(changed(zoo("bitnet"), tmp_path / "m", **settings), tmp_path / "m.gguf", dry_run=True)
