"""`ggufx batch`: many checkpoints -> GGUF, one line of a list each."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..converters.io.whole_files import check_writable
from .checksums import write_checksums
from .completion import complete_file_types
from .exit import ExitStatus
from .options import (
    MACHINES,
    MEMORY,
    OUTPUT,
    RUN,
    Checksums,
    Device,
    Engine,
    Force,
    Json,
    MaxMemory,
    Mmproj,
    MmprojType,
    Quiet,
    Threads,
    Verbose,
)
from .output import Output, human_bytes

if TYPE_CHECKING:
    from ..converters.batch import Outcome
    from ..converters.run.execute import Progress

NAME = "batch"
PANEL = MACHINES
EXAMPLES = """\
$ ggufx batch models.txt --outtype q4_k_m --outfile '{org}/{name}-{outtype}.gguf'
$ ggufx batch models.txt --outtype recommended --json
$ ggufx batch models.txt --outtype q4_k_m --outfile /shared/ --engine ray
"""
STATES = {"made": "made", "there": "was there", "incomplete": "incomplete", "failed": "not made"}


def command(
    models: Annotated[Path, typer.Argument(metavar="LIST.txt", help="A checkpoint's folder or Hub id on each line; # begins "
                                                                    "a comment.")],
    outfile: Annotated[
        str, typer.Option("--outfile", "-o", metavar="FILE", rich_help_panel=OUTPUT,
                          help="With {name}, {org} and {revision} of the model, and {outtype}; or a folder; also s3://.")
    ] = "{name}-{outtype}.gguf",
    outtype: Annotated[
        str, typer.Option("--outtype", metavar="TYPE[,TYPE]", autocompletion=complete_file_types, rich_help_panel=OUTPUT,
                          help="File types (q4_k_m ...), a preset (recommended), see `ggufx types`; auto: each model's own.")
    ] = "auto",
    mmproj: Mmproj = False,
    mmproj_type: MmprojType = "f16",
    checksums: Checksums = None,
    check: Annotated[
        bool, typer.Option("--check", rich_help_panel=RUN, help="Hold results that are there against what their sources give, "
                                                                "byte for byte.")
    ] = False,
    force: Force = False,
    threads: Threads = None,
    max_memory: MaxMemory = MEMORY,
    device: Device = "auto",
    engine: Engine = "threads",
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Convert each model of a list to GGUF. One that fails is named, and the others are made; what is there already, or begun,
    is not made anew."""
    from ..converters.batch import BatchOptions, check_batch, convert_each, read_list
    from ..converters.planners.many_outputs import outtype_names

    out = Output(json_mode, quiet, verbose)
    named = read_list(models)
    options = BatchOptions(
        outtype=tuple(outtype_names(outtype)), outfile=outfile, mmproj=mmproj, mmproj_type=mmproj_type, force=force,
        check=check, checksums=checksums is not None or json_mode or verbose, threads=threads, max_memory=max_memory,
        device=device, engine=engine)
    check_batch(named, options)
    check_writable(checksums, force)
    done: list[Outcome] = []
    with ExitStack() as stack:
        stack.enter_context(out.compiling())

        def bar(number: int, model: str) -> Progress:
            return bars.enter_context(out.progress(f"{number + 1}/{len(named)} {model}"))

        bars = stack.enter_context(ExitStack())
        for outcome in convert_each(named, options, bar):
            bars.close()
            done.append(outcome)
            out.info(f"{len(done)}/{len(named)} {outcome.model}: {STATES[outcome.state]} in {outcome.seconds:.1f} s")
            for error in outcome.errors:
                out.failed(outcome.model, error)
    if checksums is not None:
        write_checksums(checksums, (f for o in done for f in o.files))
    return report(out, done)


def report(out: Output, done: list[Outcome]) -> ExitStatus:
    """The table of all, and the document."""
    out.table(["model", "result", "file", "size"], [
        (o.model, STATES[o.state], path, size) for o in done
        for path, size in ([(f.place, human_bytes(f.size)) for f in o.files] or [("", "")])])
    failed = sum(not o.ok for o in done)
    status = ExitStatus.NO if failed else ExitStatus.DONE
    out.line(f"{len(done) - failed} of {len(done)} are there: {human_bytes(sum(f.size for o in done for f in o.files))}")
    out.document({"ok": not failed, "models": [o.to_json() for o in done], "failed": failed, "exit_code": int(status)})
    return status
