"""The layout of a GGUF file to be written, whole or split: headers, padding, and where the bytes of each tensor belong.

The parts of a split model are those of llama.cpp's gguf-split: the same names, keys, order and limits, byte for byte.
Source: llama.cpp `tools/gguf-split/gguf-split.cpp`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UnsupportedError, UsageError, raise_all
from ..io.gguf import DEFAULT_ALIGNMENT, MAX_ALIGNMENT, MAX_PARTS, encode_header, layout, padded, part_name
from ..io.values import Metadata, ValueType, i32, u16
from .plan import OutputFile, PlannedTensor, Region

SPLIT_KEYS = ("split.no", "split.tensors.count", "split.count")  # in the order of gguf-split, behind all others


@dataclass(frozen=True, kw_only=True)
class SplitLimits:
    """What a part of a split model holds at most: bytes of tensors with their padding, tensors. At least one tensor.

    Without limits, and where one file keeps them, a model is not split, but for `always`. `first_empty`: the first part has
    the key-values alone. UsageError for limits that nothing fits into.
    """

    max_bytes: int | None = None
    max_tensors: int | None = None
    always: bool = False
    first_empty: bool = False

    def __post_init__(self) -> None:
        limits = (("byte", self.max_bytes), ("tensor", self.max_tensors))
        raise_all(UsageError(f"a part of a split model holds at least one {what}", found=limit)
                  for what, limit in limits if limit is not None and limit < 1)

    def parts(self, tensors: Sequence[PlannedTensor]) -> list[list[PlannedTensor]]:
        """The tensors of each part, in order. Sizes are padded to 32 bytes, whatever the alignment, as gguf-split does."""
        parts: list[list[PlannedTensor]] = [[], []] if self.first_empty else [[]]
        size = 0
        for tensor in tensors:
            nbytes = padded(tensor.nbytes, DEFAULT_ALIGNMENT)
            full = (self.max_bytes is not None and size + nbytes > self.max_bytes) or len(parts[-1]) == self.max_tensors
            if full and parts[-1]:
                parts.append([])
                size = 0
            parts[-1].append(tensor)
            size += nbytes
        return parts


WHOLE = SplitLimits()


@dataclass(frozen=True, slots=True)
class GgufOutput:
    """`files`: outputs of a plan, the one by which all of them are opened last. `regions`: where each tensor lies in them,
    by its name. `folders`: what is to be made for them."""

    files: tuple[OutputFile, ...]
    regions: dict[str, Region]
    folders: tuple[Path, ...] = ()

    @property
    def path(self) -> Path:
        return self.files[-1].path


def gguf_output(path: Path, key_values: Metadata, tensors: Sequence[PlannedTensor],
                literal: Mapping[str, np.ndarray] | None = None, limits: SplitLimits = WHOLE,
                set_path: Path | None = None) -> GgufOutput:
    """A GGUF file of these key-values and tensors, in the order given; or, where it exceeds `limits`, the parts of one.

    `literal`: the values of tensors that no job makes. They are small, come before all others, and are part of the head.
    `set_path`: what the parts are named after in place of `path`; its folder is made.

    Raises UnsupportedError for names, shapes and key-values that GGUF cannot hold, all tensors in one message; UsageError
    for more parts than a model can have.
    """
    literal = literal or {}
    if limits != WHOLE:
        layout([(t.name, t.type, t.shape) for t in tensors])  # what is wrong with tensors of any part
    parts = limits.parts(tensors) if limits != WHOLE else [tensors]
    if len(parts) == 1 and not limits.always:
        file, regions = _laid(0, path, key_values, tensors, literal)
        return GgufOutput((file,), regions)
    count = len(parts)
    if count > MAX_PARTS:
        raise UsageError("too many parts for one model", found=count, expected=f"at most {MAX_PARTS}",
                         hint="Choose a larger limit.")
    named = set_path or path
    stem = named.name.removesuffix(".gguf")
    files: list[OutputFile] = []
    regions = {}
    for number, held in enumerate(parts):
        keys = {k: v for k, v in key_values.items() if k not in SPLIT_KEYS} if number == 0 else {}
        keys |= dict(zip(SPLIT_KEYS, (u16(number), i32(len(tensors)), u16(count)), strict=True))
        file, places = _laid((number or count) - 1, named.with_name(part_name(stem, number, count)), keys, held, literal)
        files.append(file)
        regions |= places
    return GgufOutput((*files[1:], files[0]), regions, () if set_path is None else (set_path.parent,))


def _laid(number: int, path: Path, key_values: Metadata, tensors: Sequence[PlannedTensor],
          literal: Mapping[str, np.ndarray]) -> tuple[OutputFile, dict[str, Region]]:
    """One file, and where its tensors lie; `number`: its place among the plan's outputs."""
    alignment = _alignment(key_values)
    laid = layout([(t.name, t.type, t.shape) for t in tensors], alignment)
    head = bytearray(encode_header(key_values, laid))
    start = size = len(head)
    regions = {}
    for tensor in laid:
        regions[tensor.name] = Region(number, start + tensor.offset, tensor.type, tensor.shape)
        size = start + padded(tensor.offset + tensor.nbytes, alignment)
        if tensor.name in literal:
            if len(head) != start + tensor.offset:
                raise ValueError(f"{tensor.name} is literal and stands behind a tensor that is not")
            head += literal[tensor.name].tobytes()
            head += bytes(size - len(head))
    return OutputFile(path, size, bytes(head)), regions


def _alignment(key_values: Metadata) -> int:
    """Bytes to whose multiples tensors are padded."""
    value = key_values.get("general.alignment")
    if value is None:
        return DEFAULT_ALIGNMENT
    if value.type is not ValueType.UINT32 or not 0 < value.data <= MAX_ALIGNMENT or value.data & (value.data - 1):
        raise UnsupportedError("general.alignment: no alignment of a GGUF file", found=value.data,
                               expected=f"a power of two up to {MAX_ALIGNMENT} as UINT32")
    return value.data
