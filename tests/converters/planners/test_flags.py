"""Tensors that config.json denies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ggufx.converters.errors import InputError
from zoo.changed import change_folder

import ggufx


@pytest.mark.parametrize(("flag", "tensor"), [("attention_bias", "q_proj.bias"), ("mlp_bias", "up_proj.bias")])
def test_biases_that_config_json_denies(flag: str, tensor: str, zoo: Callable[[str], Path], tmp_path: Path):
    """transformers leaves them out, the runtime would add them."""
    folder = change_folder(zoo("llama-bias"), tmp_path / "model", config=lambda config: config.update({flag: False}))
    with pytest.raises(InputError, match=f"{flag} is false") as caught:
        ggufx.hf_to_gguf(folder, tmp_path / "model.gguf")
    assert caught.value.tensor.endswith(tensor)
    assert f'"{flag}": true' in caught.value.hint
    assert not (tmp_path / "model.gguf").exists()
