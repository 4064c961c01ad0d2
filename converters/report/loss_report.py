"""What each tensor lost by its type, as JSON or as a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..io.objects import shown
from ..io.whole_files import check_writable, write_text

if TYPE_CHECKING:
    from ..plan.plan import ConversionPlan
    from ..run.execute import Result
    from ..run.losses import TensorLoss


def check_report(path: Path | None, force: bool) -> None:
    """Refuse ahead of the work what `write_report` would refuse after it."""
    if path is not None and path.suffix.lower() not in (".json", ".html"):
        raise UsageError("is neither .json nor .html", file=path, hint="A report is written in the form that its name has.")
    check_writable(path, force)


def write_report(path: Path, result: Result, source: str) -> None:
    """In the form that its name has: .json or .html. StorageError where it cannot be written."""
    if path.suffix.lower() == ".html":
        from .loss_page import page

        write_text(path, page(result, source))
    else:
        write_text(path, json.dumps(report(result, source), indent=1) + "\n")


def report_of(plan: ConversionPlan, force: bool) -> Callable[[Result], None] | None:
    """What writes the report that a plan asks for, once there is a result; None where it asks for none. Refuses ahead of the
    work what `write_report` would refuse after it."""
    if (asked := plan.report) is None:
        return None
    check_report(asked.path, force)
    return lambda result: write_report(asked.path, result, asked.source)


def report(result: Result, source: str) -> dict[str, Any]:
    """The losses of each file, as JSON."""
    from ..run.losses import file_loss

    return {"source": source, "files": [
        {"path": shown(losses[0].file), **file_loss(losses).to_json(), "tensors": [t.to_json() for t in losses]}
        for losses in by_file(result)]}


def by_file(result: Result) -> list[list[TensorLoss]]:
    """Of each file that has tensors."""
    return [list(found) for _, found in groupby(result.losses, key=lambda t: t.file)]


def worst(losses: list[TensorLoss]) -> list[TensorLoss]:
    """Those that lost most of themselves first; of one that is unlike anything, nobody knows how much."""
    return sorted(losses, key=lambda t: -t.error if t.error is not None else float("-inf"))
