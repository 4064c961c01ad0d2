"""safetensors files: a strict reader of headers, and headers for files whose data is written in any order.

The library's own checks leave two holes (a name given twice, ranges given twice) and its writer needs every tensor in
memory at once; so both directions are done here, and what is written opens with `safetensors.safe_open`.

Layout: u64 header length, a JSON object `{name: {"dtype", "shape", "data_offsets": [begin, end]}}` with an optional
`__metadata__` of strings, space-padded to 8 bytes; then data, which the ranges cover without overlap, hole or rest.
Source: the safetensors format description.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ...quant.formats import ELEMENT_TYPES
from ..errors import GgufxError, InputError, UnsupportedError, raise_all
from .files import open_regular, printable, read_at, refuse_stand_in
from .json_file import parse_object
from .tensors import StoredTensor, TensorLayout

MAX_HEADER_BYTES = 100_000_000  # the library's limit
MAX_ELEMENTS = (1 << 63) - 1
# The order of dtypes in files of the safetensors library: its enum, from the end.
_ORDER = ("U64", "I64", "F64", "C64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16", "F8_E5M2FNUZ", "F8_E4M3FNUZ", "F8_E8M0",
          "F8_E4M3", "F8_E5M2", "I8", "U8", "F6_E3M2", "F6_E2M3", "F4", "BOOL")
_RANK = {name: rank for rank, name in enumerate(_ORDER)}
MAX_PROBLEMS = 20  # of one file in one message: a hostile header could hold a million

@dataclass(frozen=True, slots=True)
class SafetensorsFile:
    """A checked header; `tensors` in the header's order."""

    path: Path
    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a checkpoint to be written."""

    file_name: str
    tensors: tuple[TensorLayout, ...]
    metadata: Mapping[str, str] | None = None  # as of `encode_safetensors_header`


def read_safetensors_header(path: str | Path) -> SafetensorsFile:
    """Read and check the header of one file; no tensor byte is read.

    Raises `InputError` for a header that is damaged, cut or contradicts itself or the file size, naming the tensor and
    the byte; `UnsupportedError` for an unknown dtype. Several faulty tensors are reported in one message.
    """
    path = Path(path)
    with open_regular(path) as (file, size):
        start = read_at(file, 0, min(size, 64), path)
        refuse_stand_in(start, path)
        if size < 8:
            raise InputError("byte 0: too short for a safetensors file", file=path, expected="at least 8 bytes",
                             found=size)
        (length,) = struct.unpack("<Q", start[:8])
        limit = min(size - 8, MAX_HEADER_BYTES)
        if length > limit:
            raise InputError("header length at byte 0: too large", file=path, expected=f"at most {limit}", found=length)
        raw = read_at(file, 8, length, path)
        tensors, metadata = _checked(raw, path)
        end = max((t.offset + t.nbytes for t in tensors.values()), default=8 + length)
        behind = read_at(file, end, 9, path) if end + 9 <= size else b""
    if behind[8:] == b"{":
        raise InputError(f"byte {end}: another safetensors file follows, parts were joined with `cat`", file=path,
                         hint="keep the parts as they are, with model.safetensors.index.json beside them")
    _check_cover(tensors.values(), 8 + length, size, path)
    return SafetensorsFile(path, tensors, metadata)


def header_metadata(path: Path) -> dict[str, str]:
    """What a file says beside its tensors; nothing where it is no safetensors file. Raises as `read_safetensors_header`."""
    return read_safetensors_header(path).metadata if path.suffix == ".safetensors" else {}


def _checked(raw: bytes, path: Path) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Tensors and metadata of a header, each checked by itself."""
    if raw[:1] != b"{":
        raise InputError("byte 8: the header is not a JSON object", file=path, found=raw[:8])
    header = parse_object(raw, path, start=8)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise InputError("__metadata__: maps strings to strings", file=path)

    problems: list[GgufxError] = []
    tensors: dict[str, StoredTensor] = {}
    for name, entry in header.items():
        try:
            tensors[name] = _checked_entry(name, entry, path, 8 + len(raw))
        except GgufxError as error:
            problems.append(error)
            if len(problems) == MAX_PROBLEMS:
                break
    raise_all(problems)
    return tensors, metadata


def _checked_entry(name: str, entry: Any, path: Path, data_start: int) -> StoredTensor:
    if not name or not name.isprintable():
        raise InputError("a tensor's name is printable text", file=path, tensor=printable(name))
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise InputError("an object with dtype, shape and data_offsets is needed", file=path, tensor=name)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ELEMENT_TYPES:
        raise UnsupportedError("dtype: none that ggufx knows", file=path, tensor=name, found=printable(str(dtype)))
    if not _counts(shape) or prod(max(n, 1) for n in shape) > MAX_ELEMENTS:
        raise InputError("shape: counts whose product fits 63 bits are needed", file=path, tensor=name,
                         found=printable(str(shape)))
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise InputError("data_offsets: [begin, end] with 0 <= begin <= end is needed", file=path, tensor=name,
                         found=printable(str(offsets)))
    begin, end = offsets
    try:
        nbytes = ELEMENT_TYPES[dtype].nbytes(prod(shape))
    except ValueError as error:
        raise InputError(f"shape: {error}", file=path, tensor=name) from None
    if end - begin != nbytes:
        raise InputError(f"data_offsets: {dtype} {shape} needs another number of bytes", file=path, tensor=name,
                         expected=nbytes, found=end - begin)
    return StoredTensor(name, dtype, tuple(shape), path, data_start + begin, nbytes)


