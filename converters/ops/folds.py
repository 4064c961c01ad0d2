"""Operations that make one tensor, or two, of several, which the result does not tell: what is kept beside it says the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from . import exact
from .base import LoraRefused, Op

AT_ONCE = 2048  # rows of a table that are computed together


@dataclass(frozen=True)
class Product(Op):
    """A norm's weights `[n]` times those of a projection to one number, `[1, n]`, in float32: what the runtime takes of both.

    The product does not tell its factors: back come ones, and the product, which compute the same.
    """

    undo: bool = False
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    def shape(self, shapes):
        if self.undo:
            ((n,),) = shapes
            return [(n,), (1, n)]
        norm, projection = shapes
        if projection != (1, *norm):
            raise ValueError(f"shape {list(projection)} is not [1, n] where that of the norm is {list(norm)}")
        return [norm]

    def forward(self, xs):
        if self.undo:
            (x,) = xs
            return [np.ones_like(x), x[None]]
        norm, projection = xs
        return [norm * projection[0]]

    def lora(self, factors):
        raise LoraRefused("an update of one factor is none of the product")

    def cut(self, shapes, axis=0):
        return None


@dataclass(frozen=True)
class RowsBehind(Op):
    """A table `[n, width]` with rows behind it: `vectors` (of `width` values, whatever their shape) as they are, and last a
    latent `[l]` behind its projection `[width, l]`, each sum in float64 and rounded once. (table, vectors .., latent,
    projection) -> table. Back come the table and the vectors: the last row does not tell what it is made of.
    """

    vectors: int = 0
    undo: bool = False
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def told(self) -> range:
        return range(1 + self.vectors)

    def shape(self, shapes):
        if self.undo:
            ((n, width),) = shapes
            if n <= self.vectors + 1:
                raise ValueError(f"{n} rows are no more than those behind the table")
            return [(n - self.vectors - 1, width), *[(1, 1, width)] * self.vectors]
        table, *vectors, latent, projection = shapes
        width = table[-1]
        if len(vectors) != self.vectors or any(math.prod(v) != width for v in vectors) or projection != (width, *latent):
            raise ValueError(f"shapes {shapes} are not those of a table, vectors, a latent and its projection")
        return [(table[0] + self.vectors + 1, width)]

    def forward(self, xs):
        if self.undo:
            (x,) = xs
            rows = len(x) - self.vectors - 1
            made = [x[i].reshape(1, 1, -1) for i in range(rows, rows + self.vectors)]
            return [x[:rows], *made]
        table, *vectors, latent, projection = xs
        last = (projection.astype(np.float64) * latent.astype(np.float64)).sum(1).astype(np.float32)
        return [np.concatenate([table, *(v.reshape(1, -1) for v in vectors), last[None]])]

    def lora(self, factors):
        raise LoraRefused("an update of the rows of a table is none of those behind it")

    def cut(self, shapes, axis=0):
        return None


@dataclass(frozen=True)
class RowsInFront(Op):
    """A table of `rows` rows `[rows, width]`, and in front of them those of another table `[n, h]` behind two layers with SiLU
    between them, each rounded once: (table, other, up `[m, h]`, its bias, down `[width, m]`, its bias) -> `[n + rows, width]`.
    Back comes the table: the rows in front do not tell what they are made of.
    """

    rows: int
    undo: bool = False
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def told(self) -> range:
        return range(1)

    def shape(self, shapes):
        if self.undo:
            ((n, width),) = shapes
            if n <= self.rows:
                raise ValueError(f"{n} rows are no more than the {self.rows} that others stand in front of")
            return [(self.rows, width)]
        table, other, up, up_bias, down, down_bias = shapes
        if table[0] != self.rows or up != (*up_bias, other[-1]) or down != (*down_bias, *up_bias) or table[1:] != down_bias:
            raise ValueError(f"shapes {shapes} are not those of a table of {self.rows} rows, another one, and its two layers")
        return [(other[0] + self.rows, table[1])]

    def forward(self, xs):
        if self.undo:
            (x,) = xs
            return [x[len(x) - self.rows :]]
        table, other, up, up_bias, down, down_bias = xs
        out = np.empty((len(other) + self.rows, table.shape[1]), np.float32)
        for start in range(0, len(other), AT_ONCE):
            part = exact.linear(other[start : start + AT_ONCE], up, up_bias)
            out[start : start + len(part)] = exact.linear(exact.silu(part.astype(np.float64)), down, down_bias)
        out[len(other) :] = table
        return [out]

    def lora(self, factors):
        raise LoraRefused("an update of the rows of a table is none of those in front of it")

    def cut(self, shapes, axis=0):
        return None


@dataclass(frozen=True)
class BatchNorm(Op):
    """A norm by what was seen in training, as existing files have it: weight, bias, mean and variance, vectors of one length,
    into the scale and the shift that they come to, in float32.

    Scale and shift do not tell the four: back come a mean of 0 and the variance under whose root, with `epsilon`, stands 1.
    """

    epsilon: float = 1e-5
    undo: bool = False
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    def shape(self, shapes):
        if len({*shapes}) > 1 or len(shapes[0]) != 1 or len(shapes) != (2 if self.undo else 4):
            raise ValueError(f"shapes {shapes} are not those of a norm")
        return [shapes[0]] * (4 if self.undo else 2)

    def forward(self, xs):
        epsilon = np.float32(self.epsilon)
        if self.undo:
            scale, shift = xs
            return [scale, shift, np.zeros_like(scale), np.full_like(scale, np.float32(1) - epsilon)]
        weight, bias, mean, variance = xs
        scale = weight / np.sqrt(variance + epsilon)
        return [scale, bias - mean * scale]

    def lora(self, factors):
        raise LoraRefused("a norm takes no low-rank update")

    def cut(self, shapes, axis=0):
        return None


@dataclass(frozen=True)
class EmaMean(Op):
    """A codebook that was trained by moving averages, as the model reads it: sums `[n, width]` over how often each of the n
    codes was used `[n]`, at least `least`, in float32.

    The means do not tell the sums: back come themselves, of codes that were used once.
    """

    least: float = 1e-5
    undo: bool = False
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    def shape(self, shapes):
        if self.undo:
            ((n, width),) = shapes
            return [(n, width), (n,)]
        total, used = shapes
        if len(total) != 2 or used != total[:1]:
            raise ValueError(f"shapes {shapes} are not those of the sums of codes, and of how often each was used")
        return [total]

    def forward(self, xs):
        if self.undo:
            (x,) = xs
            return [x, np.ones(len(x), x.dtype)]
        total, used = xs
        return [total / np.maximum(used, np.float32(self.least))[:, None]]

    def lora(self, factors):
        raise LoraRefused("a codebook takes no low-rank update")

    def cut(self, shapes, axis=0):
        return super().cut(shapes) if axis == 0 else None


@dataclass(frozen=True)
class Snake(Op):
    """The two vectors of an activation that are logarithms, frequency and steepness, as the runtime multiplies by them: exp(a)
    and 1 / (exp(b) + `more`), each step rounded once to float32.

    Back come logarithms of what is there, which make the same to within a rounding.
    """

    more: float = 1e-9
    undo: bool = False
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    def shape(self, shapes):
        if len(shapes) != 2 or len({*shapes}) > 1:
            raise ValueError(f"shapes {shapes} are not those of two vectors of one length")
        return list(shapes)

    def forward(self, xs):
        first, second = (x.astype(np.float64) for x in xs)
        with np.errstate(all="ignore"):
            if self.undo:
                return [exact.log(first), exact.log(1 / second - self.more)]
            return [exact.exp(first), np.float32(1) / (exact.exp(second) + np.float32(self.more))]

    def lora(self, factors):
        raise LoraRefused("an activation takes no low-rank update")
