"""Many checkpoints, one call: each is planned and converted for itself, and what becomes of one is nothing to the others.

A result that is there is known by its size and all that its plan holds of it (header, key-values, what stands between tensors):
nothing but a complete result ever has its final name. So the same call again makes what is missing, and goes on with what was
interrupted. May import `errors`, `io`, `sources`, `plan`, `planners` and `run`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from .errors import Failure, GgufxError, InputError, UsageError, raise_all
from .io.files import read_text
from .io.objects import ObjectReference, staged, url_of
from .plan.plan import ConversionPlan
from .planners.hf_to_gguf import GgufOptions
from .planners.many_outputs import outtype_names
from .planners.projector import plan_checkpoint
from .run.execute import Progress, WrittenFile, execute, is_interrupted
from .run.sending import Sending
from .run.staging import is_there
from .sources.hub import HubReference, cached_origin, resolve_model

PATTERN = "{name}-{outtype}.gguf"
State = Literal["made", "there", "incomplete", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """What is made of each checkpoint.

    `outfile`: as of hf-to-gguf, with `{org}`, `{name}` and `{revision}` of the checkpoint, or a folder; also URLs. `check`:
    results that are there are held byte for byte against what their sources give. `engine`: threads, one checkpoint after
    another; or ray, each a task of a cluster. The others as of `execute` and `GgufOptions`.
    """

    outtype: tuple[str, ...] = ("auto",)
    outfile: str | Path | None = None
    mmproj: bool = False
    mmproj_type: str = "f16"
    force: bool = False
    check: bool = False
    checksums: bool = True
    threads: int | None = None
    max_memory: int = 1 << 30
    device: str = "auto"
    engine: str = "threads"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one checkpoint. `state`: made; there (it was already); incomplete: some of its files; failed: none.

    `files`: what is there now; `sha256` of those that were made. `errors`: why files are missing. `seconds` that it took.
    """

    model: str
    state: State
    files: tuple[WrittenFile, ...] = ()
    errors: tuple[GgufxError, ...] = ()
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.errors

    def to_json(self) -> dict[str, object]:
        files = [{"path": f.place, "size": f.size, "sha256": f.sha256} for f in self.files]
        return {"model": self.model, "state": self.state, "files": files, "errors": [e.to_json() for e in self.errors],
                "seconds": round(self.seconds, 3)}


def read_list(path: Path) -> list[str]:
    """The checkpoints that a file names: a folder or Hub id on each line; what begins with # is a comment.

    Raises as `read_text`, and InputError for a file that names none.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    models = [line for line in lines if line and not line.startswith("#")]
    if not models:
        raise InputError("names no checkpoint", file=path, hint="Write a folder or Hub id (org/name[@revision]) on each line.")
    return models


def check_batch(models: Sequence[str], options: BatchOptions) -> None:
    """UsageError for what is wrong with all: an unknown type, several checkpoints that would go to one file."""
    outtype_names(options.outtype)
    if options.check and ObjectReference.parse(_named(options.outfile)):
        raise UsageError("--check reads results that are on this machine", file=_named(options.outfile),
                         hint="`ggufx verify MODEL URL` compares an object with its source; --force makes all anew.")
    lines: dict[str, list[str]] = {}
    for model in models:
        lines.setdefault(pattern_for(model, options.outfile), []).append(model)
    raise_all(UsageError(f"{' and '.join(same)} would go to one file", file=pattern,
                         hint="Name each checkpoint once; {org}, {name} and {revision} in --outfile tell them apart.")
              for pattern, same in lines.items() if len(same) > 1)


def pattern_for(model: str, outfile: str | Path | None) -> str:
    """`outfile` with what is known of the checkpoint filled in; `{outtype}` is left."""
    text = _named(outfile)
    reference = None if os.path.exists(model) else HubReference.parse(model)
    if reference is not None:
        org, _, name = reference.repo.partition("/")
        revision = (reference.revision or "main").replace("/", "-")
    else:
        path = Path(os.path.abspath(model))
        org, name, revision = path.parent.name, path.name, ""
    parts = text.split("{")  # what is filled in is not looked at again
    known = {"org": org, "name": name, "revision": revision}
    for i, part in enumerate(parts[1:], 1):
        hole, closed, rest = part.partition("}")
        parts[i] = known[hole] + rest if closed and hole in known else "{" + part
    return "".join(parts)


def convert_each(models: Sequence[str], options: BatchOptions,
                 progress: Callable[[int, str], Progress] | None = None) -> Iterator[Outcome]:
    """The outcomes as they come: one after another, each on all threads; or each a task of a Ray cluster.

    `progress`: gives that of a checkpoint, by its number and name; of a cluster's tasks there is none.
    """
    done = 0
    try:
        if options.engine == "ray":
            from .run.engines.ray import RayTasks

            with RayTasks(options.threads, options.max_memory, options.device) as tasks:
                own = replace(options, threads=tasks.threads, device=tasks.device,
                              outfile=_absolute_pattern(_named(options.outfile)))
                for _, outcome in tasks.each(convert, [(_absolute(model), own) for model in models]):
                    done += 1
                    yield outcome
            return
        for model in models:
            yield convert(model, options, progress and progress(done, model))
            done += 1
    except BaseException as error:
        if not isinstance(error, GeneratorExit):
            error.__notes__ = [f"{done} of {len(models)} are done; the same call goes on from there."]
        raise


def _absolute(model: str) -> str:
    """A folder as a node finds it, from wherever it runs."""
    return os.path.abspath(model) if os.path.exists(model) else model


def _absolute_pattern(pattern: str) -> str:
    return pattern if ObjectReference.parse(pattern) else os.path.abspath(pattern)


def _named(outfile: str | Path | None) -> str:
    """A file's pattern, of a folder as well."""
    if outfile is None:
        return PATTERN
    text = str(outfile)
    return os.path.join(text, PATTERN) if text.endswith(("/", os.sep)) or os.path.isdir(text) else text


