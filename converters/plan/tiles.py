"""Tiles of a job: what it costs, what takes no work but other addresses, and how it is cut.

A tile is a run of axis 0 that the ops can convert on its own; `run.convert_tile` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ...quant.formats import ELEMENT_TYPES, FORMATS
from ..ops import Crop, Op, Shape, Split
from .plan import Merged, Packed, Region, Source, TensorJob

MAX_RUNS = 64  # more are moved in memory
Array = TypeVar("Array", Region, Packed, Merged, Source)

RAW = frozenset(t.name for t in ELEMENT_TYPES.values() if t.width)  # whose elements are moved without being computed with


@dataclass(frozen=True)
class Tile:
    """Units `start` to `stop` of the `count` equal units that a job can be cut into."""

    start: int
    stop: int
    count: int

    def of(self, array: Array) -> Array:
        """The part of an array that belongs to this tile."""
        if self.count == 1:
            return array
        per_unit = array.shape[0] // self.count
        return array.rows(per_unit * self.start, per_unit * self.stop)


def is_copy(job: TensorJob) -> bool:
    """The bytes stay as they are."""
    return (not job.ops and job.sources[0].type == job.outputs[0].type and len(job.sources) == len(job.outputs) == 1
            and isinstance(job.sources[0], Region))


def shapes_through(ops: Sequence[Op], shapes: list[Shape]) -> list[Shape]:
    """The shapes behind a chain of ops. ValueError says what does not fit."""
    for op in ops:
        shapes = op.shape(shapes)
    return shapes


def by_address(job: TensorJob) -> tuple[TensorJob, ...]:
    """The same conversion in smaller jobs, where whole rows are split off, joined or cropped: that takes no work, only
    other addresses. What is left can be cut into tiles, however large the arrays are."""
    ops, sources, outputs = job.ops, job.sources, job.outputs
    if ops and isinstance(ops[0], Crop) and not ops[0].undo and _cuts_rows(ops[0], sources[0]):
        start, stop = _ends(ops[0], sources[0].shape[0])
        ops, sources = ops[1:], (sources[0].rows(start, stop),)
    last = ops[-1] if ops else None
    if isinstance(last, Crop) and last.undo and outputs[0].type in RAW and _cuts_rows(last, outputs[0]):
        # The rows that are not written stay zero, as a new file is.
        start, stop = _ends(last, outputs[0].shape[0])
        ops, outputs = ops[:-1], (outputs[0].rows(start, stop),)
    if len(ops) == 1 and isinstance(ops[0], Split):
        whole: Source = (outputs if ops[0].undo else sources)[0]
        if _cuts_rows(ops[0], whole) and (runs := _runs(ops[0], whole.shape[0])) is not None:
            parts: tuple[Source, ...] = outputs if not ops[0].undo else sources
            weights = job.weights or (None,) * len(outputs)
            made = []
            for in_whole, part, in_part, rows in runs:
                ends = (whole.rows(in_whole, in_whole + rows), parts[part].rows(in_part, in_part + rows))
                source, output = ends[::-1] if ops[0].undo else ends
                if not isinstance(output, Region):
                    raise TypeError("an output is a region")
                made.append(replace(job, sources=(source,), ops=(), outputs=(output,),
                                    weights=(weights[0 if ops[0].undo else part],)))
            return tuple(made)
    if not ops and len(sources) == len(outputs) == 1 and isinstance(sources[0], Region):
        sources, outputs = (_as_rows(sources[0]),), (_as_rows(outputs[0]),)
    return (replace(job, sources=sources, ops=ops, outputs=outputs),)


def _as_rows(region: Region) -> Region:
    return replace(region, shape=(math.prod(region.shape[:-1]), region.shape[-1])) if len(region.shape) > 2 else region


def _cuts_rows(op: Crop | Split, region: Source) -> bool:
    """The rows that the op selects are axis 0, and an address can be given for each of them."""
    shape = region.shape
    return bool(shape) and not op.columns and (len(shape) == 1 or (len(shape) == 2 and not op.vector)) and (
        len(shape) == 2 or region.type in RAW)


def _runs(op: Split, rows: int) -> list[tuple[int, int, int, int]] | None:
    """The runs of rows that an op moves: (first row in the whole, part, first row in the part, rows); None where they are
    too many for a job each."""
    if op.run_count > MAX_RUNS:
        return None
    runs = [(0, 0, 0, op.start)] if op.start else []
    found = list(op.runs(rows))
    filled = [0] * op.run_count  # rows of each part so far; of what is joined, behind those of the parts before it
    if op.join:
        lengths = [sum(n for p, _, n in found if p == part) for part in range(op.run_count)]
        filled = [op.start + sum(lengths[:part]) for part in range(op.run_count)]
    for part, at, count in found:
        runs.append((at, 0 if op.join else part, filled[part], count))
        filled[part] += count
    return runs


def _ends(op: Crop, rows: int) -> tuple[int, int]:
    return op.start, rows if op.stop is None else min(rows, op.stop)


def unit_count(job: TensorJob) -> int:
    """Into how many equal units the job can be cut."""
    shapes: list[Shape] = [s.shape for s in job.sources]
    count = math.gcd(*(_unit_rows(r) for r in (*job.sources, *job.outputs)))
    for op in job.ops:
        count = math.gcd(count, op.units(shapes))
        shapes = op.shape(shapes)
    return max(count, 1)


def _unit_rows(region: Source) -> int:
    if not region.shape:
        return 1
    block = FORMATS[region.type].block_size if len(region.shape) == 1 and region.type in FORMATS else 1
    return region.shape[0] // block


def native_kind(job: TensorJob) -> str:
    """The type of the values behind the ops, before any is rounded: raw bits as long as ops only move them."""
    kind = job.sources[0].type
    for op in job.ops:
        kind = kind_after(op, kind)
    return kind


def kind_after(op: Op, kind: str) -> str:
    """The type that an op makes of one."""
    return op.emits or ("F32" if needs_floats(op, kind) else kind)


def needs_floats(op: Op, kind: str) -> bool:
    """Whether raw bits or blocks must become float32 before an op."""
    return not op.moves or (kind not in RAW and not op.on_blocks)


def memory(job: TensorJob) -> int:
    """Bytes that the whole job takes while it is converted: the stored forms, and float32 where it computes."""
    regions = (*job.sources, *job.outputs)
    stored = sum(r.nbytes for r in regions)
    raw = regions[0].type in RAW and all(op.moves for op in job.ops)
    if len({r.type for r in regions}) == 1 and (raw or not job.ops) and all(isinstance(r, Region) for r in regions):
        return 2 * stored if job.ops else stored
    arrays = len(shapes_through(job.ops, [r.shape for r in job.sources]))
    merging = sum(2 * math.prod(r.shape) for r in job.sources if isinstance(r, Merged))  # the update, and the sum
    return stored + 4 * (merging + sum(math.prod(r.shape) for r in (*job.sources, *job.outputs[:arrays])))


def tiles(job: TensorJob, budget: int, done: Iterable[Tile] = ()) -> Iterator[Tile]:
    """What is not `done` of the job, in pieces that take about `budget` bytes each, at least one unit each."""
    count = unit_count(job)
    step = max(1, budget * count // max(memory(job), 1))
    begin = 0
    for tile in (*sorted(done, key=lambda t: t.start), Tile(count, count, count)):
        for start in range(begin, tile.start, step):
            yield Tile(start, min(start + step, tile.start), count)
        begin = max(begin, tile.stop)
