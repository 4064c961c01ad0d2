"""Execution of a plan: outputs grow under `.part` names and appear, complete and synced, under their own.

At every moment a final name holds nothing, what it held before (with `force`), or the complete result.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from ... import __version__, system
from ..errors import Failure, GgufxError, StorageError, UsageError, raise_all
from ..io.objects import url_of
from ..notes import listed
from ..plan.plan import ConversionPlan
from ..plan.tiles import Tile, by_address
from .conversion import Conversion, GrowingFile
from .convert_tile import NO_CHECKSUM
from .engines import Engine
from .engines.choice import choose, on_cluster
from .gaps import unwritten
from .hash_and_sync import Trail
from .journal import SUFFIX, Journal, Receipt, Record, read_journal
from .losses import Losses, TensorLoss
from .open_files import OpenFiles, open_inputs, storage_error
from .resume import complete, confirmed
from .staging import Staging, existing, first_missing, misplaced, no_room, refuse_existing

Progress = Callable[[int, int, str], None]
PROGRESS_INTERVAL = 0.05  # seconds
AS_STORED = ("gguf-to-hf", "split", "join", "edit")  # directions that give what a file holds, whatever that is


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of the result; `size` in bytes, `sha256` as hex digits, None where checksums were not wanted. `url`: the object
    that it has become, `path` is then where it was written."""

    path: Path
    size: int
    sha256: str | None
    url: str | None = None

    @property
    def place(self) -> str:
        """Where it is."""
        return self.url or str(self.path)


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """What was done.

    `receipts` counts the tiles of this run and the `kept` ones (`bytes_kept` of output) of an interrupted or finished one;
    `leftovers` are files of a dead run that were removed. `failures`: sets of outputs that were not made, by their first
    file; at least one was. `devices`: what converted, "cpu" or "cuda:0 (NVIDIA H200)"; `notes`: what should be known of how
    it went; `losses`: what each tensor lost by its type, where that was asked for.
    """

    files: tuple[WrittenFile, ...]
    seconds: float
    bytes_read: int
    bytes_written: int
    receipts: int
    kept: int = 0
    bytes_kept: int = 0
    leftovers: tuple[Path, ...] = ()
    failures: tuple[Failure, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    notes: tuple[str, ...] = ()
    losses: tuple[TensorLoss, ...] = ()

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"<Result {listed([f.place for f in self.files])}: {sum(f.size for f in self.files):,} bytes{failed}>"


def execute(
    plan: ConversionPlan,
    *,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    device: str = "auto",
    resume: bool = False,
    keep_partial: bool | None = None,
    force: bool = False,
    engine: Engine | str | None = None,
    progress: Progress | None = None,
    checksums: bool = True,
    losses: bool = False,
) -> Result:
    """Write the plan's outputs.

    threads       of the default engine and of checking and hashing (default: all CPUs). No byte depends on it.
    max_memory    bytes of tensor data in flight, on each GPU as well
    device        cpu, cuda (all GPUs), cuda:N, or auto: GPUs where there are any and the work is worth it. Same bytes.
    resume        continue an interrupted run of the same plan; what it left is checked, not trusted, and so are outputs
                  that are complete already
    keep_partial  leave `.part` files and the journal behind for `resume` if this fails (default: if `resume`, and where
                  an interrupt, no error, ends a run that has done something)
    force         replace existing outputs
    engine        threads, or ray: shards on a cluster (`on_ray.py`); or an engine
    progress      called with (bytes done, bytes in all, name of the tensor), at most about 20 times a second
    checksums     whether the result states the SHA-256 of each file
    losses        whether it states what each tensor lost by its type, of GGUF files; tiles of an interrupted run that did
                  not look are converted once more

    Raises `UsageError` for an existing output without `force`, an output that another process is writing, and a journal
    of another conversion; `InputError` for a source that changed, vanished or holds what cannot be converted;
    `StorageError` for what the system refuses; `UnsupportedError` where there is no such device. Whatever is raised, no
    incomplete output has its final name. Where the plan has several sets of outputs, one that cannot hold a value of the
    source is given up, and the others are made.
    """
    if on_cluster(engine):
        from .on_ray import execute_on_ray

        _refuse_objects(plan)
        return execute_on_ray(plan, threads=threads, max_memory=max_memory, device=device, resume=resume, force=force,
                              progress=progress, checksums=checksums, losses=losses)
    run = Run(plan, threads, max_memory, progress, losses)
    engine = choose(device, plan.jobs, threads) if engine is None or isinstance(engine, str) else engine
    return run(resume, keep_partial, force, engine, checksums)


def refuse(plan: ConversionPlan, *, device: str = "auto", resume: bool = False, force: bool = False,
           threads: int | None = None, max_memory: int = 1 << 30, engine: str = "threads", losses: bool = False) -> None:
    """Raise what `execute` would refuse before it writes anything, for a plan that is only shown."""
    if on_cluster(engine):
        _refuse_objects(plan)
    else:
        choose(device, plan.jobs, threads)
    Run(plan, threads, max_memory, None, losses).refuse(resume, force)


def _refuse_objects(plan: ConversionPlan) -> None:
    if urls := [url for o in plan.outputs if (url := url_of(o.path))]:
        raise UsageError("the nodes of a cluster write into one file that all of them see, which no object is", file=urls[0],
                         hint="Write to a shared folder and copy the result; `ggufx batch --engine ray` sends whole models.")


def is_interrupted(plan: ConversionPlan) -> bool:
    """Whether an interrupted run to the plan's outputs left a journal, with which `execute` can resume."""
    return _journal_path(plan).exists()


def _journal_path(plan: ConversionPlan) -> Path:
    """The last output completes the set, and has the same name however the tensors are spread over shards."""
    return plan.outputs[-1].path.with_name(plan.outputs[-1].path.name + SUFFIX)


class Run:
    """One execution: what its steps share. `shards.py` has another one, of several processes."""

    def __init__(self, plan: ConversionPlan, threads: int | None, max_memory: int, progress: Progress | None,
                 losses: bool = False) -> None:
        self.begun = time.monotonic()
        self.plan = plan
        self.threads = threads or system.cpu_count()
        self.max_memory = max_memory
        self.progress = progress
        self.jobs = [part for job in plan.jobs for part in by_address(job)]
        self.gaps = unwritten(plan, self.jobs)
        self.losses = Losses(plan, self.jobs) if losses else None
        self.journal_path = _journal_path(plan)
        self.fixed = self.done = plan.output_bytes - sum(r.nbytes for j in self.jobs for r in j.outputs)
        folders = {*plan.folders, *((plan.folder,) if plan.folder else ()),
                   *(o.path.parent for o in plan.outputs if url_of(o.path))}
        self.made = {first_missing(folder) if url_of(folder) else folder for folder in folders}
        self.last_progress = 0.0
        self.bytes_read = self.bytes_written = 0
        self.failed: dict[int, GgufxError] = {}  # by set

    def refuse(self, resume: bool, force: bool) -> None:
        """Everything that can be refused before anything is touched."""
        with open_inputs(self.plan.inputs):
            pass  # they are as planned
        problems = misplaced(self.plan.outputs, self.made)
        there = [o for o in self.plan.outputs if os.path.lexists(o.path)]
        if not resume or problems or (self._journal() is None and len(there) < len(self.plan.outputs)):
            problems = existing(self.plan.outputs, force, None if resume else self._resume_hint()) + problems
        raise_all(problems or no_room(self.plan.outputs, self.made, resume))

    def __call__(self, resume: bool, keep_partial: bool | None, force: bool, engine: Engine, checksums: bool) -> Result:
        self.refuse(resume, force)
        with ExitStack() as stack:
            staging = stack.enter_context(Staging(self.plan.outputs, force))
            journal: Journal | None = None
            begun = False  # until then, what a dead run left is not ours to remove
            try:
                staging.acquire(resume)
                record = self._journal() if resume else None
                if not resume:
                    self._clean(staging)
                begun = True
                kept = self._take_over(staging, record, engine) if resume else []
                refuse_existing((p.output for p in staging.parts if not p.published), force,
                                "It is not what this conversion makes. Pass --force to replace it." if resume else None)
                bytes_kept = self.done - self.fixed
                outputs = [(p.descriptor, p.output.path) for p in staging.parts]
                files = OpenFiles([], outputs, frozenset(i for i, p in enumerate(staging.parts) if p.published))
                staging.reserve()
                journal = Journal(self.journal_path, self._identity, (o.path for o in self.plan.outputs), record)
                stack.callback(journal.close)
                with Trail(files, outputs, checksums, journal.sync, self.threads) as trail:
                    self._fill_fixed(staging, files, trail)
                    for receipt in kept:
                        self._mark(receipt, trail)
                        self._note_losses(receipt)
                    receipts = self._convert(self._conversion(staging, kept), engine, journal, trail)
                    journal.write()
                    digests = trail.finish()
                self._publish(staging)
                journal.remove()
                if self.failed:
                    staging.discard(part for part in staging.parts if part.output.set in self.failed)
            except BaseException as error:
                interrupted = not isinstance(error, Exception) and self.done > self.fixed
                if journal and (resume or interrupted if keep_partial is None else keep_partial):
                    journal.write()
                    if interrupted:
                        error.add_note(self._kept_note())
                else:
                    if journal:
                        journal.remove()
                    staging.discard(staging.parts, keep_found=bool(keep_partial) or resume or not begun)
                if isinstance(error, OSError):
                    raise storage_error(error, error.filename or self.plan.outputs[0].path, "written") from error
                raise
            if self.progress:
                self.progress(self.plan.output_bytes, self.plan.output_bytes, "")
            sums = {o.path: sha256 for o, sha256 in zip(self.plan.outputs, digests, strict=True)}
            written = (WrittenFile(o.path, o.size, sums[o.path]) for o in self.plan.listed if o.set not in self.failed)
            failures = (Failure(self.plan.results[number], error) for number, error in sorted(self.failed.items()))
            return Result(tuple(written), time.monotonic() - self.begun, self.bytes_read, self.bytes_written,
                          receipts + len(kept), len(kept), bytes_kept, tuple(staging.leftovers), tuple(failures),
                          tuple(engine.devices), tuple(engine.notes), self._told_losses())

    def _resume_hint(self) -> str | None:
        if not self.journal_path.exists():
            return None
        return "An interrupted run left it: --resume completes it, --force replaces it."

    @cached_property
    def _identity(self) -> str:
        """What must be equal for the bytes of an interrupted run to be of use: the plan and the version."""
        return hashlib.sha256(f"{__version__} {self.plan.digest()}".encode()).hexdigest()

    @property
    def sound(self) -> bool:
        return self.plan.direction not in AS_STORED

    def _journal(self) -> Record | None:
        """What an interrupted run noted. UsageError where it was of another conversion."""
        record = read_journal(self.journal_path)
        if record and record.identity not in (None, self._identity):
            raise UsageError("belongs to another conversion: other options, other or changed sources, another version",
                             file=self.journal_path, hint="Start again without --resume; what was done is then lost.")
        return record

    def _clean(self, staging: Staging) -> None:
        """Remove what an interrupted run left."""
        if (record := read_journal(self.journal_path)) is not None:
            staging.clean(self.journal_path, record.outputs)

    def _kept_note(self) -> str:
        """What an interrupt leaves, for whoever tells of it."""
        done = (self.done - self.fixed) / (self.plan.output_bytes - self.fixed)
        return f"{done:.0%} is done and kept: the same call with --resume goes on from there, without it from the beginning."

    def _take_over(self, staging: Staging, record: Record | None, engine: Engine) -> list[Receipt]:
        """The receipts of an interrupted run that the bytes confirm; outputs that it had published are sealed.

        Where all outputs are there and no journal, they are held against what the sources give.
        """
        torn: set[int] = set()
        receipts: Sequence[Receipt]
        with open_inputs(self.plan.inputs) as inputs, staging.published() as there:
            if record is None and len(there) == len(staging.parts):
                receipts = self._made_anew(staging, engine)
            elif record is None or record.identity is None:
                return []
            else:
                receipts = record.receipts
            descriptors = [there.get(i, part.descriptor) for i, part in enumerate(staging.parts)]
            files = OpenFiles(inputs, [(d, o.path) for d, o in zip(descriptors, self.plan.outputs, strict=True)])
            sound = confirmed(receipts, self.jobs, files, self.threads, self._count)
            for index in there:
                output = self.plan.outputs[index]
                if output.set in torn:
                    continue  # a set is published in order
                if complete(index, output, self.gaps[index], sound, self.jobs, files):
                    staging.seal(index, descriptors[index])
                else:
                    torn.add(output.set)
        foreign = {i for i in there if not staging.parts[i].published}
        # A tile in which an output failed is converted anew, since the failure is to be told again.
        # So is one of which it is not known what it lost.
        dropped = {r for r in sound if NO_CHECKSUM in r.checksums or not self.tells(r)
                   or any(region.file in foreign for region in self.jobs[r.job].outputs)}
        for receipt in dropped:
            self._count(receipt, -1)
        return [r for r in sound if r not in dropped]

    def _made_anew(self, staging: Staging, engine: Engine) -> list[Receipt]:
        """The receipts of a whole conversion that writes nothing: the checksums that the outputs must have."""
        outputs = tuple(GrowingFile(p.output.path, None, p.output.size, p.output.set) for p in staging.parts)
        conversion = Conversion(self.plan.inputs, outputs, dict(enumerate(self.jobs)), self.plan.imatrix, self.max_memory,
                                losses=self.losses is not None)
        with closing(engine.run(conversion)) as receipts:
            made = []
            for receipt in receipts:
                made.append(receipt)
                self._count(receipt)
        for receipt in made:
            self._count(receipt, -1)  # until it is confirmed
        return made

    def _fill_fixed(self, staging: Staging, files: OpenFiles, trail: Trail) -> None:
        """What the plan itself holds, and zeros where a dead run may have left something else."""
        for index, part in enumerate(staging.parts):
            for offset, data in ((0, part.output.head), *part.output.pieces):
                files.write(index, offset, data)
                trail.written(index, offset, offset + len(data))
                self.bytes_written += 0 if part.published else len(data)
            for start, stop in self.gaps[index]:
                if part.found:
                    files.zero(index, start, stop)
                trail.written(index, start, stop)

    def _conversion(self, staging: Staging, kept: Sequence[Receipt]) -> Conversion:
        """What is left to do."""
        done: dict[int, list[Tile]] = {}
        for receipt in kept:
            done.setdefault(receipt.job, []).append(receipt.tile)
        outputs = (GrowingFile(p.output.path, None if p.published else p.path, p.output.size, p.output.set)
                   for p in staging.parts)
        return Conversion(self.plan.inputs, tuple(outputs), dict(enumerate(self.jobs)), self.plan.imatrix, self.max_memory,
                          done, sound=self.sound, losses=self.losses is not None)

    def _convert(self, conversion: Conversion, engine: Engine, journal: Journal, trail: Trail) -> int:
        """All tiles that are not kept; how many."""
        count = 0
        with closing(engine.run(conversion)) as receipts:
            for receipt in receipts:
                count += 1
                journal.append(receipt)
                for number, error in receipt.failed:
                    self.failed.setdefault(number, error)
                self._refuse_none_left()
                self._mark(receipt, trail)
                self._note_losses(receipt)
                nbytes = self._count(receipt)
                trail.keep_pace(nbytes)
                self.bytes_written += nbytes
                self.bytes_read += sum(receipt.tile.of(r).nbytes for r in self.jobs[receipt.job].sources)
        return count

    def _publish(self, staging: Staging) -> None:
        """Set after set, but for those that failed."""
        sets = [list(parts) for _, parts in groupby(staging.parts, key=lambda part: part.output.set)]
        for number, parts in enumerate(sets):
            try:
                if number not in self.failed:
                    staging.publish(parts)
            except (StorageError, UsageError) as error:
                self.failed[number] = error
        self._refuse_none_left()

    def _told_losses(self) -> tuple[TensorLoss, ...]:
        given_up = {self.plan.results[number] for number in self.failed}
        return tuple(loss for loss in self.losses.result() if loss.file not in given_up) if self.losses else ()

    def _refuse_none_left(self) -> None:
        """Raise why, if no set of outputs is left that can be made."""
        if self.failed and len(self.failed) == len(self.plan.sets):
            raise_all(self.failed.values())

    def tells(self, receipt: Receipt) -> bool:
        """Whether a receipt says what is asked for of losses: a copy has none."""
        return self.losses is None or not receipt.checksums or bool(receipt.sums)

    def _note_losses(self, receipt: Receipt) -> None:
        if self.losses:
            self.losses.add(receipt.job, receipt.tile, receipt.sums)

    def _mark(self, receipt: Receipt, trail: Trail) -> None:
        for output in self.jobs[receipt.job].outputs:
            region = receipt.tile.of(output)
            trail.written(region.file, region.offset, region.offset + region.nbytes)

    def _count(self, receipt: Receipt, sign: int = 1) -> int:
        """Count the receipt's output bytes as done, and report it now and then."""
        job = self.jobs[receipt.job]
        nbytes = sum(receipt.tile.of(r).nbytes for r in job.outputs)
        self.done += sign * nbytes
        now = time.monotonic()
        if self.progress and now - self.last_progress >= PROGRESS_INTERVAL:
            self.last_progress = now
            self.progress(self.done, self.plan.output_bytes, job.name)
        return nbytes
