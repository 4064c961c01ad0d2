"""The journal of a conversion: receipts of its finished tiles, beside its output, so that another run can continue.

One record per line: CRC-32 of the text, then the text, JSON. The first names the plan, each further one is a receipt.
A torn or damaged tail is dropped. Nothing in a journal is believed: a receipt is a claim that the bytes must confirm.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import system
from ..errors import GgufxError
from ..io.whole_files import whole_file
from ..plan.tiles import Tile
from .losses import Sums
from .open_files import storage_error

SUFFIX = ".ggufx-journal"
FORMAT = 1
MAX_LINE = 1 << 20
WRITE_INTERVAL = 0.05  # seconds of receipts that a killed process may lose


@dataclass(frozen=True, slots=True)
class Receipt:
    """A tile of a job (its position in the list of jobs) is written, with these checksums of its outputs.

    `failed`: sets of files that cannot be made, as this tile shows, and why; a journal does not keep it. `sums`: what each
    output lost, None where it loses nothing; of a run that reports losses.
    """

    job: int
    tile: Tile
    checksums: tuple[int, ...]
    failed: tuple[tuple[int, GgufxError], ...] = ()
    sums: tuple[Sums | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What a journal holds: the identity of its conversion (None where it cannot be read) and its receipts.

    `outputs`: names of the conversion's outputs in the journal's folder. `size`: how many bytes of the file are sound.
    """

    identity: str | None = None
    outputs: tuple[str, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    size: int = 0


def read_journal(path: Path) -> Record | None:
    """The sound part of a journal; None where there is no such file. StorageError where it cannot be read."""
    try:
        descriptor = system.open_own(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, path, "read") from error
    identity, outputs, receipts, size = None, (), [], 0
    with open(descriptor, "rb") as file:
        try:
            for length, record in _records(file):
                if identity is None:
                    if record["journal"] != FORMAT:
                        break
                    identity, outputs = str(record["identity"]), tuple(filter(_is_name, record["outputs"]))
                else:
                    sums = tuple(map(_sums, record.pop())) if isinstance(record[-1], list) else ()
                    job, start, stop, count, *checksums = map(int, record)
                    if not 0 <= start < stop <= count:
                        break
                    receipts.append(Receipt(job, Tile(start, stop, count), tuple(checksums), (), sums))
                size += length
        except (KeyError, TypeError, ValueError):
            pass  # a line that was not written by us ends the journal, like a torn one
        except OSError as error:
            raise storage_error(error, path, "read") from error
    return Record(identity, outputs, tuple(receipts), size)


def _sums(data: Any) -> Sums | None:
    """What an output lost, as a record has it."""
    if data is None:
        return None
    lost, held = (tuple(map(float, part)) for part in data)
    return lost, held


def _is_name(text: Any) -> bool:
    """No path that leads out of the folder."""
    return isinstance(text, str) and text not in ("", ".", "..") and not {"/", "\\", "\0"} & set(text)


def _records(file: Any) -> Iterator[tuple[int, Any]]:
    """Length and content of each line until the first that is damaged."""
    while line := file.readline(MAX_LINE):
        checksum, _, text = line.partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
            return
        yield len(line), json.loads(text)


def write_receipts(path: Path, identity: str, outputs: Iterable[Path], receipts: Iterable[Receipt]) -> None:
    """A journal of work that is done, which appears complete and synced, or not at all. StorageError where it cannot."""
    names = [output.name for output in outputs if output.parent == path.parent]
    records = ({"journal": FORMAT, "identity": identity, "outputs": names}, *map(_record_of, receipts))
    with whole_file(path) as file:
        file.writelines(map(_line, records))


def _record_of(receipt: Receipt) -> list[Any]:
    tile = receipt.tile
    sums = [receipt.sums] if receipt.sums else []
    return [receipt.job, tile.start, tile.stop, tile.count, *receipt.checksums, *sums]


def _line(record: Any) -> bytes:
    text = json.dumps(record).encode() + b"\n"
    return b"%08x %b" % (zlib.crc32(text), text)


class Journal:
    """An open journal. It is an aid: where it cannot be written, it falls silent, and the conversion goes on."""

    def __init__(self, path: Path, identity: str, outputs: Iterable[Path], record: Record | None = None) -> None:
        """Begin the journal of a conversion to `outputs`, or continue the sound part of `record`."""
        self.path = path
        self._lines: list[bytes] = []
        self._last_write = 0.0
        self._descriptor: int | None = None
        with suppress(OSError):
            if record is None:
                path.unlink(missing_ok=True)
            self._descriptor = system.open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.ftruncate(self._descriptor, record.size if record else 0)
        if not record or not record.size:
            names = [output.name for output in outputs if output.parent == path.parent]
            self._add({"journal": FORMAT, "identity": identity, "outputs": names})
            self.write()

    def append(self, receipt: Receipt) -> None:
        """Note a finished tile."""
        self._add(_record_of(receipt))
        if time.monotonic() - self._last_write > WRITE_INTERVAL:
            self.write()

    def _add(self, record: Any) -> None:
        self._lines.append(_line(record))

    def write(self) -> None:
        """Hand all receipts to the system, where they outlive this process."""
        lines, self._lines = b"".join(self._lines), []
        try:
            while lines and self._descriptor is not None:
                lines = lines[os.write(self._descriptor, lines) :]
        except OSError:
            self.close()
        self._last_write = time.monotonic()

    def sync(self) -> None:
        """Bring what was handed to the system to the disk."""
        try:
            if self._descriptor is not None:
                system.sync_file(self._descriptor)
        except OSError:
            self.close()

    def close(self) -> None:
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def remove(self) -> None:
        """The conversion is complete, or given up."""
        self.close()
        with suppress(OSError):  # a journal too many does no harm
            self.path.unlink()
