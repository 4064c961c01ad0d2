"""What every converting command does with its plan: print it, or carry it out and tell the result."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..converters.errors import Failure, UsageError
from ..converters.io.files import printable
from ..converters.io.objects import shown
from ..converters.io.whole_files import check_writable
from ..converters.notes import Note
from ..converters.plan.plan import ConversionPlan, PlannedReport
from ..converters.report.loss_report import by_file, check_report, worst, write_report
from .checksums import write_checksums
from .exit import ExitStatus, status_of
from .output import Output, human_bytes, human_count

if TYPE_CHECKING:
    from ..converters.publish.upload import Ahead
    from ..converters.run.execute import Result
    from ..converters.run.sending import Sending
    from ..converters.verify.pairs import Progress
    from ..converters.verify.verify import Report
    from .publish import Publishing


WORST = 5  # tensors that lost most, which are printed
RESULT = "<RESULT>"  # in a command: what was written
PLANNED: ContextVar[list[ConversionPlan] | None] = ContextVar("PLANNED", default=None)  # where `ggufx plan` wants plans put


def carry_out(out: Output, plan: ConversionPlan, refused: Sequence[Failure] = (), *, source: str, then: Sequence[Sequence[str]],
              dry_run: bool, checksums: Path | None, report: Path | None = None,
              after: Mapping[Path, Callable[[Progress], Report]] | None = None,
              modelfile: bool | Path | None = None, publishing: Publishing | None = None, **run: Any) -> ExitStatus:
    """Print the plan (`dry_run`), or execute it with progress and print what was written.

    `refused`: files that were asked for and are not part of the plan. `after` compares what was written with its source.
    `source`: what was converted, as it was named. `then`: commands for what to do next, of which the first verifies;
    RESULT stands for what was written. `modelfile`: whether each file gets Ollama's Modelfile beside it; a path: of that
    model, with the file as its adapter. `publishing`: what is then made of it for the Hub, unless it is not what it should be.
    `report`: where what each tensor lost is written. What is to become objects is sent at the very end.
    The status is that of the first failure, or NO where a comparison says that the two differ.
    """
    from ..converters.run.execute import execute, refuse
    from ..converters.run.sending import Sending

    pushes = publishing is not None and publishing.wanted
    if (planned := PLANNED.get()) is not None:
        if (dry_run or run["resume"] or checksums or after or modelfile or run.get("engine", "threads") != "threads" or pushes):
            raise UsageError("a plan says what is made, not how it is carried out or what follows",
                             hint="Leave out --dry-run, --resume, --checksums, --verify, --modelfile, --engine, "
                                  "--push and --card; `ggufx commit` has --checksums, `ggufx push` pushes.")
        check_report(report, run["force"])
        refuse(plan, force=run["force"], losses=report is not None)
        planned.append(plan if report is None else replace(plan, report=PlannedReport(report, source)))
    out.failures(refused)
    out.notes([*plan.notes, *_fallbacks(plan)])
    if planned is not None:
        return _status(refused)
    check_writable(checksums, run["force"])
    check_report(report, run["force"])
    run["losses"] = report is not None
    seen = None if publishing is None else publishing.check(run["force"])
    force = run["force"]
    if (sending := Sending.of(plan)) is not None:
        if modelfile:
            raise UsageError("a Modelfile names a file beside it, and these become objects", hint="Leave out --modelfile.")
        sending.check(force, run["resume"])
        run["force"] = True  # what lies where it is written first is ours
    modelfiles = _modelfiles(plan, modelfile, force)
    if dry_run:
        refuse(plan, **run)
        _print_plan(out, plan, refused, publishing, sending)
        return _status(refused)
    hashed = checksums is not None or pushes or out.json_mode or out.verbose
    with out.compiling(), out.progress(plan.direction) as progress:
        result = execute(plan, progress=progress, checksums=hashed, **run)
    if checksums is not None:
        write_checksums(checksums, result.files)
    if report is not None:
        write_report(report, result, source)
    out.notes([*(Note("removed what an interrupted run had left", str(path)) for path in result.leftovers), *result.notes])
    out.failures(result.failures)
    failures = (*refused, *result.failures)
    _print_result(out, plan, result, source, failures)
    print_losses(out, result, report)
    ahead = None if publishing is None or failures else publishing.ahead(result)
    reports = _verified(out, plan, after or {}, failures, ahead)
    for file in result.files:
        if file.path in modelfiles:
            _write_modelfile(out, plan, file.path, modelfile, modelfiles[file.path])
    document = {**_document(plan, failures), "source": source, **_of_result(plan, result, modelfiles, reports)}
    document["notes"] += [Note.of(note).to_json() for note in result.notes]
    same = all(comparison.same for comparison in reports.values())
    status = _status(failures) if failures else ExitStatus.DONE if same else ExitStatus.NO
    if publishing is not None and pushes:
        if status != ExitStatus.DONE:
            if ahead is not None:
                ahead.stop()
            out.notes(["nothing was committed, and no card made, since not all is as it should be"])
        else:
            told = publishing.carry_out(out, plan, result, force, seen, ahead)
            document |= {**told, "notes": [*document["notes"], *told["notes"]]}
    if sending is not None:
        if not same:
            out.notes([f"nothing was sent, since not all is as it should be: it lies in {plan.outputs[0].path.parent}"])
        else:
            with out.progress("send") as progress:
                result = sending.send(result, progress)
            out.line(f"sent {', '.join(f.place for f in result.files)}")
    if result.files:
        _print_next(out, shown(plan.folder or result.files[0].path), then[1:] if after else then)
    out.document({**document, "exit_code": int(status)})
    return status


def _verified(out: Output, plan: ConversionPlan, after: Mapping[Path, Callable[[Progress], Report]],
              failures: Sequence[Failure], ahead: Ahead | None) -> dict[Path, Report]:
    """Each result compared with its source; what is the same goes `ahead` while the next one is compared."""
    reports: dict[Path, Report] = {}
    for written, compare in after.items():
        if not plan.jobs:
            out.notes(["nothing to verify: no tensors were written"])
        elif written not in {f.path for f in failures}:
            reports[written] = _compare(out, plan, compare)
            if ahead is not None and len(reports) < len(plan.results) and all(report.same for report in reports.values()):
                ahead.send(written)
    return reports


def _of_result(plan: ConversionPlan, result: Result, modelfiles: Mapping[Path, Path],
               reports: Mapping[Path, Report]) -> dict[str, Any]:
    """What `--json` tells of a result: its files, and of each, or of the one there is, the comparison."""
    facts = _facts_by_file(plan)
    files = [{"path": shown(f.path), "size": f.size, "sha256": f.sha256, **facts[f.path],
              **({"modelfile": str(modelfiles[f.path])} if f.path in modelfiles else {})} for f in result.files]
    document = {"files": files, "seconds": round(result.seconds, 3), "bytes_kept": result.bytes_kept,
                "devices": list(result.devices)}
    for written, comparison in reports.items():
        told = next(f for f in files if f["path"] == shown(written)) if "sets" in plan.facts else document
        told["verify"] = comparison.to_json()
    return document


def _modelfiles(plan: ConversionPlan, asked: bool | Path | None, force: bool) -> dict[Path, Path]:
    """The Modelfile of each output but projectors, which belong to a model. Raises ahead of the work what would keep one from
    being written."""
    if not asked:
        return {}
    from ..converters.metadata.modelfile import check_model

    if isinstance(asked, Path):
        check_model(asked)
    paths = [path for path in plan.results if path not in _projectors(plan)]
    if not paths:
        raise UsageError("a Modelfile is of a model, and no model is made", hint="Leave out --modelfile.")
    found = {path: path.with_suffix(".Modelfile") if len(paths) > 1 else path.with_name("Modelfile") for path in paths}
    for path in found.values():
        check_writable(path, force)
    return found


def _projectors(plan: ConversionPlan) -> list[Path]:
    from ..converters.io.gguf import planned_header
    from ..converters.metadata.modelfile import is_projector

    return [o.path for o in plan.outputs if is_projector(planned_header(o.head, o.size, o.path).metadata)]


def _write_modelfile(out: Output, plan: ConversionPlan, written: Path, asked: bool | Path | None, path: Path) -> None:
    from ..converters.metadata.modelfile import make_modelfile
    from .modelfile import publish

    if isinstance(asked, Path):
        made = make_modelfile(asked, written, path.parent)
    else:
        made = make_modelfile(written, None, path.parent, _projectors(plan))
    publish(out, made, path)


def _print_next(out: Output, written: str, then: Sequence[Sequence[str]]) -> None:
    for step in then:
        out.info(f"next: {shlex.join(written if word == RESULT else word for word in step)}")


def _print_result(out: Output, plan: ConversionPlan, result: Result, source: str, failures: Sequence[Failure]) -> None:
    """Input, output, types, size, bits per weight, time; checksums where more is wanted."""
    facts = _facts_by_file(plan)
    size = human_bytes(sum(f.size for f in result.files))
    if "sets" in plan.facts:
        rows = [(f.path, *facts[f.path].values(), human_bytes(f.size)) for f in result.files]
        out.table(["file", "type", "bits/weight", "size"], rows + [(f.path, "not made", "", "") for f in failures])
    else:
        many = f" in {len(result.files)} files" if len(result.files) > 1 else ""
        bits = plan.facts.get("bits_per_weight")
        out.line(f"{plan.folder or result.files[0].path}: {size}{many}, {_types(plan)}"
                 f"{f', {bits:g} bits per weight' if bits else ''}")
    if out.verbose:
        for file in result.files:
            out.line(f"{file.sha256}  {file.path}")
    if result.bytes_kept:
        there = "all of it" if not result.bytes_written else human_bytes(result.bytes_kept)
        out.line(f"{there} was there already, and was checked")
    where = "" if result.devices == ("cpu",) else f" on {', '.join(result.devices)}"
    total = f": {size}" if "sets" in plan.facts else ""
    out.line(f"from {source} ({_model(plan)}){total} in {result.seconds:.1f} s{where}")


def print_losses(out: Output, result: Result, report: Path | None) -> None:
    """Totals, the worst tensors, and where the report is."""
    from ..converters.run.losses import file_loss

    if report is None:
        return
    for losses in by_file(result):
        total = file_loss(losses)
        rows = [(printable(t.name), t.type, f"{t.bits_per_weight:.4g}",
                 "-" if t.relative_rmse is None else f"{t.relative_rmse:.3g}")
                for t in worst(losses)[:WORST] if t.error != 0]
        out.table(["tensor", "type", "bits/weight", "RMSE/RMS"], rows, title=f"{losses[0].file.name}: "
                  f"{total.bits_per_weight:.4g} bits per weight, RMSE/RMS {total.relative_rmse:.3g}")
    out.line(f"losses of all tensors: {report}")


def _fallbacks(plan: ConversionPlan) -> list[Note]:
    """Which tensors did not fit the type that they were to have, as notes."""
    notes = [(t.set, Note(f"stored as {t.type} instead of {t.wanted}, whose blocks do not divide their rows", t.name))
             for t in plan.tensors if t.wanted is not None]
    names = [path.name for path in plan.results]
    return [note.about(names[number]) if "sets" in plan.facts else note for number, note in notes]


def _status(failures: Sequence[Failure]) -> ExitStatus:
    return status_of(failures[0].error) if failures else ExitStatus.DONE


def _facts_by_file(plan: ConversionPlan) -> dict[Path, dict[str, Any]]:
    """Type and bits per weight of each of several files; nothing where the plan's outputs are one set."""
    if "sets" not in plan.facts:
        return {o.path: {} for o in plan.outputs}
    facts = [{"file_type": f["file_type"], "bits_per_weight": f["bits_per_weight"]} for f in plan.facts["sets"]]
    return {o.path: facts[o.set] for o in plan.outputs}


