"""`ggufx split`: a GGUF file -> the parts of one, as gguf-split makes them."""

from __future__ import annotations

from typing import Annotated

import typer

from .exit import ExitStatus
from .options import (
    CONVERT,
    MEMORY,
    OUTPUT,
    BaseModel,
    Card,
    Checksums,
    CreatePr,
    DryRun,
    Force,
    Json,
    MaxMemory,
    Private,
    Push,
    Quiet,
    Resume,
    Threads,
    Verbose,
    byte_size,
)
from .output import Output

NAME = "split"
PANEL = CONVERT
EXAMPLES = """\
$ ggufx split model.gguf parts/model --max-size 48G
$ ggufx split model.gguf model --max-tensors 128 --dry-run
"""


def command(
    model: Annotated[
        str, typer.Argument(metavar="IN.gguf", help="GGUF file, first part of a split one, or org/repo:file.gguf.")
    ],
    out: Annotated[
        str, typer.Argument(metavar="OUT", help="What the parts are named after, OUT-00001-of-0000N.gguf; or a folder.")
    ],
    max_size: Annotated[
        int | None, typer.Option("--max-size", parser=byte_size, metavar="SIZE", rich_help_panel=OUTPUT,
                                 help="Bytes of tensors in a part, such as 48G.")
    ] = None,
    max_tensors: Annotated[
        int | None, typer.Option("--max-tensors", min=1, metavar="N", rich_help_panel=OUTPUT, help="Tensors in a part.")
    ] = None,
    first_empty: Annotated[
        bool, typer.Option("--no-tensor-first-split", rich_help_panel=OUTPUT,
                           help="The first part has the key-values alone: quick to edit.")
    ] = False,
    checksums: Checksums = None,
    push: Push = None,
    private: Private = False,
    create_pr: CreatePr = False,
    card: Card = None,
    base_model: BaseModel = [],  # noqa: B006
    dry_run: DryRun = False,
    force: Force = False,
    resume: Resume = False,
    threads: Threads = None,
    max_memory: MaxMemory = MEMORY,
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Split a GGUF file into parts, with the bytes of llama.cpp's gguf-split."""
    from ..converters.io.objects import staged
    from ..converters.plan.gguf_output import SplitLimits
    from ..converters.planners.copied_tensors import plan_split
    from ..converters.sources.hub import resolve_model
    from .conversion import RESULT, carry_out
    from .publish import Publishing

    path = resolve_model(model, what="gguf", progress=not quiet, headers=dry_run)
    plan = plan_split(path, staged(out), SplitLimits(max_bytes=max_size, max_tensors=max_tensors, first_empty=first_empty))
    publishing = Publishing(push=push, card=card, private=private, create_pr=create_pr, base_model=tuple(base_model),
                            made_of=(path,), relation="quantized")
    return carry_out(Output(json_mode, quiet, verbose), plan, source=model, dry_run=dry_run, checksums=checksums,
                     then=(("ggufx", "verify", model, RESULT), ("llama-server", "-m", RESULT)), threads=threads,
                     max_memory=max_memory, device="cpu", resume=resume, force=force, publishing=publishing)