def convert(model: str, options: BatchOptions, progress: Progress | None = None) -> Outcome:
    """One checkpoint. What fails is part of the outcome, and no exception."""
    begun = time.monotonic()
    try:
        files, failures, state = _converted(model, options, progress)
        errors = tuple(f.error for f in failures)
        return Outcome(model, "incomplete" if errors else state, files, errors, time.monotonic() - begun)
    except GgufxError as error:
        told = error
    except MemoryError:
        told = GgufxError("out of memory", hint="Give a smaller --max-memory or fewer --threads.")
    except Exception as error:  # a fault of ours with one checkpoint is no reason to leave out the others
        told = GgufxError(f"{type(error).__name__}: {error}", hint="This is a fault of ggufx, not of the checkpoint. Convert "
                          "it alone with --verbose, and report what that prints.")
    return Outcome(model, "failed", (), (told,), time.monotonic() - begun)


def _converted(model: str, options: BatchOptions,
               progress: Progress | None) -> tuple[tuple[WrittenFile, ...], Sequence[Failure], State]:
    if not options.force and not options.check:
        plan, refused = _plan(model, options, headers=True)  # so that nothing is fetched for what is there
        if _is_there(plan):
            return tuple(WrittenFile(o.path, o.size, None, url_of(o.path)) for o in plan.listed), refused, "there"
    plan, refused = _plan(model, options, headers=False)
    if (sending := Sending.of(plan)) is not None:
        sending.check(options.force, resume=True)
    known = not options.force and (is_there(plan.outputs) or is_interrupted(plan))
    result = execute(plan, threads=options.threads, max_memory=options.max_memory, device=options.device, resume=known,
                     force=options.force or sending is not None, checksums=options.checksums, progress=progress)
    if sending is not None:
        return sending.send(result).files, (*refused, *result.failures), "made"
    kept = bool(known and plan.jobs and not result.bytes_written)
    return result.files, (*refused, *result.failures), "there" if kept else "made"


def _plan(model: str, options: BatchOptions, headers: bool) -> tuple[ConversionPlan, Sequence[Failure]]:
    folder = resolve_model(model, headers=headers, parts=options.mmproj)
    wanted = GgufOptions(hub_id=cached_origin(folder), mmproj=options.mmproj, mmproj_type=options.mmproj_type)
    outfile = staged(pattern_for(model, options.outfile))
    plan, refused = plan_checkpoint(folder, outfile, wanted, outtype_names(options.outtype))
    parents = dict.fromkeys(o.path.parent for o in plan.outputs)
    return replace(plan, folders=tuple(dict.fromkeys((*plan.folders, *parents)))), refused


def _is_there(plan: ConversionPlan) -> bool:
    """Whether all outputs are, here or as objects: of their sizes, with all that the plan itself holds of them."""
    sending = Sending.of(plan)
    return is_there(plan.outputs) if sending is None else sending.is_there()
