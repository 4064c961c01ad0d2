"""One plan on several machines that see the same files: each carries out a share of it, and one commits the whole.

The outputs grow in place under their `.part` names, each byte of them written by one share. A share that is done leaves its
receipts, with checksums, beside them. Whoever commits holds all receipts against the bytes before anything gets its final name;
a share that is missing, or whose bytes are not there, is named. A share may be run again at any time, also twice at once: it
writes the same bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ... import system
from ..errors import UsageError, raise_all
from ..plan.plan import ConversionPlan
from ..plan.tiles import Tile
from .conversion import Conversion, GrowingFile
from .engines import Engine
from .engines.choice import choose
from .execute import Progress, Result, Run
from .journal import Receipt, Record, read_journal, write_receipts
from .open_files import OpenFiles, open_inputs, storage_error
from .read_once import confirmed_and_hashed
from .resume import confirmed
from .shares import Share, cut, share_of
from .staging import Staging, is_there, misplaced, no_room, part_path, shared_part

_RECEIPTS = re.compile(r"\.ggufx-shard-(\d+)-of-(\d+)")
MAX_SHARDS = 1 << 16


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What one share's run did. `bytes_written` of output; `kept`: it had been done before, and the bytes are there;
    `committed`: the whole result is there already."""

    index: int
    count: int
    receipts: int
    bytes_written: int
    kept: bool
    devices: tuple[str, ...] = ("cpu",)
    committed: bool = False


def run_shard(plan: ConversionPlan, index: int, count: int, *, threads: int | None = None, max_memory: int = 1 << 30,
              device: str = "auto", engine: Engine | None = None, progress: Progress | None = None,
              losses: bool = False) -> ShardResult:
    """Carry out share `index` (from 0) of `count`, all of which together are the plan. Options as of `execute`; `losses`:
    whether the share notes them, for `commit` to tell.

    All shares must be cut into the same `count`. Raises as `execute`; where a value has no place in an output, the share
    ends, and leaves no receipts.
    """
    if not 0 <= index < count <= MAX_SHARDS:
        raise UsageError(f"{index}/{count} is no shard", expected=f"0/{count} to {count - 1}/{count}",
                         hint="Shards count from 0, as $SLURM_ARRAY_TASK_ID and $JOB_COMPLETION_INDEX do.")
    run = Sharded(plan, threads, max_memory, progress, losses)
    return run.share(index, count, engine or choose(device, plan.jobs, threads))


def commit(plan: ConversionPlan, *, force: bool = False, threads: int | None = None, max_memory: int = 1 << 30,
           progress: Progress | None = None, checksums: bool = True, losses: bool = False,
           told: Callable[[Result], object] | None = None) -> Result:
    """Check what all shares have made, and give it its final names. Options as of `execute`; `told` gets the result while
    another commit could give it again, if it fails.

    UsageError where shares are missing, by their numbers, their bytes are not what they noted, or they did not note the losses
    that are asked for; else as `execute`.
    """
    run = Sharded(plan, threads, max_memory, progress, losses)
    run.require()
    run.hashing = checksums and not any(os.path.lexists(o.path) for o in plan.outputs)  # else a commit was interrupted, perhaps
    result = run(True, None, force, choose("cpu", (), threads), checksums and not run.hashing)
    result = replace(result, files=tuple(replace(f, sha256=run.digests.get(f.path, f.sha256)) for f in result.files))
    if told is not None:
        told(result)
    run.forget()
    return result


