"""GGUF files: a strict reader of headers, and an encoder of headers whose data other code writes at known offsets.

The reader checks the whole header before anyone reads a tensor byte: every count and length against the bytes that are
left, every type against the tables, every tensor's range against the file. Tensors must lie in table order, each at the
padded end of the one before: ggml's own rule, which excludes overlap, gaps, aliases and wrapped offsets at once.
Nothing is allocated from a number that the file merely claims. Messages name the field and its byte offset.

Layout (versions 2 and 3): "GGUF", u32 version, u64 tensor count, u64 key-value count; key-values (string key, u32 type,
value); tensor table (string name, u32 dimension count, u64 per dimension from the innermost, u32 type, u64 offset);
padding; data, each tensor padded. A string is a u64 length and UTF-8 bytes; an array a u32 item type, u64 count, items.
Source: the GGUF specification in the ggml repository and ggml's gguf.cpp.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from ...quant.formats import BY_ID, FORMATS
from ..errors import GgufxError, InputError, UnsupportedError, raise_all
from .files import open_regular, printable, read_at, refuse_stand_in
from .gguf_cursor import CODES, DTYPES, U32, U64, Cursor
from .ranges import exists
from .string_array import StringArray
from .tensors import StoredTensor, TensorLayout
from .values import Metadata, Value, ValueType

MAGIC = b"GGUF"
VERSION = 3
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 20  # far above a page or a disk block; 2**31 would pad each tensor to gigabytes
MAX_NAME_BYTES = 63  # ggml holds names in 64 bytes with the closing NUL
MAX_DIMS = 4  # GGML_MAX_DIMS
MAX_KEY_BYTES = 65535  # the specification's limit
MAX_ELEMENTS = (1 << 63) - 1  # ggml counts in int64
MAX_TENSORS = 1 << 20  # the largest models have some thousands, unmerged experts some ten thousands
MAX_KEY_VALUES = 1 << 16
MAX_PARTS = 65535  # `split.count` is a u16

_MIN_KEY_VALUE = 8 + 1 + 4 + 1  # key length, key, type, value
_MIN_TENSOR = 8 + 1 + 4 + 4 + 8  # name length, name, dimension count, type, offset
_SPLIT = "keep the parts as they are, <name>-00001-of-0000N.gguf side by side, and give the first"
_PIECES = "if it is one of several pieces, join them in order first: `cat PIECES > model.gguf`"
_SPLIT_NAME = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.gguf", re.DOTALL)


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A checked header. `metadata` and `tensors` keep the file's order; `data_offset` is where tensor data begins."""

    path: Path
    version: int
    byte_order: str
    alignment: int
    metadata: Metadata
    tensors: dict[str, StoredTensor]
    data_offset: int


