"""`ggufx merge-lora`: adapters into the model that they were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_file_types
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
    Imatrix,
    Json,
    MaxMemory,
    Private,
    Push,
    Quiet,
    Report,
    Resume,
    Threads,
    Verbose,
)
from .output import Output

NAME = "merge-lora"
PANEL = CONVERT
EXAMPLES = """\
$ ggufx merge-lora adapter/ --outfile merged/
$ ggufx merge-lora --base model/ org/adapter@0.7 other-adapter/ --outfile merged/ --dry-run
$ ggufx merge-lora --base model-q4_k_m.gguf adapter/ --outfile merged.gguf --imatrix imatrix.gguf
"""


def command(
    adapters: Annotated[
        list[str], typer.Argument(metavar="ADAPTER[@SCALE]...",
                                  help="Adapter folder, GGUF adapter (for a GGUF base), or Hub id org/name[@revision]. Several "
                                  "are merged one after another.")
    ],
    outfile: Annotated[
        str, typer.Option("--outfile", "-o", metavar="OUT", rich_help_panel=OUTPUT,
                          help="Folder to make; for a GGUF base the file to write, {outtype} is filled in.")
    ],
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", rich_help_panel=OUTPUT, show_default="the first adapter's",
                                 help="Base model: checkpoint folder or Hub id org/name[@revision]; GGUF file or "
                                 "org/repo:file.gguf.")
    ] = None,
    outtype: Annotated[
        str, typer.Option("--outtype", metavar="TYPE[,TYPE]", autocompletion=complete_file_types, rich_help_panel=OUTPUT,
                          help="Of a GGUF base: file types; keep: each tensor's own.")
    ] = "keep",
    imatrix: Imatrix = None,
    checksums: Checksums = None,
    report: Report = None,
    push: Push = None,
    private: Private = False,
    create_pr: CreatePr = False,
    card: Card = None,
    base_model: BaseModel = [],  # noqa: B006
    hf_class: HfClass = None,
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
    """Merge PEFT adapters into their base model, with the bits of peft's merge_and_unload; also into a GGUF file."""
    from ..converters.io.objects import staged
    from ..converters.planners.merge_lora import plan_merge
    from ..converters.planners.merged_weights import resolve_adapters
    from ..converters.sources.hf_folder import base_of
    from ..converters.sources.hub import resolve_model
    from .conversion import RESULT, carry_out
    from .publish import Publishing
    from .report import afterwards

    out = Output(json_mode, quiet, verbose)
    found = resolve_adapters(adapters, progress=not quiet, headers=dry_run)
    if base is None:
        base = base_of(found[0].folder)
        out.notes([f"the base model is {base}, as adapter_config.json says"])
    gguf = base.endswith(".gguf") or Path(base).is_file()
    model = resolve_model(base, what="gguf" if gguf else "checkpoint", progress=not quiet, headers=dry_run)
    plan, refused = plan_merge(model, found, staged(outfile), outtype, hf_class=hf_class, imatrix=imatrix)
    compare = {path: afterwards(model, path, threads=threads, max_memory=max_memory, hf_class=hf_class, adapters=found)
               for path in ((plan.folder,) if plan.folder else plan.results)} if after else None
    lora = tuple(text for adapter in adapters for text in ("--lora", adapter))
    then = (("ggufx", "verify", base, RESULT, *lora), ("ggufx", "hf-to-gguf", RESULT, "--outtype", "q4_k_m") if plan.folder else
            ("llama-server", "-m", RESULT))
    publishing = Publishing(push=push, card=card, private=private, create_pr=create_pr, base_model=tuple(base_model),
                            made_of=(model, *(adapter.folder for adapter in found)), relation="merge")
    return carry_out(out, plan, refused, source=base, dry_run=dry_run, checksums=checksums, report=report, after=compare,
                     then=then, threads=threads, max_memory=max_memory, device=device, engine=engine, resume=resume,
                     force=force, publishing=publishing)
