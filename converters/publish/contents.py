"""What is pushed: the files that paths stand for, under the names that they get in the repository.

A file goes to the root, the parts of a split set into a folder called after it; what lies in a folder keeps its path in
it. Unfinished files and journals are never published, nor is a text that tells a path of this machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import GgufxError, InputError, StorageError, UsageError, raise_all
from ..inspect.inspection import Inspection, inspect
from ..io.files import printable
from ..io.gguf import split_names
from ..io.json_file import read_json
from ..measure.beside import NAME as MEASURED
from ..measure.beside import measured_beside
from ..measure.measure import Measured
from ..notes import Note
from ..run.journal import SUFFIX as JOURNAL
from ..run.staging import SUFFIX as PART
from ..sources.hf_folder import safe_file
from ..sources.hub import safe_name

CARD = "README.md"
_LOCAL = re.compile(r"(?:/[^/\s]+/|~/|file:|[A-Za-z]:[\\/]|\\\\)")  # how a path of some machine begins
_SETTINGS = {"config.json": "_name_or_path", "adapter_config.json": "base_model_name_or_path"}
_TOLD_KEYS = ("general.", "quantize.imatrix.", "imatrix.datasets")
_WEIGHTS = (".safetensors", ".bin", ".pth")


@dataclass(frozen=True, slots=True)
class Item:
    """A file and its name in the repository, `/` between folders; `size` in bytes."""

    path: Path
    name: str
    size: int


@dataclass(frozen=True)
class Contents:
    """`items` in the order in which they are sent, weights first. `ggufs`: each GGUF file, of a set its first part, by its
    name in the repository; `measured`: of those that were, their figures, and the name of the file that they were held against.
    `named`: names of files that were given one by one."""

    items: tuple[Item, ...]
    ggufs: dict[str, Inspection]
    named: frozenset[str] = frozenset()
    notes: tuple[Note, ...] = ()
    measured: dict[str, tuple[Measured, str]] = field(default_factory=dict)

    def size_of(self, name: str) -> int:
        """Bytes of a file, of a set in all."""
        sizes = {item.name: item.size for item in self.items}
        return sum(sizes[part] for part in parts_of(name))


def parts_of(name: str) -> list[str]:
    """The names of a set whose first part has this one; of any other file its own."""
    folder, _, last = name.rpartition("/")
    return [f"{folder}/{part}" if folder else part for part in split_names(Path(last))] or [name]


def collect(paths: Sequence[Path]) -> Contents:
    """What the paths stand for. UsageError for what is unfinished or twice there, InputError for a file that tells a path of
    this machine, for a damaged GGUF file, a part that is missing and a link out of its folder."""
    found: dict[str, Path] = {}
    notes: list[Note] = []
    named: set[str] = set()
    for path in paths:
        if path.is_dir():
            pairs: Iterable[tuple[str, Path]] = _of_folder(path, notes)
        else:
            pairs = [(file.name, file) for file in _of_file(path)]
            named |= {name for name, _ in pairs}
        for name, file in pairs:
            name = _placed(name)
            if not file.is_file():
                raise InputError("is no file that can be read", file=file)
            if found.setdefault(name, file).resolve() != file.resolve():
                raise UsageError(f"two files would be {name} in the repository", file=file, found=found[name])
    if not found:
        raise UsageError("there is nothing to push", file=paths[0] if paths else None)
    items = [Item(file, name, file.stat().st_size) for name, file in found.items()]
    items.sort(key=lambda item: (item.name == CARD, not item.name.endswith((".gguf", *_WEIGHTS)), item.name))
    ggufs: dict[str, Inspection] = {}
    problems: list[GgufxError] = []
    for item in items:
        try:
            if absent := [part for part in parts_of(item.name) if part not in found]:
                raise InputError(f"parts of the split model are missing: {', '.join(absent[:5])}", file=item.path)
            if item.name.endswith(".gguf") and parts_of(item.name)[0] == item.name:
                ggufs[item.name] = _looked_at(item.path)
            problems += _local_paths(item, ggufs.get(item.name))
        except GgufxError as error:
            problems.append(error)
    raise_all(problems)
    measured = _measured({name: gguf.path for name, gguf in ggufs.items()}, notes)
    return Contents(tuple(items), ggufs, frozenset(named), tuple(notes), measured)


def _measured(ggufs: dict[str, Path], notes: list[Note]) -> dict[str, tuple[Measured, str]]:
    """The figures that lie beside files, by their names in the repository."""
    reports = [measured_beside(folder) for folder in dict.fromkeys(path.parent for path in ggufs.values())]
    notes += [note for report in reports for note in report.notes]
    known = {m.path: (m, report.base) for report in reports for m in report.files}
    return {name: known[path] for name, path in ggufs.items() if path in known}


def _placed(name: str) -> str:
    """Where a file goes: parts at the root into a folder."""
    if "/" in name or not split_names(Path(name)):
        return name
    return f"{name.removesuffix('.gguf').rpartition('-of-')[0].rpartition('-')[0]}/{name}"


def _of_file(path: Path) -> list[Path]:
    """A file, or the set that it is a part of."""
    if path.name.endswith((PART, JOURNAL)):
        raise UsageError("is of a conversion that is not finished", file=path, hint="Run it again with --resume.")
    if not path.is_file():
        raise InputError("no such file or folder", file=path)
    if not safe_name(path.name):
        raise UsageError("cannot be the name of a file on the Hub", file=printable(path.name))
    parts = [path.with_name(name) for name in split_names(path)] or [path]
    if absent := [part.name for part in parts if not part.is_file()]:
        raise InputError(f"parts of the split model are missing: {', '.join(absent[:5])}", file=path)
    return parts


def _of_folder(folder: Path, notes: list[Note]) -> Iterator[tuple[str, Path]]:
    """The files in it, but for hidden ones and unfinished ones, which are told."""
    try:
        for top, folders, files in os.walk(folder, onerror=_unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
            for name in sorted(files):
                path = Path(top, name)
                relative = path.relative_to(folder).as_posix()
                if name.startswith("."):
                    continue
                if name.endswith((PART, JOURNAL)):
                    notes.append(Note("not pushed, since the conversion is not finished", relative))
                elif not safe_name(relative):
                    raise UsageError("cannot be the name of a file on the Hub", file=printable(str(path), 200))
                else:
                    yield relative, safe_file(Path(top), name)
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", file=error.filename or folder) from error


def _unreadable(error: OSError) -> None:
    raise error


def _looked_at(path: Path) -> Inspection:
    """A GGUF file, with all its parts."""
    found = inspect(path)
    if found.notes and (split_names(path) or found.keys.get("split.count", 0) > 1):
        raise InputError(found.notes[0], file=path)
    return found


def _local_paths(item: Item, gguf: Inspection | None) -> Iterator[GgufxError]:
    """What tells a path of this machine."""
    if gguf is not None:
        for key, value in gguf.keys.items():
            if key.startswith(_TOLD_KEYS) and any(map(_is_local, value if isinstance(value, list) else (value,))):
                yield InputError(f"{key} holds a path of some machine, which would be published", file=item.path,
                                 found=printable(str(value)), hint=f"`ggufx edit {item.path} --unset {key}` takes it out.")
    elif item.name.rpartition("/")[2] == MEASURED:
        told = read_json(item.path)
        rows = told.get("files")
        names = [row.get("path") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        if any(map(_is_local, (told.get("base"), *names))):
            yield InputError("holds a path of this machine, which would be published", file=item.path,
                             hint="Measure again in the folder of the files, by their names alone, or leave it out.")
    elif (setting := _SETTINGS.get(item.name)) is not None:
        value = read_json(item.path, non_finite=True).get(setting)
        if _is_local(value):
            yield InputError(f"{setting} holds a path of some machine, which would be published", file=item.path,
                             found=printable(str(value)), hint="Put the Hub id of the model there.")


def _is_local(text: Any) -> bool:
    return isinstance(text, str) and _LOCAL.match(text) is not None
