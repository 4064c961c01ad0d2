"""Many outputs, one pass: plans of the same source for several types, merged into one plan whose jobs fan out.

Each plan says what its files are by themselves, so each file gets the bytes that it gets alone. Jobs of equal sources and
ops become one job with the outputs of all: a tile is read, converted and decoded once, and encoded once per type. The files
of each plan stay a set: what one of them cannot hold does not keep the other sets back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from ...quant.recipes.recipe import PRESETS
from ..errors import Failure, GgufxError, UsageError, raise_all
from ..notes import grouped
from ..plan.plan import ConversionPlan, TensorJob
from ..plan.tiles import by_address
from .quantization import named_type

SET_FACTS = ("file_type", "bits_per_weight")  # the others are the model's


class Planner(Protocol):
    """Plans one file, or set of files, after another from a source that is read once."""

    def path(self, outtype: str) -> Path:
        """The file that this type is written to. UsageError where there is no such type."""

    def plan(self, outtype: str) -> ConversionPlan:
        """The plan of that file alone. Raises what keeps it from being made."""


def plan_outputs(planner: Planner, outtype: str | Sequence[str],
                 beside: Sequence[ConversionPlan] = ()) -> tuple[ConversionPlan, tuple[Failure, ...]]:
    """The plan of a file per type (see `outtype_names`), and the files that cannot be made, which it leaves out. `beside`:
    plans of other files of the same source, which are made in the same pass.

    Raises UsageError where types or names are wrong, and what is wrong with every file where none can be made.
    """
    outtypes = outtype_names(outtype)
    if len(outtypes) == 1:
        plan = planner.plan(outtypes[0])
        return merged([plan, *beside]) if beside else plan, ()
    paths = _each(planner.path, outtypes)
    if twice := {p for p in paths if paths.count(p) > 1}:
        raise UsageError("several types would go to this file", file=min(twice),
                         hint="Name each type once, and write {outtype} where it belongs in the file's name.")
    plans, failures = [], []
    for outtype, path in zip(outtypes, paths, strict=True):
        try:
            plans.append(planner.plan(outtype))
        except GgufxError as error:
            failures.append(Failure(path, error))
    if not plans:
        raise_all({str(f.error): f.error for f in failures}.values())  # what concerns all is said once
    return merged([*plans, *beside]), tuple(failures)


def outtype_names(outtype: str | Sequence[str]) -> list[str]:
    """File types in lower case, of a list or text with commas; presets (recommended ...) stand for theirs.

    UsageError where one is missing or there is no such type, so that nothing is fetched for a slip.
    """
    given = [name.strip().lower() for name in (outtype.split(",") if isinstance(outtype, str) else outtype)]
    if not all(given) or not given:
        raise UsageError("a type is missing", found=outtype, hint="Write q4_k_m, or several as in q4_k_m,q6_k,q8_0.")
    names = [name for text in given for name in (PRESETS[text][0] if text in PRESETS else (text,))]
    problems: list[GgufxError] = []
    for name in names:
        try:
            if name != "auto":
                named_type(name)
        except GgufxError as error:
            problems.append(error)
    raise_all(problems)
    return names


def _each(path: Callable[[str], Path], outtypes: Sequence[str]) -> list[Path]:
    paths: list[Path] = []
    problems: list[GgufxError] = []
    for outtype in outtypes:
        try:
            paths.append(path(outtype))
        except GgufxError as error:
            problems.append(error)
    raise_all(problems)
    return paths


def merged(plans: Sequence[ConversionPlan]) -> ConversionPlan:
    """Plans of one set each as one plan of all their sets. ValueError where they do not read the same files, or the first of
    those that another reads."""
    first = plans[0]
    inputs = max((plan.inputs for plan in plans), key=len)
    if any(plan.inputs != inputs[: len(plan.inputs)] for plan in plans):
        raise ValueError("the plans read different files")
    alike: dict[Any, list[TensorJob]] = {}
    before = accumulate((len(plan.outputs) for plan in plans), initial=0)
    for job in (part for plan, files in zip(plans, before, strict=False) for part in _parts(plan, files)):
        alike.setdefault((job.sources, job.ops, tuple(r.shape for r in job.outputs)), []).append(job)
    common = [note for note in first.notes if all(note in plan.notes for plan in plans)]
    own = (note.about(plan.results[0].name) for plan in plans for note in plan.notes if note not in common)
    return ConversionPlan(
        first.direction, inputs, tuple(replace(o, set=number) for number, plan in enumerate(plans) for o in plan.outputs),
        tuple(map(_joined, alike.values())),
        tuple(replace(tensor, set=number) for number, plan in enumerate(plans) for tensor in plan.tensors),
        tuple(grouped((*common, *own))),
        {**{k: v for k, v in first.facts.items() if k not in SET_FACTS},
         "sets": [{k: plan.facts[k] for k in SET_FACTS if k in plan.facts} for plan in plans]},
        {name: values for plan in plans for name, values in plan.imatrix.items()},
        folders=tuple(dict.fromkeys(folder for plan in plans for folder in plan.folders)),
    )


def _parts(plan: ConversionPlan, files: int) -> Iterator[TensorJob]:
    """The plan's jobs, cut as they are executed, so that plans which cut some of them differently share the others.

    `files`: how many outputs stand before the plan's.
    """
    for job in plan.jobs:
        for part in by_address(job):
            yield replace(part, outputs=tuple(replace(r, file=files + r.file) for r in part.outputs))


def _joined(jobs: Sequence[TensorJob]) -> TensorJob:
    if not any(job.weights for job in jobs):
        weights: tuple[tuple[str, int] | None, ...] = ()
    else:
        weights = tuple(w for job in jobs for w in job.weights or (None,) * len(job.outputs))
    return replace(jobs[0], outputs=tuple(r for job in jobs for r in job.outputs), weights=weights)
