"""MiMo-V2.5: an ear whose weights and settings are in a folder of their own."""

import json
import shutil

import numpy as np
import pytest
from ggufx.converters.errors import GgufxError, InputError, UnsupportedError
from ggufx.converters.ops import Pad
from zoo.files import stored
from zoo.hub import Hub, Repo, point_client_at, running
from zoo.peers import read_peer_gguf
from zoo.tower_trial import make_projector
from zoo.towers import TOWERS, build_tower

import ggufx


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_tower(TOWERS["mimo25-both"], tmp_path_factory.mktemp("mimo") / "model")


def changed(model, folder, name="audio_tokenizer/config.json", **settings):
    shutil.copytree(model, folder)
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


def test_a_model_without_the_folder_is_refused(model, tmp_path):
    shutil.copytree(model, tmp_path / "bare", ignore=shutil.ignore_patterns("audio_tokenizer"))
    with pytest.raises(InputError, match="has no folder audio_tokenizer"):
        make_projector(tmp_path / "bare", tmp_path / "mmproj.gguf", "f16")
    ggufx.hf_to_gguf(tmp_path / "bare", tmp_path / "text.gguf")  # which the text needs not
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "text.gguf"]


def test_a_repository_is_fetched_with_its_folder_and_processor_files(model, tmp_path, monkeypatch):
    made = make_projector(model, tmp_path / "mmproj.gguf", "f16")
    files = {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    repos = {"org/mimo": files, "org/same": files, "org/made": {"mmproj-mimo.gguf": made.read_bytes()}}
    with running(Hub({name: Repo([held]) for name, held in repos.items()})) as server:
        point_client_at(server, monkeypatch, tmp_path / "cache")
        ggufx.hf_to_gguf("org/same", tmp_path / "again.gguf", mmproj_only=True)
        assert read_peer_gguf(tmp_path / "again.gguf").tensors.keys() == read_peer_gguf(made).tensors.keys()
        assert ggufx.verify("org/mimo", made, checksums=False).same
        assert ggufx.verify("hf://org/mimo", "org/made:mmproj-mimo.gguf", checksums=False).same


@pytest.mark.parametrize(("name", "settings", "words"), [
    ("audio_tokenizer/config.json", {"encoder_skip_layer_id": 2}, "encoder_skip_layer_id has no GGUF form"),
    ("audio_tokenizer/config.json", {"codebook_size": [20, 13]}, "the shape does not fit config.json: 12 rows are not 13"),
    ("audio_tokenizer/config.json", {"num_quantizers": 2}, "audio_channels has no GGUF form"),
    ("config.json", {"vision_config": {"depth": 4}}, "vision_config"),
])
def test_what_the_runtime_does_not_compute_is_refused(model, tmp_path, name, settings, words):
    folder = changed(model, tmp_path / "model", name, **settings)
    with pytest.raises(GgufxError, match=words):
        make_projector(folder, tmp_path / "mmproj.gguf", "f16")
    assert not (tmp_path / "mmproj.gguf").exists()


def test_the_text_alone_has_no_projector(model, tmp_path):
    shutil.copytree(model, tmp_path / "text")
    config = json.loads((model / "config.json").read_text())
    del config["vision_config"]
    (tmp_path / "text" / "config.json").write_text(json.dumps(config))
    with pytest.raises((InputError, UnsupportedError), match=r"config\.json has no vision_config"):
        make_projector(tmp_path / "text", tmp_path / "mmproj.gguf", "f16")


def test_a_pair_is_the_whole_model(model, tmp_path):
    plan = ggufx.hf_to_gguf(model, tmp_path / "model.gguf", mmproj=True, dry_run=True)
    assert any("audio_tokenizer/decoder.*: 1 tensors" in str(note) for note in plan.notes)
    ggufx.hf_to_gguf(model, tmp_path / "model.gguf", mmproj=True)
    mmproj = next(tmp_path.glob("mmproj-*.gguf"))
    assert ggufx.verify(model, tmp_path / "model.gguf", mmproj=mmproj).same
    ggufx.gguf_to_hf(tmp_path / "model.gguf", tmp_path / "back", mmproj=mmproj)
    assert (tmp_path / "back/audio_tokenizer/config.json").read_bytes() == (model / "audio_tokenizer/config.json").read_bytes()
    held, back = stored(model), stored(tmp_path / "back")
    assert {name for name in held if held[name] != back.get(name)} == {"audio_tokenizer/decoder.conv.weight"}
    assert held.keys() - back.keys() == {"audio_tokenizer/decoder.conv.weight"}
    assert not back.keys() - held.keys()


def test_tables_of_other_lengths_are_filled_with_zeros():
    stack = Pad("most", "counts").bind({"most": 5, "counts": [5, 3]})
    for number, rows in enumerate((5, 3)):
        one, x = stack.item(number), np.ones((rows, 2), np.float32)
        (made,) = one.forward([x])
        assert made.shape == (5, 2)
        assert made[rows:].sum() == 0
        assert np.array_equal(one.inverse.forward([made])[0], x)
