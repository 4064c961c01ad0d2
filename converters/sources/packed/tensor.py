"""A weight that several stored tensors make, and what its parts look like to whoever builds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite, prod
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...io.files import read_bytes
from ...io.safetensors import header_metadata
from ...io.tensors import StoredTensor
from ...ops import Grid, Op, Shape, Unpack
from ...ops.grid import FLOATS

_NUMBERS = {"I64": "<i8", "I32": "<i4", "U8": "u1", "F32": "<f4", "F16": "<f2"}
MAX_VALUES = 1 << 20  # bytes of a part that is read while planning: parameters, not weights


@dataclass(frozen=True, slots=True)
class PackedTensor(StoredTensor):
    """A weight under its own name: `type` is what it is decoded to, `shape` its own; `nbytes` of all parts together.

    `parts`: what `op` takes, each with the shape that it takes it in. `count`: of a stack of matrices, how many; `flat`: they
    are packed as one. `form`: what people call the way in which it is stored. `stored`: by role, all that belongs to it, as
    it lies in the files; what is no part of the value under its name's ending. `returns`: whether tensors and config.json are
    all that its library needs to read it. `ops`: what makes Hugging Face's array of what it is decoded to.
    """

    parts: tuple[StoredTensor, ...]
    op: Unpack
    count: int | None
    form: str
    flat: bool = False
    stored: tuple[tuple[str, StoredTensor], ...] = ()
    returns: bool = True
    ops: tuple[Op, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether its numbers are floats as they are, wherever they lie."""
        return self.op.parts[0][0] == "floats"


@dataclass(frozen=True)
class Parts:
    """Stored tensors of one weight by role; `codes` among them. `declared`: the settings of the quantization; `read`: bytes of
    a file; `header`: what a file says beside its tensors; `ops`: those that weights were packed with, so that what is asked of
    one is answered once; `config`: config.json; `notes`: for the user."""

    name: str
    stored: Mapping[str, StoredTensor]
    declared: Mapping[str, Any]
    read: Callable[[Path, int, int], bytes] = read_bytes
    header: Callable[[Path], Mapping[str, str]] = header_metadata
    ops: dict[Unpack, Unpack] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def codes(self) -> StoredTensor:
        return self.stored["codes"]

    @property
    def count(self) -> int | None:
        """Of a stack of matrices, how many."""
        return self.codes.shape[0] if len(self.codes.shape) == 3 else None

    def shape(self, role: str) -> Shape:
        """Of a part, without the axis along which matrices are stacked."""
        shape = self.stored[role].shape
        if self.count is None:
            return shape
        if not shape or shape[0] != self.count:
            raise self.unfit(role, f"a first axis of {self.count}")
        return shape[1:]

    def unfit(self, role: str, expected: object) -> InputError:
        """The error that says that a part has another shape, or type, than the codes ask for."""
        t = self.stored[role]
        return InputError(f"is no part of {self.name} as that is stored", file=t.file, tensor=t.name, expected=expected,
                          found=f"{t.type} {list(t.shape)}")

    def module_settings(self) -> Mapping[str, Any]:
        """What is declared, of this weight's module where it has settings of its own."""
        own = self.declared.get(self.name.removesuffix(".weight"))
        return {**self.declared, **own} if isinstance(own, Mapping) else self.declared

    def bytes_of(self, role: str) -> Parts:
        """The same, where a part's bytes are stored under another type."""
        t = self.stored[role]
        return replace(self, stored={**self.stored, role: replace(t, type="U8", shape=(t.nbytes,))})

    def values(self, role: str, count: int = MAX_VALUES) -> bytes:
        """The bytes of a small part, or the first `count` of them."""
        t = self.stored[role]
        if count >= MAX_VALUES < t.nbytes:
            raise self.unfit(role, f"at most {MAX_VALUES} bytes")
        return self.read(t.file, t.offset, min(count, t.nbytes))

    def numbers(self, role: str, count: int) -> list[int]:
        """The whole numbers in a small part."""
        kind = _NUMBERS.get(self.stored[role].type)
        found = np.frombuffer(self.values(role, 8 * count), kind).tolist() if kind else []
        if len(found) != count or prod(self.stored[role].shape) != count or not all(map(isfinite, found)):
            raise self.unfit(role, "one number" if count == 1 else f"{count} numbers")
        return [int(n) for n in found]

    def made(self, form: str, size: tuple[int, int], block: tuple[int, int], *parts: tuple[str, Grid] | tuple[str, Grid, Shape],
             kind: str | None = None, flat: int | None = None, **more: Any) -> PackedTensor:
        """The weight, of `size` [rows, cols], from parts with the shape in which each is taken, where it is not its own.

        `kind`: the type that it is decoded to, by default that of its scales; `flat`: how many matrices are packed as one.
        `more`: fields of `Unpack`.
        """
        if not all(size) or not all(b > 0 for b in block):
            raise self.unfit("codes", "rows and columns")
        if "columns" in self.stored:
            parts = (*parts, ("columns", Grid(), (size[1],)))
        count = self.count
        lead = () if count is None else (count,)
        taken = []
        for role, grid, *given in parts:
            part, shape = self.stored[role], (*lead, *(given[0] if given else self.shape(role)))
            if prod(shape) != prod(part.shape):
                raise self.unfit(role, list(shape))
            taken.append(part if shape == part.shape else replace(part, shape=shape))
            if (grid.kind in FLOATS and role != "groups") != (taken[-1].type in FLOATS):
                raise self.unfit(role, "floats" if grid.kind in FLOATS else "codes")
        op = Unpack(size, tuple((p[0], p[1]) for p in parts), block, **more)
        op = self.ops.setdefault(op, op)
        floats = {t.type for p, t in zip(parts, taken, strict=True) if p[0] in ("scales", "biases", "factor", "divisor")}
        return PackedTensor(self.name, kind or ("F16" if floats == {"F16"} else "BF16"),
                            (*lead, *size) if flat is None else (flat, size[0] // flat, size[1]), self.codes.file,
                            self.codes.offset, sum(t.nbytes for t in self.stored.values()), tuple(taken), op, flat or count,
                            form, flat is not None, tuple(self.stored.items()))

    def shared(self, role: str, size: tuple[int, int], hint: tuple[int, int] | None = None) -> tuple[Shape, tuple[int, int]]:
        """How a part with a number per tensor, row, group of columns or block is shared: its shape as a matrix, and the rows
        and columns of a block. `hint`: the block that is declared."""
        shape = self.shape(role)
        rows, cols = size
        if prod(shape) == 1:
            return (1, 1), size
        shape = tuple(n for n in shape if n != 1) if len(shape) > 2 else shape
        if len(shape) == 1:
            shape = (*shape, 1) if shape[0] == rows or shape[0] == -(-rows // (hint or (128, 128))[0]) else (1, *shape)
        if len(shape) != 2 or not all(shape) or not all(size):
            raise self.unfit(role, f"a number per tensor, per row of {rows}, or per block")
        r, c = shape
        for block in (hint, (128, 128)):
            if block is not None and rows > 1 and r < rows and (r, c) == (-(-rows // block[0]), -(-cols // block[1])):
                return (r, c), block
        if r == rows and cols % c == 0:
            return (r, c), (1, cols // c)
        if self.count is not None and shape == (cols, 1):  # FBGEMM's, of experts that are stored turned
            return (1, cols), (rows, 1)
        if hint is None and rows % r == 0 and cols % c == 0 and (c > 1 or r == 1):
            return (r, c), (rows // r, cols // c)
        raise self.unfit(role, f"a number per tensor, per row of {rows}, or per block")
