"""Operations that turn, reshape or compute: transposes, norm offsets, decays, latent attention."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from .arrays import contiguous, namespace
from .base import Factors, LoraRefused, Op, Size


@dataclass(frozen=True)
class Transpose(Op):
    """Swap the last two axes."""

    def shape(self, shapes):
        if any(len(s) < 2 for s in shapes):
            raise ValueError("a tensor of at least 2 dimensions is needed")
        return [(*s[:-2], s[-1], s[-2]) for s in shapes]

    def forward(self, xs):
        return [contiguous(x.swapaxes(-1, -2)) for x in xs]

    def lora(self, factors):
        return [Factors(*self.forward([f.b, f.a])) for f in factors]

    def units(self, shapes):
        return math.gcd(*(s[0] if len(s) > 2 else 1 for s in shapes))


@dataclass(frozen=True)
class Conv1dStorage(Transpose):
    """GPT-2 stores a linear layer as [in, out]; PEFT's factors are [out, in] already, so only the weight turns."""

    def lora(self, factors):
        return list(factors)


@dataclass(frozen=True)
class Squeeze(Op):
    """Drop an axis of length 1, counted from the last; the inverse puts it back."""

    axis: int
    undo: bool = False

    @property
    def inverse(self) -> Op:
        return replace(self, undo=not self.undo)

    def shape(self, shapes):
        (s,) = shapes
        if self.undo:
            at = len(s) + 1 + self.axis
            return [(*s[:at], 1, *s[at:])]
        at = len(s) + self.axis
        if at < 0 or s[at] != 1:
            raise ValueError(f"axis {self.axis} of shape {list(s)} is not of length 1")
        return [(*s[:at], *s[at + 1 :])]

    def forward(self, xs):
        return [xs[0].reshape(self.shape([xs[0].shape])[0])]

    def lora(self, factors):
        raise LoraRefused("a convolution or vector has no low-rank update")

    def units(self, shapes):
        return shapes[0][0] if len(shapes[0]) > 2 else 1


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
class NegExp(Op):
    """x -> -exp(x), rounded once to float32: the decay of state-space layers, which HF stores as its logarithm.

    In float64, since the float32 exp of one library, or of one processor, is not that of another.
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
        return [(np.log(-x) if self.undo else -np.exp(x)).astype(np.float32) for x in wide]

    def lora(self, factors):
        raise LoraRefused("an update behind -exp(x) is not low-rank")


@dataclass(frozen=True)
class MlaKv(Op):
    """DeepSeek's kv_b `[heads * (key + value), rank]` into k_b `[heads, rank, key]` and v_b `[heads, value, rank]`."""

    heads: Size
    key_length: Size
    value_length: Size
    undo: bool = False

    @property
    def inverse(self) -> Op:
        return replace(self, undo=not self.undo)

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
        (f,) = factors
        if self.undo:
            raise LoraRefused("factors of k_b and v_b do not join into one pair of the same rank")
        b = f.b.reshape(self.heads, self.key_length + self.value_length, f.rank)
        a = np.broadcast_to(f.a, (self.heads, *f.a.shape))
        key = b[:, : self.key_length]
        return [
            Factors(np.ascontiguousarray(key.swapaxes(1, 2)), np.ascontiguousarray(a.swapaxes(1, 2))),
            Factors(np.ascontiguousarray(a), np.ascontiguousarray(b[:, self.key_length :])),
        ]

    def units(self, shapes):
        return self.heads
