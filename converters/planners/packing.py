"""A stored form of weights whose blocks come back as it: what blocks make of it, and what is kept beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from ...quant.formats import ELEMENT_TYPES
from ..ops import Grid, Pack, Unpack, op_from_json
from ..ops.pack import WHOLE, determined
from ..plan.plan import region_bytes
from ..sources.packed.tensor import PackedTensor

MAX_PADDING = 32  # numbers: AWQ's rows of scales and zeros end with whole words of zeros


@dataclass(frozen=True)
class Packing:
    """A stored form: `op` makes blocks of it, of each of `count` matrices where it is a stack; `parts`: role, template of the
    name, element type, shape of every stored array; `derived`: zeros are made of the blocks."""

    op: Unpack
    count: int | None
    parts: tuple[tuple[str, str, str, tuple[int, ...]], ...]
    derived: bool = False

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Element types by role."""
        return {role: kind for role, _, kind, _ in self.parts}

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Bytes by role."""
        return {role: region_bytes(kind, shape) for role, _, kind, shape in self.parts}

    @cached_property
    def made(self) -> tuple[str, ...]:
        """The roles of the arrays that blocks hold."""
        return determined(self.op, self.kinds, self.derived)

    @cached_property
    def pack(self) -> Pack:
        """What makes these arrays, where nothing has to be known."""
        pack = Pack(self.op, self.made, tuple(self.kinds[role] for role in self.made))
        padding = tuple(self._padding(role, shape) for role, shape in zip(self.made, pack.shape([self.shape]), strict=True))
        return replace(pack, padding=padding) if any(padding) else pack

    def _padding(self, role: str, shape: tuple[int, ...]) -> int:
        """Numbers behind those of each row of scales or zeros that blocks hold; 0 where what is stored is none so padded."""
        stored = next(shape for name, _, _, shape in self.parts if name == role)
        grid: Grid = dict(self.op.parts)[role]
        if role not in ("scales", "zeros") or grid.turned or (grid.bits and grid.axis == 0) or stored[:-1] != shape[:-1]:
            return 0
        bits = 8 * ELEMENT_TYPES[self.kinds[role]].width
        more = stored[-1] * bits // (grid.bits or bits) - -(-self.op.size[1] // self.op.block[1])
        return more if 0 < more < MAX_PADDING else 0

    def padded_with_zeros(self, role: str, content: bytes) -> bool:
        """Whether there is nothing else behind the numbers of each row of scales that blocks hold."""
        pad = dict(zip(self.made, self.pack.padding, strict=False)).get(role, 0) * ELEMENT_TYPES[self.kinds[role]].width
        shape = next(shape for name, _, _, shape in self.parts if name == role)
        return not pad or not np.frombuffer(content, np.uint8).reshape(prod(shape[:-1]), -1)[:, -pad:].any()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a weight."""
        return self.op.size if self.count is None else (self.count, *self.op.size)

    @property
    def fits(self) -> bool:
        """Whether what comes out of blocks is what was stored: padding does not come back."""
        shapes = self.pack.shape([self.shape])
        return bool(shapes) and [self.sizes[role] for role in self.made] == [prod(shape) for shape in shapes]

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op.to_json(), "count": self.count, "parts": [list(part) for part in self.parts],
                **({"derived": True} if self.derived else {})}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Packing:
        """The inverse of `to_json`, of data that may be a stranger's: its op repacks what its parts are, and these have the
        sizes that the op gives them. ValueError, or what comes of other types than are there, where that is not so."""
        op, count, derived = op_from_json(data["op"]), data["count"], data.get("derived", False)
        fits(isinstance(op, Unpack) and op.sound and (count is None or (type(count) is int and count > 0)))
        parts = tuple((role, template, kind, tuple(shape)) for role, template, kind, shape in data["parts"])
        fits(isinstance(op, Unpack) and replace(op, into="").repacked == op)
        fits(derived is False or (derived is True and op.into in WHOLE and "zeros" in dict(op.parts)))  # type: ignore[attr-defined]
        for role, template, kind, shape in parts:
            fits(isinstance(role, str) and template[:3] in ("{w}", "{m}") and template.isprintable() and kind in ELEMENT_TYPES)
            fits(all(type(n) is int and n >= 0 for n in shape))
        fits(len({part[0] for part in parts}) == len(parts) == len({part[1] for part in parts}))
        packing = cls(op, count, parts, derived)  # type: ignore[arg-type]
        fits(packing.fits)
        return packing


def fits(holds: bool) -> None:
    """ValueError where something does not hold."""
    if not holds:
        raise ValueError("does not fit")


def packing_of(tensor: PackedTensor, derived: bool) -> Packing | None:
    """The stored form of a weight; None where no blocks are made of it, or its files say more of it than they hold. `derived`:
    zeros, where it has any but the middle of its codes, are made of the blocks."""
    op = tensor.op.repacked
    if op is None or tensor.flat or not tensor.returns:
        return None
    module = tensor.name.removesuffix(".weight")
    parts = []
    for role, part in tensor.stored:
        whole = part.name.startswith(tensor.name)
        rest = part.name.removeprefix(tensor.name if whole else module)
        parts.append((role, ("{w}" if whole else "{m}") + rest, part.type, part.shape))
    return Packing(op, tensor.count, tuple(parts), derived and "zeros" in dict(op.parts) and not op.symmetric)
