"""Importance matrices: both containers, hostile files, and weights as llama-quantize computes them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from ggufx.quant.recipes.imatrix import ImportanceMatrix, from_gguf, from_legacy
from hypothesis import given, settings
from hypothesis import strategies as st

f32 = np.float32


def legacy(entries, tail=b""):
    out = struct.pack("<i", len(entries))
    for name, calls, values in entries:
        out += struct.pack("<i", len(name)) + name + struct.pack("<ii", calls, len(values))
        out += np.asarray(values, "<f4").tobytes()
    return out + tail


TAIL = struct.pack("<ii", 17, 8) + b"data.txt"
FILE = legacy([(b"blk.0.ffn_up.weight", 3, [1, 2, 4]), (b"blk.1.ffn_up.weight", 0, [5, 0.5])], TAIL)
KEYS = {"general.type": "imatrix", "imatrix.datasets": ["a.txt", "b.txt"], "imatrix.chunk_count": 5,
        "imatrix.chunk_size": 512}  # fmt: skip


def gguf(**entries):
    return {name.replace("__", "."): np.asarray(values, f32) for name, values in entries.items()}


def test_legacy_values_are_divided_by_calls():
    matrix = from_legacy(FILE)
    assert (matrix.datasets, matrix.chunk_count) == (("data.txt",), 17)
    up = matrix.weights("blk.0.ffn_up.weight", (8, 3))
    assert up.dtype == np.float32
    assert up.tolist() == [[f32(1) / f32(3), f32(2) / f32(3), f32(4) / f32(3)]]
    assert matrix.weights("blk.1.ffn_up.weight", (7, 2)).tolist() == [[5, 0.5]]
    assert from_legacy(legacy([(b"a", 1, [1])])).facts("x") == {
        "quantize.imatrix.file": "x",
        "quantize.imatrix.entries_count": 1,
    }


def test_gguf_values_are_divided_by_each_experts_count():
    tensors = gguf(a__in_sum2=[[2, 4], [9, 6], [0, 0], [7, 7]], a__counts=[[2], [2.5], [0], [-0.2]])
    matrix = from_gguf(KEYS, tensors)
    assert matrix.weights("a", (4, 5, 2)).tolist() == [[1, 2], [3, 2], [1, 1], [1, 1]]
    assert matrix.unseen == (("a", 2), ("a", 3))
    assert matrix.facts("dir/i.gguf") == {
        "quantize.imatrix.file": "dir/i.gguf", "quantize.imatrix.dataset": "a.txt",
        "quantize.imatrix.entries_count": 1, "quantize.imatrix.chunks_count": 5,
    }  # fmt: skip
    one_count = from_gguf(KEYS, gguf(b__in_sum2=[[2, 4, 6, 8]], b__counts=[[2]]))  # a dense 3-D weight
    assert one_count.weights("b", (2, 9, 2)).tolist() == [[1, 2], [3, 4]]


def test_gguf_problems_are_all_listed():
    tensors = gguf(
        a__in_sum2=[1, 2, 3], a__counts=[1, 2], b__in_sum2=[1], c__counts=[1], d__in_sum2=[1], d__counts=[np.nan]
    )
    tensors["e.in_sum2"] = tensors["e.counts"] = np.ones(1, np.float64)
    with pytest.raises(ValueError, match=r"key imatrix\.chunk_size is missing") as caught:
        from_gguf({key: value for key, value in KEYS.items() if key != "imatrix.chunk_size"}, tensors)
    text = str(caught.value)
    for part in ("a: 3 sums do not divide among 2 counts", "b: .counts is missing", "c: .in_sum2 is missing",
                 "d: count 0 is not finite", "e: sums and counts must be float32"):  # fmt: skip
        assert part in text
    with pytest.raises(ValueError, match="no importance entries"):
        from_gguf(KEYS, gguf(other=[1]))


def test_values_that_are_no_weights_are_refused_by_name():
    for bad in (np.nan, np.inf, -1.0):
        with pytest.raises(ValueError, match=rf"a: weight {bad} at column 1 \(1 such values\)"):
            from_legacy(legacy([(b"a", 1, [1, bad]), (b"b", 1, [1])]))
    with pytest.raises(ValueError, match="a: weight inf at matrix 1, column 0"):
        from_gguf(KEYS, gguf(a__in_sum2=[[1, 1], [np.inf, 1]], a__counts=[1, 1]))
    many = [(f"t{i}".encode(), 1, [np.nan]) for i in range(30)]
    with pytest.raises(ValueError, match="and 10 more"):
        from_legacy(legacy(many))


def test_a_matrix_of_zeros_is_named_and_weighs_everything_alike():
    matrix = from_gguf(KEYS, gguf(a__in_sum2=[[0, 0], [2, 0]], a__counts=[3, 2]))
    assert matrix.zero == (("a", 0),)
    assert matrix.weights("a", (2, 4, 2)).tolist() == [[1, 1], [1, 0]]
    assert from_legacy(legacy([(b"a", 0, [0, 0])])).zero == (("a", 0),)


def test_selection():
    matrix = ImportanceMatrix({name: np.ones((1, 4), f32) for name in ("blk.0.a", "blk.1.a", "blk.1.b")},
                              unseen=(("blk.0.a", 0), ("blk.1.b", 0)), zero=(("blk.1.a", 0),))  # fmt: skip
    assert list(matrix.select().entries) == ["blk.0.a", "blk.1.a", "blk.1.b"]
    assert list(matrix.select(include=["blk.0", ".b"]).entries) == ["blk.0.a", "blk.1.b"]
    out = matrix.select(exclude=["blk.0", ".b"])
    assert (list(out.entries), out.unseen, out.zero) == (["blk.1.a"], (), (("blk.1.a", 0),))
    with pytest.raises(ValueError, match="cannot be combined"):
        matrix.select(["a"], ["b"])


def test_entries_that_miss_or_do_not_fit():
    matrix = from_legacy(legacy([(b"a", 1, [1, 2]), (b"token_embd.weight", 1, [1])]))
    assert matrix.missing(["b", "a", "c"]) == ["b", "c"]
    assert matrix.weights("b", (4, 2)) is None
    assert matrix.weights("token_embd.weight", (4, 2)) is None
    with pytest.raises(ValueError, match="a: the importance matrix has 2 values, the tensor needs 3"):
        matrix.weights("a", (4, 3))


def test_long_names_are_cut_as_llama_quantize_cuts_them():
    matrix = from_legacy(legacy([(b"a", 1, [1])], struct.pack("<ii", 1, 200) + b"d" * 200))
    facts = matrix.facts("é" * 100)
    assert facts["quantize.imatrix.file"] == "é" * 63  # 126 bytes: the 64th would be cut in two
    assert facts["quantize.imatrix.dataset"] == "d" * 127


@pytest.mark.parametrize("size", range(len(FILE)))
def test_a_file_cut_anywhere_is_refused(size):
    allowed = {len(FILE) - len(TAIL), len(FILE) - len(TAIL) + 4}  # without dataset and chunks, or without dataset
    if size in allowed:
        assert len(from_legacy(FILE[:size]).entries) == 2
    else:
        with pytest.raises(ValueError, match=r"importance matrix, offset \d+, "):
            from_legacy(FILE[:size])


@pytest.mark.parametrize(
    ("buffer", "reason"),
    [
        (struct.pack("<i", 0), "number of entries: 0 is less than 1"),
        (struct.pack("<i", 2**31 - 1) + bytes(64), "2147483647 entries do not fit"),
        (struct.pack("<iii", 1, 2**31 - 1, 1) + bytes(64), "entry 1: name: 2147483647 bytes are needed"),
        (struct.pack("<ii", 1, -1) + bytes(64), "length of name: -1 is less than 1"),
        (legacy([(b"\xff", 1, [1])]), "entry 1: name: not UTF-8"),
        (legacy([(b"a", 1, [1]), (b"a", 1, [1])]), "'a' is listed twice"),
        (
            struct.pack("<ii1sii", 1, 1, b"a", 1, 2**31 - 1) + bytes(64),
            "a: values: 8589934588 bytes are needed, 64 are",
        ),
        (FILE + b"x", "1 bytes are left over"),
        (b"GGUF" + bytes(64), "entries do not fit"),
    ],
)
def test_hostile_files(buffer, reason):
    with pytest.raises(ValueError, match=reason):
        from_legacy(buffer)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_is_refused_or_harmless(data):
    damaged = bytearray(FILE)
    damaged[data.draw(st.integers(0, len(FILE) - 1))] = data.draw(st.integers(0, 255))
    try:
        matrix = from_legacy(damaged)
    except ValueError:
        return
    assert all(np.isfinite(values).all() and values.any() for values in matrix.entries.values())
