"""What the two references of a comparison stand for, fetched where they are elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from ..io.gguf import read_gguf_model
from ..io.values import text_of
from ..sources.hub import What, names_file, resolve_model
from ..sources.recognise import expect, recognise


def resolve_both(a: str | Path, b: str | Path, *, adapters: bool = False, parts: bool = False,
                 progress: bool = False) -> tuple[Path, Path]:
    """The paths of `a` and `b`; see `resolve_model`, also for its errors. `adapters`: a folder is an adapter's. `parts`: of a
    checkpoint also those in its folders; so it is where the other is a projector."""
    refs, paths = (a, b), dict[int, Path]()
    for n in sorted((0, 1), key=lambda n: not (names_file(refs[n]) or os.path.exists(refs[n]))):  # a file first: it tells more
        what: What = "gguf" if names_file(refs[n]) else "adapter" if adapters else "checkpoint"
        paths[n] = resolve_model(refs[n], what=what, progress=progress, parts=parts or any(map(is_projector, paths.values())))
    return paths[0], paths[1]


def form_of(path: Path) -> str:
    """checkpoint or adapter for a folder, gguf for a file (whose header tells whether it is an adapter)."""
    if not path.is_dir():
        expect(path, "gguf")
        return "gguf"
    found = recognise(path)
    return "adapter" if found and "adapter" in found[0][0].takes else "checkpoint"


def is_projector(path: Path) -> bool:
    """Whether this is a GGUF file of vision and audio parts."""
    return form_of(path) == "gguf" and text_of(read_gguf_model(path).metadata, "general.architecture") == "clip"
