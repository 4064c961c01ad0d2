"""Tensors that GGUF holds as keys (`ArchSpec.keyed`): single numbers of each block, or of the model (xIELU's parameters, the
gain of a head), and the whole numbers that a block hashes with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...quant import quantize
from ..errors import GgufxError, InputError
from ..io.tensors import StoredTensor
from ..io.values import Metadata, Value, ValueType, array, f32
from ..rules.match import HfMatches
from ..rules.spec import ArchSpec, Hparams, Keyed
from .kept_tensors import floats, read_tensor
from .own_keys import KEPT, kept_value

INT64 = "I64"


def _blocks(rule: Keyed, spec: ArchSpec, hp: Hparams) -> Sequence[int | None]:
    """The blocks that have the tensor; None for that of the whole model."""
    if rule.within:
        block = hp.get(rule.within)
        return () if block is None else (block,)
    return spec.blocks("b", hp) if rule.hf.holes else (None,)


def to_keys(spec: ArchSpec, hp: Hparams, tensors: Mapping[str, StoredTensor], found: HfMatches, file: str,
            problems: list[GgufxError]) -> Metadata:
    """The keys that the checkpoint's tensors make."""
    out: Metadata = {}
    for rule in spec.keyed:
        named = {block: tensors[name] for name, (of, block) in found.keyed.items() if of == rule}
        blocks = _blocks(rule, spec, hp)
        missing = [rule.hf.format({"b": b}) for b in blocks if b not in named]
        problems.extend(InputError("missing, the GGUF file cannot be made without it", file=file, tensor=name,
                                   expected=f"the source of {rule.key}") for name in missing[:1])
        try:
            if blocks and not missing:
                out[rule.key] = _whole_numbers(named[blocks[0]]) if rule.within else _floats(rule, [named[b] for b in blocks])
        except InputError as error:
            problems.append(error)
    return out


def _floats(rule: Keyed, each: list[StoredTensor]) -> Value:
    numbers = [float(floats(read_tensor(tensor), tensor.type).reshape(-1)[0]) for tensor in each]
    return array(ValueType.FLOAT32, numbers) if rule.hf.holes else f32(numbers[0])


def _whole_numbers(tensor: StoredTensor) -> Value:
    """uint64 of the tensor's int64. InputError where it has others, or negative ones."""
    if tensor.type != INT64 or len(tensor.shape) != 1:
        raise InputError("holds no whole numbers of 64 bits", file=tensor.file, tensor=tensor.name, expected=INT64,
                         found=f"{tensor.type} {list(tensor.shape)}")
    numbers = read_tensor(tensor).view("<i8")
    if (numbers < 0).any():
        raise InputError("holds negative numbers, which the key cannot", file=tensor.file, tensor=tensor.name)
    return array(ValueType.UINT64, numbers.tolist())


def from_keys(spec: ArchSpec, hp: Hparams, keys: Mapping[str, Any], dtype: str, file: Path, spelled: Callable[[str], str],
              others: Collection[str]) -> tuple[Metadata, dict[str, Any]]:
    """The tensors of a file's keys that are not among the `others`, which it keeps, as if it kept them: their bytes, and what
    they are. `spelled`: what the checkpoint calls a table's name. InputError for a key that is missing, has no number for a
    block, or others than the tensor."""
    bytes_of: Metadata = {}
    kept: dict[str, Any] = {}

    def keep(name: str, value: np.ndarray, kind: str, shape: Sequence[int]) -> None:
        bytes_of[KEPT + name] = kept_value(value)
        kept[name] = {"dtype": kind, "shape": list(shape), "rows": None}

    for rule in spec.keyed:
        blocks = _blocks(rule, spec, hp)
        names = {b: spelled(rule.hf.format({"b": b})) for b in blocks}
        if {*names.values()} <= {*others}:
            continue
        values = np.ravel(keys.get(rule.key, []))
        if rule.within:
            if not len(values) or values.dtype.kind not in "iu" or int(values.min()) < 0 or int(values.max()) >= 1 << 63:
                raise InputError(f"{rule.key} must be whole numbers below 2^63", file=file)
            keep(names[blocks[0]], values.astype("<i8"), INT64, values.shape)
            continue
        if values.dtype.kind != "f" or len(values) not in (1, len(blocks)):
            raise InputError(f"{rule.key} must be a number{' per block' * bool(rule.hf.holes)}", file=file,
                             expected=len(blocks), found=len(values))
        for b in blocks:
            value = np.full((1, 1), values[b if b is not None and len(values) > 1 else 0], np.float32)
            keep(names[b], value if dtype == "F32" else np.ascontiguousarray(quantize(value, dtype)), dtype, rule.shape)
    return bytes_of, kept
