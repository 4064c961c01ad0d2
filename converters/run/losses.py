"""What each tensor lost by its type: sums of squares of tiles, and what they come to.

A tile's sums are a few numbers whose exact sum is that of its rows' (`partials`). So what they come to depends neither on how
tensors were cut into tiles nor on the order in which these were done, and a journal can keep them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...quant.dispatch import kernel
from ..errors import UsageError
from ..io.gguf import planned_header
from ..plan.plan import ConversionPlan, TensorJob, region_bytes
from ..plan.tiles import Tile
from .device import CACHED

Partials = tuple[float, ...]
Sums = tuple[Partials, Partials]  # of w * (x - y)^2, and of w * x^2
DIGITS = 6  # of an error that are told
MOST = 64  # numbers that wait to be summed
PARTS = 64  # that float64 numbers of any size need at most: 2**11 exponents, 53 bits each, and some


def partials(numbers: Sequence[float] | np.ndarray) -> Partials:
    """A few finite numbers that add up to exactly what these do."""
    from ...quant.cpu.error import exact_sum

    out = np.empty(PARTS, np.float64)
    count = exact_sum(np.ascontiguousarray(numbers, np.float64), out)
    if count < 0:
        raise OverflowError("the sum of these is not finite")
    return tuple(out[:count].tolist())


def sums_of(bits: np.ndarray, kind: str, data: np.ndarray, target: str, weights: np.ndarray | None, vector: bool) -> Sums:
    """Of numbers [rows, cols] of type F32, F16 or BF16 (`bits`: raw) and what they became: uint8 [rows, row_bytes] of `target`.

    `weights`: float32 [cols]. `vector`: the array is one row, which may have been cut anywhere. Pairs that are not finite count
    nothing.
    """
    from ...quant.cpu.compile import NO_WEIGHTS
    from ...quant.cpu.error import squares

    if not bits.size:
        return (), ()
    rows, cols = bits.shape
    data = data.view(np.uint8).reshape(rows, -1)
    width = 1 if vector else cols
    w = NO_WEIGHTS if weights is None or vector else np.array(weights, np.float32)
    step = min(rows, max(1, CACHED // cols))
    before, after = np.empty((step, cols), np.float32), np.empty((step, cols), np.float32)
    found = np.empty((bits.size // width, 2), np.float64)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        x = (bits[start:stop].view(np.uint16) if kind == "BF16" else
             _floats(bits[start:stop].view(np.uint8), kind, before[: stop - start])).reshape(-1, width)
        y = _floats(data[start:stop], target, after[: stop - start]).reshape(x.shape)
        out = found[start * cols // width : stop * cols // width]
        squares(x, y, w, out)
        if not np.isfinite(out).all():
            x = _floats(bits[start:stop].view(np.uint8), kind, before[: stop - start]).reshape(y.shape)
            sound = np.isfinite(x) & np.isfinite(y)
            squares(np.where(sound, x, np.float32(0)), np.where(sound, y, np.float32(0)), w, out)
    lost, held = found.T
    return partials(lost), partials(held)


def _floats(blocks: np.ndarray, kind: str, out: np.ndarray) -> np.ndarray:
    """In memory that stays in the cache. By the kernel itself: what `dequantize` checks takes as long as so few numbers."""
    kernel(kind, "dequantize", "cpu")(np.require(blocks, requirements="W"), out)  # Numba takes read-only for another type
    return out


@dataclass(frozen=True, slots=True)
class TensorLoss:
    """A tensor of a file of the result; `file` is the last part of a split one.

    `error`: the sum of w * (x - y)^2 over that of w * x^2, where x became y; w is of the importance matrix if `weighted`, else
    1. None where all that counts was zero, and is not.
    """

    file: Path
    name: str
    type: str
    shape: tuple[int, ...]
    error: float | None
    weighted: bool

    @property
    def numbers(self) -> int:
        return prod(self.shape)

    @property
    def bits_per_weight(self) -> float:
        return 8 * region_bytes(self.type, self.shape) / max(self.numbers, 1)

    @property
    def relative_rmse(self) -> float | None:
        return None if self.error is None else _rounded(math.sqrt(self.error))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "shape": list(self.shape),
                "bits_per_weight": round(self.bits_per_weight, 4), "error": self.error,
                "relative_rmse": self.relative_rmse, "weighted": self.weighted}


@dataclass(frozen=True, slots=True)
class FileLoss:
    """A file's tensors together. `error`: the mean of theirs, each as often as it has numbers."""

    nbytes: int
    bits_per_weight: float
    error: float

    @property
    def relative_rmse(self) -> float:
        return _rounded(math.sqrt(self.error))

    def to_json(self) -> dict[str, Any]:
        return {"bytes": self.nbytes, "bits_per_weight": round(self.bits_per_weight, 4), "error": self.error,
                "relative_rmse": self.relative_rmse}


def file_loss(tensors: Sequence[TensorLoss]) -> FileLoss:
    """Of the tensors of a file."""
    numbers = sum(t.numbers for t in tensors)
    known = [(t.numbers, t.error) for t in tensors if t.error is not None]
    nbytes = sum(region_bytes(t.type, t.shape) for t in tensors)
    return FileLoss(nbytes, 8 * nbytes / max(numbers, 1),
                    _rounded(math.fsum(n * error for n, error in known) / max(sum(n for n, _ in known), 1)))


def _rounded(x: float) -> float:
    return float(f"{x:.{DIGITS}g}")


class Losses:
    """The losses of a plan's tensors, as receipts come. UsageError where an output is no GGUF file."""

    def __init__(self, plan: ConversionPlan, jobs: Sequence[TensorJob]) -> None:
        self.plan, self.jobs = plan, jobs
        self.tensors = []
        for output in plan.outputs:
            if not output.head.startswith(b"GGUF"):
                raise UsageError("a report is of GGUF files", file=output.path, hint="Leave out --report.")
            found = planned_header(output.head, output.size, output.path).tensors.values()
            self.tensors.append(sorted(found, key=lambda t: t.offset))
        self.starts = [[t.offset for t in tensors] for tensors in self.tensors]
        self.sums: dict[tuple[int, int], tuple[list[float], list[float]]] = {}
        self.weighted: set[tuple[int, int]] = set()
        for job in jobs:
            for i, region in enumerate(job.outputs):
                if job.weights and job.weights[i]:
                    self.weighted.add((region.file, self._tensor(region.file, region.offset)))

    def _tensor(self, file: int, offset: int) -> int:
        return bisect_right(self.starts[file], offset) - 1

    def add(self, job: int, tile: Tile, sums: Sequence[Sums | None]) -> None:
        """Of each output of a job's tile; None: nothing is lost there, as of all outputs where there are no sums."""
        for region, found in zip(self.jobs[job].outputs, sums, strict=False):
            if found is None:
                continue
            key = region.file, self._tensor(region.file, tile.of(region).offset)
            for into, part in zip(self.sums.setdefault(key, ([], [])), found, strict=True):
                into.extend(part)
                if len(into) > MOST:
                    into[:] = partials(into)

    def result(self) -> tuple[TensorLoss, ...]:
        """File after file, in their order there."""
        out = []
        for file, tensors in enumerate(self.tensors):
            for number, t in enumerate(tensors):
                lost, held = (math.fsum(part) for part in self.sums.get((file, number), ((), ())))
                error = None if lost and not held else _rounded(lost / held) if lost else 0.0
                out.append(TensorLoss(self.plan.results[self.plan.outputs[file].set], t.name, t.type, tuple(t.shape), error,
                                      (file, number) in self.weighted))
        return tuple(out)
