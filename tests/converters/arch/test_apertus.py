"""Apertus: the parameters of its activation are tensors in HF and keys in GGUF."""

import pytest
from ggufx.converters.errors import InputError
from zoo.files import changed_copy, read_file, write_file

from ggufx import gguf_to_hf, hf_to_gguf


def test_a_parameter_that_is_missing_is_named(zoo, tmp_path):
    name = "model.layers.1.mlp.act_fn.beta"
    folder = changed_copy(zoo("apertus"), tmp_path / "source", lambda tensors: {n: t for n, t in tensors.items() if n != name})
    with pytest.raises(InputError, match=name):
        hf_to_gguf(folder, tmp_path / "a.gguf")


def test_a_file_without_the_keys_is_refused(zoo, tmp_path):
    hf_to_gguf(zoo("apertus"), tmp_path / "a.gguf", plain=True)
    metadata, tensors = read_file(tmp_path / "a.gguf")
    del metadata["xielu.eps"]
    write_file(tmp_path / "b.gguf", metadata, tensors)
    with pytest.raises(InputError, match=r"xielu\.eps must be a number per block"):
        gguf_to_hf(tmp_path / "b.gguf", tmp_path / "back")
    assert not (tmp_path / "back").exists()
