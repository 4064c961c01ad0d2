"""What every operation is: shapes, forward, inverse, LoRA, cutting into units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self

from .arrays import Array

Shape = tuple[int, ...]
Size = int | str  # a number, or (in a table) the name of the hyperparameter that holds it


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


@dataclass(frozen=True)
class Op:
    """The identity on one array, and what every other op overrides in part."""

    moves: ClassVar[bool] = True  # only moves elements: works on the raw bits of any element type
    exact: ClassVar[bool] = True  # inverse(forward(x)) is x bit for bit

    @property
    def emits(self) -> str | None:
        """The type of the bytes that the op itself produces, where it is not the type that it takes."""
        return None

    @property
    def on_blocks(self) -> bool:
        """Whether the op works on rows of packed blocks as on rows of elements."""
        return type(self) is Op

    def bind(self, hp: Mapping[str, Any]) -> Self:
        """Replace the names of hyperparameters by their values. KeyError names one that is missing, ValueError one that
        is no size."""
        names = {f.name: v for f in fields(self) if f.type == "Size" and isinstance(v := getattr(self, f.name), str)}
        sizes = {field: hp[name] for field, name in names.items()}
        if wrong := [name for field, name in names.items() if type(sizes[field]) is not int]:  # True is one, too
            raise ValueError(f"{wrong[0]} is no whole number")
        return replace(self, **sizes) if names else self

    @property
    def inverse(self) -> Op:
        return self

    def shape(self, shapes: Sequence[Shape]) -> list[Shape]:
        """Shapes after the op. ValueError says what does not fit."""
        return list(shapes)

    def forward(self, xs: Sequence[Array]) -> list[Array]:
        return list(xs)

    def lora(self, factors: Sequence[Factors]) -> list[Factors]:
        """The factors of each output's update, from those of each input's. LoraRefused where there are none."""
        return list(factors)

    def units(self, shapes: Sequence[Shape]) -> int:
        """Into how many equal runs of axis 0 the arrays may be cut so that each is converted on its own."""
        return math.gcd(*(s[0] if s else 1 for s in shapes))

    def to_json(self) -> dict[str, Any]:
        return {"op": type(self).__name__, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Op:
        """The inverse of `to_json`; lists were tuples."""
        return cls(**values)


def multiple(what: str, whole: int, part: int) -> None:
    """ValueError unless `part` divides `whole`."""
    if part <= 0 or whole % part:
        raise ValueError(f"{what} {whole} is not a multiple of {part}")
