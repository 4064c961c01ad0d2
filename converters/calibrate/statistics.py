"""What an importance matrix says of a model, as `llama-imatrix --show-statistics` tells it; and several matrices added up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..io.imatrix_file import Entry, ImatrixFile

INACTIVE = 1e-5  # a column whose mean square is no larger is never used
_BLOCK = re.compile(r"blk\.(\d+)\.")


@dataclass(frozen=True)
class Statistics:
    """Of the mean squares of one weight's columns, experts without tokens left out.

    `active`: the part of the columns above INACTIVE; `entropy` in bits; `outliers`: the part of the columns more than a
    standard deviation above the mean; `likeness`: cosine of the sums to those of the same weight one layer before, 0 in the
    first; `matrices`, `reached`: how many experts there are, and how many tokens came to.
    """

    name: str
    block: int | None
    total: float
    minimum: float
    maximum: float
    mean: float
    deviation: float
    active: float
    columns: int
    entropy: float
    outliers: float
    likeness: float
    matrices: int
    reached: int

    @property
    def entropy_share(self) -> float:
        """Of the entropy that columns all alike would have."""
        return self.entropy / float(np.log2(self.columns)) if self.columns > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "entropy_share": self.entropy_share}


def statistics(matrix: ImatrixFile) -> list[Statistics]:
    """By kind of weight, those with the largest sums first. Weights that no token reached are left out."""
    found = [_of(name, entry, matrix.entries) for name, entry in matrix.entries.items() if (entry.counts > 0).any()]
    return sorted(found, key=lambda s: (_kind(s.name), -s.total))


def _kind(name: str) -> str:
    parts = name.split(".")
    return next((parts[i - 1] for i, part in enumerate(parts) if part == "weight" and i), name)


def _of(name: str, entry: Entry, entries: Mapping[str, Entry]) -> Statistics:
    reached = entry.counts > 0
    means = (entry.sums[reached] / entry.counts[reached, None]).reshape(-1)
    total, mean = float(means.sum()), float(means.mean())
    deviation = float(np.sqrt(max(0.0, float(np.square(means).mean()) - mean * mean)))
    shares = means[means > 0] / total if total > 0 else np.empty(0)
    block = _BLOCK.search(name)
    return Statistics(
        name, int(block[1]) if block else None, total, float(means.min()), float(means.max()), mean, deviation,
        float((means > INACTIVE).mean()), means.size, float(-(shares * np.log2(shares)).sum()),
        float(((means - mean) / deviation > 1).mean()) if deviation > 0 else 0.0, _likeness(name, entry, entries, block),
        len(entry.counts), int(reached.sum()))


def _likeness(name: str, entry: Entry, entries: Mapping[str, Entry], block: re.Match[str] | None) -> float:
    before = None if block is None else entries.get(f"{name[: block.start(1)]}{int(block[1]) - 1}{name[block.end(1):]}")
    if before is None or before.sums.size != entry.sums.size:
        return 0.0
    a, b = entry.sums.reshape(-1), before.sums.reshape(-1)
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


@dataclass(frozen=True)
class LayerStatistics:
    """Means over a layer's weights, by their columns."""

    block: int
    total: float
    outliers: float
    likeness: float


def by_layer(found: Sequence[Statistics]) -> list[LayerStatistics]:
    """Of each layer that has weights, in order."""
    out = []
    for block in sorted({s.block for s in found if s.block is not None}):
        rows = [s for s in found if s.block == block]
        columns = [s.columns for s in rows]

        def mean(values: Sequence[float], by: Sequence[int] = columns) -> float:
            return float(np.average(values, weights=by))

        out.append(LayerStatistics(block, mean([s.total for s in rows]), mean([s.outliers for s in rows]),
                                   mean([s.likeness for s in rows])))
    return out


def merged(matrices: Sequence[tuple[str, ImatrixFile]]) -> ImatrixFile:
    """Several matrices of one model as one: sums and counts added up, texts one after another; each with what to call it.

    InputError where weights differ in size. Chunks are those of the first's size, as llama-imatrix counts them: whole ones in
    the largest count.
    """
    entries: dict[str, Entry] = {}
    for path, matrix in matrices:
        for name, entry in matrix.entries.items():
            known = entries.get(name)
            if known is None:
                entries[name] = entry
                continue
            if known.sums.size != entry.sums.size or len({len(known.counts), len(entry.counts), 1}) > 2:
                raise InputError("the matrices are of different models", file=path, tensor=name,
                                 expected=list(known.sums.shape), found=list(entry.sums.shape))
            rows = max(len(known.counts), len(entry.counts))
            sums = known.sums.reshape(rows, -1) + entry.sums.reshape(rows, -1)
            entries[name] = Entry(sums, np.zeros(rows, np.int64) + known.counts + entry.counts)
    first = matrices[0][1]
    most = max(int(entry.counts.max()) for entry in entries.values())
    return ImatrixFile(entries, tuple(name for _, m in matrices for name in m.datasets), most // first.chunk_size,
                       first.chunk_size)

def unreached(made: ImatrixFile) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The experts that no token was routed to, by weight."""
    found = ((name, tuple(map(int, np.flatnonzero(entry.counts == 0)))) for name, entry in made.entries.items())
    return tuple((name, experts) for name, experts in found if experts)
