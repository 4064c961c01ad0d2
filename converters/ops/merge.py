"""A weight with the updates of adapters merged into it: what peft's `merge_and_unload` computes on a CPU, bit for bit.

One update after another, each rounded to the weight's own type. Source: peft `tuners/lora/layer.py` (merge,
get_delta_weight), `tuners/lora/variants.py` (DoRA), `tuners/trainable_tokens/layer.py`. Where peft's bits depend on the
machine, this does not: the product is a chain of fused multiply-adds (`quant.cpu.low_rank`), a norm of DoRA is summed in
float64 and rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .arrays import Array
from .base import Factors, LoraRefused, Op, Shape
from .grid import Window
from .lora import EMBEDDING, FUSED, MATRIX
from .values import Transpose

TABLE, NONE = "table", -2
FLOAT_WIDTH = {"F32": 4, "F16": 2, "BF16": 2}  # bytes of the types that a weight is merged in


@dataclass(frozen=True)
class Update(Op):
    """One change of a weight, by `parts` stored arrays that follow each other among those of a `Merge`.

    `at`: first row (or matrix of a stack) of the piece of the weight that is changed.
    """

    @property
    def parts(self) -> int:
        return 1

    def windows(self, size: Shape, at: int, shapes: Sequence[Shape]) -> list[Window | None]:
        """What of each part the piece of this size needs; None: all of it."""
        return [None] * self.parts

    def apply(self, weight: np.ndarray, at: int, parts: Sequence[np.ndarray], kind: str, base: np.ndarray) -> np.ndarray:
        """float32 of the shape of `weight`, before it is rounded to `kind`. `base`: the weight before all updates."""
        raise NotImplementedError

    def item(self, number: int) -> Update:
        """The same of one matrix of a stack."""
        raise ValueError(f"{type(self).__name__} changes no stack")

    def cut(self, shapes, axis=0):
        return None  # `windows`: of each array another run


@dataclass(frozen=True)
class LowRank(Update):
    """`scale * B @ A`, added; with `dora`, a third part, the magnitudes that the rows (of B) get.

    kind      how the pair lies: matrix, embedding, fused as for `Lora`; table: [rows, r] and [cols, r]; a matrix of three
              axes is a stack of them
    experts   of a fused pair, how many it is of; `expert`: the one that the weight is of, where it is no stack
    ops       what the factors go through: those of the weight that peft updates; `output`: which of their results it is
    rounded   whether the update is rounded to the weight's type before it is added
    norms     of DoRA where magnitudes are of columns: their norms in the whole weight
    """

    scale: float
    kind: str = MATRIX
    experts: int = 0
    expert: int = -1
    ops: tuple[Op, ...] = ()
    output: int = 0
    rounded: bool = False
    dora: bool = False
    norms: tuple[float, ...] = ()

    @property
    def parts(self) -> int:
        return 3 if self.dora else 2

    @property
    def turned(self) -> bool:
        """Whether the weight's rows are A's columns."""
        return (self.kind == EMBEDDING and not self.ops) or self.ops == (Transpose(),)

    def windows(self, size, at, shapes):
        a, b = self._windows(size, at, shapes)
        m = Window(0, at, at + size[0]) if self.dora and not self.norms and self._direct else None
        return [a, b, m][: self.parts]

    def item(self, number):
        return replace(self, expert=number)

    def _windows(self, size: Shape, at: int, shapes: Sequence[Shape]) -> tuple[Window | None, Window | None]:
        if self.kind == FUSED:
            rank = shapes[0][0] // self.experts
            if self.expert >= 0:
                return Window(0, self.expert * rank, (self.expert + 1) * rank), None
            return (Window(0, at * rank, (at + size[0]) * rank) if self._direct else None), None
        if len(shapes[0]) == 3:
            one = Window(0, self.expert, self.expert + 1) if self.expert >= 0 else Window(0, at, at + size[0])
            return one, one
        if self.kind == TABLE:
            return Window(0, at, at + size[0]), None
        if not self._direct:
            return None, None
        return (Window(1, at, at + size[0]), None) if self.turned else (None, Window(0, at, at + size[0]))

    @property
    def _direct(self) -> bool:
        """Whether the ops, if any, leave the order of the rows alone."""
        return not self.ops or self.turned

    def apply(self, weight, at, parts, kind, base):
        from ...quant.cpu.low_rank import row_norms

        delta = self._delta(weight.shape, at, parts)
        if not self.dora:
            delta = rounded(delta, kind) if self.rounded else delta
            delta += weight  # in place: the arrays are large
            return delta
        value = weight + delta
        magnitudes = self._magnitudes(len(weight), at, *parts[1:])
        if self.norms:
            return magnitudes / np.array(self.norms, np.float32) * value
        norms = np.empty(len(value), np.float32)
        row_norms(value if base is weight else base + delta, norms)
        return (magnitudes / norms)[:, None] * value

    def _magnitudes(self, rows: int, at: int, b: np.ndarray, magnitudes: np.ndarray) -> np.ndarray:
        """float32 of the piece's rows, or of all columns."""
        if self._direct:
            return magnitudes.reshape(-1)
        outputs = [Factors(np.zeros((1, 1), np.float32), magnitudes.reshape(-1, 1))]  # they move as the rows of B do
        for op in self.ops:
            outputs = op.lora(outputs)
        return outputs[self.output].b[at : at + rows, 0]

    def whole(self, weight: np.ndarray, at: int, parts: Sequence[np.ndarray]) -> np.ndarray:
        """The sum of weight and update, whose norms DoRA takes."""
        return weight + self._delta(weight.shape, at, parts)

    def _delta(self, size: Shape, at: int, parts: Sequence[np.ndarray]) -> np.ndarray:
        """float32 `size`: the update of a piece."""
        from ...quant.cpu.low_rank import product

        f = self._factors(size, at, *parts[:2])
        out = np.empty(size, np.float32)
        if (*f.b.shape[:-1], f.a.shape[-1]) != size or f.a.shape[:-1] != (*f.b.shape[:-2], f.rank):
            raise ValueError(f"factors {list(f.a.shape)} and {list(f.b.shape)} do not fit a weight of {list(size)}")
        for matrix, a, b in zip(*(x.reshape(-1, *x.shape[-2:]) for x in (out, f.a, f.b)), strict=True):
            product(np.ascontiguousarray(b), np.ascontiguousarray(a), np.float32(self.scale), matrix)
        return out

    def _factors(self, size: Shape, at: int, a: Array, b: Array) -> Factors:
        """The factors of a piece of the weight."""
        experts = self.experts
        if self.kind == FUSED and self.expert >= 0:
            a, b = a.reshape(-1, a.shape[-1]), b.reshape(b.shape[0], -1, experts)[:, :, self.expert]
            f = Factors(a, b)
        elif self.kind == FUSED:
            b = b.reshape(b.shape[0], -1, experts).transpose(2, 0, 1)
            if self._direct:
                b = b[at : at + size[0]]
            f = Factors(a.reshape(len(b), -1, a.shape[-1]), b)
        elif a.ndim == 3 and self.expert >= 0:
            f = Factors(a[0], b[0])
        elif self.kind == TABLE:
            f = Factors(b.T, a)
        else:
            f = Factors(b.T, a.T) if self.kind == EMBEDDING else Factors(a, b)
        outputs = [f]
        for op in self.ops:
            outputs = op.lora(outputs)
        f = outputs[self.output]
        if self._direct and self.expert < 0:  # the windows were of these rows
            return f
        if len(size) == 2:
            return Factors(f.a, f.b[at : at + size[0]])
        return Factors(f.a[at : at + size[0]], f.b[at : at + size[0]])