class Sharded(Run):
    """A run of which others do the work. `hashing`: what they wrote is hashed as it is checked, `digests`: by output."""

    hashing = False

    def __init__(self, plan: ConversionPlan, threads: int | None, max_memory: int, progress: Progress | None,
                 losses: bool = False) -> None:
        super().__init__(plan, threads, max_memory, progress, losses)
        self.digests: dict[Path, str] = {}

    def share(self, index: int, count: int, engine: Engine) -> ShardResult:
        if not self.found and is_there(self.plan.outputs):  # a job that is run again behind the commit leaves nothing
            return ShardResult(index, count, 0, 0, True, committed=True)
        raise_all(misplaced(self.plan.outputs, self.made) or no_room(self.plan.outputs, self.made, False))
        mine = share_of(self.jobs, len(self.plan.outputs), index, count)
        receipts_path = self._receipts_path(index, count)
        with ExitStack() as stack:
            for folder in dict.fromkeys(o.path.parent for o in self.plan.outputs):
                folder.mkdir(parents=True, exist_ok=True)
            parts = [stack.enter_context(shared_part(output)) for output in self.plan.outputs]
            if self._is_done(receipts_path, mine, parts):
                return ShardResult(index, count, 0, 0, True)
            receipts = self._converted(mine, engine)
            for descriptor, output in zip(parts, self.plan.outputs, strict=True):
                try:
                    system.sync_file(descriptor)
                except OSError as error:
                    raise storage_error(error, output.path, "written") from error
            write_receipts(receipts_path, self._identity, [o.path for o in self.plan.outputs], receipts)
        return ShardResult(index, count, len(receipts), self.bytes_written, False, tuple(engine.devices))

    def _converted(self, share: Share, engine: Engine) -> list[Receipt]:
        """The receipts of the share's own tiles."""
        total = sum(tile.of(r).nbytes for number, tile in share.tiles.items() for r in self.jobs[number].outputs)
        if (tell := self.progress) is not None:
            self.progress = lambda done, _, name: tell(done, total, name)
        self.done = 0
        receipts = []
        for tiles in ({n: (tile,) for n, tile in share.tiles.items()}, share.borders):
            own = tiles is not share.borders
            with closing(engine.run(self._part_of(tiles, share))) as made:
                for receipt in made:
                    raise_all(error for _, error in receipt.failed)
                    if own:
                        receipts.append(receipt)
                        self.bytes_written += self._count(receipt)
        return receipts

    def _part_of(self, tiles: Mapping[int, Sequence[Tile]], share: Share) -> Conversion:
        """The conversion of these tiles."""
        outputs = tuple(GrowingFile(o.path, part_path(o.path), o.size, o.set) for o in self.plan.outputs)
        whole = Conversion(self.plan.inputs, outputs, dict(enumerate(self.jobs)), self.plan.imatrix, self.max_memory,
                           sound=self.sound, losses=self.losses is not None, spans=share.spans)
        return replace(whole.part(tiles), done={number: _others(part) for number, part in tiles.items()})

    def _is_done(self, path: Path, share: Share, parts: Sequence[int]) -> bool:
        """Whether an earlier run of this share has done all of it, as the bytes confirm."""
        record = read_journal(path)
        if record is None or record.identity != self._identity:
            return False
        receipts = [r for r in record.receipts if self.tells(r)]
        if _lacking(share.tiles, receipts):
            return False
        with open_inputs(self.plan.inputs) as inputs:
            files = OpenFiles(inputs, [(d, o.path) for d, o in zip(parts, self.plan.outputs, strict=True)])
            sound = confirmed(receipts, self.jobs, files, self.threads, lambda _: None)
        return not _lacking(share.tiles, sound)

    def forget(self) -> None:
        """Remove what shards noted, also what one noted half when its machine was lost."""
        self.__dict__.pop("found", None)  # what has come since counts too
        last = self.plan.outputs[-1].path
        for path in (*self.found, *last.parent.glob(f"{_escaped(last.name)}.ggufx-shard-*-of-*.*.part")):
            with suppress(OSError):
                path.unlink()
        del self.found

    # -- the commit ---------------------------------------------------------------------------------------------------

    def require(self) -> None:
        """UsageError where not all shares have left their receipts, or some are of another plan."""
        if not self.found:
            done = all(o.path.is_file() for o in self.plan.outputs)
            raise UsageError("is committed already" if done else "no shard of this plan has run", file=self.plan.results[0],
                             hint=None if done else "`ggufx run PLAN --shard 0/N` to `N-1/N` come first.")
        raise_all(UsageError("is of another plan, or of another version", file=path, hint="Remove it, or run its shard again.")
                  for path, (_, record) in self.found.items() if record.identity != self._identity)
        receipts = [r for _, record in self.found.values() for r in record.receipts]
        self._refuse_lacking(receipts, "has not run to its end", "have not run to their ends")
        self._refuse_lacking(filter(self.tells, receipts), "was run by a plan without --report",
                             "were run by a plan without --report")

    @cached_property
    def found(self) -> dict[Path, tuple[int, Record]]:
        """The files of receipts that shares left, the number of shares that each is one of, and what it holds."""
        last = self.plan.outputs[-1].path
        out: dict[Path, tuple[int, Record]] = {}
        for path in sorted(last.parent.glob(f"{_escaped(last.name)}.ggufx-shard-*")):
            match = _RECEIPTS.fullmatch(path.name.removeprefix(last.name))
            record = read_journal(path) if match else None
            if match and record is not None:
                out[path] = int(match[2]), record
        return out

    def _receipts_path(self, index: int, count: int) -> Path:
        last = self.plan.outputs[-1].path
        return last.with_name(f"{last.name}.ggufx-shard-{index}-of-{count}")

    def _journal(self) -> Record:
        """What all shares noted, as one run's journal."""
        receipts = (r for _, record in self.found.values() for r in record.receipts if self.tells(r))
        return Record(self._identity, (), tuple(receipts))

    def _take_over(self, staging: Staging, record: Record | None, engine: Engine) -> list[Receipt]:
        """As of an interrupted run; but nothing may be left to do."""
        kept = self._read_once(staging) if self.hashing else super()._take_over(staging, record, engine)
        self._refuse_lacking(kept, "left other bytes than it noted", "left other bytes than they noted")
        return kept

    def _read_once(self, staging: Staging) -> list[Receipt]:
        with open_inputs(self.plan.inputs) as inputs:
            files = OpenFiles(inputs, [(p.descriptor, p.output.path) for p in staging.parts])
            kept, digests = confirmed_and_hashed(self._journal().receipts, self.jobs, self.plan.outputs, self.gaps, files,
                                                 self.threads, self._count)
        self.digests = {o.path: digest for o, digest in zip(self.plan.outputs, digests, strict=True)}
        return kept

    def _refuse_lacking(self, receipts: Iterable[Receipt], one: str, several: str) -> None:
        receipts = list(receipts)
        whole = {number: Tile(0, 1, 1) for number in range(len(self.jobs))}
        if not (lacking := _lacking(whole, receipts)):
            return
        count = max(count for count, _ in self.found.values())
        missing = [i for i, tiles in enumerate(cut(self.jobs, count)) if _lacking(tiles, receipts)]
        shown = ", ".join(f"{i}/{count}" for i in missing[:20]) + (", ..." if len(missing) > 20 else "")
        raise UsageError(f"shard {shown} {one}" if len(missing) == 1 else f"shards {shown} {several}",
                         file=self.plan.results[0], tensor=self.jobs[lacking[0]].name if not missing else None,
                         hint="Run it again, then commit." if len(missing) == 1 else "Run them again, then commit.")


