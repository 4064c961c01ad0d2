"""`ggufx edit`: a GGUF file -> the same with other key-values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .exit import ExitStatus
from .options import (
    CONVERT,
    MEMORY,
    ChatTemplate,
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

NAME = "edit"
PANEL = CONVERT
CHANGES = "What changes"
SHOWN_TEXT = 60  # characters of a value, for people
EXAMPLES = """\
$ ggufx edit model.gguf --chat-template template.jinja --token eos='<|im_end|>'
$ ggufx edit model.gguf new.gguf --set llama.context_length=131072 --unset general.url
$ ggufx edit model.gguf --set my.key:u32=5 --set general.tags='["chat", "code"]' --dry-run
"""


def command(
    model: Annotated[
        str, typer.Argument(metavar="IN.gguf", help="GGUF file, first part of a split one, or org/repo:file.gguf.")
    ],
    outfile: Annotated[
        Path | None, typer.Argument(metavar="[OUT.gguf]", show_default=False,
                                    help="File to write [default: IN.gguf is replaced when its successor is complete].")
    ] = None,
    set_: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", rich_help_panel=CHANGES,
                                help="KEY:type=VALUE for a new key; lists as JSON; may be repeated.")
    ] = [],  # noqa: B006 typer copies it
    set_file: Annotated[
        list[str], typer.Option("--set-file", metavar="KEY=PATH", rich_help_panel=CHANGES,
                                help="The value is in a file; may be repeated.")
    ] = [],  # noqa: B006
    unset: Annotated[
        list[str], typer.Option("--unset", metavar="KEY", rich_help_panel=CHANGES,
                                help="Without this key; wildcards; may be repeated.")
    ] = [],  # noqa: B006
    chat_template: ChatTemplate = None,
    token: Annotated[
        list[str], typer.Option("--token", metavar="NAME=TEXT", rich_help_panel=CHANGES,
                                help="The token that serves as eos, bos, eot, pad ...; may be repeated.")
    ] = [],  # noqa: B006
    tokenizer_from: Annotated[
        Path | None, typer.Option("--tokenizer-from", metavar="FOLDER", rich_help_panel=CHANGES,
                                  help="Vocabulary and chat template anew, from a checkpoint's folder.")
    ] = None,
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
    """Change key-values of a GGUF file: always a new file, in the place of the old one when it is complete."""
    from ..converters.io.objects import staged
    from ..converters.planners.edit import EditOptions, plan_edit
    from ..converters.sources.hub import resolve_model
    from .conversion import RESULT, carry_out

    out = Output(json_mode, quiet, verbose)
    options = EditOptions(set=tuple(set_), set_file=tuple(set_file), unset=tuple(unset), chat_template=chat_template,
                          tokens=tuple(token), tokenizer_from=tokenizer_from)
    plan = plan_edit(resolve_model(model, what="gguf", progress=not quiet, headers=dry_run), staged(outfile), options)
    changes = [(c["key"], _shown(c["was"]), _shown(c["will_be"])) for c in plan.facts["changes"]]
    if changes:
        out.table(["key", "was", "will be"], changes)
    else:
        out.notes(["nothing changes: the file has these key-values"])
        if outfile is None:
            out.document({"direction": "edit", "changes": [], "source": model, "files": []})
            return ExitStatus.DONE
    return carry_out(out, plan, source=model, dry_run=dry_run, checksums=checksums,
                     then=(("ggufx", "inspect", RESULT), ("llama-server", "-m", RESULT)), threads=threads,
                     max_memory=max_memory, device="cpu", resume=resume, force=force or outfile is None)


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    text = str(value).replace("\n", "\\n")
    return text if len(text) <= SHOWN_TEXT else f"{text[:SHOWN_TEXT]}... ({len(text)} characters)"
