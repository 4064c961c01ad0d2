"""Weights that adapters change, as a checkpoint has them: under their own names, with what is merged into each.

A table, a planner or a comparison takes one as any other tensor of a checkpoint. May import `io`, `ops` and `sources.packed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

import numpy as np

from ..io.files import read_bytes
from ..io.tensors import StoredTensor
from ..ops import Merge, Op
from ..ops.merge import FLOAT_WIDTH, floats
from .packed.tensor import PackedTensor


@dataclass(frozen=True, slots=True)
class MergedTensor(StoredTensor):
    """A weight under its own name: what `op` makes of the `base` and the `parts`. `type` and `shape` are the result's; `file`
    and `offset` say where the checkpoint has it, for its place among others."""

    base: StoredTensor
    parts: tuple[StoredTensor, ...]
    op: Merge


Steps = Iterable[tuple[Op, tuple[StoredTensor, ...]]]  # updates, each with its parts


def merged_tensor(tensor: StoredTensor, base: StoredTensor, steps: Steps) -> MergedTensor:
    """`tensor` of a checkpoint with `steps` on top of `base`, which is it or what takes its place."""
    found = tuple(steps)
    op = Merge(base.shape, tensor.type, tuple(step for step, _ in found))
    parts = tuple(part for _, parts in found for part in parts)
    nbytes = prod(base.shape) * FLOAT_WIDTH[tensor.type]
    return MergedTensor(tensor.name, tensor.type, base.shape, tensor.file, tensor.offset, nbytes, base, parts, op)


def read_merged(tensor: MergedTensor) -> np.ndarray:
    """uint8: the bytes of a small one."""
    arrays = []
    op = tensor.op
    for part, window in zip((tensor.base, *tensor.parts), (None, *op.windows([p.shape for p in tensor.parts])), strict=True):
        x = read_floats(part)
        if window is not None:
            x = x[(slice(None),) * window.axis + (slice(window.start, window.stop),)]
        arrays.append(x)
    (made,) = op.forward(arrays)
    return np.ascontiguousarray(made).reshape(-1).view(np.uint8)


def read_floats(tensor: StoredTensor) -> np.ndarray:
    """float32 of a whole tensor."""
    if isinstance(tensor, PackedTensor):
        raise ValueError(f"{tensor.name} is packed")
    raw = np.frombuffer(read_bytes(tensor.file, tensor.offset, tensor.nbytes), f"u{FLOAT_WIDTH[tensor.type]}")
    return floats(raw.reshape(tensor.shape or (1,)), tensor.type)