@dataclass(frozen=True)
class Shift(Update):
    """`scale` times a vector, added: what a trained bias of B adds to the weight's bias. `ops`, `output`: as of `LowRank`."""

    scale: float
    ops: tuple[Op, ...] = ()
    output: int = 0

    def apply(self, weight, at, parts, kind, base):
        outputs = [parts[0].reshape(-1)]
        for op in self.ops:
            outputs = op.forward(outputs)
        return weight + outputs[self.output][at : at + len(weight)] * np.float32(self.scale)


@dataclass(frozen=True)
class Instead(Update):
    """Other values in the weight's place: those of the part behind `ops`. `output`: as of `LowRank`."""

    ops: tuple[Op, ...] = ()
    output: int = 0

    def windows(self, size, at, shapes):
        return [None if self.ops else Window(0, at, at + size[0])]

    def apply(self, weight, at, parts, kind, base):
        outputs = [parts[0]]
        for op in self.ops:
            outputs = op.forward(outputs)
        out = outputs[self.output]
        return (out[at : at + len(weight)] if self.ops else out).reshape(weight.shape)


@dataclass(frozen=True)
class NewRows(Update):
    """Rows in place of those at `index`."""

    index: tuple[int, ...]

    def apply(self, weight, at, parts, kind, base):
        out = weight.copy()
        for row, values in zip(self.index, parts[0], strict=True):
            if 0 <= row - at < len(out):
                out[row - at] = values
        return out


