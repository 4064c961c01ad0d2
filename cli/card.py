"""`ggufx card`: the model card of GGUF files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import HUB, OUTPUT, PREPARE, BaseModel, Force, Json, Quiet, Relation
from .output import Output

NAME = "card"
PANEL = PREPARE
EXAMPLES = """\
$ ggufx card model-Q4_K_M.gguf model-Q8_0.gguf --base-model org/model
$ ggufx card parts/ --repo me/model-GGUF --outfile CARD.md
"""


def command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="GGUF files, or folders with them.")],
    base_model: BaseModel = [],  # noqa: B006 typer copies it
    relation: Relation = "quantized",
    repo: Annotated[
        str | None, typer.Option("--repo", metavar="ORG/REPO", rich_help_panel=HUB, show_default=False,
                                 help="Where the files will lie on the Hub, for links and commands.")
    ] = None,
    outfile: Annotated[
        Path, typer.Option("--outfile", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="File to write.")
    ] = Path("README.md"),
    force: Force = False,
    json_mode: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the model card of GGUF files, from their headers: what they are, what each is good for, how to run them."""
    from ..converters.io.whole_files import check_writable, write_text
    from ..converters.publish.contents import collect
    from ..converters.publish.plan import prepare

    out = Output(json_mode, quiet)
    check_writable(outfile, force)
    made = prepare(collect(paths), repo, base_model, relation)
    out.notes(made.notes)
    write_text(outfile, made.card)
    out.line(f"{outfile}: the model card")
    out.document({"path": str(outfile), "text": made.card, "notes": [note.to_json() for note in made.notes]})
