"""Operations without a way back: what classes compute of their weights whenever they run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt

import numpy as np

from .arrays import Array
from .base import Cut, LoraRefused, Op, Size


@dataclass(frozen=True)
class ForGood(Op):
    """What a class computes of a weight whenever it runs, and a file holds once and for all. Where `when` is 0, the weight as
    it is. The way back leaves it so: the class computes the same of it once more."""

    when: Size = 1

    @property
    def moves(self) -> bool:  # type: ignore[override]
        return not self.when

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return not self.when

    @property
    def loses(self) -> str:
        return self.lost if self.when else ""

    @property
    def lost(self) -> str:
        """In words."""
        raise NotImplementedError

    @property
    def inverse(self) -> Op:
        return Op()

    def computed(self, x: Array) -> Array:
        """Of float32."""
        raise NotImplementedError

    def forward(self, xs):
        return [self.computed(x) for x in xs] if self.when else list(xs)

    def lora(self, factors):
        if self.when:
            raise LoraRefused("an update of a weight that the class computes with in another form is not low-rank")
        return list(factors)


@dataclass(frozen=True)
class UnitNorm(ForGood):
    """Rows, or `columns`, of a matrix over their lengths (plus `more`): a head that the class norms.

    Lengths are summed in float64, since sums of float32 depend on their order.
    """

    columns: bool = False
    more: float = 0.0

    @property
    def lost(self) -> str:
        return f"the lengths of its {'columns' if self.columns else 'rows'}, which the class norms"

    def shape(self, shapes):
        if len(shapes[0]) != 2:
            raise ValueError(f"{list(shapes[0])} is no matrix")
        return list(shapes)

    def computed(self, x):
        length = np.sqrt(np.square(x, dtype=np.float64).sum(0 if self.columns else 1, keepdims=True))
        return x / np.maximum(length + self.more, 1e-12).astype(np.float32)

    def cut(self, shapes, axis=0):
        return Cut(axis, 1) if self.when and axis == (0 if self.columns else 1) else super().cut(shapes, axis)


@dataclass(frozen=True)
class Ternary(ForGood):
    """A weight as -1, 0, 1 times the mean of its magnitudes: BitNet's. The mean is summed in float64. One that is ternary stays
    as it is: the mean of its magnitudes is less than its scale."""

    @property
    def lost(self) -> str:
        return "the floats that the class makes ternary"

    def computed(self, x):
        size = np.abs(x)
        if ((size == 0) | (size == size.max(initial=0))).all():
            return x
        scale = np.float32(max(size.mean(dtype=np.float64), 1e-5))
        inverse = np.float32(1) / scale
        return np.clip(np.rint(x * inverse), -1, 1) / inverse

    def cut(self, shapes, axis=0):
        return None if self.when else super().cut(shapes, axis)


@dataclass(frozen=True)
class Resample(ForGood):
    """A table of positions [1, rows * rows, width] of a square grid for another one, of `side` rows: of its four neighbours as
    near as they are, corner on corner. The four are added up as torch does on a processor that multiplies and adds in one
    rounding, here of doubles."""

    side: Size = 0

    @property
    def lost(self) -> str:
        return "positions of its own grid"

    def shape(self, shapes):
        (s,) = shapes
        if len(s) != 3 or isqrt(s[1]) ** 2 != s[1] or self.side < 1:
            raise ValueError(f"{list(s)} is no table of a square grid")
        return [(s[0], self.side**2, s[2])] if self.when else [s]

    def computed(self, x):
        rows = isqrt(x.shape[1])
        if rows == self.side:
            return x
        grid = x.reshape(x.shape[0], rows, rows, x.shape[2])
        at = np.float32((rows - 1) / max(self.side - 1, 1)) * np.arange(self.side, dtype=np.float32)
        low = at.astype(np.int64).clip(max=rows - 1)
        high, far = (low + 1).clip(max=rows - 1), at - low.astype(np.float32)
        near = np.float32(1) - far
        out = np.zeros((x.shape[0], self.side, self.side, x.shape[2]), np.float32)
        up, down, left, right = (low, near), (high, far), (low, near), (high, far)
        for (i, height), (j, width) in ((down, left), (down, right), (up, right), (up, left)):
            weight = (height[:, None] * width)[..., None].astype(np.float64)
            out = (weight * grid[:, i][:, :, j] + out).astype(np.float32)
        return out.reshape(x.shape[0], self.side**2, x.shape[2])

    def cut(self, shapes, axis=0):
        return Cut(axis, shapes[0][2]) if axis == 2 else None


@dataclass(frozen=True)
class SumFrames(ForGood):
    """A patch embedding [out, frames * n] of several equal frames for one: the sum over them. The way back has it all in the
    first frame, which computes the same of equal ones."""

    frames: Size = 2
    undo: bool = False

    @property
    def inverse(self) -> Op:
        return replace(self, undo=not self.undo)

    @property
    def lost(self) -> str:
        return "what each frame adds of its own"

    def shape(self, shapes):
        (s,) = shapes
        if len(s) != 2 or s[1] % self.frames:
            raise ValueError(f"{list(s)} is no matrix for {self.frames} frames")
        return [(s[0], s[1] * self.frames if self.undo else s[1] // self.frames)]

    def computed(self, x):
        if self.undo:
            return np.concatenate([x, np.zeros((len(x), x.shape[1] * (self.frames - 1)), x.dtype)], axis=1)
        first, *others = np.split(x, self.frames, axis=1)
        return sum(others, first)

    def cut(self, shapes, axis=0):
        return Cut(0, shapes[0][0]) if axis == 0 else None
