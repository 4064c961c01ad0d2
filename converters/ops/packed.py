"""Operations on stored forms that are no floats: packed blocks, whole numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import contiguous, namespace
from .base import LoraRefused, Op, multiple

WHOLE_NUMBERS = ("I64", "I32")  # types of elements that are no floats, which ops emit


@dataclass(frozen=True)
class PackMxfp4(Op):
    """OpenAI's MXFP4 (blocks uint8 `[..., n, 16]`, scales uint8 `[..., n]`) into ggml's blocks, bit for bit.

    The checkpoint pairs neighbouring elements in a byte (2i low, 2i+1 high); ggml pairs i and i + 16.
    """

    undo: bool = False

    @property
    def emits(self) -> str | None:
        return "U8" if self.undo else "MXFP4"

    @property
    def on_blocks(self) -> bool:
        return True

    def shape(self, shapes):
        if self.undo:
            (s,) = shapes
            multiple("row length", s[-1], 32)
            return [(*s[:-1], s[-1] // 32, 16), (*s[:-1], s[-1] // 32)]
        blocks, scales = shapes
        if blocks != (*scales, 16):
            raise ValueError(f"blocks {list(blocks)} do not belong to scales {list(scales)}")
        return [(*scales[:-1], scales[-1] * 32)]

    def forward(self, xs):
        xp = namespace(xs[0])
        if self.undo:
            (x,) = xs
            x = x.reshape(*x.shape[:-1], -1, 17)
            codes = xp.concatenate([x[..., 1:] & 15, x[..., 1:] >> 4], -1)
            return [codes[..., 0::2] | codes[..., 1::2] << 4, contiguous(x[..., 0])]
        blocks, scales = xs
        codes = xp.stack([blocks & 15, blocks >> 4], -1).reshape(*blocks.shape[:-1], 32)
        packed = xp.concatenate([scales[..., None], codes[..., :16] | codes[..., 16:] << 4], -1)
        return [packed.reshape(*scales.shape[:-1], -1)]

    def lora(self, factors):
        raise LoraRefused("an MXFP4 weight takes no update; use the bf16 checkpoint as base")


@dataclass(frozen=True)
class FromPosition(Op):
    """Whole numbers of 64 bits stored as distances from their own positions, I64 `[n]`, into the numbers themselves: a draft
    model's tokens as ids of its target's."""

    undo: bool = False

    @property
    def emits(self) -> str | None:
        return "I64"

    def shape(self, shapes):
        if len(shapes[0]) != 1:
            raise ValueError(f"{list(shapes[0])} is no list of numbers")
        return list(shapes)

    def forward(self, xs):
        (given,), xp = xs, namespace(xs[0])
        x = given.view(xp.int64)
        places = xp.arange(x.shape[0], dtype=xp.int64, **({} if isinstance(x, np.ndarray) else {"device": x.device}))
        return [(x - places if self.undo else x + places).view(given.dtype)]

    def lora(self, factors):
        raise LoraRefused("a list of tokens takes no update")

    def cut(self, shapes, axis=0):
        return None  # what a number becomes depends on its position in the whole


@dataclass(frozen=True)
class Narrow(Op):
    """Whole numbers of 64 bits, or already of 32, into such of 32; the way back makes 64. ValueError for one beyond them."""

    undo: bool = False

    @property
    def emits(self) -> str | None:
        return "I64" if self.undo else "I32"

    def forward(self, xs):
        (given,), xp = xs, namespace(xs[0])
        if given.itemsize == (8 if self.undo else 4):
            return [given]
        if self.undo:
            return [contiguous(given).view(xp.int32) + xp.zeros_like(given, dtype=xp.int64)]
        x = contiguous(given).view(xp.int64)
        narrow = contiguous(x).view(xp.int32).reshape(*x.shape, 2)[..., 0]  # little end first
        if bool((narrow != x).any()):
            raise ValueError("a whole number is beyond 32 bits")
        return [contiguous(narrow)]

    def lora(self, factors):
        raise LoraRefused("whole numbers take no update")
