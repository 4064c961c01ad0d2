"""`ggufx merge-lora`: adapters into the model that they were trained on."""

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
    Checksums,
    Device,
    DryRun,
    Force,
    HfClass,
    Json,
    MaxMemory,
    Quiet,
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
"""


def command(
    adapters: Annotated[
        list[str], typer.Argument(metavar="ADAPTER[@SCALE]...",
                                  help="Adapter folder, or Hub id org/name[@revision]. Several are merged one after another.")
    ],
    outfile: Annotated[
        Path, typer.Option("--outfile", "-o", metavar="OUT/", rich_help_panel=OUTPUT, help="Folder to make.")
    ],
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", rich_help_panel=OUTPUT, show_default="the first adapter's",
                                 help="Base model: checkpoint folder or Hub id org/name[@revision].")
    ] = None,
    checksums: Checksums = None,
    hf_class: HfClass = None,
    dry_run: DryRun = False,
    force: Force = False,
    after: After = False,
    resume: Resume = False,
    threads: Threads = None,
    max_memory: MaxMemory = MEMORY,
    device: Device = "auto",
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Merge PEFT adapters into their base model, with the bits of peft's merge_and_unload, in bounded memory."""
    from ..converters.planners.merge_lora import plan_merge_lora
    from ..converters.planners.merged_weights import resolve_adapters
    from ..converters.sources.hf_folder import base_of
    from ..converters.sources.hub import resolve_model
    from .conversion import RESULT, carry_out
    from .report import afterwards

    out = Output(json_mode, quiet, verbose)
    found = resolve_adapters(adapters, progress=not quiet)
    if base is None:
        base = base_of(found[0].folder)
        out.notes([f"the base model is {base}, as adapter_config.json says"])
    model = resolve_model(base, progress=not quiet)
    plan = plan_merge_lora(model, found, outfile, hf_class)
    compare = {outfile: afterwards(model, outfile, threads=threads, max_memory=max_memory, hf_class=hf_class,
                                   adapters=found)} if after else None
    lora = tuple(text for adapter in adapters for text in ("--lora", adapter))
    return carry_out(out, plan, source=base, dry_run=dry_run, checksums=checksums, after=compare,
                     then=(("ggufx", "verify", base, RESULT, *lora), ("ggufx", "hf-to-gguf", RESULT, "--outtype", "q4_k_m")),
                     threads=threads, max_memory=max_memory, device=device, resume=resume, force=force)
