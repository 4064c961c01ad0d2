"""`ggufx run`: one shard of a plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from .options import MACHINES, MEMORY, RUN, Device, Json, MaxMemory, Quiet, Threads, Verbose
from .output import Output, human_bytes

NAME = "run"
PANEL = MACHINES
EXAMPLES = """\
$ ggufx run plan.json --shard 0/16
$ ggufx run plan.json --shard 15/16 --threads 8
"""


def shard_name(text: str) -> str:
    """`3/16`, as it is given."""
    if not re.fullmatch(r"\d{1,6}/\d{1,6}", text):
        raise typer.BadParameter(f"{text!r} is no shard; write I/N, such as 3/16, counted from 0")
    return text


def command(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.json", help="What `ggufx plan` printed.")],
    shard: Annotated[
        str, typer.Option("--shard", metavar="I/N", parser=shard_name, rich_help_panel=RUN,
                          help="Which of N shards, counted from 0. All shards are run with the same N.")
    ] = "0/1",
    threads: Threads = None,
    max_memory: MaxMemory = MEMORY,
    device: Device = "auto",
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Carry out one shard of a plan. Any number run at once; one may be run again. Then `ggufx commit`."""
    from .. import __version__
    from ..converters.plan.document import read_plan
    from ..converters.run.shards import run_shard

    out = Output(json_mode, quiet, verbose)
    index, count = map(int, shard.split("/"))
    with out.compiling(), out.progress("run") as progress:
        planned = read_plan(plan, __version__)
        done = run_shard(planned, index, count, threads=threads, max_memory=max_memory, device=device, progress=progress,
                         losses=planned.report is not None)
    if done.committed:
        out.line(f"shard {shard}: nothing to do, the result is committed already; remove it to make it anew")
    else:
        out.line(f"shard {shard}: " + ("was done already, and was checked" if done.kept else human_bytes(done.bytes_written)))
        out.info(f"next, when all shards are done: ggufx commit {plan}")
    out.document({"shard": index, "shards": count, "bytes": done.bytes_written, "receipts": done.receipts, "kept": done.kept,
                  "committed": done.committed, "devices": list(done.devices)})
