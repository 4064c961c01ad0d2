"""Weights of quantized checkpoints into float32: several stored arrays, codes with their scales, make one array.

`Unpack` says how: which matrix of numbers each stored array is (`Grid`), and how the numbers make the weight. It is plain
data, and knows for any run of rows what it needs of each stored array (`windows`).

Arrays arrive as their bits, unsigned whole numbers; floats of 16 bits and more as float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .base import LoraRefused, Op, Shape
from .code_values import values_of
from .grid import Grid, Window
from .repack import BLOCK, blocks

SHARED = ("scales", "zeros", "biases")
UNFIT = (  # parts, or fields, that blocks have no place for
    ("groups", "their columns are in groups out of order (act-order)"), ("columns", "their columns are scaled once more"),
    ("values", "their codes stand for numbers of a table"), ("scale_values", "their scales are codes themselves"),
    ("once", "their zeros are no whole numbers"), ("width", "they are packed across rows"),
    ("anew", "their blocks begin anew with each GPU"), ("floats", "they are floats as they are"),
)


@dataclass(frozen=True)
class Unpack(Op):
    """Stored arrays, one per entry of `parts`, into float32 `size` [rows, cols]: (code - zero) * scale, or code * scale +
    bias, where `block` rows and columns share a scale.

    parts   of each array its role, and how it is stored:
            codes, scales, zeros, biases   matrices; of the last three, a row per `block` rows
            floats                         in the place of all others: the weight itself
            factor, divisor                one number for all scales
            groups                         of each column, in place of blocks of them; I32
            values                         what the codes stand for
            columns                        of each column, what it is multiplied by
            scale_values, scale_scales     of scales that are codes themselves, each `nested` of them with a scale, to which
                                           `offset` is added
    anew    rows after which blocks of rows begin anew
    first   of rows that are part of a matrix, how many are before them
    width   columns of the coded matrix, where its rows are runs of the weight's elements, not rows of it
    after   what every number is multiplied by, in the end
    symmetric   zeros are the middle of the codes' range, as far as was looked: nothing but `into` goes by it
    used    bits of a code that hold it, where fewer than it has, as is said; 0: all
    into    the GGUF type whose blocks it makes in place of float32
    once    zeros are no whole numbers: what float32 would round twice is computed in float64
    """

    size: tuple[int, int]
    parts: tuple[tuple[Any, ...], ...]
    block: tuple[int, int]
    first: int = 0
    width: int = 0
    after: float = 1.0
    once: bool = False
    nested: int = 0
    offset: float = 0.0
    symmetric: bool = False
    used: int = 0
    into: str = ""
    anew: int = 0

    @property
    def emits(self) -> str:
        return self.into or "F32"

    @property
    def middle(self) -> int:
        """The zero of a code whose range lies evenly about it."""
        codes = dict(self.parts)["codes"]
        return 0 if codes.kind == "I" else 1 << (codes.bits or 8) - 1

    @property
    def reach(self) -> tuple[int, int]:
        """The least of the whole numbers that codes stand for, and the greatest."""
        codes = dict(self.parts)["codes"]
        bits = self.used or codes.bits or 8
        least = 0 if codes.kind == "U" else -(1 << bits - 1)
        return least, least + (1 << bits) - 1

    @cached_property
    def repacked(self) -> Unpack | None:
        """The same into blocks of GGUF that hold the very numbers; None where no type's do. In NVFP4 but for a factor (or
        divisor) of the whole weight, which GGUF keeps in a tensor beside it."""
        kind, _ = self.blocks
        return replace(self, into=kind) if kind else None

    @cached_property
    def blocks(self) -> tuple[str, str]:
        """The type whose blocks `repacked` makes, and where there is none why not."""
        grids = dict(self.parts)
        for what, why in UNFIT:
            if what in grids or getattr(self, what, False):
                return "", why
        if "codes" not in grids:
            return "", "they are not stored as codes"
        if self.after != 1:
            return "", "all of them are scaled once more"
        codes, zeros = grids["codes"], grids.get("zeros")
        bits = self.used or codes.bits or 8
        kind = ""
        if codes.kind == "E2M1":
            kind = {"F8_E8M0": "MXFP4", "F8_E4M3": "NVFP4"}.get(grids["scales"].kind, "")
            if kind == "MXFP4" and grids.keys() != {"codes", "scales"}:
                kind = ""
        elif codes.kind == "T":
            kind = "TQ2_0"
        elif "biases" in grids:
            kind = "" if bits > 5 else "Q4_1" if bits < 5 else "Q5_1"
        elif codes.kind in ("U", "U-", "I"):
            reach = bits + (zeros is not None and not self.symmetric)  # bits of a difference
            kind = next((name for most, name in ((4, "Q4_0"), (5, "Q5_0"), (8, "Q8_0")) if reach <= most), "")
        if not kind:
            whole = codes.kind in ("U", "U-", "I")
            return "", f"GGUF has no such {'whole numbers' if whole else 'floats'} of {bits} bits" + " with zeros" * bool(zeros)
        if self.size[1] % BLOCK[kind]:
            return "", f"{self.size[1]} columns are no whole blocks of {kind}"
        if self.block[1] % BLOCK[kind] and self.block[1] != self.size[1] and kind != "NVFP4":
            return "", f"groups of {self.block[1]} columns are no whole blocks of {kind}"
        return kind, ""

    @property
    def inverse(self) -> Op:
        raise LoraRefused("a decoded weight has no way back; `Pack` is that of one in blocks")

    @property
    def sound(self) -> bool:
        """Whether the fields, which may be a stranger's, are what they can be."""
        grids = [part[1] for part in self.parts if len(part) == 2 and type(part[0]) is str and isinstance(part[1], Grid)]
        return (len(grids) == len(self.parts) == len(dict(self.parts)) and all(g.sound for g in grids)
                and len(self.size) == len(self.block) == 2 and all(map(_counts, (*self.size, *self.block)))
                and (self.first, self.width, self.nested, self.anew) == (0, 0, 0, 0) and (self.after, self.offset) == (1, 0)
                and self.once is False and isinstance(self.symmetric, bool) and type(self.used) is int and 0 <= self.used <= 8)

    def shape(self, shapes):
        if len(shapes) != len(self.parts):
            raise ValueError(f"{len(shapes)} arrays for {len(self.parts)} parts")
        return [self.size]

    def cut(self, shapes, axis=0):
        return None  # `rows` and `windows`: of each array another run

    def lora(self, factors):
        raise LoraRefused("a quantized weight takes no update")

    def rows(self, start: int, stop: int) -> Unpack:
        """The same of rows `start` to `stop`: it takes the `windows` of the same arrays."""
        return replace(self, size=(stop - start, self.size[1]), first=self.first + start)

    def windows(self, shapes: Sequence[Shape]) -> list[Window | None]:
        """What of each array the rows need; None: all of it."""
        start, stop = self.coded[:2]
        found: list[Window | None] = []
        for (role, grid), shape in zip(self.parts, shapes, strict=True):
            if role in ("codes", "floats"):
                found.append(grid.window(shape, start, stop))
            elif role in SHARED:
                found.append(grid.window(shape, self.band(start), self.band(stop - 1) + 1))
            else:
                found.append(None)
        return found

    def band(self, row: Any) -> Any:
        """The row of scales that a row, or each of an array of them, shares."""
        if not self.anew:
            return row // self.block[0]
        return row // self.anew * -(-self.anew // self.block[0]) + row % self.anew // self.block[0]

    @property
    def coded(self) -> tuple[int, int, int, int]:
        """First row, row behind the last one, and columns of the coded matrix; elements before the first one wanted."""
        rows, cols = self.size
        if not self.width:
            return self.first, self.first + rows, cols, 0
        begin, end = self.first * cols, (self.first + rows) * cols
        return begin // self.width, -(-end // self.width), self.width, begin % self.width

    def forward(self, xs):
        from ...quant.cpu.stored import scale_and_shift, scale_codes, scale_columns, scale_once

        start, stop, cols, skip = self.coded
        if self.parts[0][0] == "floats":
            return [np.ascontiguousarray(self.parts[0][1].numbers(xs[0], cols)[: stop - start])]
        codes, values, found = self._numbers(xs)
        if self.into:
            return [self._blocks(codes, values, found)]
        scales = found["scales"]
        zeros = found.get("zeros", np.empty((0, 0), np.float32))
        out = np.empty((stop - start, cols), np.float32)
        if "groups" in found:
            scale_columns(codes, values, scales, zeros if zeros.size else np.zeros_like(scales), found["groups"], out)
        elif "biases" in found:
            scale_and_shift(codes, values, scales, found["biases"], self.block[1], out)
        elif self.once:
            scale_once(codes, values, scales, zeros, start % self.block[0], *self.block, out)
        elif self.anew:
            rows = self.band(np.arange(start, stop)) - self.band(start)
            scale_codes(codes, values, scales[rows], zeros, 0, 1, self.block[1], out)
        else:
            scale_codes(codes, values, scales, zeros, start % self.block[0], *self.block, out)
        if "columns" in found:
            out *= found["columns"]
        if self.after != 1:
            out *= np.float32(self.after)
        return [out.reshape(-1)[skip : skip + math.prod(self.size)].reshape(self.size)]

    def _blocks(self, codes: np.ndarray, values: np.ndarray, found: dict[str, np.ndarray]) -> np.ndarray:
        """uint8 [rows, row_bytes] of type `into`."""
        from ...quant.cpu.stored import scale_codes

        rows, cols = self.size
        bands = (self.first + np.arange(rows)) // self.block[0] - self.first // self.block[0]
        if self.into in ("MXFP4", "NVFP4"):
            return blocks(self.into, codes, {"scales": found["scale_codes"][bands]})
        if self.symmetric and (found["zeros"] != self.middle).any():
            raise ValueError(f"zeros that are not {self.middle}, the middle of the codes' range, as its first ones are")
        numbers, zeros = np.empty((rows, cols), np.float32), found.get("zeros", np.empty((0, 0), np.float32))
        scale_codes(codes, values, np.ones_like(found["scales"]), zeros, self.first % self.block[0], *self.block, numbers)
        each = self.block[1] // BLOCK[self.into]
        return blocks(self.into, numbers.astype(np.int16), {
            role: found[role][bands].repeat(each, 1) for role in ("scales", "biases") if role in found})

    def _numbers(self, xs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """The codes, what each stands for, and the other parts by role."""
        start, stop, cols, _ = self.coded
        above, below = self.band(start), self.band(stop - 1) + 1
        groups = -(-cols // self.block[1])
        found = {}
        for (role, grid), x in zip(self.parts, xs, strict=True):
            if role == "codes":
                codes, values = grid.codes(x, cols)[grid.before(start) :][: stop - start], values_of(grid.kind, grid.bits)
                if len(codes) != stop - start:
                    raise ValueError(f"{len(codes)} rows of codes, where {stop - start} are needed")
            elif role in SHARED:
                numbers = grid.numbers(x, groups)[grid.before(above) :][: below - above]
                if len(numbers) != below - above:
                    raise ValueError(f"{len(numbers)} rows of {role}, where {below - above} are needed")
                found[role] = np.ascontiguousarray(numbers)
                if self.into in ("MXFP4", "NVFP4"):
                    found["scale_codes"] = grid.codes(x, groups)[grid.before(above) :][: below - above]
            else:
                found[role] = _groups(x, cols, self.block[1]) if role == "groups" else x.reshape(-1)
        if "values" in found:
            values = np.resize(found["values"], 256)
        if "scale_values" in found:
            place = np.arange(above, below) // self.nested
            found["scales"] = found["scale_values"][found["scales"].astype(np.uint8)] * found["scale_scales"][place][:, None]
            found["scales"] += np.float32(self.offset)
        scales = found.setdefault("scales", np.ones((1, 1), np.float32))
        if "factor" in found:
            found["scales"] = scales * found["factor"]
        if "divisor" in found:
            found["scales"] = scales / found["divisor"]
        return np.ascontiguousarray(codes), values, found


def _counts(n: int) -> bool:
    return type(n) is int and 0 < n < 1 << 40


def _groups(x: np.ndarray, cols: int, width: int) -> np.ndarray:
    """int32 [cols]: the group of each column."""
    found = x.view(np.int32).reshape(-1)
    count = -(-cols // width)
    if len(found) != cols or found.min() < 0 or found.max() >= count:
        raise ValueError(f"groups of {len(found)} columns, {found.min()} to {found.max()}, where there are {count} of {cols}")
    return found
