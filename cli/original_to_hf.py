"""`ggufx original-to-hf`: a model in Meta's or Mistral's own layout -> a checkpoint folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .exit import ExitStatus
from .options import (
    CONVERT,
    MEMORY,
    OUTPUT,
    After,
    BaseModel,
    Card,
    Checksums,
    ContextLength,
    CreatePr,
    Device,
    DryRun,
    Engine,
    Force,
    Json,
    LlamaVersion,
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

NAME = "original-to-hf"
PANEL = CONVERT
EXAMPLES = """\
$ ggufx original-to-hf Llama3.2-1B/ Llama-3.2-1B-hf/
$ ggufx original-to-hf llama-2-70b/ Llama-2-70b-hf/ --llama-version 2
"""


def command(
    model: Annotated[str, typer.Argument(metavar="ORIGINAL/", help="Folder with params.json and consolidated.*, or Hub id.")],
    folder: Annotated[Path, typer.Argument(metavar="OUT/", help="Folder to make.")],
    max_shard_size: Annotated[
        int, typer.Option("--max-shard-size", parser=byte_size, metavar="SIZE", rich_help_panel=OUTPUT,
                          help="Largest safetensors file.")
    ] = byte_size("5G"),
    llama_version: LlamaVersion = None,
    context_length: ContextLength = None,
    checksums: Checksums = None,
    push: Push = None,
    private: Private = False,
    create_pr: CreatePr = False,
    card: Card = None,
    base_model: BaseModel = [],  # noqa: B006
    dry_run: DryRun = False,
    force: Force = False,
    after: After = False,
    resume: Resume = False,
    threads: Threads = None,
    max_memory: MaxMemory = MEMORY,
    device: Device = "auto",
    engine: Engine = "threads",
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Convert Meta's or Mistral's own layout to safetensors, config and tokenizer of Hugging Face."""
    from ..converters.io.objects import staged
    from ..converters.planners.original_to_hf import OriginalOptions, plan_original_to_hf
    from ..converters.sources.hub import resolve_model
    from ..converters.sources.stated import Stated
    from .conversion import RESULT, carry_out
    from .publish import Publishing
    from .report import afterwards

    out = Output(json_mode, quiet, verbose)
    folder = staged(folder)
    stated = Stated(llama_version=llama_version, context_length=context_length)
    path = resolve_model(model, progress=not quiet, headers=dry_run)
    plan = plan_original_to_hf(path, folder, OriginalOptions(stated, max_shard_bytes=max_shard_size))
    compare = {folder: afterwards(path, folder, threads=threads, max_memory=max_memory, stated=stated)} if after else None
    publishing = Publishing(push=push, card=card, private=private, create_pr=create_pr, base_model=tuple(base_model),
                            made_of=(path,), relation="")
    return carry_out(out, plan, source=model, dry_run=dry_run, checksums=checksums, after=compare,
                     then=(("ggufx", "verify", model, RESULT, *stated.words), ("ggufx", "hf-to-gguf", RESULT)), threads=threads,
                     max_memory=max_memory, device=device, engine=engine, resume=resume, force=force,
                     publishing=publishing)
