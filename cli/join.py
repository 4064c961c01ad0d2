"""`ggufx join`: the parts of a split GGUF file -> one file."""

from __future__ import annotations

from typing import Annotated

import typer

from .exit import ExitStatus
from .options import (
    CONVERT,
    MEMORY,
    Checksums,
    DryRun,
    Force,
    Json,
    MaxMemory,
    Quiet,
    Resume,
    Threads,
    Verbose,
)
from .output import Output

NAME = "join"
PANEL = CONVERT
EXAMPLES = """\
$ ggufx join model-00001-of-00003.gguf model.gguf
"""


def command(
    first: Annotated[
        str, typer.Argument(metavar="FIRST.gguf", help="First part of a split model, or org/repo:file.gguf.")
    ],
    outfile: Annotated[str, typer.Argument(metavar="OUT.gguf", help="File to write, or a folder.")],
    checksums: Checksums = None,
    dry_run: DryRun = False,
    force: Force = False,
    resume: Resume = False,
    threads: Threads = None,
    max_memory: MaxMemory = MEMORY,
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Join the parts of a split GGUF file into one file."""
    from ..converters.io.objects import staged
    from ..converters.planners.copied_tensors import plan_join
    from ..converters.sources.hub import resolve_model
    from .conversion import RESULT, carry_out

    out = Output(json_mode, quiet, verbose)
    plan = plan_join(resolve_model(first, what="gguf", progress=not quiet, headers=dry_run), staged(outfile))
    return carry_out(out, plan, source=first, dry_run=dry_run, checksums=checksums,
                     then=(("ggufx", "verify", first, RESULT), ("llama-server", "-m", RESULT)), threads=threads,
                     max_memory=max_memory, device="cpu", resume=resume, force=force)
