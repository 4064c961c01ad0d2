"""Which file type `recommended` stands for: by figures that lie beside a model, else a preset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UnsupportedError
from ..notes import Note
from ..planners.many_outputs import outtype_names
from .beside import Beside, measured_beside

WORD = "recommended"
MOST = 0.05  # nats of divergence: about that of Q4_K_M; Q8_0 has 0.001, IQ3_M 0.1 (llama.cpp's figures of Llama 3 8B)


def recommended(beside: Beside) -> tuple[str, Note] | None:
    """Of the measured types the smallest whose mean divergence, with its standard error, is at most MOST, and that it is."""
    measured = beside.by_type
    kind = next((kind for kind, m in measured.items() if m.divergence + m.divergence_error <= MOST), None)  # they come by size
    if kind is None:
        return None
    m = measured[kind]
    return kind, Note(f"recommended is {kind}: of {len(measured)} measured types the smallest that diverges by at most {MOST} "
                      f"nats ({m.divergence:.4f} ± {m.divergence_error:.4f} in {beside.path})")


def recommended_types(outtype: str | Sequence[str], model: Path) -> tuple[list[str], tuple[Note, ...]]:
    """File types as `outtype_names` gives them, and why `recommended` stands for what it does: where files were measured
    beside `model` (a folder or a file), for the one that `recommended` finds, else for the preset.

    UnsupportedError where none of them is that near to what they were measured against.
    """
    given = [name.strip().lower() for name in (outtype.split(",") if isinstance(outtype, str) else outtype)]
    if WORD not in given:
        return outtype_names(outtype), ()
    beside = measured_beside(model if model.is_dir() else model.parent)
    if (found := recommended(beside)) is not None:
        kind, why = found
        names = [kind if name == WORD else name for name in given if name != WORD or kind not in given]
        return outtype_names(names), (*beside.notes, why)
    if measured := beside.by_type:
        kind, m = min(measured.items(), key=lambda item: item[1].divergence)
        raise UnsupportedError("no type that was measured is near enough to be recommended", file=beside.path,
                               expected=f"a divergence of at most {MOST} nats", found=f"{m.divergence:.4f} of {kind}",
                               hint="Name the type that is to be made.")
    return outtype_names(outtype), beside.notes
