"""Importance matrices: how much each input column of each weight matters, from llama.cpp's `imatrix` files.

Two containers hold the same thing: a headerless one (`.dat`, all little endian here) and GGUF. Facts: llama.cpp
v0.5.0-dev, common/imatrix-loader.cpp and tools/quantize. What a file holds is checked before it is believed: lengths
before anything is allocated, values before they become weights.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

SUMS, COUNTS = ".in_sum2", ".counts"
_KEYS = ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size")
_MAX_PROBLEMS = 20


class UnfitEntry(ValueError):
    """An entry with another number of values than the tensor of its name needs: `expected`, `found`."""

    def __init__(self, name: str, expected: int, found: int) -> None:
        super().__init__(f"{name}: the importance matrix has {found} values, the tensor needs {expected}")
        self.expected, self.found = expected, found


@dataclass(frozen=True, slots=True)
class ImportanceMatrix:
    """Weights per GGUF tensor name: float32 [matrices, columns], one row per expert or a single row.

    `unseen` names (tensor, matrix) pairs that no token reached; `zero` those whose values are all 0, which would make a
    quantizer ignore every error and write broken blocks. Both carry weight 1 in every column.
    """

    entries: dict[str, np.ndarray]
    datasets: tuple[str, ...] = ()
    chunk_count: int = 0
    unseen: tuple[tuple[str, int], ...] = field(default=())
    zero: tuple[tuple[str, int], ...] = field(default=())

    def select(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> ImportanceMatrix:
        """The entries whose name contains one of `include`, or none of `exclude`; ValueError when both are given."""
        if include and exclude:
            raise ValueError("include and exclude cannot be combined")

        def kept(name: str) -> bool:
            if include:
                return any(part in name for part in include)
            return not any(part in name for part in exclude)

        return replace(
            self,
            entries={name: values for name, values in self.entries.items() if kept(name)},
            unseen=tuple(pair for pair in self.unseen if kept(pair[0])),
            zero=tuple(pair for pair in self.zero if kept(pair[0])),
        )

    def weights(self, name: str, shape: Sequence[int]) -> np.ndarray | None:
        """float32 [experts, cols] for a tensor of `shape` [.., experts, rows, cols], or None without an entry.

        Row e serves every row of expert e. An entry of another size raises UnfitEntry, except for token embeddings,
        where it is ignored.
        """
        values = self.entries.get(name)
        if values is None:
            return None
        experts, cols = (shape[-3] if len(shape) > 2 else 1), shape[-1]
        if values.size != experts * cols:
            if name in ("token_embd.weight", "per_layer_token_embd.weight"):
                return None
            raise UnfitEntry(name, experts * cols, values.size)
        return values.reshape(experts, cols)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that have no entry, in order."""
        return [name for name in names if name not in self.entries]

    def facts(self, path: str) -> dict[str, str | int]:
        """The `quantize.imatrix.*` key-values as llama-quantize writes them: strings, and numbers for u32.

        `path` and the first dataset's name are cut to 127 bytes of UTF-8 (a cut character is left out whole).
        """
        facts: dict[str, str | int] = {"quantize.imatrix.file": _cut(path)}
        if self.datasets:
            facts["quantize.imatrix.dataset"] = _cut(self.datasets[0])
        facts["quantize.imatrix.entries_count"] = len(self.entries)
        if self.chunk_count > 0:
            facts["quantize.imatrix.chunks_count"] = self.chunk_count
        return facts


def _cut(text: str) -> str:
    return text.encode()[:127].decode(errors="ignore")


def from_legacy(buffer: bytes | bytearray | memoryview) -> ImportanceMatrix:
    """Read a `.dat` file: entry count; per entry name, calls, values; then perhaps chunk count and dataset.

    Weight = value / calls, or the value itself where calls <= 0. Raises ValueError with offset and field for a file
    that is cut short, has bytes left over or names an entry twice, and by name for values that are no weights.
    """
    reader = _Reader(memoryview(buffer).cast("B"))
    count = reader.number("number of entries", 1)
    # An entry takes 17 bytes at least, so a larger count cannot be true.
    if count > len(reader.buffer) // 17:
        raise reader.error("number of entries", f"{count} entries do not fit in {len(reader.buffer)} bytes")
    entries: dict[str, np.ndarray] = {}
    for at in range(count):
        what = f"entry {at + 1}"
        name = reader.text(f"{what}: name", reader.number(f"{what}: length of name", 1))
        if name in entries:
            raise reader.error(f"{what}: name", f"{name!r} is listed twice")
        calls = reader.number(f"{name}: number of calls")
        values = reader.floats(f"{name}: values", reader.number(f"{name}: number of values", 1))
        entries[name] = (values / np.float32(calls) if calls > 0 else values).reshape(1, -1)
    chunks = 0
    datasets: tuple[str, ...] = ()
    if not reader.done:
        chunks = reader.number("chunk count")
        length = 0 if reader.done else reader.number("length of dataset name")
        datasets = (reader.text("dataset name", length),) if length > 0 else ()
        if not reader.done:
            raise reader.error("end", f"{len(reader.buffer) - reader.at} bytes are left over")
    return _checked(entries, datasets, chunks, ())


