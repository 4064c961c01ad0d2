"""Granite Switch: what the row of the zoo does not show."""

import json
import shutil

import numpy as np
import pytest
from ggufx.converters.errors import UnsupportedError
from zoo import peers

import ggufx


def test_the_first_adapter_of_a_stack_is_none(zoo, tmp_path):
    ggufx.hf_to_gguf(zoo("granite-switch"), tmp_path / "model.gguf", outtype="f32")
    kind, shape, raw = peers.read_peer_gguf(tmp_path / "model.gguf").tensors["blk.1.attn_k.lora_b"]
    values = np.frombuffer(raw, np.float32).reshape(shape)
    assert (kind, shape) == ("F32", (3, 32, 8))
    assert [bool(part.any()) for part in values] == [False, True, True]


@pytest.mark.parametrize("settings", [{"switch_type": "multi"}, {"num_local_experts": 4}])
def test_what_the_runtime_does_not_have_is_refused(zoo, tmp_path, settings):
    source = shutil.copytree(zoo("granite-switch"), tmp_path / "source")
    config = json.loads((source / "config.json").read_text()) | settings
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match=next(iter(settings))):
        ggufx.hf_to_gguf(source, tmp_path / "model.gguf")
