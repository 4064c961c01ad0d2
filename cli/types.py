"""`ggufx types`: file types with what each is good for and, of a model, what it would weigh; tensor types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import LOOK, Json, Quiet, Target
from .output import Output, human_bytes

if TYPE_CHECKING:
    from ..quant.recipes.recipe import FileType

NAME = "types"
PANEL = LOOK
EXAMPLES = """\
$ ggufx types
$ ggufx types model/
$ ggufx types model-bf16.gguf
"""


def command(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", show_default=False,
                                   help="Checkpoint folder, GGUF file or their Hub reference, or a folder of GGUF files with "
                                        "measure.json: what it weighs at each type.")
    ] = None,
    target: Target = None,
    json_mode: Json = False,
    quiet: Quiet = False,
) -> None:
    """List file types and what each is good for: with MODEL its size at each, else the tensor types as well."""
    from ..quant.recipes.recipe import FILE_TYPES

    out = Output(json_mode, quiet)
    made = [row for row in FILE_TYPES.values() if row.number is not None]
    if model is None:
        _print_all(out, made)
    else:
        _print_sizes(out, made, model, target)


def _print_all(out: Output, made: list[FileType]) -> None:
    from ..quant.formats import FORMATS
    from ..quant.recipes.recipe import PRESETS

    tensor_rows = [(f.name, f.id, f.block_size, f.block_bytes, f.bits_per_weight) for f in FORMATS.values()]
    out.table(["file type", "number", "most tensors", "also", "good for"],
              [(f.name, f.number, f.default, ", ".join(f.aliases), f.use) for f in made])
    out.line()
    out.table(["preset", "stands for", "good for"], [(name, ",".join(types), use) for name, (types, use) in PRESETS.items()])
    out.line()
    out.table(["tensor type", "id", "block", "bytes", "bits per weight"], tensor_rows)
    out.info("`ggufx types MODEL` tells the size of a model at each file type")
    out.document({
        "tensor_types": [dict(zip(("name", "id", "block_size", "block_bytes", "bits_per_weight"), r, strict=True))
                         for r in tensor_rows],
        "file_types": [{"name": f.name, "number": f.number, "default": f.default, "use": f.use} for f in made],
        "presets": {name: list(types) for name, (types, _) in PRESETS.items()},
    })


def _print_sizes(out: Output, made: list[FileType], model: str, target: str | None) -> None:
    from ..converters.measure.beside import measured_beside
    from ..converters.measure.recommend import recommended
    from ..converters.planners.type_sizes import type_sizes
    from ..converters.sources.hub import resolve_model

    path = resolve_model(model, what="gguf" if ".gguf" in model else "checkpoint", progress=not out.quiet, headers=True)
    beside = measured_beside(path if path.is_dir() else path.parent)
    if beside.model is not None and path.is_dir() and not (path / "config.json").exists():
        path = beside.model
    guessed = None if target is None else resolve_model(target, what="target", progress=not out.quiet, headers=True)
    sizes = type_sizes(path, [row.name.lower() for row in made], guessed)
    sizes.sort(key=lambda size: -(size.bytes or 0))
    use = {row.name.lower(): row.use for row in made}
    rows: list[tuple[object, ...]] = []
    for size in sizes:
        needs = ["with --imatrix"] * size.needs_imatrix + [f"{size.fallbacks} of another type"] * (size.fallbacks > 0)
        rows.append((size.file_type, human_bytes(size.bytes or 0) if size.bytes else "", size.bits_per_weight or "",
                     size.refused or "; ".join([*needs, use[size.file_type]])))
    measured = beside.by_type
    if measured:
        rows = [(*row[:3], f"{measured[size.file_type].divergence:.6f}" if size.file_type in measured else "", row[3])
                for row, size in zip(rows, sizes, strict=True)]
    out.table(["file type", "size", "bits/weight", *(["divergence"] if measured else []), "good for"], rows)
    chosen = recommended(beside)
    notes = [*beside.notes, *([chosen[1]] if chosen else ())]
    out.notes(notes)
    out.document({"model": model, "file_types": [
        {**size.to_json(), "use": use[size.file_type],
         **({"measured": measured[size.file_type].to_json()} if size.file_type in measured else {})} for size in sizes],
        **({"recommended": chosen[0]} if chosen else {}), "notes": [note.to_json() for note in notes]})
