"""Tensors of single numbers that GGUF holds as a key with a number per block, or with one (`ArchSpec.keyed`): xIELU's
parameters, the gain of a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...quant import quantize
from ..errors import GgufxError, InputError
from ..io.tensors import StoredTensor
from ..io.values import Metadata, ValueType, array, f32
from ..rules.match import HfMatches, rename
from ..rules.spec import ArchSpec, Hparams, Keyed
from .kept_tensors import floats, read_tensor
from .own_keys import KEPT, kept_value


def _blocks(rule: Keyed, spec: ArchSpec, hp: Hparams) -> Sequence[int | None]:
    """The blocks that have the number; None for that of the whole model."""
    return spec.blocks("b", hp) if rule.hf.holes else (None,)


def to_keys(spec: ArchSpec, hp: Hparams, tensors: Mapping[str, StoredTensor], found: HfMatches, file: str,
            problems: list[GgufxError]) -> Metadata:
    """The keys that the checkpoint's tensors make; their names leave `found.ignored` only on the way back."""
    out: Metadata = {}
    for rule in spec.keyed:
        values: dict[int | None, float] = {}
        for name in found.ignored:
            holes = next((h for s in rename(name, spec.aliases) if (h := rule.hf.match(s)) is not None), None)
            if holes is not None:
                raw = read_tensor(tensors[name])
                values[holes.get("b")] = float(floats(raw, tensors[name].type).reshape(-1)[0])
        blocks = _blocks(rule, spec, hp)
        missing = [rule.hf.format({"b": b}) for b in blocks if b not in values]
        problems.extend(InputError("missing, the GGUF file cannot be made without it", file=file, tensor=name,
                                   expected=f"the source of {rule.key}") for name in missing[:1])
        if not missing:
            numbers = [values[b] for b in blocks]
            out[rule.key] = array(ValueType.FLOAT32, numbers) if rule.hf.holes else f32(numbers[0])
    return out


def from_keys(spec: ArchSpec, hp: Hparams, keys: Mapping[str, Any], dtype: str,
              file: Path) -> tuple[Metadata, dict[str, Any]]:
    """The tensors of a file's keys, as if the file kept them: their bytes, and what they are. InputError for a key that
    is missing or has no number for a block."""
    bytes_of: Metadata = {}
    kept: dict[str, Any] = {}
    for rule in spec.keyed:
        blocks = _blocks(rule, spec, hp)
        values = np.ravel(keys.get(rule.key, []))
        if values.dtype.kind != "f" or len(values) not in (1, len(blocks)):
            raise InputError(f"{rule.key} must be a number{' per block' * bool(rule.hf.holes)}", file=file,
                             expected=len(blocks), found=len(values))
        for b in blocks:
            name = rule.hf.format({"b": b})
            value = np.full((1, 1), values[b if b is not None and len(values) > 1 else 0], np.float32)
            bytes_of[KEPT + name] = kept_value(value if dtype == "F32" else np.ascontiguousarray(quantize(value, dtype)))
            kept[name] = {"dtype": dtype, "shape": list(rule.shape), "rows": None}
    return bytes_of, kept
