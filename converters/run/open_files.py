"""Positioned reads and writes on the files of a plan, by descriptors that are opened once.

Copies are the system's own (`copy_file_range`: blocks that are shared, or copied by a server, where the file system can);
else they pass through a buffer that stays in the processor's cache.
"""

from __future__ import annotations

import errno
import os
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

import numpy as np

from ... import system
from ..errors import InputError, StorageError
from ..io.files import open_regular
from ..io.ranges import RangeSource, elsewhere
from ..plan.plan import InputFile

COPY_BUFFER = 256 << 10  # half of a usual second-level cache
FAR_READ = 8 << 20  # of a file that is elsewhere, in one request
READ_AT_ONCE = 1 << 30  # macOS refuses a single read or write of 2 GiB and more

HINTS = {
    errno.ENOSPC: "Free some space, or write to another disk.",
    errno.EDQUOT: "The quota is used up: free some space, or write to another disk.",
    errno.EFBIG: "The file system or a limit of the shell (ulimit -f) does not allow files of this size.",
    errno.EACCES: "Change the permissions, or write to another folder.",
    errno.EPERM: "Change the permissions, or write to another folder.",
    errno.EROFS: "The file system is read-only: write to another folder.",
    errno.EIO: "The disk or its connection fails: look at the system's log before trying again.",
    errno.ENAMETOOLONG: "Choose shorter names. Windows takes longer ones where LongPathsEnabled is set in its registry.",
    errno.EMFILE: "Too many open files: raise the limit (ulimit -n).",
}


IN_USE = "Close the program that has the file open (a runtime that serves the model, an indexer), then start again."


def storage_error(error: OSError, path: Path, action: str) -> StorageError:
    """What the system refused, on which file, and what to do about it."""
    hint = IN_USE if getattr(error, "in_use", False) else HINTS.get(error.errno or 0)
    return StorageError(f"cannot be {action}: {error.strerror or error}", file=path, hint=hint)


@dataclass(frozen=True, slots=True)
class OpenInput:
    """An input as it was planned, and what it is read from: its descriptor, or a file elsewhere."""

    source: int | RangeSource
    planned: InputFile

    @property
    def path(self) -> Path:
        return self.planned.path

    def check(self) -> None:
        """InputError if the file changed, was replaced or vanished since the plan was made."""
        if not isinstance(self.source, int):
            self.source.check()
            return
        try:
            there, opened = os.stat(self.path), os.fstat(self.source)
        except FileNotFoundError:
            raise InputError("the file vanished while it was read", file=self.path) from None
        except OSError as error:
            raise storage_error(error, self.path, "read") from error
        same = os.path.samestat(there, opened)
        if not same or (opened.st_size, opened.st_mtime_ns) != (self.planned.size, self.planned.mtime_ns):
            raise InputError("the file changed since the conversion was planned", file=self.path,
                             hint="Wait until nothing writes to it, then start again.")


@contextmanager
def open_inputs(planned: Iterable[InputFile]) -> Iterator[list[OpenInput]]:
    """The inputs, opened. InputError where one is not what was planned: at the beginning, and at the end of the reading."""
    with ExitStack() as stack:
        inputs = []
        for expected in planned:
            if (there := elsewhere(expected.path)) is not None:
                inputs.append(OpenInput(there.source, expected))
            else:
                file, _ = stack.enter_context(open_regular(expected.path))
                inputs.append(OpenInput(file.fileno(), expected))
            inputs[-1].check()
        yield inputs
        for opened in inputs:
            opened.check()


