"""`ggufx types`: tensor types and file types, printed from the tables."""

from __future__ import annotations

from .options import LOOK, Json, Quiet
from .output import Output

NAME = "types"
PANEL = LOOK
EXAMPLES = """\
$ ggufx types
"""


def command(json_mode: Json = False, quiet: Quiet = False) -> None:
    """List tensor types with their block sizes, and file types with their default tensor type."""
    from ..quant.formats import FORMATS
    from ..quant.recipes.recipe import FILE_TYPES

    out = Output(json_mode, quiet)
    tensor_rows = [(f.name, f.id, f.block_size, f.block_bytes, f.bits_per_weight) for f in FORMATS.values()]
    file_rows = [(f.name, f.number, f.default, ", ".join(f.aliases)) for f in FILE_TYPES.values()]
    out.table(["tensor type", "id", "block", "bytes", "bits per weight"], tensor_rows)
    out.line()
    out.table(["file type", "number", "default tensor type", "also"], file_rows)
    out.document({
        "tensor_types": [dict(zip(("name", "id", "block_size", "block_bytes", "bits_per_weight"), r, strict=True))
                         for r in tensor_rows],
        "file_types": [dict(zip(("name", "number", "default"), r[:3], strict=True)) for r in file_rows],
    })
