"""Tensors of single numbers that GGUF holds as a key with a number per block (`ArchSpec.keyed`): xIELU's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...quant import quantize
from ..errors import GgufxError, InputError
from ..io.tensors import StoredTensor
from ..io.values import Metadata, ValueType, array
from ..rules.match import HfMatches, rename
from ..rules.spec import ArchSpec, Hparams
from .kept_tensors import floats, read_tensor
from .own_keys import KEPT, kept_value


def to_keys(spec: ArchSpec, hp: Hparams, tensors: Mapping[str, StoredTensor], found: HfMatches, file: str,
            problems: list[GgufxError]) -> Metadata:
    """The keys that the checkpoint's tensors make; their names leave `found.ignored` only on the way back."""
    out: Metadata = {}
    for rule in spec.keyed:
        values: dict[int, float] = {}
        for name in found.ignored:
            holes = next((h for s in rename(name, spec.aliases) if (h := rule.hf.match(s)) is not None), None)
            if holes is not None:
                raw = read_tensor(tensors[name])
                values[holes["b"]] = float(floats(raw, tensors[name].type).reshape(-1)[0])
        blocks = spec.blocks("b", hp)
        missing = [rule.hf.format({"b": b}) for b in blocks if b not in values]
        problems.extend(InputError("missing, the GGUF file cannot be made without it", file=file, tensor=name,
                                   expected=f"the source of {rule.key}") for name in missing[:1])
        if not missing:
            out[rule.key] = array(ValueType.FLOAT32, [values[b] for b in blocks])
    return out


def from_keys(spec: ArchSpec, hp: Hparams, keys: Mapping[str, Any], dtype: str,
              file: Path) -> tuple[Metadata, dict[str, Any]]:
    """The tensors of a file's keys, as if the file kept them: their bytes, and what they are. InputError for a key that
    is missing or has no number for a block."""
    bytes_of: Metadata = {}
    kept: dict[str, Any] = {}
    for rule in spec.keyed:
        blocks = spec.blocks("b", hp)
        values = np.ravel(keys.get(rule.key, []))
        if values.dtype.kind != "f" or len(values) not in (1, len(blocks)):
            raise InputError(f"{rule.key} must be a number per block", file=file, expected=len(blocks), found=len(values))
        for b in blocks:
            name = rule.hf.format({"b": b})
            value = np.full((1, 1), values[b if len(values) > 1 else 0], np.float32)
            bytes_of[KEPT + name] = kept_value(value if dtype == "F32" else np.ascontiguousarray(quantize(value, dtype)))
            kept[name] = {"dtype": dtype, "shape": list(rule.shape), "rows": None}
    return bytes_of, kept
