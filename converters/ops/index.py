"""Operations that select rows or columns: permutations, splits, crops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from .arrays import namespace, take, zeros
from .base import Factors, LoraRefused, Op, Shape, Size, multiple


@dataclass(frozen=True, kw_only=True)
class IndexMap(Op):
    """One array into one or more, each a selection of its rows (axis -2 of matrices, the last of vectors) or columns.

    `index(n)` gives the selected positions of each output. `undo` is the way back. `vector` says that the last axis is
    the row axis even of arrays with 2 dimensions (a bias per expert).
    """

    undo: bool = False
    vector: bool = False
    columns: ClassVar[bool] = False

    def index(self, n: int) -> list[np.ndarray]:
        raise NotImplementedError

    def lengths(self, n: int) -> list[int]:
        """How many positions `index(n)` selects for each output. ValueError where n does not fit. Costs nothing: n may be
        what a hostile header claims."""
        raise NotImplementedError

    @property
    def inverse(self) -> Op:
        return replace(self, undo=not self.undo)

    @property
    def on_blocks(self) -> bool:
        return not self.columns and not self.vector

    def _axis(self, ndim: int) -> int:
        return -1 if self.columns or self.vector or ndim == 1 else -2

    def _length_back(self, lengths: Sequence[int]) -> int:
        return sum(lengths)

    def shape(self, shapes):
        axis = self._axis(len(shapes[0]))

        def with_length(s: Shape, n: int) -> Shape:
            return (*s[:axis], n, *(s[axis + 1 :] if axis + 1 else ()))

        if self.undo:
            n = self._length_back([s[axis] for s in shapes])
            if self.lengths(n) != [s[axis] for s in shapes]:
                raise ValueError(f"shapes {shapes} are not what {type(self).__name__} makes of {n} rows")
            return [with_length(shapes[0], n)]
        (s,) = shapes
        return [with_length(s, length) for length in self.lengths(s[axis])]

    def forward(self, xs):
        axis = self._axis(xs[0].ndim)
        if not self.undo:
            self.lengths(xs[0].shape[axis])  # raises where it does not fit
            return [take(xs[0], i, axis) for i in self.index(xs[0].shape[axis])]
        (shape,) = self.shape([x.shape for x in xs])
        out, xp = zeros(shape, xs[0]), namespace(xs[0])
        rows = xp.moveaxis(out, axis, 0)
        for i, x in zip(self.index(shape[axis]), xs, strict=True):
            rows[i] = xp.moveaxis(x, axis, 0)
        return [out]

    def lora(self, factors):
        if self.undo and len(factors) > 1:
            raise LoraRefused("factors of separate projections do not join into one pair of the same rank")
        on_matrix = replace(self, vector=False)
        if self.columns:
            return [Factors(a, factors[0].b) for a in on_matrix.forward([f.a for f in factors])]
        return [Factors(factors[0].a, b) for b in on_matrix.forward([f.b for f in factors])]

    def unit_rows(self, rows: int) -> int:
        """Rows that belong together; all of them unless a subclass knows better."""
        return rows

    def units(self, shapes):
        first = shapes[0]
        axis = self._axis(len(first)) % len(first)
        if axis == 0 and len(shapes) == 1 and len(self.lengths(first[0])) == 1:
            return first[0] // self.unit_rows(first[0])
        return 1 if axis == 0 else math.gcd(*(s[0] for s in shapes))


@dataclass(frozen=True)
class RopePermute(IndexMap):
    """Rows of each head from HF's half-split to ggml's interleaved rotary pairs. `head_length`: rows per head."""

    head_length: Size

    def lengths(self, n):
        multiple("number of rows", n, self.head_length)
        multiple("head length", self.head_length, 2)
        return [n]

    def index(self, n):
        pairs = np.arange(n).reshape(-1, 2, self.head_length // 2).swapaxes(1, 2).ravel()
        return [pairs]

    def unit_rows(self, rows):
        return self.head_length


@dataclass(frozen=True)
class Split(IndexMap):
    """Consecutive runs of rows, of these relative sizes: fused projections. `Split((1, 1))` halves."""

    sizes: tuple[int, ...]

    def lengths(self, n):
        multiple("number of rows", n, sum(self.sizes))
        return [size * n // sum(self.sizes) for size in self.sizes]

    def index(self, n):
        return np.split(np.arange(n), np.cumsum(self.sizes)[:-1] * (n // sum(self.sizes)))


@dataclass(frozen=True)
class Deinterleave(IndexMap):
    """Rows 0::count, 1::count, ... as `count` arrays."""

    count: int = 2

    def lengths(self, n):
        multiple("number of rows", n, self.count)
        return [n // self.count] * self.count

    def index(self, n):
        return [np.arange(i, n, self.count) for i in range(self.count)]


@dataclass(frozen=True)
class TileHeads(IndexMap):
    """Value heads from grouped by key head (HF) to tiled (ggml's broadcast): rows after the first `start`."""

    key_heads: Size
    value_heads: Size
    start: Size = 0

    def lengths(self, n):
        if not 0 <= self.start <= n:
            raise ValueError(f"{n} rows are fewer than the {self.start} before the value heads")
        multiple("number of value rows", n - self.start, self.value_heads)
        multiple("number of value heads", self.value_heads, self.key_heads)
        return [n]

    def index(self, n):
        heads = np.arange(self.start, n).reshape(self.key_heads, self.value_heads // self.key_heads, -1)
        return [np.concatenate([np.arange(self.start), heads.swapaxes(0, 1).ravel()])]


@dataclass(frozen=True)
class TileHeadColumns(TileHeads):
    """`TileHeads` on the columns: a projection that reads the value heads."""

    columns: ClassVar[bool] = True

    def units(self, shapes):
        return shapes[0][0]


@dataclass(frozen=True)
class Crop(IndexMap):
    """Rows `start` to `stop` (None: to the end) of a table; the others are not in GGUF and come back as zeros.

    `rows` is the table's length before, for the way back.
    """

    start: Size = 0
    stop: Size | None = None
    rows: Size | None = None

    exact: ClassVar[bool] = False

    def bind(self, hp):
        bound = super().bind(hp)
        optional = {k: hp.get(v) for k in ("stop", "rows") if isinstance(v := getattr(bound, k), str)}
        return replace(bound, **optional)

    def lengths(self, n):
        return [max(0, (n if self.stop is None else min(n, self.stop)) - self.start)]

    def index(self, n):
        return [np.arange(self.start, n if self.stop is None else min(n, self.stop))]

    def rows_before(self, rows: int) -> int:
        """Rows of the whole table of which `rows` are left."""
        return self.rows if self.rows is not None else rows + self.start

    def _length_back(self, lengths):
        return self.rows_before(lengths[0])
