"""The layout of a GGUF file to be written: its header, its padding, and where the bytes of each tensor belong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UnsupportedError
from ..io.gguf import DEFAULT_ALIGNMENT, MAX_ALIGNMENT, encode_header, layout, padded
from ..io.values import Metadata, ValueType
from .plan import OutputFile, PlannedTensor, Region


@dataclass(frozen=True, slots=True)
class GgufOutput:
    """`files`: outputs of a plan, in order. `regions`: where each tensor lies in them, by its name."""

    files: tuple[OutputFile, ...]
    regions: dict[str, Region]


def gguf_output(path: Path, key_values: Metadata, tensors: Sequence[PlannedTensor],
                literal: Mapping[str, np.ndarray] | None = None) -> GgufOutput:
    """A GGUF file of these key-values and tensors, in the order given.

    `literal`: the values of tensors that no job makes. They are small, come before all others, and are part of the head.

    Raises UnsupportedError for names, shapes and key-values that GGUF cannot hold, all tensors in one message.
    """
    literal = literal or {}
    alignment = _alignment(key_values)
    laid = layout([(t.name, t.type, t.shape) for t in tensors], alignment)
    head = bytearray(encode_header(key_values, laid))
    start = size = len(head)
    regions = {}
    for tensor in laid:
        regions[tensor.name] = Region(0, start + tensor.offset, tensor.type, tensor.shape)
        size = start + padded(tensor.offset + tensor.nbytes, alignment)
        if tensor.name in literal:
            if len(head) != start + tensor.offset:
                raise ValueError(f"{tensor.name} is literal and stands behind a tensor that is not")
            head += literal[tensor.name].tobytes()
            head += bytes(size - len(head))
    return GgufOutput((OutputFile(path, size, bytes(head)),), regions)


def _alignment(key_values: Metadata) -> int:
    """Bytes to whose multiples tensors are padded."""
    value = key_values.get("general.alignment")
    if value is None:
        return DEFAULT_ALIGNMENT
    if value.type is not ValueType.UINT32 or not 0 < value.data <= MAX_ALIGNMENT or value.data & (value.data - 1):
        raise UnsupportedError("general.alignment: no alignment of a GGUF file", found=value.data,
                               expected=f"a power of two up to {MAX_ALIGNMENT} as UINT32")
    return value.data
