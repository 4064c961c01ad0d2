"""`ggufx hf-to-gguf`: a checkpoint -> a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    Checksums,
    DryRun,
    Force,
    Json,
    MaxMemory,
    MetadataFile,
    ModelName,
    Plain,
    Quiet,
    Resume,
    Threads,
    Verbose,
)
from .output import Output

NAME = "hf-to-gguf"


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Checkpoint folder, or Hub id org/name[@revision].")],
    outfile: Annotated[
        Path | None, typer.Option("--outfile", "-o", help="Output [default: GGUF naming convention, current folder].")
    ] = None,
    outtype: Annotated[str, typer.Option("--outtype", help="f32, f16, bf16, q8_0 or auto: the model's own.")] = "auto",
    pre: Annotated[
        str | None, typer.Option("--pre", metavar="NAME", help="Pre-tokenizer, where it is not recognised.")
    ] = None,
    model_name: ModelName = None,
    metadata: MetadataFile = None,
    plain: Plain = False,
    dry_run: DryRun = False,
    force: Force = False,
    resume: Resume = False,
    checksums: Checksums = None,
    threads: Threads = None,
    max_memory: MaxMemory = "1GiB",
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Convert a Hugging Face checkpoint to one GGUF file."""
    from ..converters.io.hub import cached_origin, resolve_model
    from ..converters.plan_gguf import GgufOptions, plan_hf_to_gguf
    from .conversion import carry_out

    out = Output(json_mode, quiet, verbose)
    folder = resolve_model(model, progress=not quiet)
    options = GgufOptions(outtype.lower(), model_name, metadata, cached_origin(folder), pre, plain)
    plan = plan_hf_to_gguf(folder, outfile, options)
    carry_out(out, plan, dry_run=dry_run, checksums=checksums, threads=threads, max_memory=max_memory, resume=resume,
              force=force)
