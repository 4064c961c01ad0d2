"""Checkpoints in folders of a checkpoint."""

from dataclasses import replace
from pathlib import Path

import pytest
from ggufx.converters.errors import InputError
from ggufx.converters.io.tensors import StoredTensor
from ggufx.converters.planners.hf_files import index_of, shards_of
from ggufx.converters.planners.own_keys import Source
from ggufx.converters.sources.hf_folder import Checkpoint, safe_file
from ggufx.converters.sources.subfolders import folder_of


def tensor(name: str, file: str) -> StoredTensor:
    return StoredTensor(name, "F32", (2,), Path(file), 8, 8)


def test_the_folder_stands_in_front_of_the_names():
    model = Checkpoint(Path("m"), {"a": 1}, {"x": tensor("x", "m/one.safetensors")})
    part = replace(model, folder=Path("m/audio_tokenizer"), tensors={"x": tensor("x", "m/audio_tokenizer/model.safetensors")},
                   notes=["said"], promised=("y",))
    whole = model.with_part("audio_tokenizer", part)
    assert {t.name: t.file.parent.name for t in whole.tensors.values()} == {"x": "m", "audio_tokenizer/x": "audio_tokenizer"}
    assert (whole.config, whole.notes, whole.promised) == ({"a": 1}, ["audio_tokenizer/: said"], ("audio_tokenizer/y",))
    assert [*map(folder_of, whole.tensors)] == ["", "audio_tokenizer/"]
    assert folder_of("encoder/x") == ""  # no folder of ours

    record = Source()
    record.record_files(whole.tensors, Path("none"))
    assert record.files == ["one.safetensors"]


def test_files_are_written_to_the_folders():
    kept = {name: {"dtype": "F32", "shape": [2], "rows": None}
            for name in ("b", "a", "speech_tokenizer/d", "speech_tokenizer/c", "audio_tokenizer/e")}
    shards = shards_of([], kept, None, 8)
    assert [part.file_name for part in shards] == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "audio_tokenizer/model.safetensors",
        "speech_tokenizer/model-00001-of-00002.safetensors", "speech_tokenizer/model-00002-of-00002.safetensors"]
    indexes = index_of(shards, None)
    assert set(indexes) == {"model.safetensors.index.json", "speech_tokenizer/model.safetensors.index.json"}
    assert b'"c": "model-00002-of-00002.safetensors"' in indexes["speech_tokenizer/model.safetensors.index.json"]


@pytest.mark.parametrize("folder", ["models--o--m/snapshots/0/audio_tokenizer", "models--o--m/snapshots/0"])
def test_links_into_the_stores_of_a_cache_are_followed_in_a_folder_too(tmp_path, folder):
    blob = tmp_path / "models--o--m" / "blobs" / "content"
    (tmp_path / folder).mkdir(parents=True)
    blob.parent.mkdir()
    blob.write_bytes(b"x")
    (tmp_path / folder / "model.safetensors").symlink_to(blob)
    (tmp_path / folder / "other").symlink_to(tmp_path / "elsewhere")
    assert safe_file(tmp_path / folder, "model.safetensors").read_bytes() == b"x"
    with pytest.raises(InputError, match="is a link out of the folder"):
        safe_file(tmp_path / folder, "other")
