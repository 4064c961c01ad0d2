"""Blocks of GGUF back into the stored arrays of a quantized checkpoint, bit for bit: what `Unpack(into=..)` made of them.

Blocks hold codes and scales, and nearly all of zeros (`least_codes`). What a checkpoint stores beside those (orders of columns,
a scale of the whole) is not in them, and is not made here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ...quant.formats import ELEMENT_TYPES
from .base import Cut, LoraRefused, Op, Shape
from .code_values import values_of
from .grid import Grid
from .least_codes import decoded, spans
from .repack import BLOCK, numbers_of
from .unpack import Unpack

MADE = ("codes", "scales", "biases")
AT_ONCE = 1 << 20  # numbers
WHOLE = ("Q4_0", "Q5_0", "Q8_0")  # blocks of whole numbers about zero
EIGHT = ("MXFP4", "NVFP4")  # blocks whose scales are the stored bytes


def determined(op: Unpack, kinds: Mapping[str, str], derived: bool = False) -> tuple[str, ...]:
    """The parts that blocks of `op.into` hold, by role; none where these would not come back bit for bit. `kinds`: the
    element types of the stored arrays by role; `derived`: zeros are made of the blocks."""
    grids = dict(op.parts)
    held = tuple(r for r in MADE if r in grids) + ("zeros",) * (op.symmetric or derived)
    floats = [kinds[r] for r in ("scales", "biases") if r in grids and op.into not in EIGHT]
    whole = "scales" in grids and op.into != "NVFP4" and not grids.keys().isdisjoint(("factor", "divisor"))
    gaps = any(not grids[r].dense and 32 % grids[r].bits for r in held)  # bits that no code uses
    lanes = any(grids[r].lanes > 1 for r in held)
    words = any(grids[r].axis == 0 and not grids[r].turned for r in held if grids[r].bits and r != "zeros")
    if not op.into or whole or gaps or lanes or words or not {*floats} <= {"F32", "F16", "BF16"}:
        return ()
    return held


@dataclass(frozen=True)
class Pack(Op):
    """Blocks of `of.into` into the bytes of the stored arrays that `of` takes as `roles`, in that order: uint8
    [rows of the array, bytes], of stacks [matrices, rows, bytes].

    kinds   element types of the arrays
    zeros   base64 of int16 [bands of rows, groups]: the zeros that were subtracted, where they are neither half the range nor
            among `roles`
    least   base64 of what blocks do not tell of zeros that are (`least_codes`), matrix by matrix
    padding numbers 0, or codes 0 of zeros, behind each row of each array; empty: none
    """

    of: Unpack
    roles: tuple[str, ...]
    kinds: tuple[str, ...]
    zeros: str = ""
    least: str = ""
    padding: tuple[int, ...] = ()

    @property
    def emits(self) -> str:
        return "U8"

    @property
    def on_blocks(self) -> bool:
        return True

    @property
    def inverse(self) -> Op:
        raise LoraRefused("bytes of several arrays; `of` takes their elements")

    def _array(self, role: str, kind: str, padding: int, rows: int) -> Shape:
        """The shape of a part's bytes, for so many rows of the weight."""
        grid: Grid = dict(self.of.parts)[role]
        height, width = (1, 1) if role == "codes" else self.of.block
        size = -(-rows // height), -(-self.of.size[1] // width)
        n, m = size[::-1] if grid.turned else size
        m += padding
        if grid.bands:
            n = -(-n // grid.bands)
        elif grid.bits and grid.axis == 0:
            n = n * grid.bits // 32
        elif grid.bits:
            return n, m * grid.bits // 8
        return n, m * ELEMENT_TYPES[kind].width

    def shape(self, shapes):
        (shape,) = shapes
        if len(shape) not in (2, 3) or shape[-1] != self.of.size[1]:
            raise ValueError(f"blocks of {list(shape)} are none of {list(self.of.size)}")
        return [(*shape[:-2], *self._array(*part, shape[-2])) for part in self._made]

    @property
    def _made(self) -> Iterator[tuple[str, str, int]]:
        """Role, element type and padding of each array."""
        return zip(self.roles, self.kinds, self.padding or (0,) * len(self.roles), strict=True)

    def cut(self, shapes, axis=0):
        (shape,) = shapes
        if axis or self.zeros or self.least:
            return None
        grids = [dict(self.of.parts)[role] for role in self.roles]
        if len(shape) == 3:
            return Cut(0, shape[0])
        alone = self.of.block[0] == 1 and not any(g.turned or g.bands or g.axis == 0 for g in grids)
        return Cut(0, shape[0]) if alone else None

    def lora(self, factors):
        raise LoraRefused("a quantized weight takes no update")

    def forward(self, xs):
        (x,) = xs
        each = x if x.ndim == 3 else x[None]
        matrices = [self._parts(blocks, zeros) for blocks, zeros in zip(each, self._zeros(each), strict=True)]
        return [np.stack(part) if x.ndim == 3 else part[0] for part in zip(*matrices, strict=True)]

    def _parts(self, blocks: np.ndarray, zeros: np.ndarray | int) -> list[np.ndarray]:
        """The arrays of one matrix, whose rows are taken apart some at a time. `zeros`: what was subtracted, of all or
        [bands of rows, groups]."""
        op, grids = self.of, dict(self.of.parts)
        rows, cols = len(blocks), op.size[1]
        bands = np.arange(-(-rows // op.block[0])) * op.block[0]
        groups = np.arange(-(-cols // op.block[1]))
        every = groups * op.block[1] // (16 if op.into == "NVFP4" else BLOCK[op.into])
        codes = np.empty((rows, cols), np.uint8)
        shared: dict[str, list[np.ndarray]] = {role: [] for role in self.roles if role not in ("codes", "zeros")}
        start = 0
        for numbers, found in self._numbers(blocks):
            stop = start + len(numbers)
            for role, parts in shared.items():
                parts.append(found[role][bands[(bands >= start) & (bands < stop)] - start][:, every])
            if op.into not in EIGHT:
                zero = zeros if isinstance(zeros, int) else \
                    zeros[np.arange(start, stop) // op.block[0]].repeat(op.block[1], 1)[:, :cols]
                numbers = _codes(numbers + zero, grids["codes"])
            codes[start:stop] = numbers
            start = stop
        out = []
        for role, kind, padding in self._made:
            grid = grids[role]
            if role == "codes":
                out.append(grid.stored(codes, ELEMENT_TYPES[kind].width))
            elif role == "zeros":
                out.append(self.stored_zeros(np.full((len(bands), len(groups)), zeros, np.int16)))
            else:
                values = np.concatenate(shared[role])
                values = values if op.into in EIGHT else _floats(values, kind)
                out.append(_bytes(np.pad(values.T if grid.turned else values, ((0, 0), (0, padding)))))
        return out

    def stored_zeros(self, zeros: np.ndarray) -> np.ndarray:
        """uint8 [rows of the array, bytes] of the zeros of a matrix, int16 [bands of rows, groups]."""
        kind, padding = next((kind, padding) for role, kind, padding in self._made if role == "zeros")
        grid: Grid = dict(self.of.parts)["zeros"]
        return grid.stored(np.pad(_codes(zeros, grid), ((0, 0), (0, padding))), ELEMENT_TYPES[kind].width)

    def _numbers(self, blocks: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """`numbers_of` of runs of rows of a matrix."""
        for start in range(0, len(blocks), step := -(-AT_ONCE // self.of.size[1])):
            yield numbers_of(self.of.into, blocks[start : start + step])

    def _zeros(self, matrices: np.ndarray) -> Iterator[np.ndarray | int]:
        """What was subtracted from the numbers of each matrix, of all or int16 [bands of rows, groups]. ValueError where what
        is kept does not go with the blocks."""
        op = self.of
        given = base64.b64decode(self.least if "zeros" in self.roles else self.zeros)
        if op.symmetric or ("zeros" not in self.roles and not given):
            yield from [op.middle if op.symmetric else 0] * len(matrices)
        elif "zeros" not in self.roles:
            groups = -(-op.size[1] // op.block[1])
            yield from np.frombuffer(given, "<i2").reshape(-1, -(-op.size[0] // op.block[0]), groups)
        else:
            first, last = op.reach
            for blocks in matrices:
                low, high = spans((numbers for numbers, _ in self._numbers(blocks)), op.block, op.size[1])
                least, given = decoded(given, last - first - (high - low))
                yield first + least - low
            if given:
                raise ValueError(f"{len(given)} bytes more of least codes than there are of these numbers")


def _codes(numbers: np.ndarray, grid: Grid) -> np.ndarray:
    """uint8: the code that stands for each whole number. ValueError for one that none does."""
    values = values_of(grid.kind, grid.bits)[: 1 << (grid.bits or 8)].astype(np.int16)
    least, count = values.min(), len(values)
    if numbers.size and not (numbers.min() >= least and numbers.max() < least + count):
        raise ValueError(f"a whole number beyond those of the codes: {numbers.min()} to {numbers.max()}")
    return ((numbers - values[0]) & count - 1).astype(np.uint8)  # in order, but for where they begin


def _floats(halves: np.ndarray, kind: str) -> np.ndarray:
    """Float16 as the numbers of another type, which holds them."""
    values = halves.astype(np.float32)
    if kind == "BF16":
        return (np.ascontiguousarray(values).view(np.uint32) >> 16).astype(np.uint16)
    return halves if kind == "F16" else values


def _bytes(x: np.ndarray) -> np.ndarray:
    """uint8 [rows, bytes]."""
    x = np.ascontiguousarray(x)
    return x.view(np.uint8).reshape(len(x), -1)