def _set_of_each_tensor(plan: ConversionPlan) -> list[dict[str, str]]:
    """The file that names the set of each tensor; nothing where there is one set."""
    names = [shown(path) for path in plan.results]
    return [{"file": names[t.set]} if "sets" in plan.facts else {} for t in plan.tensors]


def _document(plan: ConversionPlan, failures: Sequence[Failure]) -> dict[str, Any]:
    """What the documents of a plan and of a result have in common."""
    facts = {k: v for k, v in plan.facts.items() if k != "sets"}
    several = _set_of_each_tensor(plan)
    return {
        "ok": not failures, "direction": plan.direction, **facts, "plan": plan.digest(),
        "notes": [note.to_json() for note in plan.notes],
        "fallbacks": [{**file, "tensor": t.name, "wanted": t.wanted, "type": t.type}
                      for t, file in zip(plan.tensors, several, strict=True) if t.wanted],
        **({"failures": [f.to_json() for f in failures]} if "sets" in plan.facts else {}),
    }


def _compare(out: Output, plan: ConversionPlan, after: Callable[[Progress], Report]) -> Report:
    from .report import show

    with out.compiling(), out.progress("verify") as progress:
        report = after(progress)
    report.notes[:] = [note for note in report.notes if not note.endswith(plan.notes)]  # said already
    out.line()
    show(out, report)
    return report


