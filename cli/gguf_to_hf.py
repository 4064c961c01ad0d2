"""`ggufx gguf-to-hf`: a GGUF file -> a checkpoint folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_dtypes
from .exit import ExitStatus
from .options import (
    CONVERT,
    MEMORY,
    OUTPUT,
    After,
    BaseModel,
    Card,
    Checksums,
    CreatePr,
    Device,
    DryRun,
    Engine,
    Force,
    HfClass,
    Json,
    MaxMemory,
    Pre,
    Private,
    Push,
    Quiet,
    Resume,
    Threads,
    Verbose,
    byte_size,
)
from .output import Output

NAME = "gguf-to-hf"
PANEL = CONVERT
EXAMPLES = """\
$ ggufx gguf-to-hf model.gguf model/
$ ggufx gguf-to-hf model.gguf model/ --mmproj mmproj-model-f16.gguf
$ ggufx gguf-to-hf org/repo:model-q8_0.gguf model/ --dtype bf16
$ ggufx gguf-to-hf adapter.gguf adapter/ --base org/model
"""


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL.gguf", help="GGUF file, first part of a split one, or org/repo:file.gguf.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="OUT/", help="Folder to make.")],
    dtype: Annotated[
        str, typer.Option("--dtype", metavar="TYPE", autocompletion=complete_dtypes, rich_help_panel=OUTPUT,
                          help="bf16, f16, f32 or auto: the original types.")
    ] = "auto",
    max_shard_size: Annotated[
        int | None, typer.Option("--max-shard-size", parser=byte_size, metavar="SIZE", rich_help_panel=OUTPUT,
                                 help="Largest safetensors file. Default: the files as they were, else 5G.")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", rich_help_panel=OUTPUT, show_default="the adapter's",
                                 help="Base model of an adapter: a folder (its config.json is enough) or a Hub id.")
    ] = None,
    mmproj: Annotated[
        str | None, typer.Option("--mmproj", metavar="MMPROJ.gguf", rich_help_panel=OUTPUT,
                                 help="File of the vision and audio parts: the whole multimodal checkpoint is made.")
    ] = None,
    hf_class: HfClass = None,
    pre: Pre = None,
    no_tokenizer: Annotated[
        bool, typer.Option("--no-tokenizer", rich_help_panel=OUTPUT, help="Weights and config alone.")
    ] = False,
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
    """Convert a GGUF file back to safetensors, config and tokenizer; a GGUF adapter to a PEFT adapter."""
    from ..converters.io.objects import staged
    from ..converters.planners.adapter_to_hf import base_of_gguf, hub_id, is_adapter, plan_adapter_to_hf
    from ..converters.planners.gguf_to_hf import HfOptions
    from ..converters.planners.pair_to_hf import plan_model_to_hf
    from ..converters.sources.hub import resolve_model
    from .conversion import RESULT, carry_out
    from .publish import Publishing
    from .report import afterwards

    out = Output(json_mode, quiet, verbose)
    folder = staged(folder)
    projector = None if mmproj is None else resolve_model(mmproj, what="gguf", progress=not quiet, headers=dry_run)
    options = HfOptions(dtype.lower(), max_shard_bytes=max_shard_size, mmproj=projector, hf_class=hf_class, pre=pre,
                        tokenizer=not no_tokenizer)
    path = resolve_model(model, what="gguf", progress=not quiet, headers=dry_run)
    base_folder = None
    if is_adapter(path) or base is not None:
        if base is None:
            base = base_of_gguf(path)
            out.notes([f"the base model is {base}, as the adapter says"])
        base_folder = resolve_model(base, what="config", progress=not quiet, headers=dry_run)
        plan = plan_adapter_to_hf(path, base_folder, folder, options, hub_id(base))
    else:
        plan = plan_model_to_hf(path, folder, options)
    compare = {folder: afterwards(path, folder, threads=threads, max_memory=max_memory, base=base_folder,
                                  pre=pre, hf_class=hf_class, projector=projector,
                                  vocabulary=not no_tokenizer)} if after else None
    beside = ("--base", base) if base else () if projector is None else ("--mmproj", str(projector))
    publishing = Publishing(push=push, card=card, private=private, create_pr=create_pr, base_model=tuple(base_model),
                            made_of=(path,), relation="")
    return carry_out(out, plan, source=model, dry_run=dry_run, checksums=checksums, after=compare,
                     then=(("ggufx", "verify", model, RESULT, *beside),), threads=threads,
                     max_memory=max_memory, device=device, engine=engine, resume=resume, force=force,
                     publishing=publishing)
