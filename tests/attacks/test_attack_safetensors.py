"""Malformed safetensors headers: each is refused by tensor and field; what is accepted, the library accepts too."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc

import pytest
import safetensors
from ggufx.converters.errors import GgufxError, InputError, ManyErrors, UnsupportedError
from ggufx.converters.io import safetensors as container
from ggufx.converters.io.safetensors import encode_safetensors_header, layout, read_safetensors_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MEMORY = 16 << 20  # bytes that reading a file of some hundred bytes may take


def framed(header: bytes, data: int = 0, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + bytes(data)


def document(header: object, data: int = 0) -> bytes:
    return framed(json.dumps(header).encode(), data)


def entry(begin: object = 0, end: object = 8, dtype: object = "F32", shape: object = (2,)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


A, B = entry(0, 8), entry(8, 16)
RAW_A = b'"dtype":"F32","shape":[2],"data_offsets":[0,8]'

CASES = {
    "empty": (b"", InputError, r"is empty"), "joined": (framed(b"{}") * 2, InputError, r"another safetensors file follows"),
    "7 bytes": (bytes(7), InputError, r"byte 0: too short .*found 7"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", InputError, r"git-LFS pointer"),
    "header longer than the file": (framed(b"{}", length=3), InputError, r"header length at byte 0: .*found 3"),
    "header length 2^64-1": (framed(b"{}", length=2**64 - 1), InputError, r"header length at byte 0"),
    "header of 0 bytes": (framed(b""), InputError, r"byte 8: the header is not a JSON object"),
    "header not JSON": (framed(b"{]"), InputError, r"byte 9, line 1 column 2: not JSON"),
    "header a list": (framed(b"[]"), InputError, r"byte 8: the header is not"),
    "header after a space": (framed(b" {}"), InputError, r"byte 8: the header is not"),
    "header not UTF-8": (framed(b'{"\xff": 1}'), InputError, r"byte 10: not UTF-8"),
    "header deep": (framed(b'{"a":' + b"[" * 5000), InputError, r"nested deeper"),
    "rest after the object": (framed(b'{"__metadata__":{}}x'), InputError, r"byte 27.*not JSON"),
    "name twice, same range": (framed(b'{"a":{%s},"a":{%s}}' % (RAW_A, RAW_A), 8), InputError, r"'a' occurs twice"),
    "name twice, other dtype": (
        framed(b'{"a":{%s},"a":{%s}}' % (RAW_A, RAW_A.replace(b"F32", b"U8").replace(b"[2]", b"[8]")), 8), InputError,
        r"'a' occurs twice"),
    "field twice": (framed(b'{"a":{%s,"dtype":"F32"}}' % RAW_A, 8), InputError, r"'dtype' occurs twice"),
    "metadata twice": (framed(b'{"__metadata__":{},"__metadata__":{}}'), InputError, r"'__metadata__' occurs twice"),
    "metadata not a map": (document({"__metadata__": [1]}), InputError, r"__metadata__: maps strings to strings"),
    "metadata of numbers": (document({"__metadata__": {"a": 1}}), InputError, r"__metadata__: maps strings"),
    "name empty": (document({"": A}, 8), InputError, r"name is printable"),
    "name with escape": (document({"\x1b[2J": A}, 8), InputError, r"tensor \\x1b\[2J: .*printable"),
    "name half a character": (framed(b'{"\\ud800":{%s}}' % RAW_A, 8), InputError, r"tensor \\ud800"),
    "entry a number": (document({"a": 1}), InputError, r"tensor a: an object with dtype, shape and data_offsets"),
    "entry without dtype": (document({"a": {"shape": [2], "data_offsets": [0, 8]}}, 8), InputError, r"tensor a: an ob"),
    "dtype unknown": (document({"a": entry(dtype="F128")}, 8), UnsupportedError, r"tensor a: dtype: .*found F128"),
    "dtype a list": (document({"a": entry(dtype=["F32"])}, 8), UnsupportedError, r"tensor a: dtype"),
    "shape a number": (document({"a": entry(shape=2)}, 8), InputError, r"tensor a: shape"),
    "shape negative": (document({"a": entry(shape=[-2])}, 8), InputError, r"tensor a: shape: .*found \[-2\]"),
    "shape of floats": (document({"a": entry(shape=[2.0])}, 8), InputError, r"tensor a: shape"),
    "shape of booleans": (document({"a": entry(0, 4, shape=[True])}, 4), InputError, r"tensor a: shape"),
    "shape of strings": (document({"a": entry(shape=["2"])}, 8), InputError, r"tensor a: shape"),
    "shape overflows": (document({"a": entry(shape=[2**40, 2**40])}, 8), InputError, r"tensor a: shape"),
    "shape overflows behind a zero": (document({"a": entry(0, 0, shape=[2**63, 0])}), InputError, r"tensor a: shape"),
    "shape of another size": (document({"a": entry(shape=[3])}, 8), InputError, r"data_offsets: .*expected 12, found"),
    "half bytes": (document({"a": entry(0, 1, "F4", [3])}, 1), InputError, r"tensor a: shape: .*whole bytes"),
    "offsets negative": (document({"a": entry(-8, 0)}, 8), InputError, r"tensor a: data_offsets"),
    "offsets reversed": (document({"a": entry(8, 0)}, 8), InputError, r"tensor a: data_offsets: .*found \[8, 0\]"),
    "offsets of floats": (document({"a": entry(0.0, 8.0)}, 8), InputError, r"tensor a: data_offsets"),
    "offsets beyond 63 bits": (document({"a": entry(2**64 - 8, 2**64)}, 8), InputError, r"tensor a: data_offsets"),
    "three offsets": (document({"a": {**A, "data_offsets": [0, 4, 8]}}, 8), InputError, r"tensor a: data_offsets"),
    "overlap": (document({"a": A, "b": entry(4, 12)}, 12), InputError, r"tensor b: data_offsets: overlaps"),
    "alias": (document({"a": A, "b": A}, 8), InputError, r"tensor b: data_offsets: overlaps"),
    "hole": (document({"a": A, "b": entry(12, 20)}, 20), InputError, r"tensor b: data_offsets: leaves a hole"),
    "hole at the start": (document({"b": B}, 16), InputError, r"tensor b: data_offsets: leaves a hole"),
    "data cut": (document({"a": A}, 7), InputError, r"byte \d+: the file is cut .*found"),
    "data absent": (document({"a": A}), InputError, r"byte \d+: the file is cut"),
    "data far outside": (document({"a": entry(2**40, 2**40 + 8)}, 8), InputError, r"tensor a: data_offsets: leaves"),
    "trailing bytes": (document({"a": A}, 9), InputError, r"byte \d+: bytes that belong to no tensor"),
    "no tensors, data": (document({}, 1), InputError, r"bytes that belong to no tensor"),
}


@pytest.mark.parametrize("name", CASES)
def test_refused_with_tensor_and_field(tmp_path, name):
    content, kind, message = CASES[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(kind, match=message) as caught:
            read_safetensors_header(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
    assert type(caught.value) is kind
    assert caught.value.file == str(path)
    assert all(c.isprintable() or c == "\n" for c in str(caught.value))


@pytest.mark.parametrize("content", [
    framed(b"{}"), document({"__metadata__": {"format": "pt"}}), document({"a": A, "b": B}, 16),
    document({"b": B, "a": A}, 16), document({"z": entry(8, 8, shape=[0, 5]), "a": A}, 8), framed(b"{}     "),
], ids=["empty", "metadata", "two", "not in order", "zero size", "padded"])
def test_sound_headers_are_read(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert len(read_safetensors_header(path).tensors) == len(safetensors.deserialize(content))


def test_all_faulty_tensors_are_named_up_to_a_limit(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(document({"a": entry(shape=[-1]), "b": entry(dtype="X"), "c": 1}))
    with pytest.raises(ManyErrors) as caught:
        read_safetensors_header(path)
    assert [problem.tensor for problem in caught.value.problems] == ["a", "b", "c"]
    path.write_bytes(document({f"t{i}": 1 for i in range(100_000)}))
    with pytest.raises(ManyErrors) as caught:
        read_safetensors_header(path)
    assert len(caught.value.problems) == 20


def test_header_length_of_a_sparse_terabyte_is_bounded(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 39))
    try:
        os.truncate(path, 1 << 40)
    except OSError:
        pytest.skip("the file system has no sparse files of 1 TiB")
    with pytest.raises(InputError, match=r"header length at byte 0: .*at most 100000000"):
        read_safetensors_header(path)


SMALL = document({"__metadata__": {"format": "pt"}, "a": A, "b": B}, 16)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    for size in range(len(SMALL)):
        path.write_bytes(SMALL[:size])
        with pytest.raises(InputError):
            read_safetensors_header(path)


FAST = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FAST
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=4)
                          | st.sampled_from([b"-", b"9", b"[", b"]", b'"', b"e9", b"\\"])), min_size=1, max_size=3))
def test_what_is_read_after_damage_the_library_reads(tmp_path, patches):
    content = bytearray(SMALL)
    for at, patch in patches:
        content[at:at + len(patch)] = patch
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    try:
        found = read_safetensors_header(path)
    except GgufxError:
        return
    theirs = dict(safetensors.deserialize(bytes(content)))
    assert {t.name: (t.type, list(t.shape)) for t in found.tensors.values()} \
        == {name: (tensor["dtype"], tensor["shape"]) for name, tensor in theirs.items()}


@FAST
@given(st.dictionaries(st.text(st.characters(categories=["L", "N", "P", "Zs"], exclude_characters="\u00a0"), min_size=1)
                       .filter(str.isprintable),
                       st.tuples(st.sampled_from(["F32", "BF16", "U8", "F8_E4M3", "I64"]),
                                 st.lists(st.integers(0, 4), max_size=4)), max_size=8))
def test_laid_out_headers_are_read_back_here_and_by_the_library(tmp_path, rows):
    laid = layout((name, dtype, shape) for name, (dtype, shape) in rows.items())
    content = encode_safetensors_header(laid) + bytes(sum(t.nbytes for t in laid))
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    found = read_safetensors_header(path)
    start = len(content) - sum(t.nbytes for t in laid)
    assert [(t.name, t.type, t.shape, t.offset - start, t.nbytes) for t in found.tensors.values()] \
        == [(t.name, t.type, t.shape, t.offset, t.nbytes) for t in laid]
    assert {name: tensor["shape"] for name, tensor in safetensors.deserialize(content)} \
        == {name: shape for name, (_, shape) in rows.items()}


def test_many_tensors_are_read_in_three_reads(tmp_path, monkeypatch):
    laid = layout((f"model.layers.{i}.weight", "U8", (1,)) for i in range(100_000))
    path = tmp_path / "model.safetensors"
    path.write_bytes(encode_safetensors_header(laid) + bytes(100_000))
    reads = []
    read_at = container.read_at
    monkeypatch.setattr(container, "read_at", lambda *args: reads.append(args[2]) or read_at(*args))
    assert len(read_safetensors_header(path).tensors) == 100_000
    assert len(reads) <= 3
