"""What happens to the values between a checkpoint and a GGUF file: about a dozen invertible operations.

An op sees lists of arrays, never names. Nearly all are one idea: an *index map* that permutes, cuts or drops rows or
columns (`IndexMap`). Such ops only move elements, so they work on raw bits of any element type, and a LoRA factor
passes by the same map: row maps act on B, column maps on A. A table writes an op with the names of hyperparameters
(`RopePermute("head_length")`); `bind` puts the numbers in, and the bound op is plain data inside a plan.

The laws, tested for every op and table row: `op.inverse.forward(op.forward(xs))` is `xs` bit for bit where `exact`;
`op.shape` is the shape of `op.forward`; the delta of `op.lora(factors)` is `op.forward(delta) - op.forward(0)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .arrays import Array
from .base import Factors, LoraRefused, Op, Shape, Size, multiple
from .index import Crop, Deinterleave, IndexMap, RopePermute, Split, TileHeadColumns, TileHeads
from .packed import PackMxfp4
from .values import Add, Conv1dStorage, MlaKv, NegExp, Squeeze, Transpose

__all__ = [
    "OPS", "Add", "Array", "Conv1dStorage", "Crop", "Deinterleave", "Factors", "IndexMap", "LoraRefused", "MlaKv", "NegExp",
    "Op", "PackMxfp4", "RopePermute", "Shape", "Size", "Split", "Squeeze", "TileHeadColumns", "TileHeads", "Transpose",
    "multiple", "op_from_json",
]  # fmt: skip

OPS: dict[str, type[Op]] = {
    op.__name__: op
    for op in (Op, RopePermute, Split, Deinterleave, TileHeads, TileHeadColumns, Crop, Transpose, Conv1dStorage,
               Squeeze, Add, NegExp, MlaKv, PackMxfp4)
}


def op_from_json(data: Mapping[str, Any]) -> Op:
    """The inverse of `Op.to_json`."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items() if k != "op"}
    return OPS[data["op"]].from_json(values)
