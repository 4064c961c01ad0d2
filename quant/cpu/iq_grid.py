"""The grids of the IQ formats: which points a group of values may take, and which of them are near any other point.

A group is a point of 8 numbers with 3 levels (IQ1, IQ2) or of 4 numbers with 8 levels (IQ3); only the points of a grid
can be stored. The grids are those of the `gguf` package. Near points follow from them as ggml_quantize_init defines it:
for a point off the grid, those grid points that lie in its nearest shells, sorted by distance, then by place in the grid.

A point's code has its levels in 2 or 3 bits each, the first number lowest.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

LANES = 16
SHELLS = {"IQ2_XXS": 2, "IQ2_XS": 2, "IQ2_S": 1, "IQ1_S": 3, "IQ3_XXS": 2, "IQ3_S": 3}


@dataclass(frozen=True)
class Grid:
    """A grid as arrays for the kernels. Near points come in chunks of LANES, filled up with the nearest one.

    codes    int32 [points]: the code of each grid point
    entries  int32 [codes]: place in the grid of a code, or -1 - (32 * first chunk + chunks) of its near points
    near     int32 [chunks * LANES]: near points, levels in 4 bits each (`_spread`)
    nearby   int32 [chunks * LANES]: the codes of the same points
    """

    codes: np.ndarray
    entries: np.ndarray
    near: np.ndarray
    nearby: np.ndarray

    @property
    def search(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What a search for near points takes."""
        return self.entries, self.near, self.nearby


def levels(format: str) -> np.ndarray:
    """The grid's points as levels 0, 1, 2 ..: uint8 [points, 8 or 4]."""
    values = values_of(format)
    return np.searchsorted(np.unique(values), values).astype(np.uint8)


def values_of(format: str) -> np.ndarray:
    """The grid's points as the values that decoding multiplies: float32 [points, 8 or 4]."""
    from gguf import quants

    table = getattr(quants, format)
    table.init_grid()
    return np.ascontiguousarray(table.grid[0, 0], np.float32)


@functools.cache
def decoded(format: str) -> np.ndarray:
    """The grid's points as decoding multiplies them: int8 [points * (8 or 4)]."""
    return values_of(format).astype(np.int8).reshape(-1)


@functools.cache
def grid(format: str) -> Grid:
    """The grid of IQ2_XXS, IQ2_XS, IQ2_S, IQ1_S (also IQ1_M's), IQ3_XXS or IQ3_S."""
    points = levels(format)
    size = points.shape[1]
    count, bits = (3, 2) if size == 8 else (8, 3)
    shifts = bits * np.arange(size)
    everywhere = np.indices((count,) * size, np.uint8).reshape(size, -1).T
    all_codes = (everywhere.astype(np.int32) << shifts).sum(1)
    codes = (points.astype(np.int32) << shifts).sum(1)
    distance = _squared_distances(everywhere, points)
    entries = np.full(1 << bits * size, -1, np.int32)
    entries[codes] = np.arange(len(codes))
    off = np.flatnonzero(entries[all_codes] < 0)
    distance = distance[off]
    reach = distance.min(1, keepdims=True)
    for _ in range(SHELLS[format] - 1):
        reach = np.where(distance > reach, distance, np.iinfo(distance.dtype).max).min(1, keepdims=True)
    at, place = np.nonzero(distance <= reach)  # sorted by point, then by place
    order = np.lexsort((place, distance[at, place], at))
    at, place = at[order], place[order]
    counts = np.bincount(at, minlength=len(off))
    chunks = -(-counts // LANES)
    first_chunk = np.cumsum(chunks) - chunks
    entries[all_codes[off]] = -1 - (32 * first_chunk + chunks)
    first = np.cumsum(counts) - counts
    chosen = np.repeat(place[first], chunks * LANES)
    chosen[np.arange(len(at)) + np.repeat(first_chunk * LANES - first, counts)] = place
    return Grid(codes, entries, _spread(points, bits)[chosen], codes[chosen])


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """int16 [a, b]; small whole numbers, so float32 is exact."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    return ((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T).astype(np.int16)


def _spread(points: np.ndarray, bits: int) -> np.ndarray:
    """Four bits per number: its level, above it as many bits of its place as are free. int32 [points].

    So each number's four bits are an index into a table of 16 that holds all levels of 4 (of 2) neighbouring numbers.
    """
    place = np.arange(points.shape[1], dtype=np.uint32)
    marked = points | (place << bits) & 15
    return (marked.astype(np.uint32) << 4 * place).sum(1, dtype=np.uint32).view(np.int32)
