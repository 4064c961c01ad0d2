"""Bounded reading of GGUF's primitives and key-values from the beginning of a file.

Every read is checked against the bytes that are left before anything is allocated, and each error names the field and
the byte at which it stands.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import InputError
from .files import printable, read_at
from .string_array import StringArray, first_undecodable
from .values import Value, ValueType

MAX_STRING_BYTES = 64 << 20  # a chat template or an embedded config.json; the largest known are far below
MAX_ARRAY_STRINGS = 1 << 24  # 60 times the largest vocabulary
MAX_HEADER_BYTES = 256 << 20  # 16 times the largest known header

U32, U64 = struct.Struct("<I"), struct.Struct("<Q")
CODES = {  # the little-endian `struct` and numpy code of each value type that has a fixed size
    ValueType.UINT8: "<B", ValueType.INT8: "<b", ValueType.UINT16: "<H", ValueType.INT16: "<h", ValueType.UINT32: "<I",
    ValueType.INT32: "<i", ValueType.FLOAT32: "<f", ValueType.BOOL: "<?", ValueType.UINT64: "<Q", ValueType.INT64: "<q",
    ValueType.FLOAT64: "<d",
}
DTYPES = {kind: np.dtype(code) for kind, code in CODES.items()}

_VALUE_TYPES = dict(enumerate(ValueType))
FIRST_READ = 1 << 20  # most headers
_GROWTH = 4  # three reads hold the largest known header


class Cursor:
    """A position in the file's beginning, of which only as much is in memory as the header turned out to need."""

    def __init__(self, file: BinaryIO, size: int, path: Path) -> None:
        self._file = file
        self.size = size
        self.path = path
        self.buffer = b""
        self.position = 0

    def error(self, field: str, at: int, message: str, *, expected: object = None, found: object = None) -> InputError:
        return InputError(f"{field} at byte {at}: {message}", file=self.path, expected=expected, found=found)

    def need(self, end: int, field: str) -> None:
        """Have the bytes up to `end` in memory, or raise: the file or the limit ends before."""
        if end <= len(self.buffer):
            return
        if end > self.size:
            raise self.error(field, self.position, f"the file ends at byte {self.size}, this reaches to byte {end}")
        if end > MAX_HEADER_BYTES:
            raise self.error(field, self.position, f"the header is longer than {MAX_HEADER_BYTES} bytes")
        goal = min(self.size, MAX_HEADER_BYTES, max(end, FIRST_READ, _GROWTH * len(self.buffer)))
        self.buffer += read_at(self._file, len(self.buffer), goal - len(self.buffer), self.path)

    def take(self, count: int, field: str) -> bytes:
        """The next `count` bytes."""
        end = self.position + count
        self.need(end, field)
        taken = self.buffer[self.position:end]
        self.position = end
        return taken

    def u32(self, field: str) -> int:
        return U32.unpack(self.take(4, field))[0]

    def u64(self, field: str) -> int:
        return U64.unpack(self.take(8, field))[0]

    def count(self, field: str, least_bytes: int, limit: int | None = None) -> int:
        """A u64 count of things that take at least `least_bytes` each, checked against what is left of the file."""
        at = self.position
        found = self.u64(field)
        room = (self.size - self.position) // least_bytes
        if limit is not None:
            room = min(room, limit)
        if found > room:
            raise self.error(field, at, "too large", expected=f"at most {room}", found=found)
        return found

    def text(self, field: str, limit: int) -> str:
        """A string of at most `limit` bytes."""
        at = self.position
        length = self.count(f"length of {field}", 1, limit)
        raw = self.take(length, field)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise self.error(field, at + 8 + error.start, f"not UTF-8 ({error.reason})") from None

    def name(self, field: str, limit: int) -> str:
        """A key or a tensor's name: one line of printable text, never empty."""
        at = self.position
        found = self.text(field, limit)
        if not found or not found.isprintable():
            raise self.error(field, at, "a name is printable text", found=f"'{printable(found)}'")
        return found

    def strings(self, field: str) -> StringArray:
        """A string array: bounds and UTF-8 checked, nothing decoded."""
        count = self.count(f"length of {field}", 8, MAX_ARRAY_STRINGS)
        start = position = self.position
        unpack, ends = U64.unpack_from, array("q")
        append = ends.append

        def need(end: int) -> None:
            whole = bisect_right(ends, self.size - start)  # strings that end inside the file
            self.position = start + (ends[whole - 1] if whole else 0)
            self.need(end, f"{field}[{whole}]")

        while len(ends) < count:  # once, and once more for each time the buffer had to grow
            buffer = self.buffer
            try:
                for _ in range(count - len(ends)):
                    position += 8 + unpack(buffer, position)[0]
                    append(position - start)
            except (struct.error, OverflowError):
                need(position + 8)
        need(position)
        raw = self.buffer[start:position]
        bad = first_undecodable(raw, ends)
        if bad is not None:
            raise self.error(f"{field}[{bad}]", start + (ends[bad - 1] if bad else 0), "not UTF-8")
        self.position = position
        return StringArray(raw, ends)

    def value(self, key: str) -> Value:
        """A typed value; numeric arrays as read-only numpy arrays, string arrays as `StringArray`."""
        kind = self._value_type(f"type of {key}")
        if kind is not ValueType.ARRAY:
            return Value(kind, self._scalar(kind, key))
        item_at = self.position
        item_type = self._value_type(f"item type of {key}")
        if item_type is ValueType.ARRAY:
            raise self.error(f"item type of {key}", item_at, "arrays of arrays are not part of GGUF as ggml reads it")
        if item_type is ValueType.STRING:
            return Value(kind, self.strings(key), item_type)
        dtype = DTYPES[item_type]
        count = self.count(f"length of {key}", dtype.itemsize)
        at = self.position
        raw = self.take(count * dtype.itemsize, key)
        if item_type is ValueType.BOOL:
            wrong = np.flatnonzero(np.frombuffer(raw, np.uint8) > 1)
            if wrong.size:
                raise self.error(f"{key}[{wrong[0]}]", at + int(wrong[0]), "a bool is 0 or 1", found=raw[wrong[0]])
        return Value(kind, np.frombuffer(raw, dtype), item_type)

    def _value_type(self, field: str) -> ValueType:
        at = self.position
        found = self.u32(field)
        if found not in _VALUE_TYPES:
            raise self.error(field, at, "no such value type", expected="0 to 12", found=found)
        return _VALUE_TYPES[found]

    def _scalar(self, kind: ValueType, key: str) -> int | float | bool | str:
        if kind is ValueType.STRING:
            return self.text(key, MAX_STRING_BYTES)
        at = self.position
        raw = self.take(DTYPES[kind].itemsize, key)
        if kind is ValueType.BOOL and raw[0] > 1:
            raise self.error(key, at, "a bool is 0 or 1", found=raw[0])
        return struct.unpack(CODES[kind], raw)[0]
