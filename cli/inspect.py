"""`ggufx inspect`: what a GGUF file, a checkpoint or an adapter holds, from headers only."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Annotated, Any

import typer

from .options import LOOK, Json, Quiet
from .output import Output, human_bytes

NAME = "inspect"
PANEL = LOOK
EXAMPLES = """\
$ ggufx inspect model.gguf
$ ggufx inspect adapter/ --json
"""
SHOWN_ITEMS = 6  # of an array
SHOWN_TEXT = 120  # characters of a string, for people


def command(
    path: Annotated[str, typer.Argument(metavar="FILE_OR_FOLDER", help="GGUF file, checkpoint or adapter folder.")],
    json_mode: Json = False,
    quiet: Quiet = False,
) -> None:
    """Print key-values, tensors and sizes, reading headers only."""
    out = Output(json_mode, quiet)
    where = Path(path)
    if where.is_dir():
        _inspect_folder(out, where)
    else:
        _inspect_gguf(out, where)


def _inspect_gguf(out: Output, path: Path) -> None:
    from ..converters.io.gguf import read_gguf
    from ..converters.sources.recognise import expect

    expect(path, "gguf")
    file = read_gguf(path)
    out.line(f"{path}: GGUF version {file.version}, {len(file.metadata)} key-values, {len(file.tensors)} tensors")
    out.line()
    out.table(["key", "type", "value"], [(k, _type(v), _shown(v.data, v.item_type is not None))
                                         for k, v in file.metadata.items()])
    _print_tensors(out, ((t.name, t.type, t.shape, t.nbytes) for t in file.tensors.values()))
    out.document({
        "path": str(path), "format": "gguf", "version": file.version,
        "metadata": {k: {"type": _type(v), "value": _json(v)} for k, v in file.metadata.items()},
        "tensors": [{"name": t.name, "type": t.type, "shape": list(t.shape), "offset": t.offset, "bytes": t.nbytes}
                    for t in file.tensors.values()],
    })


def _inspect_folder(out: Output, folder: Path) -> None:
    from ..converters.sources.hf_folder import open_adapter, open_checkpoint
    from ..converters.sources.recognise import recognise

    found = recognise(folder)
    adapter = bool(found) and "adapter" in found[0][0].takes
    checkpoint = open_adapter(folder) if adapter else open_checkpoint(folder)
    out.line(f"{folder}: {'adapter' if adapter else 'checkpoint'}, {len(checkpoint.tensors)} tensors")
    out.notes(checkpoint.notes)
    out.line()
    out.table(["key", "value"], [(k, _shown(v, isinstance(v, list))) for k, v in checkpoint.config.items()])
    _print_tensors(out, ((t.name, t.type, t.shape, t.nbytes) for t in checkpoint.tensors.values()))
    out.document({
        "path": str(folder), "format": "adapter" if adapter else "checkpoint", "config": checkpoint.config,
        "tensors": [{"name": t.name, "type": t.type, "shape": list(t.shape), "file": t.file.name, "offset": t.offset,
                     "bytes": t.nbytes} for t in checkpoint.tensors.values()],
    })


def _print_tensors(out: Output, tensors: Iterable[tuple[str, str, tuple[int, ...], int]]) -> None:
    rows = list(tensors)
    out.line()
    out.table(["tensor", "type", "shape", "bytes"], [(n, t, "x".join(map(str, s)), b) for n, t, s, b in rows])
    out.line()
    out.line(f"{sum(prod(s) for _, _, s, _ in rows):,} parameters, {human_bytes(sum(b for *_, b in rows))}")


def _type(value: Any) -> str:
    if value.item_type is None:
        return value.type.name.lower()
    return f"{value.item_type.name.lower()}[{len(value.data)}]"


def _shown(data: Any, is_array: bool) -> str:
    if is_array:
        items = ", ".join(repr(_scalar(x)) for x in data[:SHOWN_ITEMS])
        return f"[{items}{', ...' if len(data) > SHOWN_ITEMS else ''}]"
    text = data if isinstance(data, str) else str(data)
    text = text.replace("\n", "\\n")
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}... ({len(data)} characters)"


def _scalar(x: Any) -> Any:
    return x.item() if hasattr(x, "item") else x


def _json(value: Any) -> Any:
    """Scalars as they are; an array as its length and first items, or it would bury the rest."""
    if value.item_type is None:
        return _scalar(value.data)
    return {"length": len(value.data), "first": [_scalar(x) for x in value.data[:SHOWN_ITEMS]]}
