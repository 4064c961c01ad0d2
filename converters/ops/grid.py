"""A matrix of numbers as a quantized checkpoint stores it: which bits of which array are the code in a row and column.

`Grid` is plain data, and knows for any run of rows what it needs of the array (`window`), so that no array need be decoded
whole; and how the array is made of the codes again (`stored`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .base import Op, Shape
from .code_values import FLOAT8, values_of

FLOATS = ("F64", "F32", "F16", "BF16")  # arrive as float32
WORD = 32  # bits


class Window(NamedTuple):
    """Positions `start` to `stop` of an axis of a stored array."""

    axis: int
    start: int
    stop: int


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
        kinds = (*FLOATS, *FLOAT8, "E2M1", "U", "U-", "I", "U+1", "T")
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
            places = range(0, self.bands * len(x), len(x) or 1)
            found = _rows(x, self.bits, 1, places[::-1] if self.high else places)
        elif (self.axis == 0) != self.turned and self._apart:
            each = self.word // self.bits
            found = _rows(_turned(x) if self.turned else x, self.bits, each, self.order or range(each))
        else:
            found = self._spread(_turned(x) if self.axis == 0 else x)
            if (self.axis == 0) != self.turned:
                found = _turned(found)
        if found.shape[1] < cols:
            raise ValueError(f"{found.shape[1]} columns of codes, where {cols} are needed")
        return found[:, :cols]

    @property
    def _apart(self) -> bool:
        """Whether the codes of a word are of rows below each other, and nothing else is."""
        each = self.word // self.bits
        return not self.planes and each * self.bits == self.word and len(self.order) in (0, each) and self.lanes == 1

    def _spread(self, words: np.ndarray) -> np.ndarray:
        """The codes of each row of words, or of bytes."""
        from ...quant.cpu.stored import unpack, unpack_shuffled

        n, width = words.shape
        rows = np.ascontiguousarray(words).view(np.uint8).reshape(n, -1)
        if self.bits == 8:
            return rows
        if self.planes:
            runs = rows.reshape(n, -1, 4 * self.bits)
            found, start = np.zeros((n, runs.shape[1] * WORD), np.uint8), 0
            for bits in self.planes:
                plane = np.empty_like(found)
                unpack(np.ascontiguousarray(runs[..., 4 * start : 4 * (start + bits)]).reshape(n, -1), bits, False, plane)
                found |= plane << start
                start += bits
            return found
        if len(self.order) > 2:
            count, left = divmod(2 * rows.shape[1], len(self.order))
            if left or len(self.order) % self.lanes:
                raise ValueError(f"rows of {2 * rows.shape[1]} codes, where runs of {len(self.order)} are needed")
            out = np.empty((n, self.lanes, count * len(self.order) // self.lanes), np.uint8)
            unpack_shuffled(rows, np.array(self.order, np.int64), out)
            return out.reshape(n * self.lanes, -1)
        if not self.dense and WORD % self.bits:
            rows = rows.reshape(n * width, -1)
        out = np.empty((len(rows), rows.shape[1] * 8 // self.bits), np.uint8)
        unpack(rows, self.bits, self.order == (1, 0), out)
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
        return codes if self.kind in FLOATS else values_of(self.kind, self.bits).take(codes)


def _rows(words: np.ndarray, bits: int, step: int, places: Sequence[int]) -> np.ndarray:
    """Codes of rows that lie apart in words; of words that hold a matrix turned, a fraction of the codes is to turn."""
    from ...quant.cpu.stored import unpack_rows

    out = np.empty((len(places) * len(words), words.shape[1]), np.uint8)
    unpack_rows(words, bits, step, np.array(places, np.int64), out)
    return out


def _turned(x: np.ndarray) -> np.ndarray:
    from ...quant.cpu.stored import turn

    out = np.empty(x.shape[::-1], x.dtype)
    turn(x, out)
    return out
