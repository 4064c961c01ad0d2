"""Weights of a checkpoint as sources of a job: a region, or what is made of several."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..io.tensors import StoredTensor
from ..plan.plan import Packed, Region
from ..sources.packed.tensor import PackedTensor


def parts_of(tensor: StoredTensor) -> tuple[StoredTensor, ...]:
    """The stored tensors that a weight is made of."""
    return tensor.parts if isinstance(tensor, PackedTensor) else (tensor,)


def source_of(tensor: StoredTensor, files: Mapping[Path, int]) -> Region | Packed:
    """A weight as a job reads it; `files`: the numbers of the plan's inputs."""
    regions = tuple(Region(files[t.file], t.offset, t.type, t.shape) for t in parts_of(tensor))
    return Packed(regions, tensor.op, tensor.count, tensor.flat) if isinstance(tensor, PackedTensor) else regions[0]
