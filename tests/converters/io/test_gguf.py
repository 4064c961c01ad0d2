"""GGUF headers: what gguf-py writes is read, what is written equals gguf-py's bytes, splits merge."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from ggufx.converters.errors import InputError, ManyErrors, UnsupportedError
from ggufx.converters.io.gguf import (
    encode_header,
    layout,
    read_gguf,
    read_gguf_model,
    split_names,
    tensor_bytes,
)
from ggufx.converters.io.string_array import StringArray
from ggufx.converters.io.values import Value, ValueType, array, boolean, f32, i32, string, strings, u8, u16, u32, u64

VOCABULARIES = Path(__file__).parents[4] / "shared" / "data" / "vocab"

METADATA = {
    "general.architecture": string("llama"),
    "general.name": string("Größe 漢字 🙂"),
    "x.u8": u8(255), "x.u16": u16(65535), "x.u32": u32(2**32 - 1), "x.i32": i32(-(2**31)), "x.u64": u64(2**64 - 1),
    "x.i8": Value(ValueType.INT8, -128), "x.i16": Value(ValueType.INT16, -32768),
    "x.i64": Value(ValueType.INT64, -(2**63)),
    "x.f32": f32(1e-6), "x.f64": Value(ValueType.FLOAT64, 0.1), "x.yes": boolean(True), "x.no": boolean(False),
    "x.ints": array(ValueType.INT32, [1, -2, 3]), "x.floats": array(ValueType.FLOAT32, [0.5, -1000.0]),
    "x.bools": array(ValueType.BOOL, [True, False, True]),
    "x.strings": strings(["", "a", "é" * 100, "<|end|>"]),
}
TENSORS = [("token_embd.weight", "F32", (3, 5)), ("blk.0.w", "Q8_0", (2, 64)), ("scalar", "F16", (1,)),
           ("blk.0.exps", "Q4_K", (2, 3, 256)), ("empty", "F32", (0, 4)), ("last.bf16", "BF16", (2, 2, 3, 4))]


def write(path: Path, metadata=METADATA, tensors=TENSORS, alignment: int = 32) -> Path:
    laid = layout(tensors, alignment)
    header = encode_header(metadata, laid)
    end = max((t.offset + t.nbytes for t in laid), default=0)
    path.write_bytes(header + bytes(range(256)) * (end // 256) + bytes(end % 256))
    return path


def write_with_gguf(path: Path, metadata=METADATA, tensors=TENSORS, **options) -> None:
    writer = gguf.GGUFWriter(path, metadata["general.architecture"].data, **options)
    for key, value in metadata.items():
        if key != "general.architecture":
            item = None if value.item_type is None else gguf.GGUFValueType(value.item_type)
            writer.add_key_value(key, value.data, gguf.GGUFValueType(value.type), item)
    for name, kind, shape in tensors:
        raw = np.zeros((*shape[:-1], tensor_bytes(kind, shape[-1:])), np.uint8)
        writer.add_tensor(name, raw, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_header_bytes_equal_gguf_py(tmp_path):
    write_with_gguf(tmp_path / "theirs.gguf")
    header = encode_header(METADATA, layout(TENSORS))
    assert (tmp_path / "theirs.gguf").read_bytes()[: len(header)] == header


def test_header_bytes_equal_gguf_py_with_another_alignment(tmp_path):
    metadata = {"general.architecture": string("llama"), "general.alignment": u32(256)}
    writer = gguf.GGUFWriter(tmp_path / "theirs.gguf", "llama")
    writer.add_custom_alignment(256)
    for name in ("a", "b"):
        writer.add_tensor(name, np.ones(3, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    laid = layout([("a", "F32", (3,)), ("b", "F32", (3,))], 256)
    header = encode_header(metadata, laid)
    assert [t.offset for t in laid] == [0, 256]
    assert len(header) % 256 == 0
    assert (tmp_path / "theirs.gguf").read_bytes()[: len(header)] == header
    assert read_gguf(tmp_path / "theirs.gguf").tensors["b"].offset == len(header) + 256


def test_read_returns_what_was_written(tmp_path):
    path = write(tmp_path / "m.gguf")
    found = read_gguf(path)
    assert (found.version, found.byte_order, found.alignment, found.path) == (3, "little", 32, path)
    assert list(found.metadata) == list(METADATA)
    for key, value in METADATA.items():
        read = found.metadata[key]
        assert (read.type, read.item_type) == (value.type, value.item_type), key
        wanted = np.float32(value.data) if value.type is ValueType.FLOAT32 else value.data
        assert list(read.data) == list(value.data) if value.item_type is not None else read.data == wanted, key
    assert found.metadata["x.ints"].data.dtype == np.int32
    assert [(t.name, t.type, t.shape) for t in found.tensors.values()] == TENSORS
    assert found.tensors["token_embd.weight"].offset == found.data_offset
    assert all(t.offset % 32 == 0 and t.file == path for t in found.tensors.values())


def test_gguf_py_reads_what_was_written(tmp_path):
    reader = gguf.GGUFReader(write(tmp_path / "m.gguf", tensors=[t for t in TENSORS if t[0] != "empty"]))
    ours = read_gguf(tmp_path / "m.gguf")
    assert {t.name: (t.tensor_type.name, t.data_offset, t.n_bytes) for t in reader.tensors} \
        == {t.name: (t.type, t.offset, t.nbytes) for t in ours.tensors.values()}
    assert reader.get_field("x.strings").contents() == METADATA["x.strings"].data


def test_ggml_accepts_what_was_written(tmp_path):
    library = os.environ.get("GGUFX_LIBGGML")
    if not library:
        pytest.skip("GGUFX_LIBGGML is not set to libggml-base.so")
    ggml = ctypes.CDLL(library)
    ggml.gguf_init_from_file.restype = ctypes.c_void_p
    ggml.gguf_init_from_file.argtypes = [ctypes.c_char_p, _InitParams]
    ggml.gguf_get_n_tensors.restype = ctypes.c_int64
    ggml.gguf_get_n_tensors.argtypes = ggml.gguf_free.argtypes = [ctypes.c_void_p]
    context = ggml.gguf_init_from_file(os.fsencode(write(tmp_path / "m.gguf")), _InitParams(True, None))
    assert context
    assert ggml.gguf_get_n_tensors(context) == len(TENSORS)
    ggml.gguf_free(context)


class _InitParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


@pytest.mark.parametrize("path", sorted(VOCABULARIES.glob("*.gguf")) or [None], ids=lambda path: path and path.stem)
def test_real_vocabularies_come_back_byte_for_byte(path):
    if path is None:
        pytest.skip("no ../shared/data/vocab beside the repository")
    raw = path.read_bytes()
    found = read_gguf(path)
    header = encode_header(found.metadata, [])
    assert header[: len(raw)] == raw  # these files end without their padding
    assert not header[len(raw):].strip(b"\0")
    tokens = found.metadata["tokenizer.ggml.tokens"].data
    relisted = {**found.metadata, "tokenizer.ggml.tokens": strings(list(tokens))}
    assert encode_header(relisted, []) == header
    if path.stat().st_size < 7e5:  # gguf-py takes seconds for larger ones
        field = gguf.GGUFReader(path).get_field("tokenizer.ggml.tokens")
        assert tokens == field.contents()


def test_string_array_is_a_sequence(tmp_path):
    items = ["", "a", "é" * 100, "<|end|>"]
    found = read_gguf(write(tmp_path / "m.gguf")).metadata["x.strings"].data
    assert isinstance(found, StringArray)
    assert len(found) == 4
    assert list(found) == items
    assert [found[i] for i in range(-4, 4)] == items * 2
    assert found[1:3] == items[1:3]
    assert found[::-1] == items[::-1]
    assert found == items
    assert found == tuple(items)
    assert found != items[:3]
    assert found != [*items[:3], "x"]
    assert "a" in found
    assert found.index("<|end|>") == 3
    for index in (4, -5):
        with pytest.raises(IndexError):
            found[index]


def test_empty_arrays_and_no_tensors(tmp_path):
    metadata = {"a": strings([]), "b": array(ValueType.UINT8, []), "c": string("")}
    path = write(tmp_path / "m.gguf", metadata, [])
    found = read_gguf(path)
    assert len(found.metadata["a"].data) == len(found.metadata["b"].data) == 0
    assert found.metadata["c"].data == ""
    assert found.tensors == {}
    assert encode_header(found.metadata, []) == path.read_bytes()


def test_version_2_is_read_like_3(tmp_path):
    path = write(tmp_path / "m.gguf")
    raw = bytearray(path.read_bytes())
    three = read_gguf(path)
    raw[4] = 2
    path.write_bytes(raw)
    two = read_gguf(path)
    assert two.version == 2
    assert two.tensors == three.tensors


def test_strings_that_begin_beyond_the_first_read(tmp_path):
    items = [f"token {i} " + "x" * (i % 300) for i in range(20_000)]
    metadata = {"a": string("y" * (1 << 20)), "tokens": strings(items), "z": u8(1)}
    found = read_gguf(write(tmp_path / "m.gguf", metadata, [])).metadata
    assert found["tokens"].data == items
    assert found["z"].data == 1


@pytest.mark.parametrize(("value", "shown"), [
    (u8(256), "UINT8"), (u32(-1), "UINT32"), (u16(1.5), "UINT16"), (f32(1e39), "FLOAT32"), (string(5), "STRING"),
    (string("\ud800"), "STRING"), (Value(ValueType.BOOL, 2), "BOOL"),
    (array(ValueType.INT32, np.array([2**31])), "INT32"),
    (array(ValueType.INT32, [None]), "INT32"), (strings(["a", 1]), "STRING"),
])
def test_values_that_do_not_fit_are_refused_by_key(value, shown):
    with pytest.raises(UnsupportedError, match=rf"some\.key: cannot be stored as .*{shown}"):
        encode_header({"some.key": value}, [])


@pytest.mark.parametrize("key", ["", "a\nb", "a\0", "k" * 65536])
def test_keys_that_gguf_cannot_hold_are_refused(key):
    with pytest.raises(UnsupportedError, match="GGUF key is printable"):
        encode_header({key: u8(1)}, [])


def test_layout_reports_every_tensor_that_does_not_fit():
    rows = [("ok", "F32", (2, 2)), ("ok", "F32", (1,)), ("n" * 64, "F32", (1,)), ("q", "Q4_K", (2, 100)),
            ("five", "F32", (1, 1, 1, 1, 1)), ("huge", "F32", (2**32, 2**31)), ("esc\x1b", "F32", (1,))]
    with pytest.raises(ManyErrors) as caught:
        layout(rows)
    assert [problem.tensor for problem in caught.value.problems] == ["ok", "n" * 64, "q", "five", "huge", "esc\\x1b"]
    assert all(isinstance(problem, UnsupportedError) for problem in caught.value.problems)


def test_layout_for_another_alignment_is_refused():
    with pytest.raises(ValueError, match="another alignment"):
        encode_header({"general.alignment": u32(64)}, layout([("a", "F32", (8,)), ("b", "F32", (8,))]))


# --------------------------------------------------------------------------------------------------------- split models


@pytest.fixture
def split(tmp_path):
    """A model in three parts, written by gguf-py."""
    write_with_gguf(tmp_path / "m.gguf", split_max_tensors=2)
    return [tmp_path / f"m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]


def rewrite(path: Path, changes, tensors=None) -> None:
    found = read_gguf(path)
    metadata = {key: value for key, value in {**found.metadata, **changes}.items() if value is not None}
    write(path, metadata, [(t.name, t.type, t.shape) for t in found.tensors.values()] if tensors is None else tensors)


def test_split_parts_equal_gguf_py_and_merge(split):
    for number, path in enumerate(split):
        part = {**(METADATA if number == 0 else {}), "split.no": u16(number), "split.count": u16(3),
                "split.tensors.count": i32(len(TENSORS))}
        header = encode_header(part, layout(TENSORS[2 * number:2 * number + 2]))
        assert path.read_bytes()[: len(header)] == header
    model = read_gguf_model(split[0])
    assert list(model.metadata) == list(METADATA)
    assert [(t.name, t.type, t.shape) for t in model.tensors.values()] == TENSORS
    assert [t.file for t in model.tensors.values()] == [split[i // 2] for i in range(6)]


def test_one_file_is_its_own_model(tmp_path):
    path = write(tmp_path / "m.gguf", {**METADATA, "split.no": u16(0), "split.count": u16(0)})  # as merging leaves it
    model = read_gguf_model(path)
    assert list(model.metadata) == list(METADATA)
    assert list(model.tensors) == [name for name, _, _ in TENSORS]


def test_split_model_needs_its_first_part(split):
    with pytest.raises(InputError, match="not the first part") as caught:
        read_gguf_model(split[1])
    assert split[0].name in str(caught.value)


def test_split_model_with_a_missing_part(split):
    split[2].unlink()
    with pytest.raises(InputError, match=r"1 of the 3 parts are missing: m-00003-of-00003\.gguf"):
        read_gguf_model(split[0])


def test_renamed_split_model(split):
    with pytest.raises(InputError, match=r"split\.count: .* renamed"):
        read_gguf_model(split[0].rename(split[0].with_name("model.gguf")))


@pytest.mark.parametrize(("part", "changes", "field"), [
    (1, {"split.no": u16(2)}, r"split\.no"), (2, {"split.count": u16(4)}, r"split\.count"),
    (1, {"split.tensors.count": i32(7)}, r"split\.tensors\.count"), (1, {"split.no": None}, r"split\.no"),
    (1, {"split.no": string("1")}, r"split\.no: a count is needed"), (0, {"split.count": f32(3.0)}, r"split\.count"),
])
def test_split_part_of_another_model(split, part, changes, field):
    rewrite(split[part], changes)
    with pytest.raises(InputError, match=field):
        read_gguf_model(split[0])


def test_tensor_in_two_parts_and_wrong_total(split):
    rewrite(split[1], {}, [("scalar", "F16", (1,)), TENSORS[0]])
    with pytest.raises(InputError, match=r"m-00002-of-00003\.gguf: token_embd\.weight: already stored"):
        read_gguf_model(split[0])
    rewrite(split[1], {}, [])
    with pytest.raises(InputError, match=r"split\.tensors\.count: .*expected 6, found 4"):
        read_gguf_model(split[0])


def test_faults_of_several_parts_come_in_one_message(split):
    for path in split[1:]:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ManyErrors) as caught:
        read_gguf_model(split[0])
    assert {problem.file for problem in caught.value.problems} == {str(path) for path in split[1:]}


@pytest.mark.parametrize(("name", "count"), [
    ("a-00001-of-00002.gguf", 2), ("a-00002-of-00002.gguf", 2), ("a-00003-of-00002.gguf", 0),
    ("a-00000-of-00002.gguf", 0), ("a-0000\u0661-of-00002.gguf", 0),
    ("a-1-of-2.gguf", 0), ("a.gguf", 0), ("a-00001-of-00002.gguf.part", 0),
])
def test_split_names(name, count):
    assert len(split_names(Path("x", name))) == count


def test_importing_the_reader_is_light():
    code = "import sys, ggufx.converters.io.gguf; print({'numba', 'torch', 'gguf', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
