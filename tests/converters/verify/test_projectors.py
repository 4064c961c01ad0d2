"""A checkpoint that sees against its files: the projector alone, and the pair."""

import json

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError
from zoo.changed import change_gguf
from zoo.towers import TOWERS, build_tower

import ggufx


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Folder, text model, projector."""
    work = tmp_path_factory.mktemp("seeing")
    folder = build_tower(TOWERS["gemma3-eye"], work / "model")
    made = ggufx.hf_to_gguf(folder, work / "text.gguf", mmproj=True)
    return folder, work / "text.gguf", next(f.path for f in made.files if f.path.name.startswith("mmproj-"))


def test_folder_and_pair_are_the_same_model(pair):
    folder, text, projector = pair
    report = ggufx.verify(folder, text, mmproj=projector)
    assert report.same
    assert {p.name for p in report.pairs} > {"v.blk.3.ffn_up.weight", "blk.0.attn_q.weight", "mm.input_projection.weight"}
    assert ggufx.verify(projector, folder).same


def test_another_weight_or_setting_is_found(pair, tmp_path):
    folder, text, projector = pair

    def tensors(held):
        kind, shape, data = held["v.blk.2.attn_q.weight"]
        held["v.blk.2.attn_q.weight"] = kind, shape, np.roll(data, 2)

    other = change_gguf(projector, tmp_path / "mmproj.gguf", tensors,
                        lambda keys: keys.pop("clip.use_gelu"))
    report = ggufx.verify(folder, text, mmproj=other)
    assert [p.name for p in report.pairs if not p.verdict.same] == ["v.blk.2.attn_q.weight"]
    assert [d.key for d in report.differences if d.counts] == ["clip.use_gelu"]


def test_a_changed_key_comes_back(pair, tmp_path):
    """Also beside a text model that keeps the config.json of before."""
    _, text, projector = pair
    ggufx.edit(projector, tmp_path / "mmproj.gguf", set=["clip.vision.attention.layer_norm_epsilon=0.5",
                                                         "clip.vision.image_mean=[0.25, 0.25, 0.25]"])
    ggufx.gguf_to_hf(text, tmp_path / "back", mmproj=tmp_path / "mmproj.gguf")
    config, seen = (json.loads((tmp_path / "back" / name).read_text()) for name in ("config.json", "preprocessor_config.json"))
    assert (config["vision_config"]["layer_norm_eps"], seen["image_mean"]) == (0.5, [0.25, 0.25, 0.25])


def test_a_projector_stands_beside_a_text_model(pair):
    folder, text, projector = pair
    with pytest.raises(GgufxError, match="compared with a checkpoint"):
        ggufx.verify(folder, folder, mmproj=projector)
    with pytest.raises(GgufxError, match="is no projector"):
        ggufx.gguf_to_hf(text, folder.parent / "out", mmproj=text)
    with pytest.raises(GgufxError, match="Give the GGUF file of the text model"):
        ggufx.gguf_to_hf(projector, folder.parent / "out")


def test_a_projector_is_shown_as_what_it_is(pair):
    found = ggufx.inspect(pair[2])
    assert (found.form, found.facts["projector"], found.facts["tokens"]) == ("mmproj", ["gemma3"], "4 of an image")
    assert found.facts["images"] == "112 x 112 pixels, patches of 14, 4 blocks of width 64, features of 64 values"


def test_a_projector_is_not_compared_with_a_text_model(pair):
    folder, text, projector = pair
    for a, b in ((text, projector), (projector, text)):
        with pytest.raises(GgufxError, match=r"is a multimodal projector, .* is not: they hold different things"):
            ggufx.verify(a, b)
    with pytest.raises(GgufxError, match="is no projector"):
        ggufx.verify(folder, text, mmproj=text)
