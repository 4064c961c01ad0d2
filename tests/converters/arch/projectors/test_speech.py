"""A checkpoint that holds a projector alone: Ultravox, whose language model is another repository's."""

from pathlib import Path

import pytest
from ggufx.converters.errors import UnsupportedError
from zoo.peers import read_peer_gguf
from zoo.towers import TOWERS, build_tower

import ggufx


def test_a_projector_alone_is_written_alone_and_the_refusal_says_so(tmp_path: Path):
    folder = build_tower(TOWERS["ultravox-ear"], tmp_path / "model")
    with pytest.raises(UnsupportedError, match=r"which --mmproj-only writes; the language model is .* text_model_id"):
        ggufx.hf_to_gguf(folder, tmp_path / "out.gguf")
    ggufx.hf_to_gguf(folder, tmp_path / "mmproj.gguf", mmproj_only=True)
    assert read_peer_gguf(tmp_path / "mmproj.gguf").values["clip.projector_type"][1] == "ultravox"