def _lacking(tiles: Mapping[int, Tile], receipts: Iterable[Receipt]) -> list[int]:
    """The jobs of which a tile is not covered by receipts."""
    covered: dict[int, list[tuple[int, int, int]]] = {}
    for receipt in receipts:
        covered.setdefault(receipt.job, []).append((receipt.tile.start, receipt.tile.stop, receipt.tile.count))
    lacking = []
    for number, tile in tiles.items():
        ranges = sorted(covered.get(number, ()))
        at, stop = tile.start, tile.stop if tile.count > 1 else (ranges[0][2] if ranges else 1)
        for start, end, _ in ranges:
            if start <= at:
                at = max(at, end)
        if at < stop:
            lacking.append(number)
    return lacking


def _others(tiles: Iterable[Tile]) -> tuple[Tile, ...]:
    """The tiles between and around these."""
    out, begin, count = [], 0, 1
    for tile in sorted(tiles, key=lambda t: t.start):
        count = tile.count
        if tile.start > begin:
            out.append(Tile(begin, tile.start, count))
        begin = tile.stop
    if begin < count:
        out.append(Tile(begin, count, count))
    return tuple(out)


def _escaped(name: str) -> str:
    """A name as a glob pattern."""
    return re.sub(r"([*?[])", r"[\1]", name)
