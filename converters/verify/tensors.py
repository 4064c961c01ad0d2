"""Two tensors compared, tile by tile: the same bits, the same values but for rounding, or how far apart.

Figures are those of `b - a` against the side with more bits per weight: RMSE relative to its RMS, largest deviation,
signal-to-noise ratio in dB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from ...quant import ELEMENT_TYPES, FORMATS, quantize
from ...quant.dispatch import KERNELS
from ...quant.formats import FLOATS
from ..run.device import Cpu
from .side import Side, SideTensor

# The largest relative RMSE that quantizing a weight of this type makes, with and without importance weights: about
# twice what it is on normally distributed weights, and above what was measured on heavy tails (Laplace, Student t with
# 3 degrees of freedom) and on channels of unequal scale. Unrelated weights of the same scale are at 1.2 or above.
MAX_RELATIVE_RMSE = {
    "Q8_0": 0.02, "Q6_K": 0.05, "Q5_K": 0.08, "Q5_1": 0.08, "Q5_0": 0.1, "Q4_K": 0.15, "Q4_1": 0.15, "IQ4_NL": 0.16,
    "IQ4_XS": 0.16, "Q4_0": 0.18, "NVFP4": 0.2, "MXFP4": 0.22, "Q3_K": 0.28, "IQ3_S": 0.36, "IQ3_XXS": 0.45, "Q2_K": 0.5,
    "IQ2_S": 0.65, "IQ2_XS": 0.65, "IQ2_XXS": 0.75, "IQ1_S": 0.8, "IQ1_M": 0.8, "Q2_0": 0.9, "TQ1_0": 0.95,
    "TQ2_0": 0.95, "Q1_0": 0.98,
}
ROW_FACTOR = 2.5  # a single row may be this much worse than the bound of its tensor ...
MAX_ROW = 1.1  # ... but no row of another tensor, or of another place, comes this near
ROW_FLOOR = 1 / 8  # of the tensor's RMS: rows below are measured against this, since they may round to nothing

# What -exp(x) or a scale may differ by between two libraries, relative: 4 units in the last place of float32.
COMPUTED = 2.0**-21

NUMBERS = tuple(t.name for t in ELEMENT_TYPES.values() if t.numpy and np.dtype(t.numpy).kind in "iub")
EXTRA_MEMORY = 24  # bytes per element for float32 values of both sides, their difference, and roundings


class Verdict(StrEnum):
    """What came out for a tensor, best first."""

    IDENTICAL = "identical"  # the same type and bits
    EQUAL = "equal"  # the same values, or exactly their rounding to the other type
    CLOSE = "close"  # within what the type allows
    DIFFERENT = "different"
    SHAPE = "shape"
    ONLY_A = "only in A"
    ONLY_B = "only in B"

    @property
    def same(self) -> bool:
        return self in (Verdict.IDENTICAL, Verdict.EQUAL, Verdict.CLOSE)


@dataclass
class Figures:
    """Sums over the elements compared; `rows`: float32 [2, rows] of squared errors and squared reference values."""

    elements: int = 0
    differing: int = 0  # elements with other bits; of two float types, of those that rounding does not explain
    beyond: int = 0  # elements further apart than `COMPUTED`
    squares: float = 0.0
    reference: float = 0.0
    max_abs: float = 0.0
    non_finite: int = 0  # elements that only one side has as a number
    rows: np.ndarray | None = None

    @property
    def rmse(self) -> float:
        return math.sqrt(self.squares / self.elements) if self.elements else 0.0

    @property
    def relative(self) -> float:
        """RMSE over RMS; infinite where all of the reference is zero."""
        if not self.squares:
            return 0.0
        return math.sqrt(self.squares / self.reference) if self.reference else math.inf

    @property
    def snr_db(self) -> float:
        return -20 * math.log10(self.relative) if self.relative else math.inf

    def worst_row(self) -> tuple[int, float]:
        """Its number and relative RMSE. Rows are counted over all axes but the last."""
        if self.rows is None or not self.rows.size:
            return 0, 0.0
        error, reference = self.rows.astype(np.float64)
        floor = reference.mean() * ROW_FLOOR**2
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.nan_to_num(np.sqrt(error / np.maximum(reference, floor)), nan=0.0)
        row = int(relative.argmax())
        return row, float(relative[row])


@dataclass
class Pair:
    """Two tensors that should be the same, and what was found. `a` or `b` None: only the other side has it."""

    name: str
    a: SideTensor | None
    b: SideTensor | None
    figures: Figures | None = None
    verdict: Verdict = Verdict.DIFFERENT  # until `judge` finds better, or worse
    detail: str = ""
    bound: float | None = None
    differs: bool = False  # not the same bits
    reversed: Figures | None = field(default=None, repr=False)  # B's values rounded to A's type

    @property
    def block(self) -> int | None:
        """The layer, by the first number in the name."""
        return next((int(part) for part in self.name.split(".") if part.isdecimal()), None)

    @property
    def weight(self) -> int:
        return sum(t.nbytes for t in (self.a, self.b) if t is not None)

    @property
    def comparable(self) -> bool:
        return self.a is not None and self.b is not None and self.a.shape == self.b.shape

    @property
    def both(self) -> tuple[SideTensor, SideTensor]:
        """A's and B's tensor. ValueError where one side has none."""
        if self.a is None or self.b is None:
            raise ValueError(f"only one side has {self.name}")
        return self.a, self.b

    @property
    def same_kind(self) -> bool:
        a, b = self.both
        return a.kind == b.kind

    @property
    def lossless(self) -> bool:
        """Both sides hold floats, none of them blocks."""
        return all(t.kind in FLOATS for t in self.both)

    @property
    def computed(self) -> bool:
        """On one side at least, by more than moving elements."""
        return any(t.computed for t in self.both)


@dataclass(frozen=True, slots=True)
class Slice:
    """Elements of a pair to be compared; `memory` as `run.conversion.Work` has it."""

    pair: Pair
    start: int
    stop: int
    memory: int


def slices(pair: Pair, budget: int) -> Iterator[Slice]:
    """The pair in pieces of about `budget` bytes, cut where both sides can be."""
    a, b = pair.both
    cuts = _common(a.cuts, b.cuts)
    each = sum(max((p.element_memory for p in t.pieces), default=4) for t in (a, b)) + EXTRA_MEMORY
    step, start = max(1, budget // each), 0
    while start < a.count:
        after = int(np.searchsorted(cuts, start + step, "right")) - 1
        stop = int(cuts[after]) if cuts[after] > start else int(cuts[after + 1])
        yield Slice(pair, start, stop, each * (stop - start))
        start = stop


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a if np.array_equal(a, b) else np.intersect1d(a, b, assume_unique=True)


def same_bits(part: Slice, a: Side, b: Side) -> bool:
    """Whether both sides have the same bits there."""
    mine, other = part.pair.both
    return _equal(a.read(mine, part.start, part.stop), b.read(other, part.start, part.stop))


def _equal(x: np.ndarray, y: np.ndarray) -> bool:
    if x.nbytes == y.nbytes and not x.nbytes % 8 and not x.ctypes.data % 8 and not y.ctypes.data % 8:
        return np.array_equal(x.view(np.uint64), y.view(np.uint64))
    return np.array_equal(x, y)


def measure(part: Slice, a: Side, b: Side) -> tuple[Figures, Figures | None]:
    """Figures of one slice; of two float types also with B rounded to A's type instead of A to B's."""
    pair = part.pair
    mine, other = pair.both
    raw = (a.read(mine, part.start, part.stop), b.read(other, part.start, part.stop))
    kinds = (mine.kind, other.kind)
    x, y = (_values(r, k, mine.shape) for r, k in zip(raw, kinds, strict=True))
    count = part.stop - part.start
    if x is None or y is None:
        return Figures(count, _differing(*raw, kinds[0]) if kinds[0] == kinds[1] else count), None
    reference = x if bits_per_weight(mine) >= bits_per_weight(other) else y
    figures = _errors(x, y, reference, pair)
    back = None
    if pair.lossless:
        figures.differing = _unrounded(x, raw[1], kinds[1])
        back = Figures(differing=_unrounded(y, raw[0], kinds[0]))
    elif kinds[0] == kinds[1]:
        figures.differing = _differing(*raw, kinds[0])
    else:
        figures.differing = int(np.count_nonzero(x != y))
    return figures, back


def _values(raw: np.ndarray, kind: str, shape: tuple[int, ...]) -> np.ndarray | None:
    """float32 values in rows as the tensor has them; None for a type that ggufx does not compute with."""
    cols = shape[-1] if len(shape) > 1 else 0
    if kind in NUMBERS:
        flat = raw.view(np.dtype(ELEMENT_TYPES[kind].numpy)).astype(np.float32)
    elif kind in FLOATS:
        width = ELEMENT_TYPES[kind].width
        flat = Cpu().floats(raw.view(f"u{width}").reshape(1, -1), kind)
    elif kind in KERNELS:
        rows = raw.reshape(-1, FORMATS[kind].row_bytes(cols)) if cols else raw.reshape(1, -1)
        flat = Cpu().floats(rows, kind)
    else:
        return None
    return flat.reshape(-1, cols) if cols else flat.reshape(1, -1)


def _differing(x: np.ndarray, y: np.ndarray, kind: str) -> int:
    """Elements (of quantized types: blocks' worth of them) whose bits differ."""
    size = FORMATS[kind].block_bytes if kind in FORMATS else 1
    differ = (x.reshape(-1, size) != y.reshape(-1, size)).any(1)
    return int(np.count_nonzero(differ)) * (FORMATS[kind].block_size if kind in FORMATS else 1)


def _unrounded(x: np.ndarray, raw: np.ndarray, kind: str) -> int:
    """Elements of `x` that are not `raw` when they are rounded to its kind."""
    if kind == "F64":
        return int(np.count_nonzero(x.reshape(-1) != raw.view(np.float64)))
    with np.errstate(over="ignore"):
        rounded = x.reshape(-1).view(np.uint8) if kind == "F32" else quantize(x, kind, threads=1).reshape(-1)
    width = FORMATS[kind].block_bytes
    return int(np.count_nonzero(rounded.view(f"u{width}") != raw.view(f"u{width}")))


def _errors(x: np.ndarray, y: np.ndarray, reference: np.ndarray, pair: Pair) -> Figures:
    found = Figures(x.size)
    with np.errstate(all="ignore"):
        d = y - x
        error, signal = np.einsum("ij,ij->i", d, d), np.einsum("ij,ij->i", reference, reference)
        found.squares, found.reference = float(error.sum(dtype=np.float64)), float(signal.sum(dtype=np.float64))
        if not math.isfinite(found.squares + found.reference):
            finite = np.isfinite(x) & np.isfinite(y)
            found.non_finite = int(np.count_nonzero(np.isfinite(x) != np.isfinite(y)))
            d = np.where(finite, y.astype(np.float64) - x, 0.0)
            wide = np.where(np.isfinite(reference), reference, np.float32(0)).astype(np.float64)
            error, signal = (d * d).sum(1), (wide * wide).sum(1)
            found.squares, found.reference = float(error.sum()), float(signal.sum())
        if found.squares:
            found.max_abs = float(max(d.max(), -d.min()))
            if pair.lossless and pair.computed:
                found.beyond = int(np.count_nonzero(np.abs(d) > COMPUTED * np.abs(x)))
    if len(pair.both[0].shape) > 1 and not pair.lossless:
        with np.errstate(over="ignore"):
            found.rows = np.stack([error, signal]).astype(np.float32)
    return found


def add(total: Figures, part: Figures, row: int | None, rows: int) -> None:
    """Take a slice's figures into the tensor's; its rows begin at `row`."""
    for name in ("elements", "differing", "beyond", "squares", "reference", "non_finite"):
        setattr(total, name, getattr(total, name) + getattr(part, name))
    total.max_abs = max(total.max_abs, part.max_abs)
    if part.rows is not None and row is not None:
        if total.rows is None:
            total.rows = np.zeros((2, rows), np.float32)
        total.rows[:, row : row + part.rows.shape[1]] = part.rows


def bits_per_weight(tensor: SideTensor) -> float:
    return 8 * tensor.nbytes / max(tensor.count, 1)


def judge(pair: Pair, max_rmse: float | None, made: bool) -> None:
    """Set the verdict of a pair and why.

    `max_rmse` stands in for the bounds of the quantized types. `made`: B was made of A, so that B may be the rounding
    of A to its own type, but not the other way round.
    """
    a, b = pair.a, pair.b
    if a is None or b is None:
        pair.verdict = Verdict.ONLY_B if a is None else Verdict.ONLY_A
    elif a.shape != b.shape:
        pair.verdict = Verdict.SHAPE
        pair.detail = f"{'x'.join(map(str, a.shape))} and {'x'.join(map(str, b.shape))}"
    elif pair.same_kind and not pair.differs:
        pair.verdict = Verdict.IDENTICAL if a.type == b.type else Verdict.EQUAL
        pair.figures = Figures(a.count)
    else:
        found = pair.figures = pair.figures or Figures()  # of a tensor without elements none were taken
        if pair.lossless:
            _judge_floats(pair, found, made)
        elif a.kind in KERNELS and b.kind in KERNELS:
            _judge_quantized(pair, found, max_rmse)
        else:
            pair.verdict = Verdict.DIFFERENT
            pair.detail = f"{found.differing} elements" if pair.same_kind else "types that do not compare"
        found.rows = None


def _judge_floats(pair: Pair, found: Figures, made: bool) -> None:
    a, b = pair.both
    back = None if made else pair.reversed
    if found.non_finite:
        pair.verdict = Verdict.DIFFERENT
        pair.detail = f"{found.non_finite} elements are numbers on one side only"
    elif not found.differing or (back and not back.differing):
        pair.verdict = Verdict.EQUAL
        narrow = b if not found.differing else a
        pair.detail = f"rounded to {narrow.kind}" if found.squares else ""
        found.differing = 0
    elif pair.computed and not found.beyond:
        pair.verdict = Verdict.CLOSE
        pair.detail = "computed; the last bits of float32 differ"
    else:
        if back:
            found.differing = min(found.differing, back.differing)
        pair.verdict = Verdict.DIFFERENT
        pair.detail = f"{found.differing} of {found.elements} elements"


def _judge_quantized(pair: Pair, found: Figures, max_rmse: float | None) -> None:
    row, worst = found.worst_row()
    bound = sum((MAX_RELATIVE_RMSE.get(t.kind, 0.0) for t in pair.both), 0.0) if max_rmse is None else max_rmse
    row_bound = ROW_FACTOR * bound
    if max_rmse is None:
        row_bound = max(bound, min(row_bound, MAX_ROW))
    pair.bound = bound
    pair.verdict = Verdict.DIFFERENT
    if found.non_finite:
        pair.detail = f"{found.non_finite} elements are numbers on one side only"
    elif not found.differing or not found.squares:
        pair.verdict = Verdict.EQUAL
    elif found.relative > bound:
        pair.detail = f"above {bound:g}, the bound of {_quantized(pair)}"
    elif worst > row_bound:
        pair.detail = f"row {row}: {worst:.3g}, above {row_bound:.3g}"
    else:
        pair.verdict = Verdict.CLOSE


def _quantized(pair: Pair) -> str:
    return " and ".join(dict.fromkeys(t.kind for t in pair.both if t.kind in MAX_RELATIVE_RMSE))


def summary(pair: Pair) -> dict[str, Any]:
    """The pair as JSON data; figures that are infinite are null."""
    out: dict[str, Any] = {"name": pair.name, "verdict": str(pair.verdict), "same": pair.verdict.same}
    for side, tensor in (("a", pair.a), ("b", pair.b)):
        out[side] = None if tensor is None else {
            "type": tensor.type, "shape": list(tensor.shape), "bytes": tensor.nbytes,
            "bits_per_weight": round(bits_per_weight(tensor), 4)}
    if pair.figures:
        f = pair.figures
        out |= {"rmse": _finite(f.rmse), "relative_rmse": _finite(f.relative), "max_abs": _finite(f.max_abs),
                "snr_db": _finite(f.snr_db), "differing": f.differing}
    if pair.bound is not None:
        out["bound"] = pair.bound
    return {**out, "detail": pair.detail} if pair.detail else out


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None
