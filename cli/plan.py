"""`ggufx plan`: a conversion as a file, which `ggufx run` carries out in shards, on machines that see the same files."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from .exit import ExitStatus
from .options import MACHINES

NAME = "plan"
PANEL = MACHINES
EXAMPLES = """\
$ ggufx plan hf-to-gguf model/ --outtype iq2_xs --imatrix imatrix.gguf -o model-iq2_xs.gguf > plan.json
$ ggufx plan merge-lora --base model/ adapter/ --outfile merged/ > plan.json
"""
SETTINGS = {"ignore_unknown_options": True, "allow_interspersed_args": False}  # options are those of the command
VERBS = ("hf-to-gguf", "gguf-to-hf", "original-to-hf", "quantize", "merge-lora")


def command(
    verb: Annotated[str, typer.Argument(metavar="COMMAND", help=f"One of {', '.join(VERBS)}.")],
    arguments: Annotated[
        list[str], typer.Argument(metavar="ARGUMENTS...", help="Its arguments and options, as without `ggufx plan`.")
    ] = [],  # noqa: B006 typer copies it
) -> ExitStatus:
    """Print the plan of a conversion as JSON, for `ggufx run` and `ggufx commit`. Nothing is written."""
    from .. import __version__
    from ..converters.errors import UsageError
    from ..converters.plan.document import plan_document
    from .conversion import PLANNED
    from .main import app

    if verb not in VERBS:
        raise UsageError(f"{verb} is not planned", expected=f"one of {', '.join(VERBS)}")
    planned: list[Any] = []
    token = PLANNED.set(planned)
    try:
        status = app([verb, *arguments], standalone_mode=False) or ExitStatus.DONE
    finally:
        PLANNED.reset(token)
    if planned:
        typer.echo(json.dumps(plan_document(planned[0], __version__), ensure_ascii=False))
    return ExitStatus(status)
