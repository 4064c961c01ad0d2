"""The table of types, row by row, against numpy, torch, the safetensors library and gguf-py."""

from __future__ import annotations

import json
import re
import struct

import gguf
import numpy as np
import pytest
import safetensors
import torch
from ggufx.quant import BY_ID, ELEMENT_TYPES, FORMATS
from ggufx.quant.formats import FLOATS, ElementType

ROWS = pytest.mark.parametrize("row", ELEMENT_TYPES.values(), ids=lambda row: row.name)


def read_by_the_library(dtype: str, nbytes: int) -> None:
    """A tensor of eight elements."""
    header = json.dumps({"t": {"dtype": dtype, "shape": [8], "data_offsets": [0, nbytes]}}).encode()
    safetensors.deserialize(struct.pack("<Q", len(header)) + header + bytes(nbytes))


def test_the_library_knows_no_other_names():
    with pytest.raises(safetensors.SafetensorError, match="expected one of") as caught:
        read_by_the_library("?", 8)
    assert set(re.findall("`([A-Z0-9_]+)`", str(caught.value))) == set(ELEMENT_TYPES)


@ROWS
def test_sizes(row: ElementType):
    read_by_the_library(row.name, row.nbytes(8))
    with pytest.raises(safetensors.SafetensorError):
        read_by_the_library(row.name, row.nbytes(8) + 1)
    if row.numpy is not None:
        assert np.dtype(row.numpy).itemsize == row.width
        assert np.dtype(row.numpy).name == row.numpy
    if row.torch is not None:
        assert getattr(torch, row.torch).itemsize == row.width
    if not row.width:
        with pytest.raises(ValueError, match=f"3 elements of {row.name} do not fill whole bytes"):
            row.nbytes(3)
    else:
        assert row.nbytes(3) == 3 * row.width


@ROWS
def test_dtypes_are_those_of_the_library(row: ElementType):
    from safetensors import numpy as of_numpy
    from safetensors import torch as of_torch

    if row.name in of_torch._TYPES:
        assert of_torch._TYPES[row.name] is getattr(torch, row.torch)
    expected = of_numpy._TYPES.get(row.name)
    assert (row.numpy and np.dtype(row.numpy)) == (expected and np.dtype(expected))


@ROWS
def test_ids(row: ElementType):
    found = gguf.GGMLQuantizationType.__members__.get(row.name)
    assert row.id == (None if found is None else found.value)
    assert (row.name in FORMATS) == (row.id is not None)


@ROWS
def test_infinity(row: ElementType):
    assert bool(row.infinity) == (row.name in FLOATS)
    if row.infinity:
        bits = torch.tensor([row.infinity, row.infinity + 1, row.infinity - 1], dtype=getattr(torch, f"int{row.bits}"))
        infinity, nan, greatest = bits.view(getattr(torch, row.torch)).tolist()
        assert infinity == float("inf")
        assert nan != nan
        assert greatest == torch.finfo(getattr(torch, row.torch)).max


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda row: row.name)
def test_blocks(ggml, format):
    assert BY_ID[format.id] is format
    assert ggml.type(format.name) == (format.name.lower(), format.block_size, format.block_bytes)
