"""Weights as quantized checkpoints store them: one kernel for every form. The values of cpu/stored.py, bit for bit.

Where a code lies is data (`Places`), and so is what it stands for (a table of 256 floats), so a form is no kernel of its own.
The arithmetic is float32, one operation after another. What two numbers make that is none of them's NaN is x86's, and a NaN
that goes in comes out, quiet: so it is on the CPU as well.

A number costs some tens of instructions and its few bits on the bus; the bus is the slower by far, so nothing here is tuned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl

from .arithmetic import quiet
from .launch import launch_tiles

MOST = 1 << 30  # numbers, and elements that hold them, of a matrix


class Variant(NamedTuple):
    """What the kernel is compiled for. `bits` of a code in elements of `word` bits, which it may straddle; then what is done
    to the number that it stands for, in this order."""

    bits: int
    word: int
    straddles: bool = False
    zeros: bool = False
    scales: bool = True
    divided: bool = False
    biases: bool = False
    columns: bool = False
    after: bool = False

    def __str__(self) -> str:
        done = [name for name in self._fields[2:] if getattr(self, name)]
        return f"codes of {self.bits} bits in {self.word}{', ' if done else ''}{', '.join(done)}"


@dataclass(frozen=True)
class Places:
    """Where the code of row r and column c lies, and which scale it has; for `decode` on the device.

    rows, columns   int32 [3, height], [3, width]; sums of an entry of each are the number of the element, the shift in it (0
                    where `bits` fill it), and the number of the scale (of the zero, of the bias)
    step            elements from one to the next that a code may straddle into; 0 where none does
    """

    rows: np.ndarray | torch.Tensor
    columns: np.ndarray | torch.Tensor
    bits: int
    step: int = 0


@triton.jit
def _times(a, b):
    return quiet(a * b, a, b)


@triton.jit(do_not_specialize=("height", "width", "step"))  # but `count`, always a multiple of 16: it stores by fours
def _decode(stored, rows, columns, table, zeros, scales, biases, factors, out, height, width, step, after, count,
            BITS: tl.constexpr, WORD: tl.constexpr, STRADDLES: tl.constexpr, DIVIDED: tl.constexpr, ROWS: tl.constexpr):
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = tl.minimum(i, height * width - 1)
    r, c = here // width, here % width
    at = tl.load(rows + r) + tl.load(columns + c)
    unsigned: tl.constexpr = tl.uint8 if WORD == 8 else tl.uint16 if WORD == 16 else tl.uint32
    words = stored.to(tl.pointer_type(unsigned))
    code = tl.load(words + at).to(tl.uint32)
    if BITS < WORD:
        shift = tl.load(rows + height + r) + tl.load(columns + width + c)
        code = code >> shift
        if STRADDLES:
            more = shift > WORD - BITS
            high = tl.load(words + at + step, mask=more, other=0).to(tl.uint32)
            code |= high << tl.where(more, WORD - shift, 0)
        code &= (1 << BITS) - 1
    value = tl.load(table + code)
    number = tl.load(rows + 2 * height + r) + tl.load(columns + 2 * width + c)
    if zeros is not None:
        zero = tl.load(zeros + number)
        value = quiet(value - zero, value, zero)
    if scales is not None:
        scale = tl.load(scales + number)
        value = quiet(tl.div_rn(value, scale), value, scale) if DIVIDED else _times(value, scale)
    if biases is not None:
        bias = tl.load(biases + number)
        value = quiet(value + bias, value, bias)
    if factors is not None:
        value = _times(value, tl.load(factors + c))
    if after is not None:
        value = _times(value, after)
    tl.store(out + i, value, mask=i < count)


def decode(places: Places, stored: torch.Tensor, table: torch.Tensor, *, zeros: torch.Tensor | None = None,
           scales: torch.Tensor | None = None, divided: bool = False, biases: torch.Tensor | None = None,
           columns: torch.Tensor | None = None, after: float | None = None) -> torch.Tensor:
    """float32 [height, width]: ((table[code] - zero) * scale + bias) * column * after, whatever of it is given, or / scale.

    stored   whole numbers of 8, 16 or 32 bits, on the device, fewer than MOST; so are the numbers that they make
    table    float32 [256]: what each code stands for
    zeros, scales, biases   float32, of as many numbers as `places` speaks of
    columns  float32 [width]
    """
    height, width = places.rows.shape[1], places.columns.shape[1]
    numbers = height * width
    out = torch.empty(-(-numbers // 16) * 16, dtype=torch.float32, device=stored.device)
    if numbers:
        launch_tiles(_decode, out.numel(), 1, stored, places.rows, places.columns, table, zeros, scales, biases, columns, out,
                     height, width, places.step, after, BITS=places.bits, WORD=8 * stored.element_size(),
                     STRADDLES=places.step > 0, DIVIDED=divided)
    return out[:numbers].reshape(height, width)
