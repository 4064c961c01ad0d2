"""Importance matrices as llama-imatrix keeps them: sums of squares and counts, not yet weights. Written and read as GGUF.

Keys `general.type` "imatrix", `imatrix.datasets`, `imatrix.chunk_count`, `imatrix.chunk_size`; for each weight, by name,
`<weight>.in_sum2` F32 [counts, values] and `<weight>.counts` F32 [counts, 1], of a single count [values] and [1].
Source: llama.cpp tools/imatrix/imatrix.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ..errors import InputError
from .files import open_regular, read_at
from .gguf import MAGIC, encode_header, layout, read_gguf
from .values import Metadata, Value, ValueType, string, u32
from .whole_files import whole_file

SUMS, COUNTS = ".in_sum2", ".counts"
DATASETS, CHUNK_COUNT, CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"


@dataclass(frozen=True)
class Entry:
    """Of one weight: `sums` float64 [counts, values], the squares of what it was multiplied by; `counts` int64, how many rows
    these are: one per expert, or a single one, also where a weight is several matrices."""

    sums: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class ImatrixFile:
    """`entries` by the name of the weight; `datasets`: names of the texts; `chunk_size` in tokens."""

    entries: Mapping[str, Entry]
    datasets: tuple[str, ...]
    chunk_count: int
    chunk_size: int


def write_imatrix(path: Path, made: ImatrixFile) -> None:
    """Write it in place of what was there, complete or not at all; sums are rounded once, to float32. StorageError."""
    metadata: Metadata = {
        "general.type": string("imatrix"), DATASETS: Value(ValueType.ARRAY, list(made.datasets), ValueType.STRING),
        CHUNK_COUNT: u32(made.chunk_count), CHUNK_SIZE: u32(made.chunk_size),
    }
    arrays = {}
    for name, entry in sorted(made.entries.items(), key=lambda item: item[0].encode()):
        sums, counts = entry.sums.astype("<f4"), entry.counts.astype("<f4").reshape(-1, 1)
        arrays[name + SUMS], arrays[name + COUNTS] = (sums, counts) if len(counts) > 1 else (sums.reshape(-1), counts[0])
    laid = layout((name, "F32", array.shape) for name, array in arrays.items())
    head = encode_header(metadata, laid)
    with whole_file(path) as file:
        file.write(head)
        for tensor, array in zip(laid, arrays.values(), strict=True):
            file.write(bytes(len(head) + tensor.offset - file.tell()))
            file.write(array.tobytes())
        end = laid[-1].offset + laid[-1].nbytes if laid else 0
        file.write(bytes(-end % 32))


def read_imatrix_file(path: Path) -> ImatrixFile:
    """Raises InputError for what is no importance matrix in GGUF, or contradicts itself."""
    with open_regular(path) as (file, size):
        if read_at(file, 0, min(4, size), path) != MAGIC:
            raise InputError("is no GGUF file", file=path, hint="Matrices of the older format (.dat) hold no sums: they can be "
                             "used to quantize, and neither shown nor merged.")
    header = read_gguf(path)
    missing = [key for key in (DATASETS, CHUNK_COUNT, CHUNK_SIZE) if key not in header.metadata]
    if missing:
        raise InputError(f"is no importance matrix: {missing[0]} is missing", file=path)
    entries = {}
    with open_regular(path) as (file, _):
        def floats(name: str) -> np.ndarray:
            if (tensor := header.tensors.get(name)) is None or tensor.type != "F32" or not prod(tensor.shape):
                raise InputError("is missing, or holds no F32 numbers", file=path, tensor=name)
            raw = read_at(file, tensor.offset, tensor.nbytes, path)
            return np.frombuffer(raw, "<f4").astype(np.float64)

        held = (name for name in header.tensors if name.endswith((SUMS, COUNTS)))
        for name in dict.fromkeys(name.removesuffix(SUMS).removesuffix(COUNTS) for name in held):
            sums, counts = floats(name + SUMS), floats(name + COUNTS)
            if sums.size % counts.size or not (np.isfinite(sums).all() and np.isfinite(counts).all()) or sums.min() < 0:
                raise InputError("no sound sums and counts", file=path, tensor=name)
            entries[name] = Entry(sums.reshape(counts.size, -1), np.rint(counts).astype(np.int64))
    if not entries:
        raise InputError("there are no importance entries", file=path)
    keys = header.metadata
    return ImatrixFile(entries, tuple(map(str, keys[DATASETS].data)), int(keys[CHUNK_COUNT].data), int(keys[CHUNK_SIZE].data))
