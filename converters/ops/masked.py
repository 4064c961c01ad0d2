"""Weights of which only the numbers that a mask of bits names are stored: those, between zeros, are what `Unpack` then takes.

The numbers follow each other row by row. Which of them are a row's shows where the mask names as many in each row, and else
where runs of rows begin; so a run of rows needs no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .base import Shape
from .grid import Grid, Window
from .unpack import Unpack

BITS = Grid("U", 1, word=8)  # the first column in the lowest bit


@dataclass(frozen=True)
class Masked(Unpack):
    """`Unpack`, whose first part (codes of 8 bits, or floats) is without the numbers that the last one, a mask, leaves out.

    starts   which number of the array is the first of each run of rows, and how many there are; empty: the array is a matrix
             that holds as many of each row
    every    the rows of such a run
    """

    starts: tuple[int, ...] = ()
    every: int = 1

    @property
    def sound(self) -> bool:
        return False  # blocks do not tell the mask: no file says that it was

    def windows(self, shapes: Sequence[Shape]) -> list[Window | None]:
        found = super().windows(shapes)
        first, stop = self._runs
        found[-1] = Window(0, first * self.every, min(stop * self.every, shapes[-1][0]))
        if self.starts:
            found[0] = Window(0, self.starts[first], self.starts[stop]) if self.starts[-1] else None
        return found

    @property
    def _runs(self) -> tuple[int, int]:
        """The first run of rows that is needed, and the one behind the last."""
        start, stop = self.coded[:2]
        return start // self.every, -(-stop // self.every)

    def forward(self, xs):
        from ...quant.cpu.stored import unmask

        kept, *others, mask = xs
        first, stop = self._runs
        rows, cols = len(mask), self.size[1]
        if mask.shape[1] * 8 < cols:
            raise ValueError(f"a mask of {mask.shape[1]} bytes a row, where there are {cols} columns")
        named, dense = np.empty(rows, np.int64), np.empty((rows, cols), kept.dtype)
        bits = f"u{kept.itemsize}"
        unmask(mask, kept.reshape(-1).view(bits), named, dense.view(bits))
        found = np.add.reduceat(named, np.arange(0, rows, self.every))
        stored = np.diff(self.starts[first : stop + 1]) if self.starts else np.full(rows, kept.shape[1])
        if not np.array_equal(found, stored):
            at = int((found != stored).argmax())
            raise ValueError(f"a mask that names {found[at]} numbers from row {(first + at) * self.every} on, "
                             f"where {stored[at]} are stored")
        before = self.coded[0] - first * self.every
        return super().forward([dense[before : before + self.size[0]], *others, mask])
