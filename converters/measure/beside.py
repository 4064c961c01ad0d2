"""Figures that lie beside GGUF files: `measure.json`, what `ggufx measure --json` printed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ...quant.recipes.recipe import file_type
from ..errors import GgufxError, InputError
from ..io.gguf import read_gguf_model
from ..io.json_file import read_json
from ..notes import Note
from .measure import Measured
from .sampled import identity

NAME = "measure.json"


@dataclass(frozen=True)
class Beside:
    """What `path`, a measure.json, says of files in its folder. `base`: name of the file that they were held against.

    `files`: those that are what was measured; `others`: names of those that lie there and are not, or not any more.
    """

    path: Path
    base: str = ""
    files: tuple[Measured, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[Note, ...]:
        return (Note(f"{self.path} tells of other files than those that lie there", *self.others),) if self.others else ()

    @property
    def model(self) -> Path | None:
        """What a folder of nothing but GGUF files is a model of: the file that the others were held against, or, where that is
        not there any more, the largest of them."""
        return max(self.files, key=lambda m: (m.path.name == self.base, m.size)).path if self.files else None

    @cached_property
    def by_type(self) -> dict[str, Measured]:
        """The figures by file type, in lower case; of several files of a type, the smallest one's. Without the base."""
        found: dict[str, Measured] = {}
        for m in sorted(self.files, key=lambda m: m.size):
            kind = read_gguf_model(m.path).metadata.get("general.file_type")
            if kind is not None and m.path.name != self.base:
                try:
                    found.setdefault(file_type(kind.data).name.lower(), m)
                except ValueError:  # a type of another program
                    continue
        return found


def measured_beside(folder: Path) -> Beside:
    """The figures of a folder, of each file that has the name, size and contents that were measured; none without a report.

    InputError where it is not what `ggufx measure --json` prints.
    """
    path = folder / NAME
    if not path.is_file():
        return Beside(path)
    try:
        told = read_json(path)
        known = {field.name: str(field.type) for field in fields(Measured) if field.name != "path"}
        rows = [Measured(folder / Path(row["path"]).name, **{name: _value(row[name], kind) for name, kind in known.items()})
                for row in told["files"]]
        base = Path(told["base"]).name
    except GgufxError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("is not what `ggufx measure --json` prints", file=path, hint="Measure again, or remove it.") from error
    same = {m.path: _is_same(m) for m in rows if m.path.is_file()}
    return Beside(path, base, tuple(m for m in rows if same.get(m.path)), tuple(p.name for p, yes in same.items() if not yes))


def _is_same(m: Measured) -> bool:
    try:
        return identity(m.path) == (m.size, m.sampled_sha256)
    except (OSError, GgufxError):
        return False


def _value(value: Any, kind: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, str if kind == "str" else (int, float)):
        raise TypeError("no number")
    return value
