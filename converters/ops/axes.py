"""Operations on the axes of weights that are no matrices: slices of an axis, axes of 1, another order."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .arrays import contiguous, namespace
from .base import Cut, LoraRefused, Op


@dataclass(frozen=True)
class Unstack(Op):
    """The `count` slices of an axis as arrays of their own: the frames of a temporal patch embedding (axis 2)."""

    count: int
    axis: int = 0
    undo: bool = False

    def shape(self, shapes):
        at = self.axis
        if self.undo:
            if len(shapes) != self.count or len({*shapes}) > 1 or len(shapes[0]) < at:
                raise ValueError(f"shapes {shapes} are not those of {self.count} slices")
            return [(*shapes[0][:at], self.count, *shapes[0][at:])]
        (s,) = shapes
        if len(s) <= at or s[at] != self.count:
            raise ValueError(f"axis {at} of {list(s)} does not hold {self.count} slices")
        return [(*s[:at], *s[at + 1 :])] * self.count

    def forward(self, xs):
        if self.undo:
            return [namespace(xs[0]).stack(xs, self.axis)]
        return [contiguous(xs[0][(slice(None),) * self.axis + (i,)]) for i in range(self.count)]

    def lora(self, factors):
        raise LoraRefused("slices of a convolution have no low-rank update")

    def cut(self, shapes, axis=0):
        if self.undo and axis == self.axis:
            return None
        at = axis if axis < self.axis else axis - 1 if self.undo else axis + 1
        return Cut(at, shapes[0][at]) if at < len(shapes[0]) else None


@dataclass(frozen=True)
class Axes(Op):
    """The axes in another order: axis i of the result is axis `order[i]`."""

    order: tuple[int, ...]

    @property
    def inverse(self) -> Op:
        return Axes(tuple(self.order.index(i) for i in range(len(self.order))))

    def shape(self, shapes):
        (s,) = shapes
        if len(s) != len(self.order):
            raise ValueError(f"{list(s)} has not {len(self.order)} axes")
        return [tuple(s[i] for i in self.order)]

    def forward(self, xs):
        (x,) = xs
        self.shape([x.shape])
        return [contiguous(x.transpose(self.order) if namespace(x).__name__ == "numpy" else x.permute(self.order))]

    def lora(self, factors):
        raise LoraRefused("axes of a convolution or table have no low-rank update")

    def cut(self, shapes, axis=0):
        return Cut(self.order[axis], shapes[0][self.order[axis]]) if axis < len(self.order) == len(shapes[0]) else None


@dataclass(frozen=True)
class Restore(Op):
    """Single values put in their places: for each array base64 of uint32 positions in C order, then float32 values. Part of a
    plan, never of a table; there is no way back."""

    values: tuple[str, ...]
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    def bind(self, hp):
        return self

    @property
    def inverse(self) -> Op:
        raise LoraRefused("restored values have no way back")

    def forward(self, xs):
        out = []
        for x, text in zip(xs, self.values, strict=True):
            data = np.frombuffer(base64.b64decode(text), np.uint8)
            half, flat = len(data) // 2, np.array(x, np.float32).reshape(-1)
            flat[data[:half].view("<u4")] = data[half:].view("<f4")
            out.append(flat.reshape(x.shape))
        return out

    def lora(self, factors):
        raise LoraRefused("restored values take no update")

    def cut(self, shapes, axis=0):
        return None


@dataclass(frozen=True)
class AddAxis(Op):
    """A new axis of length 1 at this place of the result: biases of convolutions, numbers that become vectors.

    On the way back one in front may be missing: ggml does not keep it when it rewrites a file.
    """

    axis: int
    undo: bool = False

    def shape(self, shapes):
        (s,) = shapes
        at = self._at(len(s))
        if not self.undo:
            return [(*s[:at], 1, *s[at:])]
        if self._dropped(s):
            return [s]
        if not 0 <= at < len(s) or s[at] != 1:
            raise ValueError(f"axis {self.axis} of {list(s)} is not 1")
        return [(*s[:at], *s[at + 1 :])]

    def _dropped(self, shape) -> bool:
        return self.undo and self.axis == 0 and bool(shape) and shape[0] != 1

    def _at(self, ndim: int) -> int:
        return self.axis if self.axis >= 0 else self.axis + ndim + (not self.undo)

    def forward(self, xs):
        return [xs[0].reshape(self.shape([xs[0].shape])[0])]

    def lora(self, factors):
        raise LoraRefused("a convolution or vector has no low-rank update")

    def cut(self, shapes, axis=0):
        at = self._at(len(shapes[0]))
        if self._dropped(shapes[0]):
            return Cut(axis, shapes[0][axis])
        if axis == at and not self.undo:
            return None
        source = axis if axis < at else axis + 1 if self.undo else axis - 1
        return Cut(source, shapes[0][source]) if source < len(shapes[0]) else None