class OpenFiles:
    """`device.Files` on descriptors. `outputs` are (descriptor, path to be named in errors).

    Outputs in `sealed` are known to be complete: writing to them does nothing. `spans`: for each output the ranges, in
    order, outside of which others write; what is written there is left out.
    """

    def __init__(self, inputs: Sequence[OpenInput], outputs: Sequence[tuple[int, Path]],
                 sealed: frozenset[int] = frozenset(), spans: Sequence[Sequence[tuple[int, int]]] | None = None) -> None:
        self._inputs = [(i.source, i.path) for i in inputs]
        self._outputs = outputs
        self._sealed = sealed
        self._spans = spans

    def _own(self, file: int, offset: int, nbytes: int) -> Iterable[tuple[int, int]]:
        """What of a range is to be written here, as (start, stop) from its beginning."""
        if self._spans is None:
            return ((0, nbytes),)
        spans = self._spans[file]
        first = max(0, bisect_right(spans, (offset, 1 << 63)) - 1)
        ends = ((max(start - offset, 0), min(stop - offset, nbytes))
                for start, stop in takewhile(lambda span: span[0] < offset + nbytes, islice(spans, first, None)))
        return ((start, stop) for start, stop in ends if start < stop)

    def read(self, file: int, offset: int, data: np.ndarray) -> None:
        """Fill uint8 [n] from an input. InputError where the file ends before, StorageError where reading fails."""
        _fill(memoryview(data), *self._inputs[file], offset)

    def write(self, file: int, offset: int, data: np.ndarray | bytes | memoryview) -> None:
        """All of a contiguous array into an output. StorageError where writing fails."""
        if file in self._sealed:
            return
        descriptor, path = self._outputs[file]
        view = memoryview(data).cast("B")
        try:
            for done, stop in self._own(file, offset, len(view)):
                while done < stop:
                    done += system.pwrite(descriptor, view[done : min(done + READ_AT_ONCE, stop)], offset + done)
        except OSError as error:
            raise storage_error(error, path, "written") from error

    def copy(self, source: tuple[int, int], target: tuple[int, int], nbytes: int) -> None:
        """Bytes from (input, offset) to (output, offset)."""
        for start, stop in self._own(*target, nbytes):
            self._copy((source[0], source[1] + start), (target[0], target[1] + start), stop - start)

    def _copy(self, source: tuple[int, int], target: tuple[int, int], nbytes: int) -> None:
        done = self._copied_by_system(source, target, nbytes)
        for start, part in _chunks(*self._inputs[source[0]], source[1] + done, nbytes - done):
            self.write(target[0], target[1] + done + start, part)

    def _copied_by_system(self, source: tuple[int, int], target: tuple[int, int], nbytes: int) -> int:
        """How many bytes the system has copied itself. What it does not, or fails to, is left to reading and writing, which
        say what is wrong."""
        done = 0
        from_, to = self._inputs[source[0]][0], self._outputs[target[0]][0]
        if target[0] in self._sealed or not isinstance(from_, int):
            return done
        with suppress(OSError):
            while done < nbytes:
                count = system.copy_range(from_, to, min(nbytes - done, READ_AT_ONCE), source[1] + done, target[1] + done)
                if not count:
                    break
                done += count
        return done

    def zero(self, file: int, start: int, stop: int) -> None:
        """Zeros into a range of an output."""
        zeros = bytes(min(stop - start, 1 << 20))
        for at in range(start, stop, 1 << 20):
            self.write(file, at, zeros[: stop - at])

    def written(self, file: int, offset: int, nbytes: int, piece: int = COPY_BUFFER) -> Iterator[memoryview]:
        """What an output holds in a range, in pieces of at most `piece` bytes; each is valid until the next."""
        return (part for _, part in _chunks(*self._outputs[file], offset, nbytes, piece))

    def checksum(self, file: int, offset: int, nbytes: int) -> int:
        """CRC-32 of a range of an output."""
        crc = 0
        for part in self.written(file, offset, nbytes):
            crc = zlib.crc32(part, crc)
        return crc

    def equals(self, file: int, offset: int, data: memoryview) -> bool:
        """Whether a range of an input holds these bytes."""
        return all(np.array_equal(part, data[start : start + len(part)])
                   for start, part in _chunks(*self._inputs[file], offset, len(data)))

    def same(self, source: tuple[int, int], target: tuple[int, int], nbytes: int) -> bool:
        """Whether a range of an output already equals a range of an input."""
        pairs = zip(_chunks(*self._inputs[source[0]], source[1], nbytes), self.written(*target, nbytes), strict=True)
        return all(np.array_equal(a, b) for (_, a), b in pairs)


def _chunks(source: int | RangeSource, path: Path, offset: int, nbytes: int,
            piece: int = COPY_BUFFER) -> Iterator[tuple[int, memoryview]]:
    """Where each piece of a range begins in it, and its bytes."""
    size = min(nbytes, piece if isinstance(source, int) else FAR_READ)
    buffer = memoryview(bytearray(size))
    for start in range(0, nbytes, size or 1):
        part = buffer[: nbytes - start]
        _fill(part, source, path, offset + start)
        yield start, part


def _fill(view: memoryview, source: int | RangeSource, path: Path, offset: int) -> None:
    if not isinstance(source, int):
        view[:] = source.read(offset, len(view))
        return
    done = 0
    try:
        while done < len(view):
            count = system.pread(source, view[done : done + READ_AT_ONCE], offset + done)
            if not count:
                raise InputError("the file shrank while it was read", file=path)
            done += count
    except OSError as error:
        raise storage_error(error, path, "read") from error
