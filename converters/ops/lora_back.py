"""The factors of a GGUF adapter through the ops of the weight they belong to, the other way: what peft stores.

Source: peft `tuners/lora/layer.py` (how a pair is laid out), llama.cpp `llama-graph.cpp` (what the runtime computes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from .arrays import Array
from .base import Cut, Factors, LoraRefused, Op, Shape
from .lora import EMBEDDING, FUSED

T = TypeVar("T")


@dataclass(frozen=True)
class LoraBack(Op):
    """(lora_a, lora_b) of the GGUF tensors that a weight became -> the pairs (A, B) as peft stores them: `Lora` undone.

    `ops`, `kind`, `experts`, `index`, `scales`: as of `Lora`. `ranks[i]`: the rank of pair i, the rest is padding.
    `absent`: for each GGUF tensor 0, or, where it has no update, its rows. `own`: where the updates of the tensors have an A
    each, what each one's B is multiplied by; then the A's stand below each other, and the pair's rank is the sum of theirs.
    Empty: they share one A. `out`: which factors come out, of each pair.
    """

    ops: tuple[Op, ...]
    kind: str
    scales: tuple[float, ...]
    ranks: tuple[int, ...]
    experts: int = 0
    index: tuple[int, ...] = ()
    absent: tuple[int, ...] = (0,)
    own: tuple[float, ...] = ()
    out: str = "AB"
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    @property
    def inverse(self):
        raise LoraRefused("the way to a GGUF adapter is Lora")

    def bind(self, hp):
        return self  # made of bound ops

    def cut(self, shapes, axis=0) -> Cut | None:
        return None

    def shape(self, shapes):
        # As in `Lora`: factors of rank 0 hold no number and pass by the same code.
        empty = []
        for a, b in zip(shapes[::2], shapes[1::2], strict=True):
            if not all((*a, *b)):
                raise ValueError("a factor has no elements")
            without = ((a[0], 0), (b[0], 0)) if self.kind == EMBEDDING else ((*a[:-2], 0, a[-1]), (*b[:-1], 0))
            empty += [np.empty(s, np.float32) for s in without]
        made: list[Shape] = []
        for number, rank in enumerate(self.ranks):
            wide = rank * (self.experts if self.kind == FUSED else 1)
            for f in self._of_pair(self._outputs(empty), number):
                inner, rows = f.a.shape[-1], f.b.shape[-2]
                made += self._chosen((wide, rows) if self.kind == EMBEDDING else (wide, inner),
                                     (inner, wide) if self.kind == EMBEDDING else (rows, wide))
        return made

    def forward(self, xs):
        outputs = self._outputs(xs)
        made: list[Array] = []
        for number, scale in enumerate(self.scales):
            for f in self._of_pair(outputs, number):
                a, b = self._as_peft_has_it(f)
                made += map(np.ascontiguousarray, self._chosen(a, b / np.float32(scale) if scale not in (0, 1) else b))
        return made

    def _chosen(self, a: T, b: T) -> list[T]:
        return [x for side, x in (("A", a), ("B", b)) if side in self.out]

    def _outputs(self, xs: Sequence[Array]) -> list[Factors]:
        """The update of each GGUF tensor; of rank 0 where there is none."""
        pairs = iter(zip(xs[::2], xs[1::2], strict=True))
        found = [None if rows else Factors(*next(pairs)) for rows in self.absent]
        if self.kind == EMBEDDING:
            return [Factors(f.b.T, f.a) for f in found if f is not None]
        first = next(f for f in found if f is not None)
        nothing = [Factors(first.a[..., :0, :], np.zeros((*first.b.shape[:-2], rows, 0), np.float32)) for rows in self.absent]
        return [f if f is not None else none for f, none in zip(found, nothing, strict=True)]

    def _of_pair(self, outputs: Sequence[Factors], number: int) -> list[Factors]:
        """The factors of each HF weight that pair `number` belongs to."""
        if self.index:
            expert, rank = self.index[number], self.ranks[number]
            outputs = [Factors(f.a[expert][:rank], f.b[expert][:, :rank]) for f in outputs]
        factors = self._of_one_rank(outputs)
        for op in reversed(self.ops):
            factors = op.inverse.lora(factors)
        return list(factors)

    def _of_one_rank(self, outputs: Sequence[Factors]) -> Sequence[Factors]:
        """The same updates with one A for all."""
        if self.own:
            joined = np.concatenate([f.a for f in outputs], -2)
        else:
            joined = next(f.a for f, rows in zip(outputs, self.absent, strict=True) if not rows)
        at, out = 0, []
        for f, factor in zip(outputs, self.own or (1.0,) * len(outputs), strict=True):
            b = f.b
            if f.rank != joined.shape[-2]:
                b = np.zeros((*f.b.shape[:-1], joined.shape[-2]), np.float32)
                b[..., at : at + f.rank] = f.b if factor == 1 else f.b * np.float32(factor)
            at += f.rank if self.own else 0
            out.append(Factors(joined, b))
        return out

    def _as_peft_has_it(self, f: Factors) -> tuple[Array, Array]:
        if self.kind == EMBEDDING:  # the table's rows are A's columns
            return f.b.T, f.a.T
        if self.kind == FUSED:
            return f.a.reshape(-1, f.a.shape[-1]), f.b.transpose(1, 2, 0).reshape(f.b.shape[1], -1)
        return f.a, f.b
