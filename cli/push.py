"""`ggufx push`: files that are complete -> a repository on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import HUB, PREPARE, RUN, BaseModel, CreatePr, Force, Json, Private, Quiet, Relation, Verbose
from .output import Output

NAME = "push"
PANEL = PREPARE
EXAMPLES = """\
$ ggufx push model-Q4_K_M.gguf model-Q8_0.gguf me/model-GGUF --base-model org/model
$ ggufx push parts/model-00001-of-00003.gguf me/model-GGUF --private
$ ggufx push merged/ me/merged --create-pr --dry-run
"""


def command(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH... ORG/REPO[@BRANCH]", show_default=False,
                                   help="GGUF files (of a split model any part), or folders: a checkpoint, an adapter, many "
                                   "files. Last the repository, which is made where it is not there.")
    ],
    base_model: BaseModel = [],  # noqa: B006 typer copies it
    relation: Relation = "quantized",
    card: Annotated[
        Path | None, typer.Option("--card", metavar="FILE", rich_help_panel=HUB, show_default=False,
                                  help="Also write the model card to this file.")
    ] = None,
    private: Private = False,
    create_pr: CreatePr = False,
    message: Annotated[
        str | None, typer.Option("--message", metavar="TEXT", rich_help_panel=HUB, show_default=False,
                                 help="Title of the commit.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel=RUN, help="Only what would be pushed: nothing is sent.")
    ] = False,
    force: Force = False,
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Push GGUF files or checkpoints to the Hub in one commit, with a model card. Called again, it goes on."""
    from ..converters.errors import UsageError
    from ..converters.publish.contents import collect
    from ..converters.publish.upload import as_target
    from .publish import publish

    *files, repo = paths
    if not files:
        raise UsageError("a path and a repository are needed", hint="`ggufx push PATH... ORG/REPO`")
    out = Output(json_mode, quiet, verbose)
    try:
        as_target(str(repo))
    except UsageError as error:
        error.hint = error.hint or "The repository comes last: `ggufx push PATH... ORG/REPO`."
        raise
    told = publish(out, collect(files), str(repo), bases=base_model, relation=relation, card=card, private=private,
                   create_pr=create_pr, force=force, message=message, dry_run=dry_run)
    out.document(told)
