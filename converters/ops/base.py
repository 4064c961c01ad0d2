"""What every operation is: sizes by name, shapes, forward, inverse, LoRA, cutting into units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self

from .arrays import Array

Shape = tuple[int, ...]
Size = Any  # int, or in a table the str of a hyperparameter or product: "head_length", "2*feed_forward_length"; see `bind`


@dataclass(frozen=True)
class Factors:
    """A low-rank update `b @ a`: a `[..., r, in]`, b `[..., out, r]`, float32; leading axes are experts or heads."""

    a: Array
    b: Array

    @property
    def rank(self) -> int:
        return self.a.shape[-2]

    @property
    def delta(self) -> Array:
        return self.b @ self.a


class LoraRefused(ValueError):
    """The update of a factorised weight is not low-rank, or not defined, behind this op."""


class Cut(NamedTuple):
    """How results may be made piece by piece: `runs` equal runs of `axis` of every source, each on its own."""

    axis: int
    runs: int


def evaluate(size: Size, hp: Mapping[str, Any]) -> Any:
    """The value of a size: a number, or a product of numbers and hyperparameters. KeyError names one that is missing,
    ValueError a factor of a product that is no whole number."""
    if isinstance(size, int):
        return size
    first, *more = (int(word) if word.isdecimal() else hp[word] for word in size.split("*"))
    if more and any(type(f) is not int for f in (first, *more)):
        raise ValueError(f"{size} is no whole number")
    return math.prod((first, *more)) if more else first


@dataclass(frozen=True)
class Op:
    """The identity on one array, and what every other op overrides in part.

    In a table, every text in a field is a size by name (`Size`); `bind` puts the numbers in.
    """

    moves: ClassVar[bool] = True  # only moves elements: works on the raw bits of any element type
    exact: ClassVar[bool] = True  # inverse(forward(x)) is x bit for bit

    @property
    def emits(self) -> str | None:
        """The type of the bytes that the op itself produces, where it is not the type that it takes."""
        return None

    @property
    def loses(self) -> str:
        """What no way back has, of an op that is for good."""
        return ""

    @property
    def told(self) -> range:
        """Which of several sources an op that is not exact gives back, as they were; others not at all."""
        return range(0)

    @property
    def on_blocks(self) -> bool:
        """Whether the op works on rows of packed blocks as on rows of elements."""
        return type(self) is Op

    def bind(self, hp: Mapping[str, Any]) -> Self:
        """Replace the names of hyperparameters by their values. KeyError names one that is missing, ValueError one that
        does not fit."""
        values = {f.name: self._bound(f.name, getattr(self, f.name), hp) for f in fields(self)}
        return replace(self, **values) if any(values[k] is not getattr(self, k) for k in values) else self

    def item(self, number: int) -> Op:
        """The op of one of the arrays of a stack, where it is not the same for all."""
        return self

    def _bound(self, field: str, value: Any, hp: Mapping[str, Any]) -> Any:
        if isinstance(value, str):
            return self._number(field, value, evaluate(value, hp))
        if isinstance(value, tuple) and any(isinstance(v, (str, Op)) for v in value):
            return tuple(v.bind(hp) if isinstance(v, Op) else self._bound(field, v, hp) for v in value)
        return value

    def _number(self, field: str, name: str, value: Any) -> Any:
        """What a size by name may be: a whole number; ops that compute take others."""
        if type(value) is not int:  # True is one, too
            raise ValueError(f"{name} is no whole number")
        return value

    @property
    def inverse(self) -> Op:
        """Of an op with `undo` the same with the other; others are their own, or say what is."""
        turned: dict[str, Any] = {f.name: not getattr(self, f.name) for f in fields(self) if f.name == "undo"}
        return replace(self, **turned) if turned else self

    def shape(self, shapes: Sequence[Shape]) -> list[Shape]:
        """Shapes after the op. ValueError says what does not fit."""
        return list(shapes)

    def forward(self, xs: Sequence[Array]) -> list[Array]:
        return list(xs)

    def lora(self, factors: Sequence[Factors]) -> list[Factors]:
        """The factors of each output's update, from those of each input's. LoraRefused where there are none."""
        return list(factors)

    def cut(self, shapes: Sequence[Shape], axis: int = 0) -> Cut | None:
        """How the sources may be cut so that each piece gives a run of `axis` of every result; None: not at all."""
        return Cut(axis, math.gcd(*(s[axis] if s else 1 for s in shapes)))

    def units(self, shapes: Sequence[Shape]) -> int:
        """Into how many equal runs of axis 0 the sources may be cut so that each gives a run of axis 0 of the results."""
        cut = self.cut(shapes)
        return cut.runs if cut is not None and cut.axis == 0 else 1

    def to_json(self) -> dict[str, Any]:
        return {"op": type(self).__name__, **{f.name: _json(getattr(self, f.name)) for f in fields(self)}}


@dataclass(frozen=True)
class Each(Op):
    """One op per array, behind an op with several results: `Split(3), Each((RopePermute(n), RopePermute(n), Op()))`.

    They take one array each, and give one or more; in a table they only move elements.
    """

    ops: tuple[Op, ...]

    @property
    def moves(self) -> bool:  # type: ignore[override]
        return all(op.moves for op in self.ops)

    @property
    def emits(self) -> str | None:
        made = {op.emits for op in self.ops}
        return made.pop() if len(made) == 1 else None

    @property
    def on_blocks(self) -> bool:
        return all(op.on_blocks for op in self.ops)

    @property
    def inverse(self) -> Op:
        return Each(tuple(op.inverse for op in self.ops))

    def shape(self, shapes):
        if len(shapes) != len(self.ops):
            raise ValueError(f"{len(shapes)} arrays for {len(self.ops)} ops")
        return [s for op, given in zip(self.ops, shapes, strict=True) for s in op.shape([given])]

    def forward(self, xs):
        return [y for op, x in zip(self.ops, xs, strict=True) for y in op.forward([x])]

    def lora(self, factors):
        return [g for op, f in zip(self.ops, factors, strict=True) for g in op.lora([f])]

    def cut(self, shapes, axis=0):
        cuts = [op.cut([s], axis) for op, s in zip(self.ops, shapes, strict=True)]
        known = [cut for cut in cuts if cut is not None and cut.axis == axis]
        return Cut(axis, math.gcd(*(cut.runs for cut in known))) if len(known) == len(self.ops) else None


@dataclass(frozen=True)
class Arrange(Op):
    """Several arrays in another order: result i is the array at `order[i]`. Between a split and its way back."""

    order: tuple[int, ...]

    @property
    def on_blocks(self) -> bool:
        return True

    @property
    def inverse(self) -> Op:
        return Arrange(tuple(self.order.index(i) for i in range(len(self.order))))

    def shape(self, shapes):
        if len(shapes) != len(self.order):
            raise ValueError(f"{len(shapes)} arrays for {len(self.order)} places")
        return [shapes[i] for i in self.order]

    def forward(self, xs):
        return [xs[i] for i in self.order]

    def lora(self, factors):
        return [factors[i] for i in self.order]


def _json(value: Any) -> Any:
    """A field of an op as JSON data; ops may hold ops."""
    if isinstance(value, tuple):
        return [_json(v) for v in value]
    return value.to_json() if isinstance(value, Op) else value


def multiple(what: str, whole: int, part: int) -> None:
    """ValueError unless `part` divides `whole`."""
    if part <= 0 or whole % part:
        raise ValueError(f"{what} {whole} is not a multiple of {part}")
