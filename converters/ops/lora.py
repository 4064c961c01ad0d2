"""A LoRA adapter's factors through the ops of the weight they belong to, as one op of a plan.

A weight's update is `scale * B @ A`; its scale differs by module (alpha, rank, rsLoRA), while the runtime multiplies
every update with one `alpha / rank`. What differs is folded into B. Source: peft `tuners/lora/layer.py`, llama.cpp
`llama-adapter.h` (get_scale) and `llama-graph.cpp` (build_lora_mm, build_lora_mm_id, build_inp_embd).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .arrays import Array
from .base import Cut, Factors, LoraRefused, Op, Shape

MATRIX, EMBEDDING, CONV1D, FUSED = "matrix", "embedding", "conv1d", "fused"


@dataclass(frozen=True)
class Lora(Op):
    """Pairs (A, B) as peft stores them -> (lora_a, lora_b) of each GGUF tensor that their weight becomes.

    `ops`: the weight's own ops. `kind`: how peft lays the pair out (`matrix` A [r, in], B [out, r]; `embedding`
    A [r, vocab], B [width, r]; `fused` experts of one parameter: A [r * E, in], B [out, r * E]). `scales[i]`
    multiplies the B of pair i. `experts`: 0, or the number of experts that are stacked; then `index[i]` is the expert
    of pair i, and experts without a pair get zero factors. Ranks are padded with zeros to `rank`.
    """

    ops: tuple[Op, ...]
    kind: str
    scales: tuple[float, ...]
    rank: int
    experts: int = 0
    index: tuple[int, ...] = ()
    moves: ClassVar[bool] = False
    exact: ClassVar[bool] = False

    def shape(self, shapes):
        # Factors of rank 0 hold no number and pass by the same code; what they become has the rank in place of the 0.
        kinds: dict[tuple[Shape, Shape], list[Shape]] = {}
        for pair in zip(shapes[::2], shapes[1::2], strict=True):
            if pair not in kinds:
                kinds[pair] = self._pair_shapes(*pair)
        first, *others = kinds.values()
        if any(found != first for found in others):
            raise ValueError("the factors of the experts differ in shape")
        return first

    def _pair_shapes(self, a: Shape, b: Shape) -> list[Shape]:
        """Shapes of lora_a and lora_b of each output, from those of one pair."""
        if not all((*a, *b)):
            raise ValueError("a factor has no elements")
        outputs = self._through(np.empty((0, a[1]), np.float32), np.empty((b[0], 0), np.float32), 1.0)
        stack = (self.experts,) if self.experts and self.kind != FUSED else ()
        shapes = []
        for f in outputs:
            lora_a, lora_b = (*f.a.shape[:-2], self.rank, f.a.shape[-1]), (*f.b.shape[:-1], self.rank)
            if self.kind == EMBEDDING:
                lora_a, lora_b = lora_b, lora_a[::-1]
            shapes += [(*stack, *lora_a), (*stack, *lora_b)]
        return shapes

    @property
    def inverse(self):
        raise LoraRefused("the way back from a GGUF adapter is not this op's")

    def bind(self, hp):
        return self  # made of bound ops

    def cut(self, shapes, axis=0) -> Cut | None:
        return None

    def forward(self, xs):
        pairs = zip(xs[::2], xs[1::2], self.scales, strict=True)
        through = [[self._padded(f) for f in self._through(a, b, scale)] for a, b, scale in pairs]
        return [x for parts in zip(*through, strict=True) for x in self._joined(parts)]

    def _through(self, a: Array, b: Array, scale: float) -> list[Factors]:
        """The factors of each output's update. LoraRefused where there are none."""
        outputs = [self._factors(a, b, scale)]
        for op in self.ops:
            outputs = op.lora(outputs)
        return outputs

    def _factors(self, a: Array, b: Array, scale: float) -> Factors:
        if scale != 1:
            b = b * np.float32(scale)
        if self.kind == EMBEDDING:  # the table's rows are A's columns
            return Factors(np.ascontiguousarray(b.T), np.ascontiguousarray(a.T))
        if self.kind == FUSED:
            a = a.reshape(self.experts, -1, a.shape[-1])
            b = b.reshape(b.shape[0], -1, self.experts).transpose(2, 0, 1)
        return Factors(a, b)

    def _padded(self, f: Factors) -> Factors:
        more = self.rank - f.rank
        if not more:
            return f
        none = [(0, 0)] * (f.a.ndim - 2)
        return Factors(np.pad(f.a, [*none, (0, more), (0, 0)]), np.pad(f.b, [*none, (0, 0), (0, more)]))

    def _joined(self, parts: Sequence[Factors]) -> tuple[Array, Array]:
        if self.kind == EMBEDDING:  # the runtime looks rows of lora_a up
            return parts[0].b, np.ascontiguousarray(parts[0].a.T)
        if self.kind == FUSED or not self.experts:
            return np.ascontiguousarray(parts[0].a), np.ascontiguousarray(parts[0].b)
        a = np.zeros((self.experts, *parts[0].a.shape), np.float32)
        b = np.zeros((self.experts, *parts[0].b.shape), np.float32)
        for expert, f in zip(self.index, parts, strict=True):
            a[expert], b[expert] = f.a, f.b
        return a, b
