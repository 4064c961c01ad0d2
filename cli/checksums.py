"""The manifest of checksums that commands write beside their result."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..converters.io.objects import url_of
from ..converters.io.whole_files import write_text

if TYPE_CHECKING:
    from ..converters.run.execute import WrittenFile


def write_checksums(path: Path, files: Iterable[WrittenFile]) -> None:
    """What `sha256sum -c` takes, of files whose sum is known; objects by their names below the bucket, as copies have."""
    write_text(path, "".join(f"{f.sha256}  {_name(f.path)}\n" for f in files if f.sha256))


def _name(path: Path) -> str:
    url = url_of(path)
    return str(path) if url is None else url.split("/", 3)[3]
