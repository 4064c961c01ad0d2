"""Files that are elsewhere, on the Hub or in an object store, read by ranges: what a header needs, and nothing else.

Such a file is announced under the path at which it would lie if it were here. From then on `open_regular` opens it by that
path, `exists` and `names_in` know of it, and so do all readers of headers. What is here is always read here.
"""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Protocol

MAX_KEPT = 256 << 20  # of a file's beginning: the longest header that is read


class RangeSource(Protocol):
    """A file elsewhere, of `size` bytes that do not change."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, count: int) -> bytes:
        """Exactly these bytes, which are in the file; on any thread. NetworkError where they cannot be had."""
        ...

    def check(self) -> None:
        """InputError where the file is no longer what it was when it was announced."""
        ...


class Elsewhere:
    """An announced file. Its beginning is kept as far as it was read: a header is read in few, growing steps."""

    def __init__(self, source: RangeSource, start: bytes = b"") -> None:
        self.size = source.size
        self.source = source
        self._start = start
        self._lock = threading.Lock()

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset`: what the file has of them."""
        stop = min(offset + count, self.size)
        if stop <= offset:
            return b""
        with self._lock:
            if offset <= len(self._start) < stop <= MAX_KEPT:
                self._start += self.source.read(len(self._start), stop - len(self._start))
            if stop <= len(self._start):
                return self._start[offset:stop]
        return self.source.read(offset, stop - offset)


class RangeFile(io.RawIOBase):
    """An announced file, opened: what `open_regular` gives for it."""

    def __init__(self, there: Elsewhere) -> None:
        self._there = there
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._there.size}[whence]
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        count = self._there.size if size is None or size < 0 else size
        found = self._there.read(self._position, count)
        self._position += len(found)
        return found


_ANNOUNCED: dict[str, Elsewhere] = {}


def announce(path: Path, source: RangeSource, start: bytes = b"") -> None:
    """Let the file at `path` be read from `source` as long as none is here; `start`: what is known of its beginning."""
    _ANNOUNCED[os.path.abspath(path)] = Elsewhere(source, start)


def elsewhere(path: str | Path) -> Elsewhere | None:
    """The announced file of this path; None where there is one here."""
    found = _ANNOUNCED.get(os.path.abspath(path)) if _ANNOUNCED else None
    return None if found is None or os.path.lexists(path) else found


def exists(path: str | Path) -> bool:
    """Whether a file can be opened by this path, here or elsewhere."""
    return os.path.exists(path) or elsewhere(path) is not None


def names_in(folder: Path) -> set[str]:
    """The names of announced files in a folder."""
    home = os.path.abspath(folder)
    return {os.path.basename(path) for path in _ANNOUNCED if os.path.dirname(path) == home}
