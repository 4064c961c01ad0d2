"""`ggufx modelfile`: Ollama's Modelfile of a GGUF model, and of an adapter on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..converters.io.whole_files import check_writable, write_text
from .options import OUTPUT, PREPARE, Force, Json, Quiet
from .output import Output

if TYPE_CHECKING:
    from ..converters.metadata.modelfile import Modelfile

NAME = "modelfile"
PANEL = PREPARE
EXAMPLES = """\
$ ggufx modelfile model-q4_k_m.gguf
$ ggufx modelfile model-q4_k_m.gguf --adapter adapter.gguf --outfile Modelfile
"""


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL.gguf", help="GGUF file, first part of a split one, or org/repo:file.gguf.")
    ],
    adapter: Annotated[
        str | None, typer.Option("--adapter", metavar="ADAPTER.gguf", rich_help_panel=OUTPUT,
                                 help="A GGUF adapter on it; Ollama takes one.")
    ] = None,
    mmproj: Annotated[
        str | None, typer.Option("--mmproj", metavar="MMPROJ.gguf", rich_help_panel=OUTPUT,
                                 help="File of the model's vision and audio parts.")
    ] = None,
    outfile: Annotated[
        Path, typer.Option("--outfile", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="File to write.")
    ] = Path("Modelfile"),
    force: Force = False,
    json_mode: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write Ollama's Modelfile of a GGUF model, reading headers only: stop texts, sampling parameters, licence, adapter."""
    from ..converters.metadata.modelfile import make_modelfile
    from ..converters.sources.hub import resolve_model

    out = Output(json_mode, quiet)
    check_writable(outfile, force)
    path, lora, projector = (ref if ref is None else resolve_model(ref, what="gguf", progress=not quiet)
                             for ref in (model, adapter, mmproj))
    assert path is not None
    made = make_modelfile(path, lora, outfile.parent, [projector] if projector else [])
    publish(out, made, outfile)
    out.document({"path": str(outfile), "text": made.text, "name": made.name, "notes": list(made.notes)})


def publish(out: Output, made: Modelfile, path: Path) -> None:
    """Write a Modelfile, and say what to do with it."""
    out.notes(made.notes)
    write_text(path, made.text)
    out.line(f"{path}: for Ollama")
    out.info(f"next: ollama create {made.name} -f {path}")
