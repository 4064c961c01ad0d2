"""Checks of what an interrupted run left: nothing is kept that the bytes do not confirm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..errors import InputError
from ..plan.plan import OutputFile, TensorJob
from ..plan.tiles import is_copy, unit_count
from .convert_tile import NO_CHECKSUM
from .journal import Receipt
from .open_files import OpenFiles

Ranges = Sequence[tuple[int, int]]


def confirmed(receipts: Iterable[Receipt], jobs: Sequence[TensorJob], files: OpenFiles, threads: int,
              seen: Callable[[Receipt], object]) -> list[Receipt]:
    """The receipts that fit the jobs, do not overlap, and whose bytes are there. `seen` is told of each.

    One that has no checksum of some output, which failed, speaks for the others.
    """
    chosen = fitting(receipts, jobs)
    kept = []
    with ThreadPoolExecutor(threads) as pool:
        for receipt, there in zip(chosen, pool.map(lambda r: _holds(r, jobs[r.job], files), chosen), strict=True):
            if there:
                kept.append(receipt)
                seen(receipt)
    return kept


def fitting(receipts: Iterable[Receipt], jobs: Sequence[TensorJob]) -> list[Receipt]:
    """The receipts that fit the jobs and do not overlap."""
    chosen = []
    end: dict[int, int] = {}
    for receipt in sorted(set(receipts), key=lambda r: (r.job, r.tile.start, r.tile.stop, not r.sums)):
        if receipt.job >= len(jobs) or receipt.tile.start < end.get(receipt.job, 0):
            continue
        job = jobs[receipt.job]
        checksums = 0 if is_copy(job) else len(job.outputs)
        if receipt.tile.count == unit_count(job) and len(receipt.checksums) == checksums:
            chosen.append(receipt)
            end[receipt.job] = receipt.tile.stop
    return chosen


def _holds(receipt: Receipt, job: TensorJob, files: OpenFiles) -> bool:
    try:
        if is_copy(job):
            source, output = receipt.tile.of(job.sources[0]), receipt.tile.of(job.outputs[0])
            return files.same((source.file, source.offset), (output.file, output.offset), source.nbytes)
        regions = (receipt.tile.of(r) for r in job.outputs)
        return all(checksum == NO_CHECKSUM or files.checksum(r.file, r.offset, r.nbytes) == checksum
                   for r, checksum in zip(regions, receipt.checksums, strict=True))
    except InputError:  # the part ends before
        return False


def complete(index: int, output: OutputFile, gaps: Ranges, receipts: Iterable[Receipt], jobs: Sequence[TensorJob],
             files: OpenFiles) -> bool:
    """Whether every byte of an output is what the plan makes it: confirmed receipts, what the plan holds, zeros between."""
    fixed = ((0, output.head), *output.pieces)
    known = sum(len(data) for _, data in fixed) + sum(stop - start for start, stop in gaps)
    known += sum(receipt.tile.of(region).nbytes for receipt in receipts
                 for number, region in enumerate(jobs[receipt.job].outputs)
                 if region.file == index and NO_CHECKSUM not in receipt.checksums[number : number + 1])
    return (known == output.size
            and all(b"".join(files.written(index, at, len(data))) == data for at, data in fixed)
            and not any(any(part) for start, stop in gaps for part in files.written(index, start, stop - start)))
