"""Opening and reading files that strangers made: regular files only, whole reads only, text that is safe to print.

Everything reads through file descriptors, never through a mapping: a file that shrinks under a mapping kills the
process, a short read is an error that can be told.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ... import system
from ..errors import InputError, StorageError, escaped
from .ranges import RangeFile, elsewhere

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TEXT = 64 << 20  # far beyond a chat template or a list of tokens
_READ_AT_ONCE = 1 << 30  # macOS refuses a single read of 2 GiB and more
_STAND_INS = (
    (b"version https://git-lfs", "a git-LFS pointer", "fetch it with `git lfs pull` in that repository, or download the "
     "repository with `hf download`"),
    *((sign, "a server's answer in place of the file", "download the repository with `hf download`, which says what is "
       "wrong") for sign in (b"<!doctype html", b"<html", b"entry not found", b"access to model", b"invalid username")),
)


def printable(text: str, limit: int = 80) -> str:
    """`text` with control, escape and direction characters written as escapes, cut after `limit` characters."""
    shown = escaped(text[: limit + 1])
    return shown if len(text) <= limit else f"{shown[:limit]}..."


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """The open file and its size in bytes; of one that is elsewhere, what reads it by ranges (`ranges.announce`).

    Raises `InputError` where there is no such file or it is a directory, FIFO, socket or device, `StorageError` where
    the system refuses (permissions, I/O).
    """
    if (there := elsewhere(path)) is not None:
        yield cast(BinaryIO, RangeFile(there)), there.size
        return
    try:
        file = open(path, "rb", buffering=0, opener=system.opener)  # noqa: SIM115 closed below
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError("no such file", file=path) from error
    except IsADirectoryError as error:
        raise InputError("is a directory, a file is needed", file=path) from error
    except ValueError as error:  # a NUL in the name
        raise InputError(f"not a file name ({error})", file=printable(str(path))) from error
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP, errno.ENAMETOOLONG):  # a socket; links in a circle; no such name
            raise InputError(f"not a regular file ({error.strerror})", file=path) from error
        raise StorageError(f"cannot be opened: {error.strerror}", file=path) from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError("not a regular file", file=path)
        yield file, status.st_size


def read_at(file: BinaryIO, offset: int, count: int, path: Path) -> bytes:
    """`count` bytes from `offset`. Raises `InputError` if the file ends before, `StorageError` if reading fails."""
    try:
        file.seek(offset)
        parts = []
        while count:
            part = file.read(min(count, _READ_AT_ONCE))
            if not part:
                raise InputError(f"the file ends {count} bytes early, it shrank while it was read", file=path)
            parts.append(part)
            count -= len(part)
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", file=path) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_bytes(path: Path, offset: int, count: int) -> bytes:
    """`count` bytes of a file that is not open yet. Raises as `open_regular` and `read_at`."""
    with open_regular(path) as (file, _):
        return read_at(file, offset, count, path)


class Reader:
    """Small reads here and there, as `read_bytes`: the file of the last one stays open. A context."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._path: Path | None = None
        self._file: BinaryIO | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __call__(self, path: Path, offset: int, count: int) -> bytes:
        if path != self._path or self._file is None:
            self._stack.close()
            self._file, _ = self._stack.enter_context(open_regular(path))
            self._path = path
        return read_at(self._file, offset, count, path)


def read_text(path: Path) -> str:
    """A small file as UTF-8 text without NUL. Raises as `open_regular`, and `InputError` for what is no such text."""
    with open_regular(path) as (file, size):
        if size > MAX_TEXT:
            raise InputError("too large for a text", file=path, expected=f"at most {MAX_TEXT} bytes", found=size)
        raw = read_at(file, 0, size, path)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"is no text: byte {error.start} is not UTF-8", file=path) from error
    if "\0" in text:
        raise InputError(f"is no text: byte {raw.index(0)} is NUL", file=path)
    return text


def refuse_stand_in(start: bytes, path: Path) -> None:
    """Raises `InputError` if the file's first bytes say that the content was never stored: nothing at all, a git-LFS
    pointer, or a server's answer in its place."""
    if not start:
        raise InputError("is empty: the download failed, or the disk was full", file=path, hint="fetch the file again")
    for sign, what, hint in _STAND_INS:
        if start.lstrip()[: len(sign)].lower() == sign:
            raise InputError(f"is {what}, the content was never downloaded", file=path, hint=hint)
