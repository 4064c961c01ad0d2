"""All pairs of tensors of two sides compared, on threads, within a budget of memory; where it helps, under both names."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from math import prod
from pathlib import Path
from typing import TypeVar

from .. import arch
from ..arch import projectors
from ..errors import GgufxError
from ..planners.adapter_updates import Adapter
from ..planners.gguf_to_hf import HfOptions
from ..planners.pair_to_hf import plan_model_to_hf
from ..planners.projector import with_beside
from ..planners.reading import with_merged
from ..rules.match import rename
from ..rules.spec import ArchSpec, Projector
from ..run.device import Device
from ..run.engines.threads import Threads
from ..sources.hf_folder import Checkpoint
from ..sources.packed.logical import open_logical
from ..sources.stated import NOTHING, Stated
from .side import Places, Side, SideTensor, of_checkpoint, of_plan
from .tensors import Figures, Pair, Slice, Verdict, add, judge, measure, same_bits, slices

Progress = Callable[[int, int, str], None]
T = TypeVar("T")
PROGRESS_INTERVAL = 0.05  # seconds
EXACT = (Verdict.IDENTICAL, Verdict.EQUAL)
ALONE = (Verdict.ONLY_A, Verdict.ONLY_B)


class Comparison:
    """How pairs are compared: `threads`, bytes in flight; `max_rmse` and `made` as for `judge`."""

    def __init__(self, threads: int, max_memory: int, progress: Progress | None, max_rmse: float | None,
                 made: bool) -> None:
        self._engine = Threads(threads)
        self._max_memory = max_memory
        self._progress = progress
        self._max_rmse, self._made = max_rmse, made
        self._last = 0.0
        self._done = self._total = 0

    def __call__(self, pairs: Sequence[Pair], a: Side, b: Side) -> None:
        """Give every pair its figures and its verdict.

        First the bits of what has the same type on both sides; then, of all that is not the same, the figures.
        """
        there = [p for p in pairs if p.comparable]
        self._total += sum(p.weight for p in there)

        def bits(part: Slice, device: Device) -> tuple[Slice, bool]:
            return part, same_bits(part, a, b)

        def figures(part: Slice, device: Device) -> tuple[Slice, Figures, Figures | None]:
            return part, *measure(part, a, b)

        for part, same in self._run((p for p in there if p.same_kind), bits):
            part.pair.differs |= not same
            self._count(part)
        again = [p for p in there if not p.same_kind or p.differs]
        self._total += sum(p.weight for p in again if p.same_kind)
        for pair in again:
            pair.reversed = Figures() if pair.lossless and not pair.same_kind else None
            pair.differs = False  # from here on it would end the run over the pair
        for part, found, back in self._run(again, figures):
            _take(part, found, back)
            self._count(part)
        for pair in again:
            pair.differs = True
        for pair in pairs:
            judge(pair, self._max_rmse, self._made)

    def _run(self, pairs: Iterable[Pair], convert: Callable[[Slice, Device], T]) -> Iterator[T]:
        work = self._work(pairs)
        with closing(self._engine.spread(work, convert, self._max_memory)) as results:
            yield from results

    def _work(self, pairs: Iterable[Pair]) -> Iterator[Slice]:
        budget = self._engine.tile_bytes(self._max_memory)
        for pair in pairs:
            for part in slices(pair, budget):
                if pair.differs:
                    break  # known to differ: the figures are taken in the next run
                yield part

    def _count(self, part: Slice) -> None:
        self._done += part.pair.weight * (part.stop - part.start) // max(part.pair.both[0].count, 1)
        now = time.monotonic()
        if self._progress and now - self._last >= PROGRESS_INTERVAL:
            self._last = now
            self._progress(min(self._done, self._total), self._total, part.pair.name)


def _take(part: Slice, found: Figures, back: Figures | None) -> None:
    pair = part.pair
    shape = pair.both[0].shape
    cols = shape[-1] if shape else 1
    if pair.figures is None:
        pair.figures = Figures()
    add(pair.figures, found, part.start // cols, prod(shape[:-1]))
    if pair.reversed and back:
        add(pair.reversed, back, 0, 0)


# ------------------------------------------------------------------------------------------------ under both names


def look_again(pairs: list[Pair], one: Side, two: Side, compare: Comparison, stack: ExitStack,
               notes: list[str], hf_class: str | None = None, mmproj: Path | None = None,
               adapters: Sequence[Adapter] = (), stated: Stated = NOTHING) -> list[Pair]:
    """The pairs of a checkpoint and a GGUF file, with what GGUF's names do not settle compared under the checkpoint's.

    That is what the file holds in another layout than the table's first, and values that the way to GGUF computes.
    """
    folder, file = (one, two) if one.form == "checkpoint" else (two, one)
    unsettled = [p for p in pairs
                 if not p.verdict.same and ((mine := _mine(p, folder is one)) is None or p.verdict in ALONE or mine.computed)]
    if (folder.form, file.form) != ("checkpoint", "gguf") or not unsettled:
        return pairs
    try:
        checkpoint = with_merged(folder.path, adapters, hf_class) if adapters else open_logical(folder.path, hf_class, stated)
        if mmproj is not None and (towers := _towers(checkpoint)) and towers.beside:
            checkpoint, _ = with_beside(checkpoint, towers.beside)
        plan = plan_model_to_hf(file.path, Path("verify"), HfOptions("f32", mmproj=mmproj, hf_class=hf_class))
    except GgufxError as error:
        notes.append(f"{file.path}: cannot be compared under the checkpoint's names as well: {error}")
        return pairs
    own, back = of_checkpoint(checkpoint), of_plan(file.path, "gguf", plan)
    in_file, in_folder = Places(_addresses(file)), Places(_addresses(own))
    spelled = _spellings(checkpoint)
    seconds: dict[str, Pair] = {}
    made: dict[str, list[Pair | None]] = {p.name: [] for p in unsettled}  # of each tensor; None: the folder lacks it
    for name, tensor in back.tensors.items():
        if origins := _origins(back, tensor, in_file) & made.keys():
            spelling = spelled.get(name, name)
            if spelling in own.tensors and _covered(tensor):
                stored = own.tensors[spelling]
                seconds[spelling] = Pair(spelling, *((stored, tensor) if folder is one else (tensor, stored)))
            for origin in origins:
                made[origin].append(seconds.get(spelling))
    own.open(stack)
    back.open(stack)
    compare(list(seconds.values()), *((own, back) if folder is one else (back, own)))

    out = {id(p): p for p in pairs}
    for pair in unsettled:
        mine, found = _mine(pair, folder is one), made[pair.name]
        there = [second for second in found if second is not None]
        complete = bool(found) and len(there) == len(found)
        if pair.verdict not in ALONE:
            if complete and all(second.verdict in EXACT for second in there):
                pair.verdict, pair.detail = Verdict.EQUAL, "as the checkpoint stores it"
        elif complete:  # only the file has it
            out.pop(id(pair))
            out.update((id(second), second) for second in there)
        elif mine is not None and _origins(folder, mine, in_folder) <= seconds.keys():
            out.pop(id(pair))  # the file's other layout has it
    return list(out.values())


def _mine(pair: Pair, first: bool) -> SideTensor | None:
    return pair.a if first else pair.b


def _covered(tensor: SideTensor) -> bool:
    """Whether every element is made: rows that GGUF has no place for are not."""
    return bool(tensor.pieces) and sum(p.stop - p.start for p in tensor.pieces) == tensor.count


def _spellings(checkpoint: Checkpoint) -> dict[str, str]:
    """The checkpoint's tensors by every name under which the table, or an own file, may know them."""
    spec: ArchSpec = arch.for_config(checkpoint.config, "")
    towers = _towers(checkpoint)
    out: dict[str, str] = {}
    for name in checkpoint.tensors:
        for spelling in rename(name, (*spec.aliases, *(towers.aliases if towers else ()))):
            out.setdefault(spelling, name)
    return {**out, **{name: name for name in checkpoint.tensors}}


def _towers(checkpoint: Checkpoint) -> Projector | None:
    return projectors.of_config(checkpoint.config, arch.class_of(checkpoint.config, ""))


def _addresses(side: Side) -> dict[str, tuple[str, int]]:
    """Where each tensor of a side by its own names begins."""
    return {name: (str(side.inputs[s.file].path), s.offset) for name, tensor in side.tensors.items()
            for p in tensor.pieces for source in p.job.sources for s in source.regions}


def _origins(side: Side, tensor: SideTensor, places: Places) -> set[str]:
    """The stored tensors that a planned one is made of."""
    return {places.at(str(side.inputs[s.file].path), s.offset)
            for p in tensor.pieces for source in p.job.sources for s in source.regions}
