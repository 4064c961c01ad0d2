"""A plan cut into shares for several machines: runs of its output, balanced by cost; and who writes which page.

Tensors do not end where pages do. A page that two shares reach into is written by the first of them alone, which converts the
few rows of the other's that lie in it as well: file systems that are shared keep pages, not bytes, apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

from ..plan.plan import TensorJob
from ..plan.tiles import Tile, unit_count

PAGE = 64 << 10  # bytes; the largest page of any common system
MOVING = 2.0  # nanoseconds to read, write and check a byte of the output, beside what its values cost
# Nanoseconds a number on one core, without and with importance weights (benchmarks/results/quantize.json)
QUANTIZING = {
    "Q2_K": (5.7, 13.0), "Q3_K": (2.5, 3.9), "Q4_K": (6.2, 10.9), "Q5_K": (5.0, 10.9), "Q6_K": (3.2, 3.2), "Q4_0": (0.3, 3.4),
    "Q4_1": (0.3, 10.7), "Q5_0": (0.4, 3.4), "Q5_1": (0.4, 10.9), "IQ1_S": (17.0, 17.0), "IQ1_M": (19.8, 20.3),
    "IQ2_XXS": (39.5, 39.5), "IQ2_XS": (74.8, 74.8), "IQ2_S": (27.8, 28.4), "IQ3_XXS": (57.6, 58.1), "IQ3_S": (41.1, 42.3),
    "IQ4_NL": (12.4, 12.7), "IQ4_XS": (12.4, 12.9), "MXFP4": (0.8, 0.8), "NVFP4": (1.0, 1.0),
}
OTHERS = (0.4, 0.4)

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several workers does. `tiles`: by job, at most one each, what it answers for; `borders`: what lies on its
    pages of others' tiles; `spans`: for each output the ranges that it may write."""

    tiles: dict[int, Tile]
    borders: dict[int, tuple[Tile, ...]]
    spans: tuple[Spans, ...]


def cost(job: TensorJob) -> float:
    """Nanoseconds of one core, about."""
    total = MOVING * sum(source.nbytes for source in job.sources)
    for number, region in enumerate(job.outputs):
        weighted = bool(number < len(job.weights) and job.weights[number])
        quantizing = 0.0 if region.type == job.sources[0].type else QUANTIZING.get(region.type, OTHERS)[weighted]
        total += MOVING * region.nbytes + quantizing * prod(region.shape)
    return total


def cut(jobs: Sequence[TensorJob], count: int) -> list[dict[int, Tile]]:
    """The tiles of each of `count` shares: the jobs in the order of their output, divided where the cost is."""
    order = sorted(range(len(jobs)), key=lambda n: (jobs[n].outputs[0].file, jobs[n].outputs[0].offset))
    ends = list(accumulate(cost(jobs[n]) for n in order))
    each = (ends[-1] if ends else 0.0) / count or 1.0
    shares: list[dict[int, Tile]] = [{} for _ in range(count)]
    begin = 0.0
    for number, end in zip(order, ends, strict=True):
        units = unit_count(jobs[number])
        first, last = (min(int(at / each), count - 1) for at in (begin, end))
        start = 0
        for share in range(first, last + 1):
            part = ((share + 1) * each - begin) / max(end - begin, 1e-9)
            stop = units if share == last else max(start, min(units, round(units * part)))
            if stop > start:
                shares[share][number] = Tile(start, stop, units)
            start = stop
        begin = end
    return shares


def share_of(jobs: Sequence[TensorJob], outputs: int, index: int, count: int) -> Share:
    """Share `index` of `count` of the jobs; `outputs`: how many files they write."""
    shares = cut(jobs, count)
    written = [sorted(_written(jobs, tiles)) for tiles in shares]
    shared = _shared_pages(written)
    own = {page for page, owner in shared.items() if owner == index}
    foreign = {page for page, owner in shared.items() if owner != index}
    spans = []
    for file in range(outputs):
        mine = [(start, stop) for f, start, stop in written[index] if f == file]
        lost = sorted(_range(page) for page in foreign if page[0] == file)
        gained = [_range(page) for page in own if page[0] == file]
        spans.append(_joined([*_without(mine, lost), *gained]))
    borders: dict[int, tuple[Tile, ...]] = {}
    for other, tiles in enumerate(shares):
        for number, tile in tiles.items() if other != index and own else ():
            if inside := _joined(_inside(jobs[number], tile, own)):
                borders[number] = (*borders.get(number, ()), *(Tile(a, b, tile.count) for a, b in inside))
    return Share(shares[index], borders, tuple(spans))


def _written(jobs: Sequence[TensorJob], tiles: dict[int, Tile]) -> Iterable[tuple[int, int, int]]:
    """(output, start, stop) of all that the tiles write."""
    for number, tile in tiles.items():
        for output in jobs[number].outputs:
            region = tile.of(output)
            if region.nbytes:
                yield region.file, region.offset, region.offset + region.nbytes


def _shared_pages(written: Sequence[Sequence[tuple[int, int, int]]]) -> dict[tuple[int, int], int]:
    """Pages, as (output, number), that more than one share reaches into, and the first of these shares."""
    owners: dict[tuple[int, int], int] = {}
    shared: dict[tuple[int, int], int] = {}
    for index, ranges in enumerate(written):
        for file, start, stop in ranges:
            for page in {start // PAGE, (stop - 1) // PAGE}:  # those between are this range's alone
                owner = owners.setdefault((file, page), index)
                if owner != index:
                    shared[file, page] = owner
    return shared


def _inside(job: TensorJob, tile: Tile, pages: set[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """The units of a tile that reach into some pages."""
    for output in job.outputs:
        region = tile.of(output)
        if not region.nbytes:
            continue
        unit = region.nbytes / (tile.stop - tile.start)
        for page in {region.offset // PAGE, (region.offset + region.nbytes - 1) // PAGE}:
            if (region.file, page) in pages:
                start, stop = (at - region.offset for at in (page * PAGE, (page + 1) * PAGE))
                yield (tile.start + max(0, int(start // unit)), min(tile.stop, tile.start + int(-(-stop // unit))))


def _range(page: tuple[int, int]) -> tuple[int, int]:
    return page[1] * PAGE, (page[1] + 1) * PAGE


def _joined(ranges: Iterable[tuple[int, int]]) -> Spans:
    """The same in order, without overlaps."""
    out: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], stop)
        elif stop > start:
            out.append((start, stop))
    return tuple(out)


def _without(ranges: Iterable[tuple[int, int]], holes: Sequence[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """The ranges but for the holes, which are in order."""
    for start, stop in ranges:
        for hole_start, hole_stop in holes:
            if hole_stop <= start or hole_start >= stop:
                continue
            if hole_start > start:
                yield start, hole_start
            start = min(stop, hole_stop)
        if stop > start:
            yield start, stop
