"""A plan carried out by a Ray cluster whose nodes see the same files: tasks are shards, and the driver commits.

A task gets the plan's document, which a node holds once, and the shard's number. A node that is lost costs the shards that it
was at: their receipts are not there, and another node runs them again.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, suppress
from dataclasses import replace

from ... import __version__
from ..plan.document import plan_document, plan_of
from ..plan.plan import ConversionPlan
from .engines.ray import RayTasks
from .execute import Progress, Result, execute, is_interrupted
from .shards import MAX_SHARDS, Sharded, ShardResult, commit, run_shard
from .shares import cost
from .staging import part_path, shared_part

SECONDS = 20  # of a shard on one core, about: what a node that is lost may cost
SHARDS_AT_ONCE = 4  # at least, for each task that runs at once: so that none waits long for the last

_PLANS: dict[str, ConversionPlan] = {}  # of a node's process, the last one, by its document


def execute_on_ray(plan: ConversionPlan, *, threads: int | None = None, max_memory: int = 1 << 30, device: str = "auto",
                   resume: bool = False, force: bool = False, progress: Progress | None = None,
                   checksums: bool = True, losses: bool = False) -> Result:
    """`execute` on a cluster: the same options, bytes and errors. `threads`, `max_memory`: of each task.

    A value that has no place in one of several sets of outputs ends the whole.
    """
    begun = time.monotonic()
    run = Sharded(plan, threads, max_memory, None, losses)
    if resume and (is_interrupted(plan) or any(o.path.exists() for o in plan.outputs)):
        return execute(plan, threads=threads, max_memory=max_memory, device="cpu", resume=True, force=force, progress=progress,
                       checksums=checksums, losses=losses)  # what one machine left, or a result that is only to be checked
    run.refuse(resume, force)
    with RayTasks(threads, max_memory, device) as tasks:
        if not resume:
            run.forget()
        try:
            done = _run(run, tasks, plan, max_memory, progress)
            result = commit(plan, force=force, threads=threads, max_memory=max_memory, checksums=checksums,
                            losses=losses)
        except BaseException as error:
            if not isinstance(error, Exception) and not resume:
                error.add_note("What is done is kept: the same call with --resume goes on from there.")
            elif not resume:
                run.forget()
                for output in plan.outputs:
                    with suppress(OSError):
                        part_path(output.path).unlink()
            raise
    written = sum(shard.bytes_written for shard in done)
    return replace(result, seconds=time.monotonic() - begun, bytes_written=written, bytes_read=0,
                   bytes_kept=result.bytes_kept - written, devices=tasks.devices)


def _run(run: Sharded, tasks: RayTasks, plan: ConversionPlan, max_memory: int, progress: Progress | None) -> list[ShardResult]:
    """All shards, while no process works on the outputs alone."""
    count = _count(run, tasks)
    done: list[ShardResult] = []
    with ExitStack() as stack:
        for folder in dict.fromkeys(o.path.parent for o in plan.outputs):
            folder.mkdir(parents=True, exist_ok=True)
        for output in plan.outputs:
            stack.enter_context(shared_part(output))
        document = tasks.share(json.dumps(plan_document(plan, __version__)))
        calls = [(document, index, count, tasks.threads, max_memory, tasks.device, run.losses is not None)
                 for index in range(count)]
        for number, shard in tasks.each(_shard, calls):
            done.append(shard)
            if progress is not None:
                progress(plan.output_bytes * len(done) // count, plan.output_bytes, f"shard {number}/{count}")
    return done


def _count(run: Sharded, tasks: RayTasks) -> int:
    """Into how many shards the plan is cut; as often as before where some are done."""
    if run.found:
        return max(count for count, _ in run.found.values())
    nanoseconds = sum(map(cost, run.jobs))
    return min(MAX_SHARDS, max(SHARDS_AT_ONCE * tasks.at_once, round(nanoseconds / (SECONDS * 1e9) / tasks.threads)))


def _shard(document: str, index: int, count: int, threads: int, max_memory: int, device: str, losses: bool) -> ShardResult:
    """What a node does."""
    if document not in _PLANS:
        _PLANS.clear()
        _PLANS[document] = plan_of(json.loads(document), __version__)
    return run_shard(_PLANS[document], index, count, threads=threads, max_memory=max_memory, device=device,
                     losses=losses)
