"""Carrying out a plan: outputs grow under `.part` names and appear, complete and synced, under their own."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError, StorageError, UsageError
from .files import OpenFiles
from .job import run_tile, tiles
from .plan import ConversionPlan

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of the result; `size` in bytes, `sha256` as hex digits, None where checksums were not wanted."""

    path: Path
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """What was done. `leftovers`: files of an earlier, dead run that were removed."""

    files: tuple[WrittenFile, ...]
    seconds: float
    bytes_read: int
    bytes_written: int
    receipts: int
    leftovers: tuple[Path, ...] = ()


def execute(plan: ConversionPlan, *, threads: int | None = None, max_memory: int = 1 << 30, resume: bool = False,
            force: bool = False, engine: Any = None, progress: Progress | None = None, imatrix: Any = None,
            checksums: bool = True) -> Result:
    """Write the plan's outputs."""
    begun = time.monotonic()
    workers = threads or os.cpu_count() or 1
    if not force:
        for output in plan.outputs:
            if output.path.exists():
                raise UsageError("exists already", file=output.path, hint="Pass --force to replace it.")
    parts = [o.path.with_name(o.path.name + ".part") for o in plan.outputs]
    with ExitStack() as opened:
        try:
            inputs, outputs = [], []
            for source in plan.inputs:
                fd = os.open(source.path, os.O_RDONLY)
                opened.callback(os.close, fd)
                status = os.fstat(fd)
                if (status.st_size, status.st_mtime_ns) != (source.size, source.mtime_ns):
                    raise InputError("the file changed since the conversion was planned", file=source.path)
                inputs.append((fd, source.path))
            for output, part in zip(plan.outputs, parts, strict=True):
                part.parent.mkdir(parents=True, exist_ok=True)
                fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
                opened.callback(os.close, fd)
                os.ftruncate(fd, output.size)
                outputs.append((fd, part))
        except OSError as error:
            raise StorageError(str(error.strerror), file=error.filename) from error
        files = OpenFiles(inputs, outputs)
        for index, output in enumerate(plan.outputs):
            for offset, data in ((0, output.head), *output.pieces):
                files.write(index, offset, data)
        jobs = sorted(plan.jobs, key=lambda j: (j.sources[0].file, j.sources[0].offset) if j.sources else (-1, 0))
        work = [(job, tile) for job in jobs for tile in tiles(job, max_memory // (4 * workers))]
        done = receipts = 0
        with ThreadPoolExecutor(workers) as pool:
            def convert(item):
                job, tile = item
                weights = imatrix.weights(*job.weights) if imatrix and job.weights else None
                run_tile(job, tile, files, weights)
                return job.name, sum(tile.of(r).nbytes for r in job.outputs)

            for name, nbytes in pool.map(convert, work):
                done, receipts = done + nbytes, receipts + 1
                if progress:
                    progress(done, plan.output_bytes, name)
        written = []
        for output, (fd, part) in zip(plan.outputs, outputs, strict=True):
            os.fsync(fd)
            with open(part, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest() if checksums else None
            written.append(WrittenFile(output.path, output.size, digest))
        for output, part in zip(plan.outputs, parts, strict=True):
            os.replace(part, output.path)
    return Result(tuple(written), time.monotonic() - begun, sum(r.nbytes for j in plan.jobs for r in j.sources),
                  plan.output_bytes, receipts)
