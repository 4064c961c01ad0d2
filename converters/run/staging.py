"""Staged outputs: locked `.part` files that are published, complete and synced, set by set.

A `.part` file is locked as long as a process works on it; so one that is not locked was left by a dead run.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ... import system
from ..errors import GgufxError, StorageError, UsageError, raise_all
from ..io.files import read_bytes
from ..plan.plan import OutputFile
from .open_files import HINTS, storage_error

SUFFIX = ".part"
CLOSED = -1


@dataclass
class Part:
    """An output under way. `found`: a dead run left it; `published`: it has its final name already."""

    output: OutputFile
    path: Path
    descriptor: int
    found: bool = False
    published: bool = False


def part_path(path: Path) -> Path:
    """Where the output of this name grows."""
    return path.with_name(path.name + SUFFIX)


def refuse_existing(outputs: Iterable[OutputFile], force: bool, hint: str | None = None) -> None:
    """UsageError for outputs that are there already, unless they may be replaced; folders never may. StorageError for those
    that the system would not let go."""
    raise_all(existing(outputs, force, hint))


def existing(outputs: Iterable[OutputFile], force: bool, hint: str | None = None) -> list[GgufxError]:
    """What `refuse_existing` raises."""
    problems: list[GgufxError] = []
    for output in outputs:
        if output.path.is_dir() and not output.path.is_symlink():
            problems.append(UsageError("is a folder, a file is to be written", file=output.path))
        elif not force and os.path.lexists(output.path):
            problems.append(UsageError("exists already", file=output.path, hint=hint or "Pass --force to replace it."))
        elif output.path.is_file():
            try:
                system.check_replaceable(output.path)
            except OSError as error:
                problems.append(storage_error(error, output.path, "written"))
    return problems


def is_there(outputs: Iterable[OutputFile]) -> bool:
    """Whether all outputs have their final names: of their sizes, with all that the plan itself holds of them. Nothing but a
    complete result has."""
    return all(o.path.is_file() and o.path.stat().st_size == o.size
               and all(read_bytes(o.path, at, len(data)) == data for at, data in ((0, o.head), *o.pieces))
               for o in outputs)


def misplaced(outputs: Sequence[OutputFile], made: Collection[Path]) -> list[GgufxError]:
    """What is wrong with the places of outputs: no folder (but for those that are `made`), no permission to write.

    Nothing is written to find out, so that this can be asked for a plan as well.
    """
    homes = {o.path: _home(o, made) for o in outputs}
    problems: list[GgufxError] = []
    for home in dict.fromkeys(homes.values()):
        if not home.exists():
            problems.append(StorageError("no such folder", file=home, hint="Make it first, or write to another folder."))
        elif not home.is_dir():
            problems.append(UsageError("is a file, a folder is needed", file=home))
        elif not system.may_write(home):
            error = OSError(errno.EACCES, os.strerror(errno.EACCES))
            problems += [storage_error(error, path, "written") for path, its in homes.items() if its == home]
    return problems


def no_room(outputs: Sequence[OutputFile], made: Collection[Path], resume: bool) -> list[GgufxError]:
    """What is wrong where a disk has too little room for all of them together. What is there of them already takes none.

    The one check there is where room cannot be reserved.
    """
    needed: dict[int, int] = {}
    for output in outputs:
        home = _home(output, made)
        if not home.is_dir() or (resume and output.path.exists()):
            continue
        part = part_path(output.path)
        taken = system.taken(part.lstat()) if os.path.lexists(part) else 0
        device, room = home.stat().st_dev, system.free_space(home)
        needed[device] = needed.get(device, 0) + max(0, output.size - taken)
        if room and needed[device] > room[0]:
            return [StorageError("no room for the result", file=home,
                                 expected=f"at least {sum(o.size for o in outputs)} bytes",
                                 found=f"{room[1]} bytes free", hint=HINTS[errno.ENOSPC])]
    return []


def first_missing(folder: Path) -> Path:
    """Of a folder and those around it the outermost that is not there; the folder itself where it is."""
    return next((f for f in (*reversed(folder.parents), folder) if not os.path.lexists(f)), folder)


def _home(output: OutputFile, made: Collection[Path]) -> Path:
    """The folder that must be there for an output."""
    around = next((folder for folder in made if output.path.is_relative_to(folder)), None)
    if around is None:
        return output.path.parent
    return around if os.path.lexists(around) else around.parent


class Staging:
    """The parts of a plan's outputs. A context manager: closes what it opened."""

    def __init__(self, outputs: Sequence[OutputFile], force: bool) -> None:
        self.outputs = outputs
        self.force = force
        self.parts: list[Part] = []
        self.leftovers: list[Path] = []
        self._folders: list[Path] = []

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        for part in self.parts:
            if part.descriptor != CLOSED:
                os.close(part.descriptor)
        self.parts.clear()

    def acquire(self, resume: bool) -> None:
        """Create and lock every part; those of a dead run are taken over, or removed unless `resume`.

        UsageError where another process works on an output.
        """
        for output in self.outputs:
            path = part_path(output.path)
            try:
                self._make_folder(path.parent)
                self.parts.append(self._locked(output, path, resume))
            except OSError as error:
                raise storage_error(error, output.path, "written") from error

    def _make_folder(self, folder: Path) -> None:
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        for f in reversed(missing):
            f.mkdir(exist_ok=True)
            self._folders.append(f)

    def _locked(self, output: OutputFile, path: Path, resume: bool) -> Part:
        while True:
            found = False
            try:
                descriptor = system.open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                found = True
                try:
                    descriptor = system.open_own(path, os.O_RDWR)
                except FileNotFoundError:
                    continue  # it was published or removed in between
            try:
                _lock(descriptor, output.path)
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise UsageError("is in the way: not a regular file", file=path, hint="Remove it.")
                if not _is_at(path, descriptor):
                    os.close(descriptor)
                    continue  # it was published or removed before the lock was ours
            except BaseException:
                with suppress(OSError):
                    os.close(descriptor)
                raise
            if found and (not resume or status.st_nlink > 1):  # never write through a second name
                system.remove(descriptor, path)
                self.leftovers.append(path)
                continue
            # An empty one was made by a run that died before it began.
            return Part(output, path, descriptor, found and status.st_size > 0)

    def clean(self, journal: Path, names: Iterable[str]) -> None:
        """Remove the journal of a dead run, and the parts of outputs that only that run had."""
        ours = {part.path for part in self.parts}
        for name in names:
            path = part_path(journal.with_name(name))
            if path not in ours and not _in_use(path):
                path.unlink()
                self.leftovers.append(path)
        journal.unlink()
        self.leftovers.append(journal)

    @contextmanager
    def published(self) -> Iterator[dict[int, int]]:
        """Outputs that an interrupted run may have published, of each set the first ones: index -> descriptor.

        Whoever calls this compares the bytes, and calls `seal` for each that is complete.
        """
        with ExitStack() as opened:
            there: dict[int, int] = {}
            ended: set[int] = set()
            for index, part in enumerate(self.parts):
                if part.output.set in ended:
                    continue
                descriptor = None if part.found else _open_complete(part.output)
                if descriptor is None:
                    ended.add(part.output.set)
                else:
                    opened.callback(os.close, descriptor)
                    there[index] = descriptor
            yield there

    def seal(self, index: int, descriptor: int) -> None:
        """The output has its final name and is complete: it is read from there, and no longer written."""
        part = self.parts[index]
        own, part.descriptor = part.descriptor, os.dup(descriptor)
        system.remove(own, part.path)
        part.published = True

    def reserve(self) -> None:
        """Give every part its size, and its room on the disk where the file system can.

        StorageError where there is not enough.
        """
        waiting = [p for p in self.parts if not p.published]
        for part in waiting:
            try:
                system.reserve(part.descriptor, part.output.size)
            except OSError as error:
                raise storage_error(error, part.output.path, "written") from error

    def publish(self, parts: Sequence[Part]) -> None:
        """Rename these parts, a set, in order, each complete and synced. The last one completes the set.

        If that fails before the last, nothing of the set stays visible. UsageError where an output appeared meanwhile. What
        takes the place of another file has its permissions.
        """
        waiting = [p for p in parts if not p.published]
        refuse_existing([p.output for p in waiting], self.force)
        modes = {p.output.path: stat.S_IMODE(p.output.path.stat().st_mode) for p in waiting if p.output.path.is_file()}
        folders = list(dict.fromkeys(p.path.parent for p in parts))
        folders += [f.parent for f in self._folders if f.parent not in folders]
        renamed: list[Part] = []
        path = folders[0]
        try:
            if len(parts) > 1 and waiting and self.force:
                # The old set ends before the new one begins: without its last file it is not taken for one.
                waiting[-1].output.path.unlink(missing_ok=True)
            for part in waiting:
                if part is waiting[-1]:
                    _sync_folders(folders)
                path = part.output.path
                if path in modes:
                    with suppress(OSError):  # some file systems have none
                        system.set_mode(part.descriptor, modes[path])
                system.rename(part.descriptor, part.path, path)
                part.published = True
                renamed.append(part)
            _sync_folders(folders)
        except BaseException as error:
            if renamed and renamed[-1] is not waiting[-1]:
                self._take_back(renamed)
            if isinstance(error, OSError):
                raise storage_error(error, path, "written") from error
            raise

    def _take_back(self, renamed: Iterable[Part]) -> None:
        for part in renamed:
            system.rename(part.descriptor, part.output.path, part.path)
            part.published = False

    def discard(self, parts: Iterable[Part], keep_found: bool = False) -> None:
        """Remove the parts and folders of what failed; what a dead run had left stays if `keep_found`."""
        for part in parts:
            if not part.published and not (keep_found and part.found) and _is_at(part.path, part.descriptor):
                descriptor, part.descriptor = part.descriptor, CLOSED
                with suppress(OSError):
                    system.remove(descriptor, part.path)
        for folder in reversed(self._folders):
            with suppress(OSError):  # not empty: somebody else uses it
                folder.rmdir()


