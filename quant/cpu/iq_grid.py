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

CHUNK = 8
SHELLS = {"IQ2_XXS": 2, "IQ2_XS": 2, "IQ2_S": 1, "IQ1_S": 3, "IQ3_XXS": 2, "IQ3_S": 3}


@dataclass(frozen=True)
class Grid:
    """A grid as arrays for the kernels. Near points come in chunks of CHUNK, filled up with the nearest one.

    codes    int32 [points]: the code of each grid point
    places   int32 [codes]: a code's place in the grid, -1 off the grid
    entries  int32 [codes]: 64 * first chunk + chunks of a code's near points; on the grid, only the point itself
    near     int32 [chunks, 2, CHUNK]: near points, levels in 4 bits each (`_spread`), and their codes; flat
    """

    codes: np.ndarray
    places: np.ndarray
    entries: np.ndarray
    near: np.ndarray

    @property
    def search(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What a search for near points takes."""
        return self.places, self.entries, self.near


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
    all_codes = (everywhere.astype(np.int32) << shifts).sum(1, dtype=np.int32)
    codes = (points.astype(np.int32) << shifts).sum(1, dtype=np.int32)
    distance = _squared_distances(everywhere, points)
    places = np.full(1 << bits * size, -1, np.int32)
    places[codes] = np.arange(len(codes))
    reach = distance.min(1, keepdims=True)
    for _ in range(SHELLS[format] - 1):
        farther = np.where(distance > reach, distance, np.iinfo(distance.dtype).max).min(1, keepdims=True)
        reach = np.where(distance.min(1, keepdims=True) > 0, farther, reach)
    at, place = np.nonzero(distance <= reach)  # sorted by point, then by place
    order = np.lexsort((place, distance[at, place], at))
    at, place = at[order], place[order]
    counts = np.bincount(at, minlength=len(all_codes))
    chunks = -(-counts // CHUNK)
    first_chunk = np.cumsum(chunks) - chunks
    entries = np.ones(1 << bits * size, np.int32)
    entries[all_codes] = 64 * first_chunk + chunks
    first = np.cumsum(counts) - counts
    chosen = np.repeat(place[first], chunks * CHUNK)
    chosen[np.arange(len(at)) + np.repeat(first_chunk * CHUNK - first, counts)] = place
    near = np.stack([part[chosen].reshape(-1, CHUNK) for part in (_spread(points, bits), codes)], axis=1)
    return Grid(codes, places, entries, near.reshape(-1))


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """int16 [a, b]; small whole numbers, so float32 is exact."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    return ((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T).astype(np.int16)


def _spread(points: np.ndarray, bits: int) -> np.ndarray:
    """Four bits per number: its level, and with 2 bits for levels above it whether its place is odd. int32 [points].

    So the lower three bits are an index into a table of 8 that holds the levels of one number or of two neighbours; the
    fourth is free to choose one of two tables.
    """
    place = np.arange(points.shape[1], dtype=np.uint32)
    marked = points | (place << bits) & 7
    return (marked.astype(np.uint32) << 4 * place).sum(1, dtype=np.uint32).view(np.int32)
