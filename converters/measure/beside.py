"""Figures that lie beside GGUF files: `measure.json`, what `ggufx measure --json` printed."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import GgufxError, InputError
from ..io.json_file import read_json
from .measure import Measured

NAME = "measure.json"


def measured_beside(folder: Path) -> list[Measured]:
    """Those of files that lie there and have the size that was measured; none without `measure.json`.

    InputError where it is not what `ggufx measure --json` prints.
    """
    path = folder / NAME
    if not path.is_file():
        return []
    try:
        rows = read_json(path)["files"]
        known = {field.name for field in fields(Measured)} - {"path"}
        found = [Measured(folder / Path(row["path"]).name, **{name: _number(row[name]) for name in known}) for row in rows]
    except GgufxError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("is not what `ggufx measure --json` prints", file=path, hint="Measure again, or remove it.") from error
    return [m for m in found if m.path.is_file() and m.path.stat().st_size == m.size]


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError("no number")
    return value
