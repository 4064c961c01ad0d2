"""A comparison's report: for people, as a page, and as what `--verify` does with a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .output import Output, human_bytes

if TYPE_CHECKING:
    from ..converters.verify.pairs import Progress
    from ..converters.verify.tensors import Pair
    from ..converters.verify.verify import Compared, Report

SHOWN_SETTINGS = 30  # of the keys that differ, for people


def afterwards(source: Path, written: Path, *, threads: int | None, max_memory: int,
               **options: Any) -> Callable[[Progress], Report]:
    """What `carry_out` does for --verify: compare, without checksums, since the conversion has told them."""
    from ..converters.verify.verify import VerifyOptions, verify

    chosen = VerifyOptions(checksums=False, made=True, **options)
    return lambda progress: verify(source, written, chosen, threads=threads, max_memory=max_memory, progress=progress)


def overridden(override_kv: list[str], chat_template: Path | None = None) -> tuple[str, ...]:
    """The keys that a command was told to set to another value than the source's, with wildcards."""
    return (*(text.partition("=")[0] for text in override_kv), *(("tokenizer.chat_template*",) if chat_template else ()))


def show(out: Output, report: Report, worst: int = 10) -> None:
    """The report for people: both sides, what differs, the worst tensors, the verdict."""
    out.notes(report.notes)
    for name, side in (("A", report.a), ("B", report.b)):
        out.line(f"{name}  {side.path}: {_types(side)}")
        for file in side.files:
            if file.sha256:
                out.line(f"   {file.sha256}  {file.path.name}")
    figured = [p for p in report.worst() if not p.verdict.same or (p.figures and p.figures.squares)][:worst]
    if figured:
        out.line()
        out.table(["tensor", "A", "B", "RMSE/RMS", "SNR dB", "max", "bits A", "bits B", "verdict"],
                  [_row(p) for p in figured], title="worst tensors")
    if report.differences:
        out.line()
        rows = [(d.where, d.key, d.a or "", d.b or "", "yes" if d.counts else "no") for d in report.differences]
        out.table(["where", "key", "A", "B", "counts"], rows[:SHOWN_SETTINGS], title="settings that differ")
        if len(rows) > SHOWN_SETTINGS:
            out.line(f"and {len(rows) - SHOWN_SETTINGS} more; --json lists them all")
    if report.probes is not None:
        out.line()
        out.line(f"tokenizer: {report.probes.texts - len(report.probes.different)} of {report.probes.texts} texts give "
                 "the same ids")
        for text, x, y in report.probes.different[:3]:
            out.line(f"   {text!r}: {x} and {y}")
    counts = ", ".join(f"{n} {verdict}" for verdict, n in report.verdicts.items()) or "no tensors"
    out.line()
    out.line(f"{'same' if report.same else 'DIFFERENT'}: {report.summary} ({counts})")
    out.info(f"compared in {report.seconds:.1f} s")


def _types(side: Compared) -> str:
    each = ", ".join(f"{n} {kind}" for kind, (n, _) in sorted(side.types.items(), key=lambda t: -t[1][1]))
    return f"{side.form}, {human_bytes(sum(size for _, size in side.types.values()))} in {each or 'no tensors'}"


def _row(pair: Pair) -> tuple:
    from ..converters.io.files import printable
    from ..converters.verify.tensors import bits_per_weight

    name = printable(pair.name)
    types = [t.type if t else "-" for t in (pair.a, pair.b)]
    bits = [f"{bits_per_weight(t):.4g}" if t else "-" for t in (pair.a, pair.b)]
    said = f"{pair.verdict}: {pair.detail}" if pair.detail else str(pair.verdict)
    if pair.figures is None:
        return name, *types, "-", "-", "-", *bits, said
    f = pair.figures
    return name, *types, f"{f.relative:.3g}", f"{f.snr_db:.1f}", f"{f.max_abs:.3g}", *bits, said
