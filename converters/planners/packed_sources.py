"""Weights of a checkpoint as sources of jobs: a region, or what is made of several; and which are repacked without loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import InputError, UnsupportedError
from ..io.files import read_bytes
from ..io.tensors import StoredTensor
from ..ops import Op, Split
from ..plan.plan import Merged, Packed, Region, Source, TensorJob
from ..plan.tiles import Tile, unit_count
from ..rules.match import Match
from ..sources.merged import MergedTensor
from ..sources.original.joined import JoinedTensor
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
    return tensor.parts if isinstance(tensor, (PackedTensor, JoinedTensor)) else (tensor,)


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


def jobs_of(name: str, tensors: Sequence[StoredTensor], files: Mapping[Path, int], ops: Sequence[Op],
            outputs: Sequence[Region], into: str = "") -> list[TensorJob]:
    """The jobs that make `ops` of weights: one, or of a weight whose rows ranks share one for each of them, where the ops
    allow; so nothing need be joined in memory but tiles of columns. `into`: as of `source_of`.

    Raises UnsupportedError where a weight that is made of pieces goes into an op with others.
    """
    joined = next((t for t in tensors if isinstance(t, JoinedTensor)), None)
    own = [t.ops for t in tensors if isinstance(t, (PackedTensor, JoinedTensor)) and t.ops]
    if len(tensors) > 1 and (joined or own):
        raise UnsupportedError("this weight is made of several, of which ranks hold pieces", tensor=name)
    chain = _without_returns((*(own[0] if own else ()), *ops))
    if joined is None or joined.axis is None:
        sources = tuple(source_of(t.parts[0] if isinstance(t, JoinedTensor) else t, files, into) for t in tensors)
        return [TensorJob(name, sources, chain, tuple(outputs))]
    pieces, count = tuple(Region(files[t.file], t.offset, t.type, t.shape) for t in joined.parts), len(joined.parts)
    if joined.axis == 0:
        whole = TensorJob(name, (replace(pieces[0], shape=joined.shape),), chain, tuple(outputs))
        if (units := unit_count(whole)) % count == 0:
            tiles = [Tile(units // count * i, units // count * (i + 1), units) for i in range(count)]
            return [TensorJob(name, (piece,), chain, tuple(map(tile.of, outputs)))
                    for piece, tile in zip(pieces, tiles, strict=True)]
    return [TensorJob(name, pieces, (Split(count, columns=joined.axis == 1, undo=True), *chain), tuple(outputs))]


def _without_returns(ops: Iterable[Op]) -> tuple[Op, ...]:
    """The chain without ops that the next one takes back: rows that are in the runtime's order as they are stored."""
    out: list[Op] = []
    for op in ops:
        if out and out[-1].exact and out[-1].inverse == op:
            out.pop()
        else:
            out.append(op)
    return tuple(out)


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


def blocks_of(match: Match, sources: Iterable[StoredTensor]) -> tuple[str, str]:
    """The type in whose blocks a rule's weights can be repacked without loss, for rules that move whole rows only; where there
    is none, why not."""
    found = dict(tensor.op.blocks if isinstance(tensor, PackedTensor) else ("", "not all are quantized") for tensor in sources)
    if "" in found:
        return "", found[""]
    if match.rule.type or match.rule.emits or not all(op.on_blocks for op in match.ops):
        return "", "the architecture has them in another form"
    return (next(iter(found)), "") if len(found) == 1 else ("", "they go into one tensor, and are stored in several forms")
