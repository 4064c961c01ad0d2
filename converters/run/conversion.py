"""A conversion as a worker carries it out: files by name, jobs, weights and a budget, all of it picklable.

Whoever has one can do it, in this process or another, on any machine that sees the files; what it made, and what failed,
comes back as receipts. The bytes are the same wherever the parts are done.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ... import system
from ..errors import GgufxError, StorageError
from ..plan.plan import InputFile, TensorJob
from ..plan.tiles import Tile, memory, tiles
from .convert_tile import run_tile
from .device import Device
from .journal import Receipt
from .losses import Sums
from .open_files import OpenFiles, open_inputs, storage_error


@dataclass(frozen=True, slots=True)
class Work:
    """A tile of a job (`index`: its number in the plan), and the bytes it takes while it is converted."""

    index: int
    job: TensorJob
    tile: Tile
    memory: int


Convert = Callable[[Work, Device], Receipt]


@dataclass(frozen=True, slots=True)
class GrowingFile:
    """An output under way: it has its size and grows at `part`, None where it is complete; `path` will be its name."""

    path: Path
    part: Path | None
    size: int
    set: int = 0


@dataclass(frozen=True)
class Conversion:
    """`jobs` by their number in the plan; `done`: their tiles that are written already. Regions count in `inputs` and
    `outputs`.

    `imatrix`: float32 [matrices, cols] by entry. `max_memory`: bytes of tensor data in flight, on each GPU as well. `sound`:
    NaN has no place in the outputs, whatever their types; see `run_tile`. `losses`:
    whether receipts tell what the types lost. `spans`: for each output the ranges that are written
    here, where others write the rest.
    """

    inputs: tuple[InputFile, ...]
    outputs: tuple[GrowingFile, ...]
    jobs: Mapping[int, TensorJob]
    imatrix: Mapping[str, np.ndarray]
    max_memory: int
    done: Mapping[int, Sequence[Tile]] = field(default_factory=dict)
    sound: bool = False
    losses: bool = False
    spans: tuple[tuple[tuple[int, int], ...], ...] | None = None

    def part(self, numbers: Iterable[int]) -> Conversion:
        """The same with these jobs alone, for one of several workers."""
        jobs = {n: self.jobs[n] for n in numbers}
        entries = {w[0] for job in jobs.values() for w in job.weights if w}
        return replace(self, jobs=jobs, imatrix={name: self.imatrix[name] for name in entries},
                       done={n: t for n, t in self.done.items() if n in jobs})

    def work(self, tile_bytes: Callable[[TensorJob], int]) -> Iterator[Work]:
        """What is to be done, in tiles of that many bytes, in the order of the outputs: their checksums go through them so."""
        order = sorted(self.jobs, key=lambda n: (self.jobs[n].outputs[0].file, self.jobs[n].outputs[0].offset))
        for number in order:
            job = self.jobs[number]
            whole = memory(job)
            for tile in tiles(job, tile_bytes(job), self.done.get(number, ())):
                yield Work(number, job, tile, whole * (tile.stop - tile.start) // tile.count)

    @contextmanager
    def open(self) -> Iterator[Convert]:
        """Opens the files; within it, the function that converts a tile and writes it, on any thread.

        A value that has no place in an output is no exception but part of the receipt; the sets of files that it keeps
        from being made get nothing from then on. InputError where a source is not what was planned, now or at the end;
        StorageError where an output is not there.
        """
        with open_inputs(self.inputs) as inputs, ExitStack() as stack:
            outputs = [(-1 if o.part is None else _open_part(o.part, o.size, stack), o.path) for o in self.outputs]
            files = OpenFiles(inputs, outputs, frozenset(i for i, o in enumerate(self.outputs) if o.part is None),
                              self.spans)
            given_up: dict[int, GgufxError] = {}

            def convert(work: Work, device: Device) -> Receipt:
                weights = [w and self.imatrix[w[0]][w[1]] for w in work.job.weights]
                failed = dict(given_up)
                lost: dict[int, Sums] | None = {} if self.losses else None
                checksums = run_tile(work.job, work.tile, files, weights, device, failed, self.sound, lost)
                sets = {self.outputs[file].set: error for file, error in failed.items() if file not in given_up}
                if sets:
                    given_up.update({i: sets[o.set] for i, o in enumerate(self.outputs) if o.set in sets})
                sums = () if lost is None else tuple(lost.get(i) for i in range(len(checksums)))
                return Receipt(work.index, work.tile, checksums, tuple(sets.items()), sums)

            yield convert


def _open_part(part: Path, size: int, stack: ExitStack) -> int:
    try:
        descriptor = system.open_own(part, os.O_WRONLY)
    except OSError as error:
        raise storage_error(error, part, "written") from error
    stack.callback(os.close, descriptor)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        raise StorageError("is not the file that the conversion began", file=part, expected=f"{size} bytes",
                           found=status.st_size)
    return descriptor
