"""Small files written whole or not at all: what has the name is complete, and on the disk."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ... import system
from ..errors import StorageError, UsageError


def check_writable(path: Path | None, force: bool) -> None:
    """Refuse ahead of the work what `write_text` would refuse after it. UsageError, StorageError."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise StorageError("no such folder", file=path.parent, hint="Make it first, or write to another.")
    if path.is_dir():
        raise UsageError("is a folder, a file is to be written", file=path)
    if path.exists() and not force:
        raise UsageError("exists already", file=path, hint="Pass --force to replace it.")
    if not all(os.access(where, os.W_OK) for where in _written(path) if where.exists()):
        raise StorageError("may not be written", file=path, hint="Change the permissions, or write to another folder.")


def write_text(path: Path, text: str) -> None:
    """UTF-8 text, in place of what was there. StorageError where it cannot be written."""
    with whole_file(path) as file:
        file.write(text.encode())


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to be filled, which has its name when the block has ended well, in place of what was there; several processes may
    write one. What is no file (a pipe, a terminal) is written to as it is. StorageError where the system refuses."""
    try:
        if _is_special(path):
            with open(path, "wb") as file:
                yield file
            return
        path = Path(os.path.realpath(path))  # a link stays
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            with open(part, "xb") as file:
                yield file
                file.flush()
                system.sync_file(file.fileno())
                system.rename(file.fileno(), part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", file=path) from error


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _written(path: Path) -> list[Path]:
    """What must be writable to write it."""
    return [path] if _is_special(path) else [path, Path(os.path.realpath(path)).parent]
