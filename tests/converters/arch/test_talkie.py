"""Talkie: the gain of its head is a tensor in HF and one key in GGUF."""

import pytest
from ggufx.converters.errors import InputError
from zoo.files import changed_copy, read_file, write_file

from ggufx import gguf_to_hf, hf_to_gguf


def test_a_gain_that_is_missing_is_named(zoo, tmp_path):
    name = "lm_head_gain.w_g"
    folder = changed_copy(zoo("talkie"), tmp_path / "source", lambda tensors: {n: t for n, t in tensors.items() if n != name})
    with pytest.raises(InputError, match=name):
        hf_to_gguf(folder, tmp_path / "a.gguf")


def test_a_file_without_the_key_is_refused(zoo, tmp_path):
    hf_to_gguf(zoo("talkie"), tmp_path / "a.gguf", plain=True)
    metadata, tensors = read_file(tmp_path / "a.gguf")
    del metadata["talkie.logit_scale"]
    write_file(tmp_path / "b.gguf", metadata, tensors)
    with pytest.raises(InputError, match=r"talkie\.logit_scale must be a number"):
        gguf_to_hf(tmp_path / "b.gguf", tmp_path / "back")
    assert not (tmp_path / "back").exists()
