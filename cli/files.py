"""The small text files that commands write beside their result: a manifest of checksums, a page."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..converters.errors import StorageError, UsageError
from ..converters.io.objects import url_of

if TYPE_CHECKING:
    from ..converters.run.execute import WrittenFile


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
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise StorageError("may not be written", file=path, hint="Change the permissions, or write to another folder.")


def write_checksums(path: Path, files: Iterable[WrittenFile]) -> None:
    """What `sha256sum -c` takes, of files whose sum is known; objects by their names below the bucket, as copies have."""
    write_text(path, "".join(f"{f.sha256}  {_name(f.path)}\n" for f in files if f.sha256))


def _name(path: Path) -> str:
    url = url_of(path)
    return str(path) if url is None else url.split("/", 3)[3]


def write_text(path: Path, text: str) -> None:
    """UTF-8 text, in place of what was there. StorageError where it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", file=path) from error
