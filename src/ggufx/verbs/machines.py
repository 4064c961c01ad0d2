"""One conversion on several machines; many models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..arguments import check_positive, checked

if TYPE_CHECKING:
    from ..converters.batch import Outcome
    from ..converters.plan.plan import ConversionPlan
    from ..converters.run.execute import Result
    from ..converters.run.shards import ShardResult


def write_plan(plan: ConversionPlan, path: str | Path) -> None:
    """Write what a verb gives with `dry_run=True` to a JSON file, for `run_shard` and `commit` on machines that see the same
    files; `commit` then writes its `report`, too. A model of the Hub must have been fetched before."""
    import json

    from ..converters.errors import UsageError
    from ..converters.io.whole_files import write_text
    from ..converters.plan.document import plan_document
    from ..converters.plan.plan import ConversionPlan

    if not isinstance(plan, ConversionPlan):
        raise UsageError("write_plan: plan is of a wrong type", expected="ConversionPlan", found=type(plan).__name__)
    write_text(Path(path), json.dumps(plan_document(plan, __version__), ensure_ascii=False))


@checked
def run_shard(
    plan: str | Path,
    index: int,
    count: int,
    *,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> ShardResult:
    """Carry out shard `index`, from 0, of `count` of a plan's file: what a task of a cluster calls. All shards have the same
    `count`; they run in any order, at once, and again. What they write gets its names by `commit`."""
    from ..converters.plan.document import read_plan
    from ..converters.run.shards import run_shard

    check_positive(threads=threads, max_memory=max_memory)
    planned = read_plan(Path(plan), __version__)
    return run_shard(planned, index, count, threads=threads, max_memory=max_memory, device=device, progress=progress,
                     losses=planned.report is not None)


@checked
def commit(
    plan: str | Path,
    *,
    force: bool = False,
    checksums: bool = True,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    progress: Callable[[int, int, str], None] | None = None,
) -> Result:
    """Check what all shards of a plan wrote, and publish it, with its report. UsageError names shards that are missing."""
    from ..converters.plan.document import read_plan
    from ..converters.report.loss_report import report_of
    from ..converters.run.shards import commit

    check_positive(threads=threads, max_memory=max_memory)
    planned = read_plan(Path(plan), __version__)
    result = commit(planned, force=force, checksums=checksums, threads=threads, max_memory=max_memory, progress=progress,
                    losses=planned.report is not None, told=report_of(planned, force))
    if result.failures:
        from ..converters.errors import IncompleteError

        raise IncompleteError(result.failures, result)
    return result


@checked
def batch(
    models: str | Path | Sequence[str | Path],
    *,
    outtype: str | Sequence[str] = "auto",
    outfile: str | Path | None = None,
    mmproj: bool = False,
    mmproj_type: str = "f16",
    check: bool = False,
    force: bool = False,
    checksums: bool = True,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    device: str = "auto",
    engine: str = "threads",
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Outcome, ...]:
    """`hf_to_gguf` of many checkpoints, one after another: what became of each. One that fails does not keep the others back.

    `models`: folders or Hub ids, or a file with one on each line. `outfile`: with `{name}`, `{org}` and `{revision}` of the
    checkpoint filled in, and `{outtype}`; or a folder. What is there already, with the size and header that it must have, is
    not made anew; `check`: it is held byte for byte against what its source gives. An interrupted call goes on when repeated.
    """
    from ..converters.batch import BatchOptions, check_batch, convert_each, read_list
    from ..converters.planners.many_outputs import outtype_names

    check_positive(threads=threads, max_memory=max_memory)
    names = read_list(Path(models)) if isinstance(models, (str, Path)) else [str(model) for model in models]
    options = BatchOptions(outtype=tuple(outtype_names(outtype)), outfile=outfile, mmproj=mmproj, mmproj_type=mmproj_type,
                           force=force, check=check, checksums=checksums, threads=threads, max_memory=max_memory, device=device,
                           engine=engine)
    check_batch(names, options)
    return tuple(convert_each(names, options, progress and (lambda *_: progress)))
