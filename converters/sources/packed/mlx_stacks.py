"""Experts as mlx-lm stacks them, taken apart: `switch_mlp.up_proj.weight` [experts, rows, cols] into one weight each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...io.tensors import StoredTensor
from .tensor import PackedTensor

STACK = ".switch_mlp."
MAX_EXPERTS = 1 << 16
MIXTRAL = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


def unstacked(tensor: StoredTensor) -> Iterator[StoredTensor]:
    """The weights of the experts, under the names that classes of transformers have for them."""
    block, _, rest = tensor.name.partition(STACK)
    projection, _, last = rest.partition(".")
    if block.endswith("block_sparse_moe"):
        projection = MIXTRAL.get(projection, projection)
    if len(tensor.shape) < 2 or not 0 < tensor.shape[0] <= MAX_EXPERTS or getattr(tensor, "flat", False):
        yield tensor
        return
    for number in range(tensor.shape[0]):
        one = _item(tensor, number, f"{block}.experts.{number}.{projection}.{last}")
        yield replace(one, parts=tuple(_item(part, number, part.name) for part in one.parts), count=None, returns=False) \
            if isinstance(one, PackedTensor) else one


def _item(tensor: StoredTensor, number: int, name: str) -> StoredTensor:
    """One array of those along the first axis."""
    step = tensor.nbytes // tensor.shape[0]
    return replace(tensor, name=name, shape=tensor.shape[1:], offset=tensor.offset + number * step, nbytes=step)
