"""Operations without a way back: what classes compute of their weights whenever they run."""

from __future__ import annotations

from dataclasses import dataclass

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
