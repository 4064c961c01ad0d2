"""Typed GGUF key-values, as every part of ggufx passes them around.

`Metadata` maps a full GGUF key to a `Value`; insertion order is the order in the file.
Source: ggml's `gguf.h` (value type ids) and the GGUF specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np


class ValueType(IntEnum):
    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


@dataclass(frozen=True, slots=True)
class Value:
    """One typed value. `item_type` is set for arrays only; `data` of an array is a sequence (list or numpy array)."""

    type: ValueType
    data: Any
    item_type: ValueType | None = None


Metadata = dict[str, Value]


def u8(x: int) -> Value:
    return Value(ValueType.UINT8, x)


def u16(x: int) -> Value:
    return Value(ValueType.UINT16, x)


def u32(x: int) -> Value:
    return Value(ValueType.UINT32, x)


def i32(x: int) -> Value:
    return Value(ValueType.INT32, x)


def u64(x: int) -> Value:
    return Value(ValueType.UINT64, x)


def f32(x: float) -> Value:
    return Value(ValueType.FLOAT32, x)


def boolean(x: bool) -> Value:
    return Value(ValueType.BOOL, bool(x))


def string(x: str) -> Value:
    return Value(ValueType.STRING, x)


def array(item_type: ValueType, items: Sequence[Any] | np.ndarray) -> Value:
    return Value(ValueType.ARRAY, items, item_type)


def strings(items: Sequence[str]) -> Value:
    return array(ValueType.STRING, items)


def plain(metadata: Mapping[str, Value]) -> dict[str, Any]:
    """The bare Python values, for code that only reads."""
    return {key: value.data for key, value in metadata.items()}


def text_of(metadata: Metadata, key: str) -> str:
    """The string under a key; empty where there is none, or something else."""
    found = metadata.get(key)
    return found.data if found is not None and found.type is ValueType.STRING else ""
