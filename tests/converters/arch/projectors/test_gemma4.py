"""What Gemma 4's ear would need that the runtime does not have."""

import json
from pathlib import Path

import pytest
from ggufx.converters.errors import UnsupportedError
from zoo.towers import TOWERS, build_tower

import ggufx


def test_a_convolution_of_another_width_is_refused(tmp_path: Path):
    """The runtime pads for five frames, whatever the weights say, and aborts when it hears."""
    folder = build_tower(TOWERS["gemma4-ear"], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["audio_config"]["conv_kernel_size"] = 7
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UnsupportedError, match=r"audio_config\.conv_kernel_size has no GGUF form"):
        ggufx.hf_to_gguf(folder, tmp_path / "mmproj.gguf", mmproj_only=True)
