"""The eyes of Nemotron Nano VL, whose size config.json does not say."""

import json
from pathlib import Path

import pytest
from ggufx.converters.errors import GgufxError
from zoo.tower_trial import make_projector
from zoo.towers import TOWERS, build_tower


def test_a_tower_that_is_not_the_published_one_is_refused_by_shape(tmp_path: Path):
    folder = build_tower(TOWERS["nemotron-vl-eye"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["vision_config"] = {"patch_size": 16}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(GgufxError, match=r"embedder\.weight") as refused:
        make_projector(folder, tmp_path / "out.gguf", "f16")
    assert "1280" in str(refused.value)
    assert not (tmp_path / "out.gguf").exists()
