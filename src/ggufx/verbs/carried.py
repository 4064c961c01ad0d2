"""What a verb does with its plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arguments import as_path, check_positive

if TYPE_CHECKING:
    from ..converters.plan.plan import ConversionPlan
    from ..converters.run.execute import Result


def each_made(plan: ConversionPlan, refused: Sequence[Any], dry_run: bool, **run: Any) -> Result | ConversionPlan:
    """A file of each type. IncompleteError, with what was made or would be, where some of them cannot be."""
    from ..converters.errors import IncompleteError

    result = carried_out(plan, dry_run, **run)
    if failures := (*refused, *getattr(result, "failures", ())):
        raise IncompleteError(failures, result)
    return result


def carried_out(plan: ConversionPlan, dry_run: bool, *, checksums: bool, progress: Any, report: str | Path | None = None,
                 source: str | Path = "", **run: Any) -> Result | ConversionPlan:
    from ..converters.plan.plan import PlannedReport
    from ..converters.report.loss_report import check_report, write_report
    from ..converters.run.execute import execute, refuse
    from ..converters.run.sending import Sending

    check_positive(threads=run["threads"], max_memory=run["max_memory"])
    path = as_path(report)
    check_report(path, run.get("force", False))
    if (sending := Sending.of(plan)) is not None:
        sending.check(run["force"], run["resume"])
        run["force"] = True  # what lies where it is written first is ours
    if dry_run:
        refuse(plan, **run, losses=path is not None)
        return plan if path is None else replace(plan, report=PlannedReport(path, str(source)))
    result = execute(plan, checksums=checksums, progress=progress, losses=path is not None, **run)
    if path is not None:
        write_report(path, result, str(source))
    return result if sending is None else sending.send(result, progress)
