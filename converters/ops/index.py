"""Operations that select rows or columns: permutations, splits, crops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from .arrays import namespace, take, zeros
from .base import Cut, Factors, LoraRefused, Op, Shape, Size, evaluate, multiple

MAX_PARTS = 64  # of a split: no weight is made of more


@dataclass(frozen=True, kw_only=True)
class IndexMap(Op):
    """One array into one or more, each a selection of its rows (axis -2 of matrices, the last of vectors) or `columns`.

    `index(n)` gives the selected positions of each output. `undo` is the way back. `vector` says that the last axis is
    the row axis even of arrays with 2 dimensions (a bias per expert).
    """

    undo: bool = False
    vector: bool = False
    columns: bool = False

    def index(self, n: int) -> list[np.ndarray]:
        raise NotImplementedError

    def lengths(self, n: int) -> list[int]:
        """How many positions `index(n)` selects for each output. ValueError where n does not fit. Costs nothing: n may be
        what a hostile header claims."""
        raise NotImplementedError

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
            rows[_run(i)] = xp.moveaxis(x, axis, 0)
        return [out]

    def lora(self, factors):
        if self.undo and len(factors) > 1 and (self.columns or any(f.a is not factors[0].a for f in factors)):
            raise LoraRefused("factors of separate projections do not join into one pair of the same rank")
        on_matrix = replace(self, vector=False)
        if self.columns:
            return [Factors(a, factors[0].b) for a in on_matrix.forward([f.a for f in factors])]
        return [Factors(factors[0].a, b) for b in on_matrix.forward([f.b for f in factors])]

    def unit_rows(self, rows: int) -> int:
        """Rows that belong together; all of them unless a subclass knows better."""
        return rows

    def cut(self, shapes, axis=0):
        first = shapes[0]
        if axis != self._axis(len(first)) % len(first):
            return Cut(axis, math.gcd(*(s[axis] for s in shapes)))
        if len(shapes) == 1 and len(self.lengths(first[axis])) == 1:
            return Cut(axis, first[axis] // self.unit_rows(first[axis]))
        return Cut(axis, 1)


def _run(index: np.ndarray) -> np.ndarray | slice:
    """Positions that follow one another as a slice, which is copied a hundred times as fast along columns."""
    first = int(index[0]) if len(index) else 0
    return slice(first, first + len(index)) if np.array_equal(index, np.arange(first, first + len(index))) else index


@dataclass(frozen=True)
class RopePermute(IndexMap):
    """Rows of each head from HF's half-split to ggml's interleaved rotary pairs. `head_length`: rows per head; `turned`: how
    many of them turn, from the first on, where that is not all."""

    head_length: Size
    turned: Size | None = None

    def lengths(self, n):
        multiple("number of rows", n, self.head_length)
        multiple("rotary part of the head", self.head_length if self.turned is None else self.turned, 2)
        return [n]

    def index(self, n):
        rows = np.arange(n).reshape(-1, self.head_length)
        turned = self.head_length if self.turned is None else self.turned
        pairs = rows[:, :turned].reshape(len(rows), 2, -1).swapaxes(1, 2).reshape(len(rows), -1)
        return [np.concatenate([pairs, rows[:, turned:]], axis=1).ravel()]

    def unit_rows(self, rows):
        return self.head_length


@dataclass(frozen=True)
class HeadAxes(IndexMap):
    """Rows of heads that turn by several axes (time, height, width), in another order: the first rows of each head, read as
    [outer, inner, unit], with the first two axes exchanged."""

    head_length: Size
    outer: Size
    inner: Size
    unit: Size = 1

    def lengths(self, n):
        multiple("number of rows", n, self.head_length)
        if min(self.outer, self.inner, self.unit) < 1 or self.outer * self.inner * self.unit > self.head_length:
            raise ValueError(f"a head of {self.head_length} rows has not {self.outer} times {self.inner} runs of {self.unit}")
        return [n]

    def index(self, n):
        turned = self.outer * self.inner * self.unit
        rows = np.arange(n).reshape(-1, self.head_length)
        axes = rows[:, :turned].reshape(len(rows), self.outer, self.inner, self.unit).swapaxes(1, 2).reshape(len(rows), turned)
        return [np.concatenate([axes, rows[:, turned:]], axis=1).ravel()]

    def unit_rows(self, rows):
        return self.head_length


@dataclass(frozen=True)
class Channels(IndexMap):
    """`count` channels that stand side by side, one behind the other: colours of each pixel -> all reds, all greens, ..."""

    count: int

    def lengths(self, n):
        multiple("number of values", n, self.count)
        return [n]

    def index(self, n):
        return [np.arange(n).reshape(-1, self.count).T.ravel()]


@dataclass(frozen=True)
class Split(IndexMap):
    """Fused projections taken apart: `groups` equal groups of rows, in each of them consecutive runs of these relative
    `sizes` (a number: that many equal ones). Output i holds run i of every group; `join` puts the outputs behind each
    other again. Rows before `start` stay in front of what is joined.

    `Split((1, 1))` halves; `Split(2, groups="n_rows")` takes even and odd rows apart; `Split(("queries", 1, 1),
    groups="heads_kv", join=True)` turns grouped q, k, v into all q, all k, all v.
    """

    sizes: Size | tuple[Size, ...]
    groups: Size = 1
    join: bool = False
    start: Size = 0

    def runs(self, n: int) -> Iterator[tuple[int, int, int]]:
        """Each run of rows after `start`: (its part, its first row, its rows), in their order."""
        unit, at = self._unit(n), self.start
        for _ in range(self.groups):
            for part in range(self._count):
                rows = unit * (self.sizes[part] if isinstance(self.sizes, tuple) else 1)
                yield part, at, rows
                at += rows

    @property
    def run_count(self) -> int:
        return self.groups * self._count

    @property
    def _count(self) -> int:
        return len(self.sizes) if isinstance(self.sizes, tuple) else self.sizes

    def _unit(self, n: int) -> int:
        """Rows that a size of 1 stands for. ValueError where n does not fit."""
        if not 0 <= self.start <= n:
            raise ValueError(f"{n} rows are fewer than the {self.start} in front")
        total = self.groups * (sum(self.sizes) if isinstance(self.sizes, tuple) else self.sizes)
        multiple("number of rows", n - self.start, total)
        return (n - self.start) // total

    def lengths(self, n):
        each = self._unit(n) * self.groups
        if self.join:
            return [n]
        if not isinstance(self.sizes, tuple):
            if self.sizes > MAX_PARTS:
                raise ValueError(f"{self.sizes} are too many parts")
            return [each] * self.sizes
        return [size * each for size in self.sizes]

    def index(self, n):
        unit = self._unit(n)
        if isinstance(self.sizes, tuple):
            rows = np.arange(self.start, n).reshape(self.groups, sum(self.sizes), unit)
            parts = [part.reshape(-1) for part in np.split(rows, np.cumsum(self.sizes)[:-1], axis=1)]
        else:
            rows = np.arange(self.start, n).reshape(self.groups, self.sizes, unit).swapaxes(0, 1)
            parts = [rows.reshape(-1)] if self.join else list(rows.reshape(self.sizes, -1))
        return [np.concatenate([np.arange(self.start), *parts])] if self.join else parts


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
        optional = {k: v for k in ("stop", "rows") if isinstance(v := getattr(self, k), str)}
        known: dict[str, Any] = {
            k: evaluate(v, hp) if all(w.isdecimal() or w in hp for w in v.split("*")) else None
            for k, v in optional.items()}
        return super(Crop, replace(self, **known)).bind(hp)

    def lengths(self, n):
        return [max(0, (n if self.stop is None else min(n, self.stop)) - self.start)]

    def index(self, n):
        return [np.arange(self.start, n if self.stop is None else min(n, self.stop))]

    def rows_before(self, rows: int) -> int:
        """Rows of the whole table of which `rows` are left."""
        return self.rows if self.rows is not None else rows + self.start

    def _length_back(self, lengths):
        return self.rows_before(lengths[0])