def from_gguf(metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> ImportanceMatrix:
    """From a parsed GGUF file: plain Python values by key, float32 arrays in numpy order by tensor name.

    A weight's entry is `<name>.in_sum2` [matrices, columns] (sums of squares) with `<name>.counts` (tokens per matrix).
    Weight = sum / count, and 1 where the count is 0. Raises ValueError listing all that is wrong.
    """
    problems = [f"key {key} is missing" for key in _KEYS if key not in metadata]
    names = dict.fromkeys(
        name.removesuffix(SUMS).removesuffix(COUNTS) for name in tensors if name.endswith((SUMS, COUNTS))
    )
    if not names:
        problems.append("there are no importance entries")
    entries: dict[str, np.ndarray] = {}
    unseen: list[tuple[str, int]] = []
    for name in sorted(names):
        sums, counts = tensors.get(name + SUMS), tensors.get(name + COUNTS)
        if sums is None or counts is None:
            problems.append(f"{name}: {SUMS if sums is None else COUNTS} is missing")
        elif sums.dtype != np.float32 or counts.dtype != np.float32:
            problems.append(f"{name}: sums and counts must be float32, not {sums.dtype} and {counts.dtype}")
        elif not counts.size or not sums.size or sums.size % counts.size:
            problems.append(f"{name}: {sums.size} sums do not divide among {counts.size} counts")
        elif not np.isfinite(counts).all():
            problems.append(f"{name}: count {int(np.flatnonzero(~np.isfinite(counts))[0])} is not finite")
        else:
            tokens = _rounded(counts.reshape(-1, 1))
            sums = sums.reshape(tokens.size, -1)
            entries[name] = np.divide(sums, tokens, out=np.ones_like(sums), where=tokens > 0)
            unseen += [(name, int(at)) for at in np.flatnonzero(tokens <= 0)]
    if problems:
        raise ValueError(_listed(problems))
    return _checked(entries, tuple(metadata[_KEYS[0]]), int(metadata[_KEYS[1]]), tuple(unseen))


def _rounded(counts: np.ndarray) -> np.ndarray:
    """lround: halves away from zero."""
    exact = counts.astype(np.float64)
    return np.trunc(exact + np.copysign(0.5, exact)).astype(np.float32)


def _checked(
    entries: dict[str, np.ndarray], datasets: tuple[str, ...], chunks: int, unseen: tuple[tuple[str, int], ...]
) -> ImportanceMatrix:
    problems, zero = [], []
    for name, values in entries.items():
        bad = ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            matrix, column = (int(at) for at in np.argwhere(bad)[0])
            where = f"matrix {matrix}, column {column}" if len(values) > 1 else f"column {column}"
            problems.append(f"{name}: weight {values[matrix, column]} at {where} ({int(bad.sum())} such values)")
            continue
        for row in np.flatnonzero(~values.any(axis=1)):
            zero.append((name, int(row)))
            values[row] = 1
    if problems:
        raise ValueError(_listed([f"weights must be finite and not negative: {problem}" for problem in problems]))
    return ImportanceMatrix(entries, datasets, chunks, unseen, tuple(zero))


def _listed(problems: list[str]) -> str:
    more = len(problems) - _MAX_PROBLEMS
    return "\n".join(problems[:_MAX_PROBLEMS] + ([f"... and {more} more"] if more > 0 else []))


class _Reader:
    """A cursor over a buffer; every read is checked against what is left."""

    def __init__(self, buffer: memoryview):
        self.buffer = buffer
        self.at = 0

    @property
    def done(self) -> bool:
        return self.at == len(self.buffer)

    def error(self, what: str, reason: str) -> ValueError:
        return ValueError(f"importance matrix, offset {self.at}, {what}: {reason}")

    def take(self, what: str, size: int) -> memoryview:
        left = len(self.buffer) - self.at
        if size > left:
            raise self.error(what, f"{size} bytes are needed, {left} are left")
        self.at += size
        return self.buffer[self.at - size : self.at]

    def number(self, what: str, least: int | None = None) -> int:
        (value,) = struct.unpack("<i", self.take(what, 4))
        if least is not None and value < least:
            self.at -= 4
            raise self.error(what, f"{value} is less than {least}")
        return value

    def text(self, what: str, length: int) -> str:
        start = self.at
        raw = bytes(self.take(what, length))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.at = start
            raise self.error(what, "not UTF-8") from None

    def floats(self, what: str, count: int) -> np.ndarray:
        return np.frombuffer(self.take(what, 4 * count), "<f4").astype(np.float32)
