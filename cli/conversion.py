"""What every converting command does with its plan: print it, or carry it out and tell the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..converters.errors import StorageError, UsageError
from ..converters.plan import ConversionPlan
from .exit import ExitStatus
from .output import Output, human_bytes

if TYPE_CHECKING:
    from ..converters.comparison import Progress
    from ..converters.verify import Report


SHOWN_NAMES = 3  # of tensors that fell back to another type


def carry_out(out: Output, plan: ConversionPlan, *, dry_run: bool, checksums: Path | None,
              after: Callable[[Progress], Report] | None = None, **run: Any) -> ExitStatus:
    """Print the plan (`dry_run`), or execute it with progress and print what was written.

    `after` compares what was written with its source. The status is NO where that says that they differ.
    """
    for note in plan.notes:
        out.note(note)
    _note_fallbacks(out, plan)
    if dry_run:
        _print_plan(out, plan)
        return ExitStatus.DONE
    from ..converters.execute import execute

    if checksums is not None and checksums.exists() and not run["force"]:
        raise UsageError("exists already", file=checksums, hint="Pass --force to replace it.")
    with out.compiling(), out.progress(plan.direction) as progress:
        result = execute(plan, progress=progress, **run)
    if checksums is not None:
        try:
            checksums.write_text("".join(f"{f.sha256}  {f.path}\n" for f in result.files))
        except OSError as error:
            raise StorageError(f"cannot be written: {error.strerror}", file=checksums) from error
    for leftover in result.leftovers:
        out.note(f"removed {leftover}, left behind by a run that died")
    for file in result.files:
        out.line(f"{file.path}  {human_bytes(file.size)}  sha256 {file.sha256}")
    out.info(f"{_facts(plan)}; {human_bytes(plan.output_bytes)} in {result.seconds:.1f} s")
    report = None
    if after is not None and plan.jobs:
        report = _compare(out, plan, after)
    elif after is not None:
        out.note("nothing to verify: no tensors were written")
    out.document({
        "direction": plan.direction, **plan.facts, "plan": plan.digest(), "notes": list(plan.notes),
        "fallbacks": [{"tensor": t.name, "wanted": t.wanted, "type": t.type} for t in plan.tensors if t.wanted],
        "files": [{"path": str(f.path), "size": f.size, "sha256": f.sha256} for f in result.files],
        "seconds": round(result.seconds, 3), **({} if report is None else {"verify": report.to_json()}),
    })
    return ExitStatus.DONE if report is None or report.same else ExitStatus.NO


def _note_fallbacks(out: Output, plan: ConversionPlan) -> None:
    """Tensors that did not get the type that the recipe wanted: some by name, with --verbose all of them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for tensor in plan.tensors:
        if tensor.wanted is not None:
            groups.setdefault((tensor.type, tensor.wanted), []).append(tensor.name)
    for (got, wanted), names in groups.items():
        shown = names if out.verbose else names[:SHOWN_NAMES]
        more = f" and {len(names) - len(shown)} more (--verbose lists them)" if len(names) > len(shown) else ""
        out.note(f"{got} instead of {wanted}, whose blocks do not divide the rows: {', '.join(shown)}{more}")


def _compare(out: Output, plan: ConversionPlan, after: Callable[[Progress], Report]) -> Report:
    from .verify import show

    with out.compiling(), out.progress("verify") as progress:
        report = after(progress)
    report.notes[:] = [note for note in report.notes if not note.endswith(plan.notes)]  # said already
    out.line()
    show(out, report)
    return report


def _facts(plan: ConversionPlan) -> str:
    types = Counter(t.type for t in plan.tensors)
    name = plan.facts.get("class") or plan.facts.get("architecture", "")
    bits = f", {plan.facts['bits_per_weight']:.2f} bits per weight" if "bits_per_weight" in plan.facts else ""
    return f"{name}: {len(plan.tensors)} tensors ({', '.join(f'{n} {t}' for t, n in types.most_common())}){bits}"


def _print_plan(out: Output, plan: ConversionPlan) -> None:
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
    for file in plan.outputs:
        out.line(f"{file.path}  {human_bytes(file.size)}")
    out.info(f"{_facts(plan)}; {human_bytes(plan.output_bytes)} in all; nothing was written")
    out.document({
        "direction": plan.direction, **plan.facts, "plan": plan.digest(), "notes": list(plan.notes),
        "tensors": [{"name": t.name, "type": t.type, "shape": list(t.shape), "bytes": t.nbytes, "wanted": t.wanted}
                    for t in plan.tensors],
        "files": [{"path": str(f.path), "size": f.size} for f in plan.outputs], "bytes": plan.output_bytes,
    })