def padded(size: int, alignment: int) -> int:
    """`size` rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment


def tensor_bytes(type_name: str, shape: Sequence[int]) -> int:
    """Bytes of a tensor of this shape (outermost first). Raises ValueError if a row does not divide into blocks."""
    cols = shape[-1] if shape else 1
    return prod(shape[:-1]) * FORMATS[type_name].row_bytes(cols)


# --------------------------------------------------------------------------------------------------- reading


def read_gguf(path: str | Path) -> GgufFile:
    """Read and check the header of one GGUF file; no tensor byte is read.

    Numeric arrays come as read-only numpy arrays (little endian), string arrays as `StringArray`.
    Raises `InputError` for a file that is damaged, cut or contradicts itself, with the field and its byte offset;
    `UnsupportedError` for version 1, versions above 3, big-endian files and tensor types that ggufx does not know.
    """
    path = Path(path)
    with open_regular(path) as (file, size):
        header = _read_header(Cursor(file, size, path))
        end = max((t.offset + t.nbytes for t in header.tensors.values()), default=header.data_offset)
        last = padded(end, header.alignment)
        for at in (end, last):
            if last + len(MAGIC) <= size and read_at(file, at, len(MAGIC), path) == MAGIC:
                raise InputError(f"byte {at}: another GGUF file follows, parts were joined with `cat`", file=path, hint=_SPLIT)
    return header


def planned_header(head: bytes, size: int, path: Path) -> GgufFile:
    """The same of a file that is still to be written: `head` holds its header, `size` will be its size in bytes."""
    cursor = Cursor(BytesIO(head), len(head), path)
    cursor.need(len(head), "header")
    cursor.size = size
    return _read_header(cursor)


def _read_header(cursor: Cursor) -> GgufFile:
    path = cursor.path
    version = _read_version(cursor)
    tensor_count = cursor.count("tensor count", _MIN_TENSOR, MAX_TENSORS)
    key_count = cursor.count("key-value count", _MIN_KEY_VALUE, MAX_KEY_VALUES)

    metadata: Metadata = {}
    alignment = DEFAULT_ALIGNMENT
    for i in range(key_count):
        at = cursor.position
        key = cursor.name(f"key {i}", MAX_KEY_BYTES)
        if key in metadata:
            raise cursor.error(f"key {i}", at, f"'{printable(key)}' occurs twice")
        value_at = cursor.position
        metadata[key] = value = cursor.value(printable(key))
        if key == "general.alignment":
            alignment = _checked_alignment(value, cursor, value_at)

    rows: list[tuple[str, str, tuple[int, ...], int, int]] = []
    names: set[str] = set()
    data_bytes = 0
    for i in range(tensor_count):
        at = cursor.position
        name = cursor.name(f"name of tensor {i}", MAX_NAME_BYTES)
        if name in names:
            raise cursor.error(f"name of tensor {i}", at, f"'{name}' occurs twice")
        names.add(name)
        type_name, shape, nbytes = _read_type_and_shape(cursor, name)
        at = cursor.position
        offset = cursor.u64(f"offset of {name}")
        if offset != data_bytes:
            raise cursor.error(f"offset of {name}", at, "each tensor must begin at the padded end of the one before",
                               expected=data_bytes, found=offset)
        rows.append((name, type_name, shape, offset, nbytes))
        data_bytes = padded(offset + nbytes, alignment)

    data_offset = padded(cursor.position, alignment)
    tensors: dict[str, StoredTensor] = {}
    for name, type_name, shape, offset, nbytes in rows:
        if nbytes and data_offset + offset + nbytes > cursor.size:
            raise InputError(
                f"the data at byte {data_offset + offset} reaches past the end of the file, the file is cut",
                file=path, tensor=name, expected=f"{data_offset + offset + nbytes} bytes", found=cursor.size,
                hint=None if path.suffix == ".gguf" else _PIECES,
            )
        tensors[name] = StoredTensor(name, type_name, shape, path, data_offset + offset, nbytes)
    return GgufFile(path, version, "little", alignment, metadata, tensors, data_offset)


def _read_version(cursor: Cursor) -> int:
    magic = cursor.take(min(4, cursor.size), "magic")
    if magic != MAGIC:
        cursor.need(min(cursor.size, 64), "magic")
        refuse_stand_in(cursor.buffer, cursor.path)
        raise cursor.error("magic", 0, "not a GGUF file", expected=MAGIC, found=magic)
    version = cursor.u32("version")
    if version in (2, VERSION):
        return version
    if version and version & 0xFFFF == 0:  # a small number with its bytes the other way round
        raise UnsupportedError("version at byte 4: a big-endian GGUF file", file=cursor.path,
                               hint="make it little-endian first: `gguf-convert-endian FILE little` (gguf package)")
    raise UnsupportedError("version at byte 4: this GGUF version is not read", file=cursor.path, expected="2 or 3",
                           found=version)


def _checked_alignment(value: Value, cursor: Cursor, at: int) -> int:
    if value.type is not ValueType.UINT32:
        raise cursor.error("general.alignment", at, "wrong type", expected="UINT32", found=value.type.name)
    alignment = value.data
    if not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.error("general.alignment", at + 4, "not a usable alignment",
                           expected=f"a power of two up to {MAX_ALIGNMENT}", found=alignment)
    return alignment


def _read_type_and_shape(cursor: Cursor, name: str) -> tuple[str, tuple[int, ...], int]:
    at = cursor.position
    dims = cursor.u32(f"dimension count of {name}")
    if dims > MAX_DIMS:
        raise cursor.error(f"dimension count of {name}", at, "too many dimensions",
                           expected=f"at most {MAX_DIMS}", found=dims)
    dims_at = cursor.position
    shape = struct.unpack(f"<{dims}Q", cursor.take(8 * dims, f"dimensions of {name}"))[::-1]
    if prod(max(n, 1) for n in shape) > MAX_ELEMENTS:
        raise cursor.error(f"dimensions of {name}", dims_at, "the number of elements overflows 63 bits", found=shape)
    at = cursor.position
    type_id = cursor.u32(f"type of {name}")
    kind = BY_ID.get(type_id)
    if kind is None:
        raise UnsupportedError(f"type of {name} at byte {at}: no tensor type that ggufx knows", file=cursor.path,
                               found=type_id)
    try:
        return kind.name, shape, tensor_bytes(kind.name, shape)
    except ValueError as error:
        raise cursor.error(f"dimensions of {name}", dims_at, str(error)) from None


def read_gguf_model(path: str | Path) -> GgufFile:
    """One file, or all parts of a split model given its first part, as one view without the `split.*` keys.

    The names of the parts are computed from the first one's name, never read from it. Key-values are the first part's.
    Raises as `read_gguf`; `InputError` also if `path` is not the first part, for parts that are missing or of another
    model, and for totals that differ: everything found, in one message.
    """
    first = read_gguf(path)
    count = _split_value(first, "split.count", 0)
    metadata = {key: value for key, value in first.metadata.items() if not key.startswith("split.")}
    if count <= 1:  # llama.cpp's merge leaves split.count = 0 behind
        return replace(first, metadata=metadata)
    names = split_names(first.path)
    if not names or len(names) != count:
        raise InputError("split.count: the file's name does not say so, it was renamed", file=first.path,
                         expected=f"<name>-00001-of-{count:05d}.gguf", found=first.path.name)
    if _split_value(first, "split.no", 0) != 0:
        raise InputError("is not the first part of the split model", file=first.path,
                         hint=f"Give {first.path.with_name(names[0])}.")

    missing = [name for name in names if not exists(first.path.with_name(name))]
    if missing:
        raise InputError(f"{len(missing)} of the {count} parts are missing: {_some(missing)}", file=first.path)
    problems: list[GgufxError] = []
    total = _split_value(first, "split.tensors.count", len(first.tensors))
    tensors: dict[str, StoredTensor] = {}
    for number, name in enumerate(names):
        try:
            part = first if number == 0 else read_gguf(first.path.with_name(name))
            _check_part(part, number, count, total)
        except GgufxError as error:
            problems.append(error)
            continue
        twice = [name for name in part.tensors if name in tensors]
        if twice:
            problems.append(InputError(f"{_some(twice)}: already stored in other parts", file=part.path))
        tensors |= part.tensors
    if not problems and len(tensors) != total:
        problems.append(InputError("split.tensors.count: the parts hold another number of tensors", file=first.path,
                                   expected=total, found=len(tensors)))
    raise_all(problems)
    return replace(first, metadata=metadata, tensors=tensors)


def split_names(path: Path) -> list[str]:
    """The file names of all parts of the model that `path` is named a part of; empty if it has no such name."""
    match = _SPLIT_NAME.fullmatch(path.name)
    if not match or not 1 <= int(match[2]) <= int(match[3]):
        return []
    return [part_name(match[1], number, int(match[3])) for number in range(int(match[3]))]


def part_name(stem: str, number: int, count: int) -> str:
    """The file name of a part of a split model; `number` counts from 0, as `split.no` does."""
    return f"{stem}-{number + 1:05d}-of-{count:05d}.gguf"


def _split_value(part: GgufFile, key: str, default: int) -> int:
    value = part.metadata.get(key)
    if value is None:
        return default
    if value.type not in (ValueType.UINT16, ValueType.INT32, ValueType.UINT32, ValueType.UINT64) or value.data < 0:
        raise InputError(f"{key}: a count is needed", file=part.path,
                         found=f"{value.type.name} {printable(str(value.data))}")
    return value.data


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _check_part(part: GgufFile, number: int, count: int, total: int) -> None:
    for key, expected in (("split.no", number), ("split.count", count), ("split.tensors.count", total)):
        found = _split_value(part, key, -1)
        if found != expected:
            raise InputError(f"{key}: not the part that its name says, or of another model", file=part.path,
                             expected=expected, found="nothing" if found < 0 else found)


# --------------------------------------------------------------------------------------------------- writing


def layout(tensors: Iterable[tuple[str, str, Sequence[int]]], alignment: int = DEFAULT_ALIGNMENT) -> list[TensorLayout]:
    """Offsets for `(name, format name, shape)` in the given order, each tensor at the padded end of the one before.

    Raises `UnsupportedError` for what GGUF or ggml cannot hold: long or repeated names, more than four dimensions, rows
    that do not divide into blocks.
    """
    problems: list[GgufxError] = []
    laid: list[TensorLayout] = []
    names: set[str] = set()
    offset = 0
    for name, type_name, shape in tensors:
        try:
            if name in names:
                raise ValueError("two tensors have this name")
            if not name or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
                raise ValueError(f"a tensor's name in GGUF is printable and at most {MAX_NAME_BYTES} bytes long")
            if len(shape) > MAX_DIMS or prod(shape) > MAX_ELEMENTS:
                raise ValueError(f"GGUF holds at most {MAX_DIMS} dimensions and 2**63 elements, not {tuple(shape)}")
            nbytes = tensor_bytes(type_name, shape)
        except ValueError as error:
            problems.append(UnsupportedError(str(error), tensor=printable(name)))
            continue
        names.add(name)
        laid.append(TensorLayout(name, type_name, tuple(shape), offset, nbytes))
        offset = padded(offset + nbytes, alignment)
    raise_all(problems)
    return laid


def encode_header(metadata: Metadata, tensors: Sequence[TensorLayout]) -> bytes:
    """Everything before the data: counts, key-values, tensor table, padding. Data belongs at `len(result) + offset`.

    `metadata["general.alignment"]`, where present, must be the alignment that `layout` was given. Raises
    `UnsupportedError` for values that their GGUF type cannot hold.
    """
    alignment = metadata["general.alignment"].data if "general.alignment" in metadata else DEFAULT_ALIGNMENT
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        if not key or not key.isprintable() or len(key.encode()) > MAX_KEY_BYTES:
            raise UnsupportedError(f"'{printable(key)}': a GGUF key is printable, at most {MAX_KEY_BYTES} bytes long")
        parts += (_encoded_string(key), _encoded_value(key, value))
    for tensor in tensors:
        if tensor.offset % alignment:
            raise ValueError(f"{tensor.name} is laid out for another alignment than {alignment}")
        dims = len(tensor.shape)
        parts += (_encoded_string(tensor.name), struct.pack(f"<I{dims}QIQ", dims, *tensor.shape[::-1],
                                                            FORMATS[tensor.type].id, tensor.offset))
    header = b"".join(parts)
    return header + bytes(padded(len(header), alignment) - len(header))


def _encoded_string(text: str) -> bytes:
    raw = text.encode()
    return U64.pack(len(raw)) + raw


def _encoded_value(key: str, value: Value) -> bytes:
    try:
        return U32.pack(value.type) + _encoded_data(value)
    except (ValueError, OverflowError, TypeError, AttributeError, struct.error) as error:
        kind = value.type.name if value.item_type is None else f"array of {value.item_type.name}"
        found = printable(repr(value.data))
        raise UnsupportedError(f"{key}: cannot be stored as {kind} ({error})", found=found) from error


def _encoded_data(value: Value) -> bytes:
    if value.type is ValueType.STRING:
        return _encoded_string(value.data)
    if value.type is not ValueType.ARRAY:
        return _encoded_numbers(value.type, [value.data])
    if value.item_type is None:
        raise ValueError("an array has a type of its items")
    head = struct.pack("<IQ", value.item_type, len(value.data))
    if value.item_type is not ValueType.STRING:
        return head + _encoded_numbers(value.item_type, value.data)
    if isinstance(value.data, StringArray):
        return head + value.data.raw
    return head + b"".join(map(_encoded_string, value.data))


def _encoded_numbers(kind: ValueType, items: Sequence[int | float | bool] | np.ndarray) -> bytes:
    """Numbers as `kind`, refused where one does not fit: numpy would wrap or cut them."""
    if isinstance(items, np.ndarray):
        if items.dtype == DTYPES[kind]:
            return items.tobytes()
        items = items.tolist()
    if kind is ValueType.BOOL and not all(item in (0, 1) for item in items):
        raise ValueError("a bool is 0 or 1")
    return struct.pack(f"<{len(items)}{CODES[kind][1]}", *items)
