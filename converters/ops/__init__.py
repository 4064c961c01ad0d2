"""What happens to the values between a checkpoint and a GGUF file: operations, nearly all of them invertible.

An op sees lists of arrays, never names. Nearly all are one idea: an *index map* that permutes, cuts or drops rows or
columns (`IndexMap`). Such ops only move elements, so they work on raw bits of any element type, and a LoRA factor
passes by the same map: row maps act on B, column maps on A. A table writes an op with the names of hyperparameters
(`RopePermute("head_length")`); `bind` puts the numbers in, and the bound op is plain data inside a plan.

The laws, tested for every op and table row: `op.inverse.forward(op.forward(xs))` is `xs` bit for bit where `exact`;
`op.shape` is the shape of `op.forward`; pieces by `op.cut` give pieces of the result; the delta of `op.lora(factors)` is
`op.forward(delta) - op.forward(0)`.

An op is what it is in any conversion. May import `quant`: kernels that decode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .arrays import Array
from .axes import AddAxis, Axes, Restore, Unstack
from .base import Arrange, Cut, Each, Factors, LoraRefused, Op, Shape, Size, evaluate, multiple
from .folds import BatchNorm, EmaMean, Product, RowsBehind, RowsInFront, Snake
from .for_good import Resample, SumFrames, Ternary, UnitNorm
from .grid import Grid
from .index import Channels, Crop, HeadAxes, IndexMap, RopePermute, Split
from .lora import Lora
from .lora_back import LoraBack
from .masked import Masked
from .merge import Instead, LowRank, Merge, NewRows, Shift, Within
from .pack import Pack
from .packed import WHOLE_NUMBERS, FromPosition, Narrow, PackMxfp4
from .unpack import Unpack
from .values import Add, MlaKv, NegExp, Pad, Reshape, Same, Scale, Softplus, Transpose

__all__ = [
    "OPS", "WHOLE_NUMBERS", "Add", "AddAxis", "Arrange", "Array", "Axes", "BatchNorm", "Channels", "Crop", "Cut", "Each",
    "EmaMean", "Factors", "FromPosition", "Grid", "HeadAxes", "IndexMap", "Instead", "Lora", "LoraBack", "LoraRefused",
    "LowRank", "Masked", "Merge", "MlaKv", "Narrow", "NegExp", "NewRows", "Op", "Pack", "PackMxfp4", "Pad", "Product",
    "Resample", "Reshape", "Restore", "RopePermute", "RowsBehind", "RowsInFront", "Same", "Scale", "Shape", "Shift", "Size",
    "Snake", "Softplus", "Split", "SumFrames", "Ternary", "Transpose", "UnitNorm", "Unpack", "Unstack", "Within", "evaluate",
    "multiple", "op_from_json",
]  # fmt: skip

OPS: dict[str, type[Op]] = {
    op.__name__: op
    for op in (Op, Arrange, Each, RopePermute, Split, Crop, Transpose, Reshape, Pad, Same, Add, Scale, Product, NegExp, MlaKv,
               PackMxfp4, FromPosition, Lora, LoraBack, Grid, Unpack, Pack, Unstack, AddAxis, Axes, Channels, HeadAxes,
               Softplus, UnitNorm, Ternary, Resample, SumFrames, Restore, LowRank, Shift, Instead, NewRows, Merge, BatchNorm,
               RowsBehind, RowsInFront, Within, Narrow, Masked, EmaMean, Snake)
}


def op_from_json(data: Mapping[str, Any]) -> Op:
    """The inverse of `Op.to_json`."""

    def value(v: Any) -> Any:
        if isinstance(v, list):
            return tuple(value(item) for item in v)
        return op_from_json(v) if isinstance(v, Mapping) else v

    return OPS[data["op"]](**{k: value(v) for k, v in data.items() if k != "op"})
