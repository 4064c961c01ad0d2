"""Operations that turn, reshape or compute: transposes, norm offsets, decays, latent attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from . import exact
from .arrays import contiguous, namespace, zeros
from .base import Cut, Factors, LoraRefused, Op, Size


@dataclass(frozen=True)
class Transpose(Op):
    """Swap the last two axes. `conv1d`: only the stored weight is turned, as GPT-2's Conv1D and gpt-oss' experts, whose
    factors peft keeps as [out, in]; otherwise they are turned as it is, as those of Llama 4's experts."""

    conv1d: bool = False

    def shape(self, shapes):
        if any(len(s) < 2 for s in shapes):
            raise ValueError("a tensor of at least 2 dimensions is needed")
        return [(*s[:-2], s[-1], s[-2]) for s in shapes]

    def forward(self, xs):
        return [contiguous(x.swapaxes(-1, -2)) for x in xs]

    def lora(self, factors):
        return list(factors) if self.conv1d else [Factors(*self.forward([f.b, f.a])) for f in factors]

    def cut(self, shapes, axis=0):
        turned = {len(s): {len(s) - 1: len(s) - 2, len(s) - 2: len(s) - 1}.get(axis, axis) for s in shapes}
        return super().cut(shapes, turned[len(shapes[0])]) if len(turned) == 1 else None


