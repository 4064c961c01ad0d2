"""Weights of a checkpoint as sources of a job: a region, or what is made of several; and which are repacked without loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..io.files import read_bytes
from ..io.tensors import StoredTensor
from ..plan.plan import Merged, Packed, Region, Source
from ..rules.match import Match
from ..sources.merged import MergedTensor
from ..sources.packed.tensor import PackedTensor

# Weights whose results llama.cpp multiplies by a tensor beside them; of feed-forward networks in these architectures.
_DENSE, _EXPERTS = ("llama", "mistral3", "qwen3", "qwen35"), ("llama", "mistral3", "qwen3moe", "qwen35moe")
SCALED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output", "output"), ()),
    **{f"ffn_{part}": _DENSE for part in ("gate", "up", "down")}, **{f"ffn_{p}_exps": _EXPERTS for p in ("gate", "up", "down")},
    **{f"ffn_{part}_shexp": ("qwen35moe",) for part in ("gate", "up", "down")},
}


def parts_of(tensor: StoredTensor) -> tuple[StoredTensor, ...]:
    """The stored tensors that a weight is made of."""
    if isinstance(tensor, MergedTensor):
        return tuple(stored for part in (tensor.base, *tensor.parts) for stored in parts_of(part))
    return tensor.parts if isinstance(tensor, PackedTensor) else (tensor,)


def stored_of(tensor: StoredTensor) -> tuple[StoredTensor, ...]:
    """The same, and what else a checkpoint stores of the weight, as it lies in the files."""
    return tuple(part for _, part in tensor.stored) if isinstance(tensor, PackedTensor) else (tensor,)


def source_of(tensor: StoredTensor, files: Mapping[Path, int], into: str = "") -> Source:
    """A weight as a job reads it; `files`: the numbers of the plan's inputs. `into`: the blocks that it is repacked in."""
    if isinstance(tensor, MergedTensor):
        base, *parts = (source_of(t, files) for t in (tensor.base, *tensor.parts))
        if isinstance(base, Merged) or any(isinstance(part, Merged) for part in parts):
            raise ValueError(f"{tensor.name} is merged twice")
        return Merged(base, tuple(part for part in parts if not isinstance(part, Merged)), tensor.op)
    regions = tuple(Region(files[t.file], t.offset, t.type, t.shape) for t in parts_of(tensor))
    if not isinstance(tensor, PackedTensor):
        return regions[0]
    repacked = tensor.op.repacked if into else None
    op = repacked if repacked is not None and repacked.into == into else tensor.op
    return Packed(regions, op, tensor.count, tensor.flat)


def factor_of(tensor: StoredTensor) -> np.float32:
    """What all numbers of an NVFP4 weight are multiplied by."""
    for (role, _), part in zip(tensor.op.parts, tensor.parts, strict=True) if isinstance(tensor, PackedTensor) else ():
        if role in ("factor", "divisor"):
            (value,) = np.frombuffer(read_bytes(part.file, part.offset, part.nbytes), "<f4")
            with np.errstate(all="ignore"):
                factor = value if role == "factor" else np.float32(1) / value
            if not np.isfinite(factor):
                raise InputError("the scale of the whole weight is no number", file=part.file, tensor=part.name, found=value)
            return factor
    return np.float32(1)


def scale_name(weight: str) -> str:
    """The tensor with the factors of an NVFP4 weight, or one per expert, that the runtime multiplies results by."""
    return f"{weight.removesuffix('.weight')}.scale"


def scaled(architecture: str, weight: str) -> bool:
    """Whether the runtime multiplies by that tensor."""
    role = weight.removesuffix(".weight").rpartition(".")[2]
    return role in SCALED and (not role.startswith("ffn") or architecture in SCALED[role])


def blocks_of(match: Match, sources: Iterable[StoredTensor]) -> str | None:
    """The type in whose blocks a rule's weights can be repacked without loss, for rules that move whole rows only."""
    if match.rule.type or match.rule.emits or not all(op.on_blocks for op in match.ops):
        return None
    found = set()
    for tensor in sources:
        repacked = tensor.op.repacked if isinstance(tensor, PackedTensor) else None
        found.add(repacked.into if repacked else None)
    return found.pop() if len(found) == 1 else None
