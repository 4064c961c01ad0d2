"""`ggufx commit`: what all shards of a plan have made gets its final names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..converters.io.whole_files import check_writable
from ..converters.report.loss_report import report_of
from .checksums import write_checksums
from .conversion import print_losses
from .exit import ExitStatus, status_of
from .options import MACHINES, MEMORY, Checksums, Force, Json, MaxMemory, Quiet, Threads, Verbose
from .output import Output, human_bytes

NAME = "commit"
PANEL = MACHINES
EXAMPLES = """\
$ ggufx commit plan.json
$ ggufx commit plan.json --checksums SHA256SUMS --json
"""


def command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.json", help="What `ggufx plan` printed.")],
    checksums: Checksums = None,
    force: Force = False,
    threads: Threads = None,
    max_memory: MaxMemory = MEMORY,
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Check what all shards of a plan wrote, and publish it, with the plan's --report; a shard that is missing is named."""
    from .. import __version__
    from ..converters.plan.document import read_plan
    from ..converters.run.shards import commit

    out = Output(json_mode, quiet, verbose)
    check_writable(checksums, force)
    planned = read_plan(plan, __version__)
    told = report_of(planned, force)
    with out.progress("commit") as progress:
        result = commit(planned, force=force, threads=threads, max_memory=max_memory, progress=progress,
                        checksums=checksums is not None or out.json_mode or out.verbose, losses=told is not None, told=told)
    if checksums is not None:
        write_checksums(checksums, result.files)
    out.failures(result.failures)
    for file in result.files:
        out.line(f"{file.path}: {human_bytes(file.size)}")
        if out.verbose:
            out.line(f"{file.sha256}  {file.path}")
    print_losses(out, result, None if planned.report is None else planned.report.path)
    out.document({
        "direction": planned.direction, "plan": planned.digest(), "seconds": round(result.seconds, 3),
        "notes": [note.to_json() for note in planned.notes],
        "files": [{"path": str(f.path), "size": f.size, "sha256": f.sha256} for f in result.files]})
    return status_of(result.failures[0].error) if result.failures else ExitStatus.DONE