def _counts(found: Any) -> bool:
    return isinstance(found, list) and all(type(n) is int and 0 <= n <= MAX_ELEMENTS for n in found)


def _check_cover(tensors: Iterable[StoredTensor], data_start: int, size: int, path: Path) -> None:
    """The ranges, put in order, must lie end to end from the first data byte to the last byte of the file."""
    end = data_start
    for tensor in sorted(tensors, key=lambda t: (t.offset, t.nbytes)):
        if tensor.offset != end:
            fault = "overlaps the tensor before it" if tensor.offset < end else "leaves a hole before it"
            raise InputError(f"data_offsets: {fault}", file=path, tensor=printable(tensor.name),
                             expected=f"byte {end}", found=f"byte {tensor.offset}")
        end = tensor.offset + tensor.nbytes
    if end != size:
        fault = "the file is cut" if size < end else "bytes that belong to no tensor follow the data"
        raise InputError(f"byte {min(end, size)}: {fault}", file=path, expected=f"{end} bytes", found=size)


def layout(tensors: Iterable[tuple[str, str, Sequence[int]]]) -> list[TensorLayout]:
    """Offsets for `(name, dtype, shape)` in the order of the safetensors library: by dtype, the widest first, so that every
    tensor is aligned, then by name.

    Raises `UnsupportedError` for names or dtypes that safetensors cannot hold.
    """
    rows = list(tensors)
    problems: list[GgufxError] = []
    names: set[str] = {"__metadata__"}
    for name, dtype, _ in rows:
        if name in names:
            problems.append(UnsupportedError("this name is taken", tensor=printable(name)))
        elif dtype not in ELEMENT_TYPES:
            problems.append(UnsupportedError("safetensors has no such dtype", tensor=printable(name), found=dtype))
        names.add(name)
    raise_all(problems)
    laid: list[TensorLayout] = []
    offset = 0
    for name, dtype, shape in sorted(rows, key=lambda row: (_RANK[row[1]], row[0].encode())):
        laid.append(TensorLayout(name, dtype, tuple(shape), offset, ELEMENT_TYPES[dtype].nbytes(prod(shape))))
        offset += laid[-1].nbytes
    return laid


def encode_safetensors_header(tensors: Sequence[TensorLayout], metadata: Mapping[str, str] | None = None) -> bytes:
    """The length and the padded JSON. Tensor data belongs at `len(result) + offset`.

    Without `metadata`, `{"format": "pt"}`, which transformers asks for.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata) if metadata is not None else {"format": "pt"}}
    for tensor in tensors:
        header[tensor.name] = {"dtype": tensor.type, "shape": tensor.shape,
                               "data_offsets": (tensor.offset, tensor.offset + tensor.nbytes)}
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)
    if len(raw) > MAX_HEADER_BYTES:
        raise UnsupportedError("the safetensors header is too long", expected=f"at most {MAX_HEADER_BYTES}",
                               found=len(raw))
    return struct.pack("<Q", len(raw)) + raw


def shard(tensors: Iterable[tuple[str, str, Sequence[int]]], max_bytes: int, stem: str = "model") -> list[Shard]:
    """Files of at most `max_bytes` of data, filled in the given order; a larger tensor gets a file of its own.

    One file is named `<stem>.safetensors`, several `<stem>-00001-of-0000N.safetensors`; for several, write
    `encode_index` as `<stem>.safetensors.index.json`. Raises as `layout`.
    """
    rows = list(tensors)
    layout(rows)  # names must be unique over all files
    groups: list[list[tuple[str, str, Sequence[int]]]] = [[]]
    filled = 0
    for row in rows:
        nbytes = ELEMENT_TYPES[row[1]].nbytes(prod(row[2]))
        if groups[-1] and filled + nbytes > max_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(row)
        filled += nbytes
    if len(groups) == 1:
        return [Shard(f"{stem}.safetensors", tuple(layout(groups[0])))]
    return [Shard(f"{stem}-{i:05d}-of-{len(groups):05d}.safetensors", tuple(layout(group)))
            for i, group in enumerate(groups, 1)]


def encode_index(shards: Sequence[Shard], metadata: Mapping[str, Any] | None = None) -> bytes:
    """The JSON that says which file holds which tensor. `metadata`: what else is said of them, here their bytes in all."""
    weight_map = {tensor.name: part.file_name for part in shards for tensor in part.tensors}
    total = sum(tensor.nbytes for part in shards for tensor in part.tensors)
    index = {"metadata": {"total_size": total, **(metadata or {})}, "weight_map": weight_map}
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()