def _model(plan: ConversionPlan) -> str:
    name = plan.facts.get("class") or plan.facts.get("architecture", "")
    size = f", {human_count(plan.facts['parameters'])} parameters" if "parameters" in plan.facts else ""
    return f"{name}, {len({t.name for t in plan.tensors})} tensors{size}"


def _types(plan: ConversionPlan) -> str:
    """`16 Q4_K, 5 F32`, behind the file type where the plan has one."""
    types = ", ".join(f"{n} {t}" for t, n in Counter(t.type for t in plan.tensors).most_common())
    name = plan.facts.get("file_type")
    return f"{name} ({types})" if name else types or "no tensors"


def _print_plan(out: Output, plan: ConversionPlan, refused: Sequence[Failure], publishing: Publishing | None,
                sending: Sending | None) -> None:
    facts = _facts_by_file(plan)
    if "sets" in plan.facts:
        _print_types(out, plan, facts)
    else:
        sizes: dict[str, list[int]] = {}
        for t in plan.tensors:
            count = sizes.setdefault(t.type, [0, 0])
            count[0] += 1
            count[1] += t.nbytes
        out.table(["tensor", "type", "shape", "bytes"],
                  [(t.name, t.type, "x".join(map(str, t.shape)), t.nbytes) for t in plan.tensors])
        out.line()
        out.table(["type", "tensors", "size"], [(k, n, human_bytes(b)) for k, (n, b) in sizes.items()])
        out.line()
        for file in plan.listed:
            out.line(f"{shown(file.path)}  {human_bytes(file.size)}")
    told = {} if publishing is None else publishing.show(out, plan)
    if sending is not None:
        folder, free = sending.room()
        out.line(f"written in {folder} first{'' if free is None else f', where {human_bytes(free)} are free'}")
        told["written_first"] = {"folder": str(folder), "free": free}
    out.line(f"{_model(plan)}; {human_bytes(plan.output_bytes)} in all; nothing was written")
    out.document({
        **_document(plan, refused), **told,
        "tensors": [{**file, "name": t.name, "type": t.type, "shape": list(t.shape), "bytes": t.nbytes, "wanted": t.wanted}
                    for t, file in zip(plan.tensors, _set_of_each_tensor(plan), strict=True)],
        "files": [{"path": shown(f.path), "size": f.size, **facts[f.path]} for f in plan.listed],
        "bytes": plan.output_bytes,
    })


def _print_types(out: Output, plan: ConversionPlan, facts: dict[Path, dict[str, Any]]) -> None:
    """The types of each tensor, a column per set of files; then the files."""
    rows: dict[str, list[str]] = {}
    for t in plan.tensors:
        row = rows.setdefault(t.name, [t.name, "x".join(map(str, t.shape)), *[""] * len(plan.sets)])
        row[2 + t.set] = t.type
    out.table(["tensor", "shape", *(f["file_type"] for f in plan.facts["sets"])], list(rows.values()))
    out.line()
    out.table(["file", "type", "bits/weight", "size"],
              [(shown(o.path), *facts[o.path].values(), human_bytes(o.size)) for o in plan.listed])
