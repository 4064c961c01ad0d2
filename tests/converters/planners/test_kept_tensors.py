"""Bytes that are kept beside the GGUF tensors: whole reads, or an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from ggufx.converters.errors import InputError
from ggufx.converters.io.safetensors import SourceTensor
from ggufx.converters.planners.kept_tensors import read_rows, read_tensor


def test_a_file_that_shrank_is_an_error(tmp_path: Path):
    """numpy's fromfile gives what is left, without a word."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(range(40)))
    whole = SourceTensor("a", "F32", (4, 2), path, 8, 32)
    assert read_tensor(whole).tobytes() == bytes(range(8, 40))
    assert read_rows(whole, [[0, 1], [3, 4]]).tobytes() == bytes([*range(8, 16), *range(32, 40)])
    path.write_bytes(bytes(39))
    for read in (lambda: read_tensor(whole), lambda: read_rows(whole, [[3, 4]])):
        with pytest.raises(InputError, match="ends 1 bytes early"):
            read()
