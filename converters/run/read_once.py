"""What shards wrote, held against their receipts and hashed in one reading: a commit is as slow as its file system is."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..errors import InputError
from ..plan.plan import OutputFile, TensorJob
from ..plan.tiles import is_copy
from .journal import Receipt
from .open_files import OpenFiles
from .resume import Ranges, fitting

ZEROS = bytes(1 << 20)
# Of an output: where it begins, and what it is: bytes of the plan, so many zeros, or a receipt and which of its outputs.
_Piece = tuple[int, "bytes | int | tuple[Receipt, int]"]


def confirmed_and_hashed(receipts: Iterable[Receipt], jobs: Sequence[TensorJob], outputs: Sequence[OutputFile],
                         gaps: Sequence[Ranges], files: OpenFiles, threads: int,
                         seen: Callable[[Receipt], object]) -> tuple[list[Receipt], list[str]]:
    """The receipts that `resume.confirmed` gives, and of each output the SHA-256 that it has when what the plan itself holds of
    it is written. Where receipts are missing, these are of no use.
    """
    chosen = fitting(receipts, jobs)
    pieces: list[list[_Piece]] = [
        [*((at, data) for at, data in ((0, o.head), *o.pieces)), *((start, stop - start) for start, stop in free)]
        for o, free in zip(outputs, gaps, strict=True)]
    for receipt in chosen:
        for number, region in enumerate(jobs[receipt.job].outputs):
            pieces[region.file].append((receipt.tile.of(region).offset, (receipt, number)))
    wrong: set[Receipt] = set()
    lock = threading.Lock()

    def digest(index: int) -> str:
        sha256 = hashlib.sha256()
        for _, piece in sorted(pieces[index], key=lambda p: p[0]):
            if isinstance(piece, tuple):
                there = _check(*piece, jobs, files, pool, sha256.update)
                with lock:
                    if not there:
                        wrong.add(piece[0])
                    if piece[1] == 0:
                        seen(piece[0])
            else:
                for data in (piece,) if isinstance(piece, bytes) else _zeros(piece):
                    sha256.update(data)
        return sha256.hexdigest()

    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(threads) as readers:
        digests = list(readers.map(digest, range(len(outputs))))
    return [r for r in chosen if r not in wrong], digests


def _check(receipt: Receipt, number: int, jobs: Sequence[TensorJob], files: OpenFiles, pool: ThreadPoolExecutor,
           update: Callable[[memoryview], object]) -> bool:
    """Whether an output of a receipt is there; its bytes go to `update` meanwhile."""
    job = jobs[receipt.job]
    region = receipt.tile.of(job.outputs[number])
    source = receipt.tile.of(job.sources[0]) if is_copy(job) else None
    crc, same, at = 0, True, 0
    try:
        for part in files.written(region.file, region.offset, region.nbytes):
            if source is None:
                other = pool.submit(zlib.crc32, part, crc)
                update(part)
                crc = other.result()
            else:
                equal = pool.submit(files.equals, source.file, source.offset + at, part)
                update(part)
                same &= equal.result()
            at += len(part)
    except InputError:  # the part ends before
        return False
    return same if source is not None else crc == receipt.checksums[number]


def _zeros(count: int) -> Iterator[memoryview]:
    for at in range(0, count, len(ZEROS)):
        yield memoryview(ZEROS)[: count - at]
