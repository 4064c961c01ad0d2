"""Tensors in files: where one is stored, and where one is to be written; of any container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file: `type` as its container names it (F32, BF16, Q4_K, F8_E4M3 ...), `shape` outermost first, its
    bytes at the absolute `offset` of `file`, row by row."""

    name: str
    type: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class TensorLayout:
    """A tensor to be written: the same, but for `offset`, which counts from the end of the file's header."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int
