"""A plan as a file: JSON that names its format, the version that made it, and the plan's digest. Nothing in it is code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError, UsageError
from ..io.json_file import read_json
from ..io.objects import url_of
from ..io.ranges import elsewhere
from .plan import ConversionPlan, PlannedReport

FORMAT = 1
MAX_BYTES = 8 << 30  # headers with large vocabularies for many types, importance matrices


def plan_document(plan: ConversionPlan, version: str) -> dict[str, Any]:
    """The JSON object of a plan, with absolute paths: whoever sees the same files can carry it out, from any folder.

    UsageError for a source of which only the headers were fetched, and for outputs that are to become objects: shards write
    into one file that all of them see.
    """
    for output in plan.outputs:
        if (url := url_of(output.path)) is not None:
            raise UsageError("is in an object store, and shards write into one file that all of them see", file=url,
                             hint="Plan for a shared folder, and copy what `ggufx commit` publishes.")
    for source in plan.inputs:
        if elsewhere(source.path) is not None:
            raise UsageError("is on the Hub or in an object store, its headers alone are here", file=source.path,
                             hint="Fetch the model first.")
    plan = replace(
        plan, inputs=tuple(replace(i, path=_absolute(i.path)) for i in plan.inputs),
        outputs=tuple(replace(o, path=_absolute(o.path)) for o in plan.outputs),
        folder=plan.folder and _absolute(plan.folder), folders=tuple(map(_absolute, plan.folders)))
    report = plan.report and {"path": str(_absolute(plan.report.path)), "source": plan.report.source}
    return {"ggufx_plan": FORMAT, "version": version, "digest": plan.digest(), "plan": plan.to_json(), "report": report}


def read_plan(path: Path, version: str) -> ConversionPlan:
    """The plan that a file holds. InputError for what is no such file, or was changed; UsageError for a plan of another
    version, which could write other bytes."""
    return plan_of(read_json(path, max_bytes=MAX_BYTES, non_finite=True), version, path)


def plan_of(found: Mapping[str, Any], version: str, path: Path | None = None) -> ConversionPlan:
    """The plan of such an object. Raises as `read_plan`."""
    if found.get("ggufx_plan") != FORMAT:
        raise InputError("is no plan of `ggufx plan`", file=path)
    if found.get("version") != version:
        raise UsageError("was planned by another version", file=path, expected=version, found=found.get("version"),
                         hint="All machines need the same version; plan again.")
    try:
        plan = ConversionPlan.from_json(found["plan"])
        if (report := found.get("report")) is not None:
            plan = replace(plan, report=PlannedReport(Path(report["path"]), str(report["source"])))
        digest = plan.digest()
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"is a damaged plan ({type(error).__name__}: {error})", file=path) from None
    if digest != found.get("digest"):
        raise InputError("was changed since it was planned", file=path, expected=found.get("digest"), found=digest,
                         hint="Plan again.")
    return plan


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))
