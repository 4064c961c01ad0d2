"""`ggufx inspect`: what a GGUF file, a checkpoint or an adapter holds, from headers only."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..converters.errors import InputError, UsageError
from ..converters.notes import grouped
from .exit import ExitStatus
from .options import LOOK, OUTPUT, Json, Quiet
from .output import Output, human_bytes, human_count

if TYPE_CHECKING:
    from ..converters.inspect.inspection import Inspection

NAME = "inspect"
PANEL = LOOK
EXAMPLES = """\
$ ggufx inspect model.gguf
$ ggufx inspect model/ --context 32768
$ ggufx inspect adapter/ --json
$ ggufx inspect org/repo:model-q4_k_m.gguf
$ ggufx inspect model.gguf --get tokenizer.chat_template
"""
SHOWN_ITEMS = 6  # of an array
SHOWN_TEXT = 120  # characters of a string, for people


def command(
    path: Annotated[
        str, typer.Argument(metavar="FILE_OR_FOLDER", help="GGUF file, checkpoint or adapter folder, or importance matrix; or "
                            "their Hub reference, of which only headers are fetched.")
    ],
    context: Annotated[
        int | None, typer.Option("--context", "-c", min=1, metavar="N", rich_help_panel=OUTPUT, show_default=False,
                                 help="Tokens that memory is told for [default: the model's own, at most 8192].")
    ] = None,
    get: Annotated[
        str | None, typer.Option("--get", metavar="KEY", rich_help_panel=OUTPUT,
                                 help="Only the value of this key of a GGUF file, as it is; exit 1 where it is absent.")
    ] = None,
    json_mode: Json = False,
    quiet: Quiet = False,
) -> ExitStatus:
    """Print what a file or a folder is: a summary, then its key-values and tensors, reading headers only."""
    from ..converters.inspect.inspection import inspect
    from ..converters.sources.hub import resolve_model

    out = Output(json_mode, quiet)
    found = inspect(resolve_model(path, what="any", headers=True))
    if get is not None:
        return _value(out, found, get)
    out.notes(found.notes)
    for name, text in _summary(found, path, context):
        out.line(f"{name:<14}{text}")
    if found.metadata:
        out.line()
        out.table(["key", "type", "value"], [(k, _type(v), _shown(v.data, v.item_type is not None))
                                             for k, v in found.metadata.items()])
    if found.config:
        out.line()
        out.table(["key", "value"], [(k, _shown(v, isinstance(v, list))) for k, v in found.config.items()])
    out.line()
    out.table(["tensor", "type", "shape", "bytes"],
              [(t.name, t.type, "x".join(map(str, t.shape)), t.nbytes) for t in found.tensors])
    out.document({
        "path": path, "format": found.form, "summary": found.to_json(context),
        **({"version": found.version, "metadata": {k: {"type": _type(v), "value": _json(v)} for k, v in found.metadata.items()}}
           if found.version else {}),
        **({"config": found.config} if found.config else {}),
        "tensors": [{"name": t.name, "type": t.type, "shape": list(t.shape), "file": t.file.name, "offset": t.offset,
                     "bytes": t.nbytes} for t in found.tensors],
        "notes": [note.to_json() for note in grouped(found.notes)],
    })
    return ExitStatus.DONE


def _value(out: Output, found: Inspection, key: str) -> ExitStatus:
    """One value: a text as its own bytes, an array as JSON."""
    if not found.version:
        raise UsageError("--get reads GGUF files", file=found.path)
    value = found.metadata.get(key)
    if value is None:
        near = get_close_matches(key, found.metadata, 1)
        out.error(InputError("the file has no such key", file=found.path, found=key,
                             hint=f"Did you mean {near[0]}?" if near else None), ExitStatus.NO)
        return ExitStatus.NO
    data = [_scalar(x) for x in value.data] if value.item_type is not None else _scalar(value.data)
    out.value(data)
    out.document({"path": str(found.path), "key": key, "type": _type(value), "value": data})
    return ExitStatus.DONE


def _summary(found: Inspection, named: str, context: int | None) -> Iterator[tuple[str, str]]:
    """The facts that one looks for first, as (name, text)."""
    version = f", GGUF version {found.version}" if found.version else ""
    yield "folder" if found.path.is_dir() else "file", f"{named} ({found.form}{version})"
    if len(found.files) > 1:
        yield f"{len(found.files)} parts", ", ".join(f.name for f in found.files)
    if found.name:
        yield "name", found.name
    if "imatrix" not in found.form:
        if found.architecture:
            yield "architecture", found.architecture
        yield "parameters", f"{found.parameters:,} ({human_count(found.parameters)}) in {len(found.tensors)} tensors"
        types = ", ".join(f"{n} {kind}" for kind, (n, _) in found.types.items())
        named = f"{found.file_type}: " if found.file_type else ""
        yield "type", f"{named}{types}; {found.bits_per_weight:g} bits per weight"
    if found.form in ("gguf", "checkpoint"):
        yield from _of_model(found, context)
    elif found.form in ("adapter", "mmproj"):
        yield "memory", human_bytes(found.nbytes)
    for name, value in found.facts.items():
        if value is not None and value != []:
            yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _of_model(found: Inspection, context: int | None) -> Iterator[tuple[str, str]]:
    if found.context_length:
        yield "context", f"{found.context_length:,} tokens"
    memory = found.memory(context)
    cache = f" + {human_bytes(memory.cache)} of cache at {memory.context:,} tokens = " \
            f"{human_bytes(memory.weights + memory.cache)}" if memory.cache else ""
    yield "memory", f"{human_bytes(memory.weights)} of weights{cache}"
    told = ", ".join(f"{name} ({len(text):,} characters)" for name, text in found.templates.items())
    yield "template", told or "none"


def _type(value: Any) -> str:
    if value.item_type is None:
        return value.type.name.lower()
    return f"{value.item_type.name.lower()}[{len(value.data)}]"


def _shown(data: Any, is_array: bool) -> str:
    if is_array:
        items = ", ".join(repr(_item(x)) for x in data[:SHOWN_ITEMS])
        return f"[{items}{', ...' if len(data) > SHOWN_ITEMS else ''}]"
    text = data if isinstance(data, str) else str(data)
    text = text.replace("\n", "\\n")
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}... ({len(data)} characters)"


def _scalar(x: Any) -> Any:
    return x.item() if hasattr(x, "item") else x


def _item(x: Any) -> Any:
    """An item of an array; of a long text, which may be bytes in base64, its beginning."""
    return f"{x[:SHOWN_TEXT]}... ({len(x)} characters)" if isinstance(x, str) and len(x) > SHOWN_TEXT else _scalar(x)


def _json(value: Any) -> Any:
    """Scalars as they are; an array as its length and first items, which are cut, or it would bury the rest."""
    if value.item_type is None:
        return _scalar(value.data)
    return {"length": len(value.data), "first": [_item(x) for x in value.data[:SHOWN_ITEMS]]}
