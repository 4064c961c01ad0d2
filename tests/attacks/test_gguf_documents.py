"""Generated GGUF documents: write, read, write gives equal bytes; damaged ones raise our errors only."""

from __future__ import annotations

import struct

import numpy as np
from ggufx.converters.errors import GgufxError
from ggufx.converters.io.gguf import encode_header, layout, read_gguf
from ggufx.converters.io.values import Value, ValueType, u32
from ggufx.quant.formats import FORMATS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAME = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=15)
NUMBERS = {
    **{kind: st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for kind, bits in (
        (ValueType.INT8, 8), (ValueType.INT16, 16), (ValueType.INT32, 32), (ValueType.INT64, 64))},
    **{kind: st.integers(0, 2**bits - 1) for kind, bits in (
        (ValueType.UINT8, 8), (ValueType.UINT16, 16), (ValueType.UINT32, 32), (ValueType.UINT64, 64))},
    ValueType.FLOAT32: st.floats(width=32), ValueType.FLOAT64: st.floats(), ValueType.BOOL: st.booleans(),
    ValueType.STRING: TEXT,
}
SCALARS = st.one_of([st.builds(Value, st.just(kind), data) for kind, data in NUMBERS.items()])
ARRAYS = st.one_of([st.builds(Value, st.just(ValueType.ARRAY), st.lists(data, max_size=8), st.just(kind))
                    for kind, data in NUMBERS.items()])
METADATA = st.dictionaries(NAME, SCALARS | ARRAYS, max_size=8)


@st.composite
def tensor_rows(draw) -> list[tuple[str, str, tuple[int, ...]]]:
    rows = []
    for name in draw(st.lists(NAME, max_size=6, unique=True)):
        kind = FORMATS[draw(st.sampled_from(sorted(FORMATS)))]
        outer = draw(st.lists(st.integers(0, 3), max_size=3))
        rows.append((name, kind.name, (*outer, draw(st.integers(0, 2)) * kind.block_size)))
    return rows


@st.composite
def documents(draw) -> tuple[dict[str, Value], list, bytes]:
    metadata = draw(METADATA)
    alignment = draw(st.sampled_from([1, 8, 32, 64, 4096, None]))
    if alignment is not None:
        metadata["general.alignment"] = u32(alignment)
    laid = layout(draw(tensor_rows()), alignment or 32)
    header = encode_header(metadata, laid)
    return metadata, laid, header + bytes(max((t.offset + t.nbytes for t in laid), default=0))


FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FAST
@given(documents())
def test_write_read_write_gives_equal_bytes(tmp_path, made):
    metadata, laid, content = made
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    found = read_gguf(path)
    assert list(found.metadata) == list(metadata)
    assert [(t.name, t.type, t.shape, t.offset - found.data_offset, t.nbytes) for t in found.tensors.values()] \
        == [(t.name, t.type, t.shape, t.offset, t.nbytes) for t in laid]
    rows = [(t.name, t.type, t.shape) for t in found.tensors.values()]
    again = encode_header(found.metadata, layout(rows, found.alignment))
    assert again == content[:found.data_offset]
    listed = {key: Value(value.type, list(value.data), value.item_type) if value.type is ValueType.ARRAY else value
              for key, value in found.metadata.items()}
    assert encode_header(listed, laid) == again


@FAST
@given(documents(), st.data())
def test_damaged_documents_raise_our_errors_only(tmp_path, made, data):
    content = bytearray(made[2])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        patch = data.draw(st.sampled_from([b"\xff", b"\0", struct.pack("<Q", 2**63), struct.pack("<I", 2**31), b"\x80"])
                          | st.binary(min_size=1, max_size=8))
        content[at:at + len(patch)] = patch
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))):]
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    try:
        found = read_gguf(path)
    except GgufxError:
        return
    for tensor in found.tensors.values():  # what is accepted lies in the file, decodes and can be written
        assert found.data_offset <= tensor.offset
        assert tensor.offset + tensor.nbytes <= len(content) or not tensor.nbytes
    for value in found.metadata.values():
        if value.type is ValueType.ARRAY:
            assert len(list(value.data)) == len(value.data)
    rows = [(t.name, t.type, t.shape) for t in found.tensors.values()]
    encode_header(found.metadata, layout(rows, found.alignment))


def test_float_bits_survive(tmp_path):
    """Every bit of an array; of single values all but the signalling bit of a NaN, which Python drops."""
    bits = np.array([0x7FC00001, 0xFFC00000, 0x80000000, 1, 0x7F800001], np.uint32)
    metadata = {"a": Value(ValueType.ARRAY, bits.view(np.float32), ValueType.FLOAT32),
                **{f"s{i}": Value(ValueType.FLOAT32, float(x)) for i, x in enumerate(bits[:4].view(np.float32))}}
    path = tmp_path / "m.gguf"
    path.write_bytes(encode_header(metadata, []))
    found = read_gguf(path).metadata
    assert found["a"].data.view(np.uint32).tolist() == bits.tolist()
    assert encode_header(found, []) == path.read_bytes()
