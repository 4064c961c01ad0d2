"""`ggufx lora-to-gguf`: a PEFT adapter -> a GGUF adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_plain_types
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
    DryRun,
    Force,
    HfClass,
    Json,
    MaxMemory,
    MetadataFile,
    ModelName,
    Outfile,
    Plain,
    Private,
    Push,
    Quiet,
    Resume,
    Threads,
    Verbose,
)
from .output import Output

NAME = "lora-to-gguf"
PANEL = CONVERT
EXAMPLES = """\
$ ggufx lora-to-gguf adapter/
$ ggufx lora-to-gguf org/adapter --base model/ --outfile adapter.gguf
$ ggufx lora-to-gguf jinaai/jina-embeddings-v3 --task retrieval.query
"""


def command(
    adapter: Annotated[str, typer.Argument(metavar="ADAPTER", help="Adapter folder, or Hub id org/name[@revision].")],
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", rich_help_panel=OUTPUT, show_default="the adapter's",
                                 help="Base model: a folder (its config.json is enough) or a Hub id org/name[@revision].")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", rich_help_panel=OUTPUT, show_default=False,
                                 help="ADAPTER is a model with updates of tasks (Jina v3): the one to make an adapter of.")
    ] = None,
    outfile: Outfile = None,
    outtype: Annotated[
        str, typer.Option("--outtype", metavar="TYPE", autocompletion=complete_plain_types, rich_help_panel=OUTPUT,
                          help="f32, f16, bf16 or q8_0.")
    ] = "f32",
    checksums: Checksums = None,
    push: Push = None,
    private: Private = False,
    create_pr: CreatePr = False,
    card: Card = None,
    base_model: BaseModel = [],  # noqa: B006
    modelfile: Annotated[
        Path | None, typer.Option("--modelfile", metavar="MODEL.gguf", rich_help_panel=OUTPUT,
                                  help="Also write Ollama's Modelfile for this GGUF file of the base model with the adapter.")
    ] = None,
    model_name: ModelName = None,
    metadata: MetadataFile = None,
    hf_class: HfClass = None,
    plain: Plain = False,
    dry_run: DryRun = False,
    force: Force = False,
    after: After = False,
    resume: Resume = False,
    threads: Threads = None,
    max_memory: MaxMemory = MEMORY,
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Convert a LoRA adapter of PEFT or mlx-lm to a GGUF adapter."""
    from ..converters.errors import UsageError
    from ..converters.io.objects import staged
    from ..converters.planners.lora_to_gguf import LoraOptions, plan_lora_to_gguf
    from ..converters.sources.hf_folder import base_of
    from ..converters.sources.hub import cached_origin, resolve_model
    from .conversion import RESULT, carry_out
    from .publish import Publishing
    from .report import afterwards

    out = Output(json_mode, quiet, verbose)
    if task is not None and after:
        raise UsageError("--verify compares an adapter with PEFT's, and that of a task is none")
    folder = resolve_model(adapter, what="adapter" if task is None else "checkpoint", progress=not quiet, headers=dry_run)
    if task is not None and base is None:
        base = adapter
    elif base is None:
        base = base_of(folder)
        out.notes([f"the base model is {base}, as adapter_config.json says"])
    base_folder = resolve_model(base, what="config", progress=not quiet, headers=dry_run)
    options = LoraOptions(outtype.lower(), model_name=model_name, metadata_file=metadata, hub_id=cached_origin(folder),
                          hf_class=hf_class, plain=plain, task=task)
    plan = plan_lora_to_gguf(base_folder, folder, staged(outfile), options)
    path = plan.outputs[0].path
    compare = {path: afterwards(folder, path, threads=threads, max_memory=max_memory,
                                base=base_folder, hf_class=hf_class)} if after else None
    publishing = Publishing(push=push, card=card, private=private, create_pr=create_pr, base_model=tuple(base_model),
                            made_of=(base_folder,), relation="adapter")
    return carry_out(out, plan, source=adapter, dry_run=dry_run, checksums=checksums, modelfile=modelfile, after=compare,
                     then=(*([("ggufx", "verify", adapter, RESULT, "--base", base)] if task is None else []),
                           ("llama-server", "-m", "BASE.gguf", "--lora", RESULT)), threads=threads,
                     max_memory=max_memory, resume=resume, force=force, publishing=publishing)
