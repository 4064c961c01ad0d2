"""What a tensor loses behind its ops, found on its own bytes, which are read whole or not at all."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ggufx.converters.errors import InputError
from ggufx.converters.io.tensors import StoredTensor
from ggufx.converters.io.values import string
from ggufx.converters.ops import Add
from ggufx.converters.planners.kept_tensors import read_rows, read_tensor, returns
from ggufx.converters.planners.own_keys import Source
from ggufx.quant import quantize

PLUS_ONE = SimpleNamespace(ops=(Add(1.0),))


def stored(path: Path, values: list[float], dtype: str) -> StoredTensor:
    wide = np.array(values, np.float64)
    data = wide if dtype == "F64" else wide.astype(np.float32)
    raw = (data if dtype in ("F32", "F64") else quantize(data.reshape(1, -1), dtype)).tobytes()
    path.write_bytes(b"head" + raw)
    return StoredTensor("norm", dtype, (len(values),), path, 4, len(raw))


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
@pytest.mark.parametrize(("values", "back"), [([0.5, -0.25, 2.0], True), ([0.5, 1e-30, 2.0], False)])
def test_values_that_return(tmp_path, dtype, values, back):
    """1e-30 + 1 is 1 in float32; F16 holds no such value and stores 0, which returns."""
    assert returns(PLUS_ONE, stored(tmp_path / "x", values, dtype)) is (back or dtype == "F16")


def test_a_double_that_float32_does_not_hold(tmp_path):
    assert not returns(PLUS_ONE, stored(tmp_path / "x", [0.1, 1e300], "F64"))


def test_a_file_that_shrank_is_an_error(tmp_path: Path):
    """numpy's fromfile gives what is left, without a word."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(range(40)))
    whole = StoredTensor("a", "F32", (4, 2), path, 8, 32)
    assert read_tensor(whole).tobytes() == bytes(range(8, 40))
    assert read_rows(whole, [[0, 1], [3, 4]]).tobytes() == bytes([*range(8, 16), *range(32, 40)])
    path.write_bytes(bytes(39))
    for read in (lambda: read_tensor(whole), lambda: read_rows(whole, [[3, 4]])):
        with pytest.raises(InputError, match="ends 1 bytes early"):
            read()


@pytest.mark.parametrize("dtype", ["F4", "F8_E8M0", "BOOL", "BF16"])
def test_every_element_type_of_safetensors_is_remembered(dtype: str):
    """Also of a dropped tensor whose elements have no bytes of their own: the record is not damaged by it."""
    source = Source(dtypes={"model.scales": dtype})
    assert Source.of({"ggufx.source": string(source.to_value())}, Path("own.gguf")) == source
