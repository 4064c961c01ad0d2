"""Weights of quantized checkpoints into float32: several stored arrays, codes with their scales, make one array.

`Unpack` says how: which matrix of numbers each stored array is (`Grid`), and how the numbers make the weight. It is plain
data, and knows for any run of rows what it needs of each stored array (`windows`), so that no array need be decoded whole.

Arrays arrive as their bits, unsigned whole numbers; floats of 16 bits and more as float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .base import LoraRefused, Op, Shape
from .repack import BLOCK, blocks

FLOATS = ("F64", "F32", "F16", "BF16")  # arrive as float32
WORD = 32  # bits
SHARED = ("scales", "zeros", "biases")


class Window(NamedTuple):
    """Positions `start` to `stop` of an axis of a stored array."""

    axis: int
    start: int
    stop: int


def values_of(kind: str, bits: int) -> np.ndarray:
    """float32 [256]: what each code stands for. `bits`: of a code that is less than a byte."""
    codes = np.arange(256)
    if kind in _FLOAT8:
        return _FLOAT8[kind]
    if kind == "E2M1":
        return np.tile(np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32), 16)
    if kind == "E2M3":
        return np.tile(np.concatenate([_FLOAT6, -_FLOAT6]), 4)
    half = 1 << (bits or 8) - 1
    numbers = {"U": codes, "U-": codes - half, "I": (codes & 2 * half - 1 ^ half) - half, "U+1": codes + 1 & 2 * half - 1,
               "T": codes - 1}
    return numbers[kind].astype(np.float32)


def _small_floats(exponent_bits: int, bias: int, nan: Sequence[int], infinities: bool = False) -> np.ndarray:
    """The values of 8 bits: sign, exponent, mantissa."""
    codes = np.arange(256)
    mantissa_bits = 7 - exponent_bits
    exponent, mantissa = (codes & 127) >> mantissa_bits, codes & (1 << mantissa_bits) - 1
    fraction = np.where(exponent == 0, mantissa, mantissa + (1 << mantissa_bits)) * 2.0**-mantissa_bits
    values = np.where(codes > 127, -1.0, 1.0) * np.ldexp(fraction, np.maximum(exponent, 1) - bias)
    if infinities:
        top = exponent == (1 << exponent_bits) - 1
        values = np.where(top, np.where(mantissa == 0, np.copysign(np.inf, values), np.nan), values)
    values[list(nan)] = np.nan
    return values.astype(np.float32)


_FLOAT8 = {
    "F8_E4M3": _small_floats(4, 7, (0x7F, 0xFF)), "F8_E5M2": _small_floats(5, 15, (), infinities=True),
    "F8_E4M3FNUZ": _small_floats(4, 8, (0x80,)), "F8_E5M2FNUZ": _small_floats(5, 16, (0x80,)),
    "F8_E8M0": np.append(np.ldexp(1.0, np.arange(255) - 127), np.nan).astype(np.float32),
}  # fmt: skip

_FLOAT6 = np.array([m / 8 if e == 0 else (1 + m / 8) * 2.0 ** (e - 1) for e in range(4) for m in range(8)], np.float32)


@dataclass(frozen=True)
class Grid(Op):
    """A matrix of numbers as it is stored: an array of `kind`, whose elements are codes themselves (`bits` 0) or hold
    several of `bits` that follow each other along `axis`.

    kind    floats (F32 ...), F8_E4M3 ..., F8_E8M0, E2M1, E2M3; U: whole numbers, U-: less half their range, I: two's
            complement, U+1: one more, round the range, T: less one
    turned  the array holds the matrix with rows for columns
    dense   codes straddle words of 32 bits; else as many as fit whole are in each
    order   of codes of 4 bits, places of a run of codes where not one after another: `order[k]` of the k-th lowest
    lanes   such a run is as many rows of codes, one after another
    planes  bits of codes lie apart: of 32 codes first so many of the lowest bits, then so many of the next ...
    word    bits of an element
    bands   the codes of an element are this many bands of rows apart, the first band in the highest bits where `high`
    """

    kind: str = "F32"
    bits: int = 0
    axis: int = 1
    turned: bool = False
    dense: bool = True
    order: tuple[int, ...] = ()
    bands: int = 0
    high: bool = False
    lanes: int = 1
    planes: tuple[int, ...] = ()
    word: int = WORD

    @property
    def sound(self) -> bool:
        """As `Unpack.sound`."""
        kinds = (*FLOATS, *_FLOAT8, "E2M1", "U", "U-", "I", "U+1", "T")
        return (self.kind in kinds and type(self.bits) is int and 0 <= self.bits <= 8 and self.axis in (0, 1)
                and all(isinstance(flag, bool) for flag in (self.turned, self.dense, self.high))
                and sorted(self.order) == list(range(len(self.order))) and len(self.order) % 2 == 0
                and type(self.bands) is int and 0 <= self.bands * self.bits <= WORD and self.word in (8, 16, WORD)
                and (self.lanes == 1 or self.order != ()) and (not self.planes or sum(self.planes) == self.bits))

    def window(self, shape: Shape, start: int, stop: int) -> Window:
        """What of an array of this shape holds the matrix' rows from `start` to `stop`, and `before(start)` more."""
        if self.bands:
            return Window(0, 0, shape[0])
        axis = 1 if self.turned else 0
        if not self.bits or axis != self.axis:
            return Window(axis, start // self.lanes, -(-stop // self.lanes))
        words, codes = self._period
        return Window(axis, start // codes * words, min(-(-stop // codes) * words, shape[axis]))

    def before(self, start: int) -> int:
        """How many rows a window has before row `start`."""
        if self.bands:
            return start
        return start % (self._period[1] if self.bits and self.axis == self.turned else self.lanes)

    @property
    def _period(self) -> tuple[int, int]:
        """Words, and the codes in them, after which the packing begins again."""
        whole = not self.planes and (not self.dense or self.word % self.bits == 0)
        return (1, self.word // self.bits) if whole else (self.bits, WORD)

    def codes(self, x: np.ndarray, cols: int) -> np.ndarray:
        """uint8 [rows, cols] of a window on the array (rows before the first one wanted included); for floats, float32.

        ValueError where the array holds fewer columns.
        """
        if not self.bits:
            found = _turned(x) if self.turned else x
        elif self.bands:
            shifts = range(self.bands) if not self.high else reversed(range(self.bands))
            found = np.concatenate([(x >> self.bits * k & (1 << self.bits) - 1).astype(np.uint8) for k in shifts])
        elif self.turned and self.axis and self.bits == 4 and self.word == WORD and len(self.order) in (0, 8):
            found = _below(_turned(x), self.order or range(8))
        else:
            words = _turned(x) if self.axis == 0 else x
            found = self._spread(words)
            if self.lanes > 1:  # [n, runs, lanes, columns of a run]
                found = found.reshape(len(found), -1, self.lanes, len(self.order) // self.lanes).swapaxes(1, 2)
                found = found.reshape(len(found) * self.lanes, -1)
            if (self.axis == 0) != self.turned:
                found = _turned(found)
        if found.shape[1] < cols:
            raise ValueError(f"{found.shape[1]} columns of codes, where {cols} are needed")
        return found[:, :cols]

    def _spread(self, words: np.ndarray) -> np.ndarray:
        """The codes of each row of words, or of bytes."""
        from ...quant.cpu.stored import unpack

        n, width = words.shape
        if self.bits == 8:
            return np.ascontiguousarray(words).view(np.uint8).reshape(n, -1)
        if self.planes:
            runs = np.ascontiguousarray(words).view(np.uint8).reshape(n, -1, 4 * self.bits)
            found, start = np.zeros((n, runs.shape[1] * WORD), np.uint8), 0
            for bits in self.planes:
                plane = np.empty_like(found)
                unpack(np.ascontiguousarray(runs[..., 4 * start : 4 * (start + bits)]).reshape(n, -1), bits,
                       np.zeros(0, np.int64), plane)
                found |= plane << start
                start += bits
            return found
        if self.dense or WORD % self.bits == 0:
            rows = np.ascontiguousarray(words).view(np.uint8).reshape(n, -1)
            count = rows.shape[1] * 8 // self.bits
        else:
            rows, count = np.ascontiguousarray(words).view(np.uint8).reshape(n * width, -1), WORD // self.bits
        out = np.empty((len(rows), count), np.uint8)
        unpack(rows, self.bits, np.array(self.order, np.int64), out)
        return out.reshape(n, -1)

    def stored(self, codes: np.ndarray, width: int) -> np.ndarray:
        """uint8 [n, bytes]: the whole array, with elements of `width` bytes, that holds the matrix of codes [rows, cols]."""
        if not self.bits:
            out = codes.T if self.turned else codes
        elif self.bands:
            bands = range(self.bands)
            shifts = self.bits * np.array(bands[::-1] if self.high else bands)[:, None, None]
            out = np.bitwise_or.reduce(codes.reshape(self.bands, -1, codes.shape[1]).astype(f"u{width}") << shifts)
            out = out.astype(f"u{width}")
        else:
            lines = codes.T if (self.axis == 0) != self.turned else codes
            if self.order:
                lines = lines.reshape(len(lines), -1, len(self.order))[..., self.order].reshape(lines.shape)
            if self.bits == 4:
                out = lines[:, ::2] | lines[:, 1::2] << 4
            elif self.planes:
                each = lines.reshape(len(lines), -1, WORD, 1)
                parts = np.split(np.unpackbits(each, axis=3, count=self.bits, bitorder="little"),
                                 np.cumsum(self.planes)[:-1], axis=3)
                out = np.concatenate([np.packbits(part.reshape(*each.shape[:2], -1), axis=2, bitorder="little")
                                      for part in parts], 2).reshape(len(lines), -1)
            else:
                bits = np.unpackbits(np.ascontiguousarray(lines)[..., None], axis=2, count=self.bits, bitorder="little")
                out = np.packbits(bits.reshape(len(lines), -1), axis=1, bitorder="little")
            if self.axis == 0:
                out = np.ascontiguousarray(out).view(f"u{width}").T
        out = np.ascontiguousarray(out)
        return out.view(np.uint8).reshape(len(out), -1)

    def numbers(self, x: np.ndarray, cols: int) -> np.ndarray:
        """float32 [rows, cols] of a window."""
        codes = self.codes(x, cols)
        return codes if self.kind in FLOATS else values_of(self.kind, self.bits)[codes]


def _below(words: np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Codes of words of eight rows each: turned as words, an eighth of what codes would be to turn."""
    from ...quant.cpu.stored import unpack_below

    out = np.empty((8 * len(words), words.shape[1]), np.uint8)
    unpack_below(words, np.array(order, np.int64), out)
    return out


def _turned(x: np.ndarray) -> np.ndarray:
    from ...quant.cpu.stored import turn

    out = np.empty(x.shape[::-1], x.dtype)
    turn(x, out)
    return out


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
    symmetric   zeros are half the codes' range
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
    into: str = ""
    anew: int = 0

    @property
    def emits(self) -> str:
        return self.into or "F32"

    @cached_property
    def repacked(self) -> Unpack | None:
        """The same into blocks of GGUF that hold the very numbers; None where no type's do. In NVFP4 but for a factor (or
        divisor) of the whole weight, which GGUF keeps in a tensor beside it."""
        grids = dict(self.parts)
        if "codes" not in grids:
            return None
        codes, zeros = grids["codes"], grids.get("zeros")
        if (self.width or self.once or self.anew or self.after != 1
                or {"groups", "values", "scale_values", "columns"} & grids.keys()):
            return None
        bits = codes.bits or 8
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
        if not kind or self.size[1] % BLOCK[kind]:
            return None
        if self.block[1] % BLOCK[kind] and self.block[1] != self.size[1] and kind != "NVFP4":
            return None
        return replace(self, into=kind)

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
                and self.once is False and isinstance(self.symmetric, bool))

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
        start, stop = self._coded[:2]
        found: list[Window | None] = []
        for (role, grid), shape in zip(self.parts, shapes, strict=True):
            if role in ("codes", "floats"):
                found.append(grid.window(shape, start, stop))
            elif role in SHARED:
                found.append(grid.window(shape, self._band(start), self._band(stop - 1) + 1))
            else:
                found.append(None)
        return found

    def _band(self, row: Any) -> Any:
        """The row of scales that a row, or each of an array of them, shares."""
        if not self.anew:
            return row // self.block[0]
        return row // self.anew * -(-self.anew // self.block[0]) + row % self.anew // self.block[0]

    @property
    def _coded(self) -> tuple[int, int, int, int]:
        """First row, row behind the last one, and columns of the coded matrix; elements before the first one wanted."""
        rows, cols = self.size
        if not self.width:
            return self.first, self.first + rows, cols, 0
        begin, end = self.first * cols, (self.first + rows) * cols
        return begin // self.width, -(-end // self.width), self.width, begin % self.width

    def forward(self, xs):
        from ...quant.cpu.stored import scale_and_shift, scale_codes, scale_columns, scale_once

        start, stop, cols, skip = self._coded
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
            rows = self._band(np.arange(start, stop)) - self._band(start)
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
        rows, cols = self.size
        bands = (self.first + np.arange(rows)) // self.block[0] - self.first // self.block[0]
        if self.into in ("MXFP4", "NVFP4"):
            return blocks(self.into, codes, {"scales": found["scale_codes"][bands]})
        numbers = values[codes].astype(np.int16)
        if self.symmetric and (found["zeros"] != 1 << (dict(self.parts)["codes"].bits or 8) - 1).any():
            raise ValueError("zeros that are not half the range of the codes, as its first ones are")
        if "zeros" in found:
            numbers -= found["zeros"].astype(np.int16)[bands].repeat(self.block[1], 1)[:, :cols]
        each = self.block[1] // BLOCK[self.into]
        return blocks(self.into, numbers, {role: found[role][bands].repeat(each, 1) for role in ("scales", "biases")
                                           if role in found})

    def _numbers(self, xs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """The codes, what each stands for, and the other parts by role."""
        start, stop, cols, _ = self._coded
        above, below = self._band(start), self._band(stop - 1) + 1
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
