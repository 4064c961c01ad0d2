"""safetensors: the library's files are read, and files laid out here open in the library."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from ggufx.converters.errors import ManyErrors, UnsupportedError
from ggufx.converters.io.safetensors import (
    encode_index,
    encode_safetensors_header,
    layout,
    read_safetensors_header,
    shard,
)
from ggufx.quant import ELEMENT_TYPES
from safetensors import safe_open
from safetensors.torch import save_file

TENSORS = {
    "b.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a.weight": torch.tensor([1, 2, 3], dtype=torch.uint8),
    "h": torch.ones(2, 2, dtype=torch.bfloat16), "scalar": torch.tensor(7, dtype=torch.int64),
    "none": torch.zeros(0, 4),
    "f8": torch.ones(3).to(torch.float8_e4m3fn), "flag": torch.tensor([True, False]),
}
NAMES = {torch.float32: "F32", torch.uint8: "U8", torch.bfloat16: "BF16", torch.int64: "I64",
         torch.float8_e4m3fn: "F8_E4M3", torch.bool: "BOOL"}
ROWS = [(name, NAMES[tensor.dtype], tuple(tensor.shape)) for name, tensor in TENSORS.items()]


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def test_reads_what_the_library_wrote(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path, metadata={"format": "pt", "é": "漢"})
    found = read_safetensors_header(path)
    assert found.metadata == {"format": "pt", "é": "漢"}
    content = path.read_bytes()
    for name, dtype, shape in ROWS:
        tensor = found.tensors[name]
        assert (tensor.name, tensor.type, tensor.shape, tensor.file) == (name, dtype, shape, path)
        assert content[tensor.offset:tensor.offset + tensor.nbytes] == raw(TENSORS[name])
    assert len(found.tensors) == len(ROWS)


def test_header_bytes_equal_the_library_s(tmp_path):
    """For the library's own order: larger dtypes first, then by name."""
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path, metadata={"format": "pt"})
    found = read_safetensors_header(path)
    header = encode_safetensors_header(layout((t.name, t.type, t.shape) for t in found.tensors.values()))
    assert path.read_bytes().startswith(header)


def test_laid_out_files_open_in_the_library(tmp_path):
    laid = layout(ROWS)
    header = encode_safetensors_header(laid, {"format": "pt"})
    assert len(header) % 8 == 0
    assert all(t.offset % ELEMENT_TYPES[t.type].width == 0 for t in laid)
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(header)
        for tensor in reversed(laid):  # any order
            file.seek(len(header) + tensor.offset)
            file.write(raw(TENSORS[tensor.name]))
    with safe_open(path, "pt") as opened:
        assert set(opened.keys()) == set(TENSORS)
        for name, tensor in TENSORS.items():
            assert raw(opened.get_tensor(name)) == raw(tensor)
            assert opened.get_tensor(name).shape == tensor.shape
    assert {(t.name, t.offset - len(header)) for t in read_safetensors_header(path).tensors.values()} \
        == {(t.name, t.offset) for t in laid}


def test_files_are_laid_out_as_by_the_library():
    """By dtype, then by the bytes of the name; so a file that the library wrote comes back with the same hash."""
    import torch
    from safetensors.torch import save
    dtypes = {"U64": torch.uint64, "I64": torch.int64, "F64": torch.float64, "C64": torch.complex64, "F32": torch.float32,
              "U32": torch.uint32, "I32": torch.int32, "BF16": torch.bfloat16, "F16": torch.float16, "U16": torch.uint16,
              "I16": torch.int16, "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I8": torch.int8,
              "U8": torch.uint8, "BOOL": torch.bool, "F8_E8M0": torch.float8_e8m0fnu}
    names = ["z", "a.10", "a.2", "\u00e9", "\uffee", "\U0001f600"]
    made = save({f"{name}{i}": torch.zeros(8, dtype=torch.uint8).view(dtype) for name in names
                 for i, dtype in enumerate(dtypes.values())}, {"format": "pt"})
    laid = layout([(f"{name}{i}", dtype, (64 // ELEMENT_TYPES[dtype].bits,)) for name in reversed(names)
                   for i, dtype in enumerate(dtypes)])
    header = encode_safetensors_header(laid)
    assert made == header + bytes(len(made) - len(header))


def test_shards_fill_in_order_and_index_names_them(tmp_path):
    rows = [("a", "F32", (25,)), ("big", "F32", (100,)), ("b", "F32", (15,)), ("c", "F32", (10,)), ("d", "F32", (1,))]
    shards = shard(rows, 100)
    assert [(s.file_name, [t.name for t in s.tensors]) for s in shards] == [
        ("model-00001-of-00004.safetensors", ["a"]), ("model-00002-of-00004.safetensors", ["big"]),
        ("model-00003-of-00004.safetensors", ["b", "c"]), ("model-00004-of-00004.safetensors", ["d"])]
    index = json.loads(encode_index(shards))
    assert index["metadata"] == {"total_size": 4 * 151}
    assert index["weight_map"] == {t.name: s.file_name for s in shards for t in s.tensors}
    assert list(index["weight_map"]) == sorted(index["weight_map"])


def test_one_shard_has_the_plain_name():
    assert [s.file_name for s in shard(ROWS, 10**9)] == ["model.safetensors"]
    assert [s.file_name for s in shard(ROWS, 10**9, "adapter_model")] == ["adapter_model.safetensors"]


def test_names_must_be_unique_over_all_shards():
    with pytest.raises(UnsupportedError, match="tensor a: this name is taken"):
        shard([("a", "F32", (25,)), ("b", "F32", (25,)), ("a", "F32", (25,))], 100)


def test_layout_reports_everything_at_once():
    with pytest.raises(ManyErrors) as caught:
        layout([("a", "F32", (1,)), ("a", "F32", (1,)), ("__metadata__", "F32", (1,)), ("q", "Q8_0", (32,))])
    assert [problem.tensor for problem in caught.value.problems] == ["a", "__metadata__", "q"]


def test_sub_byte_dtypes(tmp_path):
    laid = layout([("f4", "F4", (4, 4)), ("f6", "F6_E2M3", (8,))])
    header = encode_safetensors_header(laid, {})
    path = tmp_path / "x.safetensors"
    path.write_bytes(header + bytes(14))
    assert {t.name: t.nbytes for t in read_safetensors_header(path).tensors.values()} == {"f4": 8, "f6": 6}


def test_numpy_files_and_no_metadata(tmp_path):
    from safetensors.numpy import save_file as save_numpy

    save_numpy({"x": np.arange(4, dtype=np.int16)}, tmp_path / "x.safetensors")
    found = read_safetensors_header(tmp_path / "x.safetensors")
    assert found.metadata == {}
    assert found.tensors["x"].type == "I16"