@dataclass(frozen=True)
class Reshape(Op):
    """The same elements in another shape. Both shapes are stated, so that each direction knows its own.

    Axes of 1 in front may be missing: ggml does not keep them when it rewrites a file.
    """

    hf: tuple[Size, ...]
    gguf: tuple[Size, ...]

    @property
    def inverse(self) -> Op:
        return Reshape(self.gguf, self.hf)

    def shape(self, shapes):
        (s,) = shapes
        if _without_ones(s) != _without_ones(self.hf) or math.prod(self.hf) != math.prod(self.gguf):
            raise ValueError(f"shape {list(s)} is not {list(self.hf)}, to become {list(self.gguf)}")
        return [self.gguf]

    def forward(self, xs):
        (x,) = xs
        if math.prod(x.shape) == math.prod(self.hf):
            return [x.reshape(self.gguf)]
        return [x.reshape(x.shape[0] * self.gguf[0] // self.hf[0], *self.gguf[1:])]  # of a piece, as many as it holds

    def lora(self, factors):
        raise LoraRefused("a convolution or vector has no low-rank update")

    def cut(self, shapes, axis=0):
        return Cut(0, math.gcd(self.hf[0], self.gguf[0])) if axis == 0 else None


def _without_ones(shape: Sequence[Size]) -> tuple[Size, ...]:
    """A shape without the axes of 1 in front."""
    first = next((i for i, n in enumerate(shape) if n != 1), len(shape))
    return tuple(shape[first:])


@dataclass(frozen=True)
class Pad(Op):
    """A table of `real` rows with rows of zeros behind it, or in `front`, `rows` in all; one that has as many already stays
    as it is. Of a stack of tables `real` may be a list with the rows of each."""

    rows: Size
    real: Size | tuple[Size, ...]
    undo: bool = False
    front: bool = False

    def shape(self, shapes):
        ((n, *rest),) = shapes
        before, after = (self.rows, self._real) if self.undo else (self._real, self.rows)
        if n != before:
            raise ValueError(f"{n} rows are not {before}")
        return [(after, *rest)]

    def item(self, number):
        return replace(self, real=self.real[number]) if isinstance(self.real, tuple) else self

    def _number(self, field, name, value):
        if field == "real" and isinstance(value, (list, tuple)):
            return tuple(super(Pad, self)._number(field, name, n) for n in value)
        return super()._number(field, name, value)

    @property
    def _real(self) -> int:
        return min(self.real, self.rows)

    def forward(self, xs):
        (x,) = xs
        kept = slice(self.rows - self._real, None) if self.front else slice(self._real)
        if self.undo:
            return [x[kept]]
        out = zeros((self.rows, *x.shape[1:]), x)
        out[kept] = x
        return [out]

    def lora(self, factors):
        raise LoraRefused("an update would fill the rows of zeros")

    def cut(self, shapes, axis=0):
        return Cut(axis, shapes[0][axis]) if axis else None


@dataclass(frozen=True)
class Same(Op):
    """`count` equal tensors of one; the way back takes the first."""

    count: int = 2
    undo: bool = False

    def shape(self, shapes):
        if self.undo and len({*shapes}) > 1:
            raise ValueError(f"shapes {shapes} are not those of copies")
        return [shapes[0]] * (1 if self.undo else self.count)

    def forward(self, xs):
        return [xs[0]] * (1 if self.undo else self.count)

    def lora(self, factors):
        return [factors[0]] * (1 if self.undo else self.count)


@dataclass(frozen=True)
class Add(Op):
    """x + value in float32: norm weights that a model stores as an offset from one.

    Not exact in general: (w + 1) - 1 in float32 returns every bf16 w of at least 2**-16, but float32 values lose bits.
    """

    value: float
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def inverse(self) -> Op:
        return Add(-self.value)

    def forward(self, xs):
        return [x + np.float32(self.value) for x in xs]


@dataclass(frozen=True)
class Scale(Op):
    """x * factor in float32, factor by factor as existing files have it: constants of the config folded into a weight.

    `factor`: a number or a constant by name; with `runs`, one for each of these runs of rows. `divide`: the way back.
    """

    factor: Any  # float, or one per run; in a table the name of a constant
    runs: tuple[Size, ...] = ()
    divide: bool = False
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    def _number(self, field, name, value):
        if field == "runs":
            return super()._number(field, name, value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value or not math.isfinite(value):
            raise ValueError(f"{name} is no factor")
        return float(value)

    @property
    def inverse(self) -> Op:
        return replace(self, divide=not self.divide)

    def shape(self, shapes):
        for s in shapes if self.runs else ():
            if sum(self.runs) != s[-2 if len(s) > 1 else -1]:
                raise ValueError(f"shape {list(s)} has not the rows {list(self.runs)}")
        return list(shapes)

    def forward(self, xs):
        out = []
        factor: Any
        for x in xs:
            if self.runs:
                factor = np.repeat(np.array(self.factor, np.float32), self.runs).reshape(-1, *(1,) * (x.ndim > 1))
            else:
                factor = np.float32(self.factor)
            out.append(x / factor if self.divide else x * factor)
        return out

    def lora(self, factors):
        return [Factors(f.a, self.forward([f.b])[0]) for f in factors]

    def cut(self, shapes, axis=0):
        rows = max(len(shapes[0]) - 2, 0)
        return Cut(axis, 1) if self.runs and axis == rows else super().cut(shapes, axis)


@dataclass(frozen=True)
class NegExp(Op):
    """x -> -exp(x), rounded once to float32: the decay of state-space layers, which HF stores as its logarithm.

    Rounded correctly, since the exp of one library, or of one processor, is not that of another.
    """

    undo: bool = False
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def inverse(self) -> Op:
        return NegExp(not self.undo)

    def forward(self, xs):
        wide = [x.astype(np.float64) for x in xs]
        if self.undo and any((x > 0).any() for x in wide):
            raise ValueError("a decay is positive, which no logarithm gives")
        return [exact.log(-x) if self.undo else -exact.exp(x) for x in wide]

    def lora(self, factors):
        raise LoraRefused("an update behind -exp(x) is not low-rank")


@dataclass(frozen=True)
class Softplus(Op):
    """x -> log(1 + exp(x)), rounded once to float32: scales that HF stores before they are made positive.

    Correctly, as NegExp; every bf16 value comes back.
    """

    undo: bool = False
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def inverse(self) -> Op:
        return Softplus(not self.undo)

    def forward(self, xs):
        wide = [x.astype(np.float64) for x in xs]
        if self.undo and any((x <= 0).any() for x in wide):
            raise ValueError("a scale is not positive, which no softplus gives")
        return [exact.inverse_softplus(x) if self.undo else exact.softplus(x) for x in wide]

    def lora(self, factors):
        raise LoraRefused("an update behind softplus is not low-rank")


@dataclass(frozen=True)
class MlaKv(Op):
    """DeepSeek's kv_b `[heads * (key + value), rank]` into k_b `[heads, rank, key]` and v_b `[heads, value, rank]`."""

    heads: Size
    key_length: Size
    value_length: Size
    undo: bool = False

    def shape(self, shapes):
        h, k, v = self.heads, self.key_length, self.value_length
        if self.undo:
            return [(h * (k + v), shapes[0][1])]
        ((rows, rank),) = shapes
        if rows != h * (k + v):
            raise ValueError(f"{rows} rows are not {h} heads of {k} + {v}")
        return [(h, rank, k), (h, v, rank)]

    def forward(self, xs):
        if self.undo:
            k_b, v_b = xs
            return [namespace(k_b).concatenate([k_b.swapaxes(1, 2), v_b], 1).reshape(-1, v_b.shape[2])]
        (x,) = xs
        kv = x.reshape(-1, self.key_length + self.value_length, x.shape[1])
        key = kv[:, : self.key_length].swapaxes(1, 2)
        return [contiguous(key), contiguous(kv[:, self.key_length :])]

    def lora(self, factors):
        # Per head, (B_h A)^T = A^T B_h^T: the key's factors change places; A is shared by all heads.
        if self.undo:
            raise LoraRefused("factors of k_b and v_b do not join into one pair of the same rank")
        (f,) = factors
        b = f.b.reshape(self.heads, self.key_length + self.value_length, f.rank)
        a = np.broadcast_to(f.a, (self.heads, *f.a.shape))
        key = b[:, : self.key_length]
        return [
            Factors(np.ascontiguousarray(key.swapaxes(1, 2)), np.ascontiguousarray(a.swapaxes(1, 2))),
            Factors(np.ascontiguousarray(a), np.ascontiguousarray(b[:, self.key_length :])),
        ]

    def cut(self, shapes, axis=0):
        return Cut(0, self.heads) if axis == 0 else None
