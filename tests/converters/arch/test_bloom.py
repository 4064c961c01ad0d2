"""Bloom: every bias is needed; what the runtime cannot compute is refused."""

import pytest
from ggufx.converters.errors import GgufxError
from zoo.files import changed_copy

from ggufx import hf_to_gguf


def test_a_bias_that_is_missing_is_named(zoo, tmp_path):
    name = "transformer.h.1.mlp.dense_h_to_4h.bias"
    folder = changed_copy(zoo("bloom"), tmp_path / "source", lambda tensors: {n: t for n, t in tensors.items() if n != name})
    with pytest.raises(GgufxError, match=name):
        hf_to_gguf(folder, tmp_path / "a.gguf")


def test_a_residual_behind_the_norm_is_refused(zoo, tmp_path):
    folder = changed_copy(zoo("bloom"), tmp_path / "source", apply_residual_connection_post_layernorm=True)
    with pytest.raises(GgufxError, match="apply_residual_connection_post_layernorm"):
        hf_to_gguf(folder, tmp_path / "a.gguf")
