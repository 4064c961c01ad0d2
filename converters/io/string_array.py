"""A GGUF string array as it lies in the file, decoded only where someone looks.

A vocabulary holds a million strings of a few bytes: decoding them all costs more than everything else in the header,
and most readers want none of them.
"""

from __future__ import annotations

import codecs
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, overload

import numpy as np

_PREFIX = 8  # each string stands behind its length, a little-endian u64
_CHUNK = 1 << 20  # decoded at a time while checking: the text is thrown away, so no need to hold it all


class StringArray(Sequence[str]):
    """An immutable sequence of str over `raw`, the strings each behind its u64 length; string i ends at `ends[i]`.

    Equal to any list, tuple or `StringArray` of the same strings. `raw` may be written to a file as it is.
    """

    __slots__ = ("_ends", "raw")

    def __init__(self, raw: bytes, ends: array[int]) -> None:
        self.raw = raw
        self._ends = ends

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError("string array index out of range")
        start = self._ends[index - 1] if index else 0
        return self.raw[start + _PREFIX:self._ends[index]].decode()

    def __iter__(self) -> Iterator[str]:
        raw = self.raw
        for start, end in zip(chain((0,), self._ends), self._ends, strict=False):
            yield raw[start + _PREFIX:end].decode()

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, StringArray):
            return self.raw == other.raw
        if isinstance(other, (list, tuple)):
            return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(repr(item) for item in self[:3])
        return f"StringArray({len(self)}: [{shown}{', ...' if len(self) > 3 else ''}])"


def first_undecodable(raw: bytes, ends: array[int]) -> int | None:
    """The index of the first string that is not UTF-8, or None.

    One decoding pass over everything: the bytes of a length below 128 are ASCII and keep neighbours apart, those of
    longer ones are blanked for the purpose.
    """
    if not ends:
        return None
    octets: bytes | np.ndarray = raw
    past = np.frombuffer(ends, np.int64)
    starts = np.concatenate([[0], past[:-1]])
    longest = int((past - starts).max()) - _PREFIX
    if longest > 127:
        octets = np.frombuffer(raw, np.uint8).copy()
        for i in range((longest.bit_length() + 7) // 8):
            octets[starts + i] = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(octets)
    try:
        for i in range(0, len(view), _CHUNK):
            decoder.decode(view[i:i + _CHUNK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        spans = zip(starts, past, strict=True)
        return next(i for i, (start, end) in enumerate(spans) if not _decodes(raw[start + _PREFIX:end]))
    return None


def _decodes(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
