"""What a report of verify says, in the terms that tests ask in."""

from __future__ import annotations

from ggufx.converters.verify.tensors import Pair
from ggufx.converters.verify.verify import Report


def verdicts(report: Report) -> dict[str, int]:
    return {str(verdict): count for verdict, count in report.verdicts.items()}


def found(report: Report, name: str) -> Pair:
    return next(p for p in report.pairs if p.name == name)


def differing(report: Report) -> list[str]:
    return [p.name for p in report.pairs if not p.verdict.same]