@contextmanager
def shared_part(output: OutputFile) -> Iterator[int]:
    """The descriptor of a part that several processes fill together; whoever comes first makes it, with its size.

    What another plan left in it is written over, since every byte is somebody's. UsageError where a process works on the
    output alone; StorageError for what the system refuses.
    """
    path = part_path(output.path)
    try:
        descriptor = system.open_own(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise storage_error(error, path, "written") from error
    try:
        _lock(descriptor, output.path, shared=True)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise UsageError("is in the way: not a regular file of one name", file=path, hint="Remove it.")
        system.reserve(descriptor, output.size)
        yield descriptor
    except OSError as error:
        raise storage_error(error, path, "written") from error
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, shared: bool = False) -> None:
    if not system.lock(descriptor, shared):
        raise UsageError("another process is writing this file", file=path,
                         hint="Wait for it, or choose another output.")


def _open_complete(output: OutputFile) -> int | None:
    """A descriptor of what has the output's name, if it is a file of the right size."""
    try:
        descriptor = system.open_own(output.path, os.O_RDONLY)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size == output.size:
        return descriptor
    os.close(descriptor)
    return None


def _in_use(path: Path) -> bool:
    """Whether a process works on a part, or there is none."""
    try:
        descriptor = system.open_own(path, os.O_RDWR)
    except OSError:
        return True
    try:
        _lock(descriptor, path)
    except UsageError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


def _sync_folders(folders: Iterable[Path]) -> None:
    for folder in folders:
        system.sync_folder(folder)
