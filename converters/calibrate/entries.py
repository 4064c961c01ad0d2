"""Sums by the names of transformers' parameters -> entries of an importance matrix, by GGUF's names and in GGUF's order.

The table's row of a weight says both. What it does to the columns is seen by sending them through its ops as a weight whose
rows are all alike: permuted, taken apart, turned, whatever the row does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..errors import GgufxError, UnsupportedError
from ..io.imatrix_file import Entry
from ..ops import Op, Shape
from ..planners.reading import Reading
from ..rules.match import Match, match_hf
from .observe import LatentObserver, Seen
from .skeleton import Skeleton


def entries_of(reading: Reading, skeleton: Skeleton, number: int, seen: Mapping[str, Seen],
               latent: LatentObserver | None = None) -> dict[str, Entry]:
    """What was seen of a layer's weights, by the names of GGUF tensors. UnsupportedError where the table has no row for one."""
    known: dict[str, tuple[Seen, int | None]] = {}
    shapes: dict[str, Shape] = {}
    parameters = dict(skeleton.parameters(number))
    for name, one in seen.items():
        shape = parameters[name]
        if (factor := skeleton.factor(name)) != 1:
            one = replace(one, sums=one.sums / factor**2)
        spelled = skeleton.spelled(number, name, shape[0] if len(shape) == 3 else 1)
        parts = len(spelled) // shape[0] if spelled[0][1] is not None else 1
        for spelling, expert in spelled:
            known[spelling] = one, expert
            shapes[spelling] = shape if expert is None else (shape[1] // parts, shape[2])
    problems: list[GgufxError] = []
    spec = reading.spec.whole.text if reading.spec.whole else reading.spec  # the class is that of the text part, as are shapes
    found = match_hf(spec, reading.hp, shapes, str(reading.checkpoint.folder), problems)
    up = f"{skeleton.family.latent.attention}.{skeleton.family.latent.up}.weight" if skeleton.family.latent else ""
    out: dict[str, Entry] = {}
    for match in found.matches:
        names = [name for group in match.hf for name in group]
        if latent is not None and names[0].endswith(up):
            for gguf, heads in zip(match.gguf, (latent.keys, latent.values), strict=True):
                if heads is not None:
                    out[gguf] = Entry(heads.sums.cpu().numpy().reshape(1, -1), heads.counts.numpy())
            continue
        arrays = [_columns(match, i, known, shapes) for i in range(len(match.hf[0]))]
        for at, gguf in enumerate(match.gguf):
            sums = np.concatenate([part[at] for part in arrays])
            counts = np.concatenate([_counts(*known[name]) for name in match.hf[0]])
            out[gguf] = Entry(sums if len(counts) > 1 else sums.reshape(1, -1), counts)
    if lost := known.keys() - {name for match in found.matches for group in match.hf for name in group}:
        raise UnsupportedError("is no weight of the table: its importance would be lost", file=reading.checkpoint.folder,
                               tensor=min(lost))
    return out


def _counts(seen: Seen, expert: int | None) -> np.ndarray:
    counts = seen.counts.numpy()
    return counts if expert is None else counts[expert : expert + 1]


def _columns(match: Match, expert: int, known: Mapping[str, tuple[Seen, int | None]],
             shapes: Mapping[str, Shape]) -> list[np.ndarray]:
    """float64 [matrices, columns] of each result: what the ops make of one expert's columns, or of a whole stack's, one after
    another."""
    names = [group[expert] for group in match.hf]
    first, own = known[names[0]]
    matrices = range(len(first.sums)) if own is None else (own,)
    made: list[list[np.ndarray]] = [[] for _ in match.gguf]
    for matrix in matrices:
        xs = [_as_weight(known[name][0], matrix, shapes[name]) for name in names]
        for op in match.ops:
            xs = _through(op, xs, match)
        for at, x in enumerate(xs):
            made[at].append(np.array(x[..., 0, :]).reshape(-1))
    return [np.stack(rows) for rows in made]


def _as_weight(seen: Seen, matrix: int, shape: Shape) -> np.ndarray:
    """A weight of this shape, of a stack one of its matrices: in each place the sum of its input."""
    sums = seen.sums[matrix].cpu().numpy()
    shape = (1, *shape[1:]) if len(shape) == 3 else shape
    return np.broadcast_to(sums if seen.last else sums[:, None], shape)


def _through(op: Op, xs: list[np.ndarray], match: Match) -> list[np.ndarray]:
    """An op that moves elements moves their sums; one that computes with them leaves the sums where they are."""
    if op.moves:
        return [np.asarray(x) for x in op.forward(xs)]
    if op.shape([x.shape for x in xs]) != [x.shape for x in xs]:
        raise UnsupportedError(f"its importance does not go through {type(op).__name__}", tensor=match.hf[0][0])
    return xs
