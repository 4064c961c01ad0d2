"""What a plan leaves unwritten in its outputs; a plan that contradicts itself is refused."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GgufxError, InputError, raise_all
from ..plan.plan import ConversionPlan, TensorJob
from .resume import Ranges


def unwritten(plan: ConversionPlan, jobs: Sequence[TensorJob]) -> list[Ranges]:
    """For each output the ranges that stay zero.

    InputError where the plan contradicts itself: ranges that overlap, or lie outside of their file.
    """
    ranges: list[list[tuple[int, int]]] = [
        [(at, at + len(data)) for at, data in ((0, o.head), *o.pieces)] for o in plan.outputs]
    problems: list[GgufxError] = []
    for job in jobs:
        for region in job.outputs:
            ranges[region.file].append((region.offset, region.offset + region.nbytes))
        if any(r.offset < 0 or r.offset + r.nbytes > plan.inputs[r.file].size for s in job.sources for r in s.regions):
            problems.append(InputError("the plan reads outside of a source", tensor=job.name))
    gaps: list[Ranges] = []
    for output, taken in zip(plan.outputs, ranges, strict=True):
        end, free = 0, []
        for start, stop in sorted(taken):
            if start < end and stop > start:
                problems.append(InputError(f"the plan writes byte {start} twice", file=output.path))
            if start > end:
                free.append((end, start))
            end = max(end, stop)
        if end > output.size:
            problems.append(InputError("the plan writes outside of the file", file=output.path, expected=output.size,
                                       found=end))
        elif end < output.size:
            free.append((end, output.size))
        gaps.append(free)
    if [files[0].set for files in plan.sets] != list(range(len(plan.sets))):
        problems.append(InputError("the plan's sets of files are not in order", file=plan.outputs[0].path.parent))
    if len({o.path for o in plan.outputs}) < len(plan.outputs):
        problems.append(InputError("the plan writes a file twice", file=plan.outputs[0].path.parent))
    raise_all(problems)
    return gaps
