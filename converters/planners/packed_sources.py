"""Weights of a checkpoint as sources of a job: a region, or what is made of several; and which are repacked without loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..io.tensors import StoredTensor
from ..plan.plan import Packed, Region
from ..rules.match import Match
from ..sources.packed.tensor import PackedTensor


def parts_of(tensor: StoredTensor) -> tuple[StoredTensor, ...]:
    """The stored tensors that a weight is made of."""
    return tensor.parts if isinstance(tensor, PackedTensor) else (tensor,)


def source_of(tensor: StoredTensor, files: Mapping[Path, int], into: str = "") -> Region | Packed:
    """A weight as a job reads it; `files`: the numbers of the plan's inputs. `into`: the blocks that it is repacked in."""
    regions = tuple(Region(files[t.file], t.offset, t.type, t.shape) for t in parts_of(tensor))
    if not isinstance(tensor, PackedTensor):
        return regions[0]
    repacked = tensor.op.repacked() if into else None
    op = repacked if repacked is not None and repacked.into == into else tensor.op
    return Packed(regions, op, tensor.count, tensor.flat)


def blocks_of(match: Match, sources: Iterable[StoredTensor]) -> str | None:
    """The type in whose blocks a rule's weights can be repacked without loss, for rules that move whole rows only."""
    if match.rule.type or match.rule.emits or not all(op.on_blocks for op in match.ops):
        return None
    found = set()
    for tensor in sources:
        repacked = tensor.op.repacked() if isinstance(tensor, PackedTensor) else None
        found.add(repacked.into if repacked else None)
    return found.pop() if len(found) == 1 else None