@dataclass(frozen=True)
class Within(Update):
    """A change of a part of what is stored: of matrix `only` of a stack (-1: a matrix itself), of its rows `start` to `stop`
    (None: to the end). `inner`: the change, as of a weight of that part alone."""

    inner: Op
    start: int = 0
    stop: int | None = None
    only: int = -1

    @property
    def _inner(self) -> Update:
        assert isinstance(self.inner, Update)
        return self.inner

    @property
    def parts(self):
        return self._inner.parts

    def item(self, number):
        return replace(self, only=-1 if number == self.only else NONE)

    def _rows(self, size: Shape, at: int) -> tuple[int, int]:
        """The rows that are changed of a piece of a matrix, or of the matrix of a piece of a stack, counted in the whole."""
        if self.only == -1:
            first, count = at, size[0]
        else:
            first, count = 0, size[1] if len(size) > 2 and at <= self.only < at + size[0] else 0
        stop = first + count
        return max(first, self.start), min(stop, stop if self.stop is None else self.stop)

    def windows(self, size, at, shapes):
        start, stop = self._rows(size, at)
        if start >= stop:
            return [Window(0, 0, 0)] * self.parts
        return self._inner.windows((stop - start, *size[1 if self.only == -1 else 2 :]), start - self.start, shapes)

    def apply(self, weight, at, parts, kind, base):
        start, stop = self._rows(weight.shape, at)
        if start >= stop:
            return weight
        out = weight.copy()
        here = slice(start - at, stop - at) if self.only == -1 else (self.only - at, slice(start, stop))
        out[here] = self._inner.apply(weight[here], start - self.start, parts, kind, base[here])
        return out


@dataclass(frozen=True)
class Merge(Op):
    """A weight and the parts of its updates -> the weight with all of them, in the bits of type `kind`.

    `size`: of the piece that is made, whose first row (or matrix of a stack) is `at`. All arrays arrive as float32.
    """

    size: Shape
    kind: str
    steps: tuple[Op, ...] = ()
    at: int = 0

    @property
    def emits(self) -> str:
        return self.kind

    @property
    def inverse(self) -> Op:
        raise LoraRefused("a merged weight has no way back")

    def lora(self, factors):
        raise LoraRefused("a merged weight takes no other update")

    def shape(self, shapes):
        return [self.size]

    def cut(self, shapes, axis=0):
        return None  # `rows` and `windows`

    def rows(self, start: int, stop: int) -> Merge:
        """The same of rows (or matrices) `start` to `stop`: it takes the `windows` of the same parts."""
        return replace(self, size=(stop - start, *self.size[1:]), at=self.at + start)

    def item(self, number: int) -> Merge:
        """The same of one matrix of a stack."""
        return replace(self, size=self.size[1:], at=0, steps=tuple(step.item(self.at + number) for step in self._steps))

    def windows(self, shapes: Sequence[Shape]) -> list[Window | None]:
        """What of each part (none of them the weight) the piece needs; None: all of it."""
        found: list[Window | None] = []
        for step in self._steps:
            found += step.windows(self.size, self.at, shapes[len(found) : len(found) + step.parts])
        return found

    @property
    def _steps(self) -> list[Update]:
        return [step for step in self.steps if isinstance(step, Update)]

    def forward(self, xs):
        weight, parts = xs[0].reshape(self.size), list(xs[1:])
        base, made = weight, None
        for step in self._steps:
            weight = weight if made is None else floats(made, self.kind)
            taken, parts = parts[: step.parts], parts[step.parts :]
            made = bits(step.apply(weight, self.at, taken, self.kind, base), self.kind)
        return [bits(weight, self.kind) if made is None else made]


def bits(values: np.ndarray, kind: str) -> np.ndarray:
    """Numbers rounded to a type of floats, as unsigned whole numbers."""
    from ...quant import quantize

    values = np.ascontiguousarray(values, np.float32)
    if kind == "F32":
        return values.view(np.uint32)
    rows = values.reshape(1, -1) if values.ndim < 2 else values.reshape(-1, values.shape[-1])
    return quantize(rows, kind, threads=1).view(f"u{FLOAT_WIDTH[kind]}").reshape(values.shape)


def floats(made: np.ndarray, kind: str) -> np.ndarray:
    """float32 of them."""
    from ...quant import dequantize

    if kind == "F32":
        return made.view(np.float32)
    rows = made.reshape(1, -1) if made.ndim < 2 else made.reshape(-1, made.shape[-1])
    return dequantize(rows.view(np.uint8), kind, threads=1).reshape(made.shape)


def rounded(values: np.ndarray, kind: str) -> np.ndarray:
    """The same numbers, as the type holds them."""
    return floats(bits(values, kind), kind)
