"""Runs the hyperparameter rules of a table: config -> key-values, key-values -> config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import GgufxError, InputError, raise_all
from ..io.files import printable
from ..io.gguf import TensorInfo
from ..io.values import Metadata, ValueType, plain
from .hf_config import check_block_count, check_expert_count
from .spec import LIMITS, ArchSpec, Config, Found, HparamGroup, Hparams

UNFIT = (TypeError, ValueError, IndexError, AttributeError, ArithmeticError)  # what arithmetic on odd settings raises


def write_hparams(spec: ArchSpec, config: Config, notes: list[str], problems: list[GgufxError]) -> Metadata:
    """The architecture's key-values, prefixed. Everything that is missing or unfit is appended to `problems`."""
    out: Metadata = {}
    for rule in spec.hparams:
        try:
            out.update(rule.write(config, notes))
        except KeyError as error:
            problems.append(InputError(f"config.json has no {error.args[0]}", file="config.json",
                                       hint=f"{spec.classes[0]} cannot be described without it."))
        except UNFIT as error:
            problems.append(_unfit(rule, error))
        except GgufxError as error:
            problems.append(error)
    if "expert_count" in out:
        try:
            check_expert_count(out["expert_count"].data, "the expert count", "config.json")
        except InputError as error:
            problems.append(error)
    return {f"{spec.name}.{key}": value for key, value in out.items()}


def _unfit(rule: HparamGroup, error: Exception) -> InputError:
    """A setting that a rule cannot compute with, by its name in config.json or in the file."""
    hf = getattr(rule, "hf", None) or getattr(rule, "key", None) or type(rule).__name__.lower()
    name = hf if isinstance(hf, str) else " or ".join(hf)
    return InputError(f"config.json: {name} cannot be used: {error}", file="config.json")


def sizes(spec: ArchSpec, values: Mapping[str, Any], vocab_size: int | None) -> Hparams:
    """Hyperparameters without prefix, with the table's derived sizes: what ops and shapes are written in.

    A derived size whose parts are missing is left out; the missing part has been reported by its own rule.
    """
    hp = _own_keys(spec, values)
    if vocab_size is not None:
        hp.setdefault("vocab_size", vocab_size)
    for name, derive in spec.sizes.items():
        try:
            hp[name] = derive(hp)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            continue
    return hp


def read_hparams(
    spec: ArchSpec, metadata: Metadata, tensors: Mapping[str, TensorInfo], file: str, problems: list[GgufxError]
) -> tuple[Config, Found]:
    """The canonical config that the file's standard keys describe, and what had to be assumed."""
    kv = _own_keys(spec, plain(metadata))
    for key in ("block_count", "nextn_predict_layers"):
        check_block_count(kv.get(key), f"{spec.name}.{key}", file)
    for count in (n if isinstance(n := kv.get("expert_count"), list) else [n]):
        check_expert_count(count, f"{spec.name}.expert_count", file)
    found = Found(kv, {n: t.shape for n, t in tensors.items()}, {n: t.type for n, t in tensors.items()})
    config: Config = {"architectures": [spec.classes[0]], "model_type": spec.model_type}
    rules = [(getattr(rule, "key", ""), rule) for rule in spec.hparams]
    raise_all(InputError(f"{spec.name}.{key} has the wrong type", file=file, expected=rule.type.name.lower(),
                         found=printable(repr(kv[key])))
              for key, rule in rules if key in kv and not _fits(rule.type, kv[key]))
    for key, rule in rules:
        try:
            rule.read(found, config)
        except KeyError as error:
            problems.append(InputError(f"the file has no {spec.name}.{error.args[0]}", file=file))
        except UNFIT as error:
            name = key or getattr(rule, "hf", type(rule).__name__)
            problems.append(InputError(f"{spec.name}.{name} cannot be read: {error}", file=file))
        except GgufxError as error:
            problems.append(error)
    return config, found


def _fits(kind: ValueType, value: Any) -> bool:
    """Whether a file's value can be what a rule of this type reads: one, or a list with one per block."""
    wanted = {ValueType.FLOAT32: (int, float), ValueType.STRING: str}.get(kind, int)
    most = LIMITS[ValueType.FLOAT32][1]  # neither NaN nor infinity is a setting
    return all(isinstance(v, wanted) and not (isinstance(v, float) and not abs(v) <= most)
               for v in (value if isinstance(value, list) else [value]))


def _own_keys(spec: ArchSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture's keys without its prefix; arrays, which list a value per block, as lists."""
    prefix = f"{spec.name}."
    return {key.removeprefix(prefix): PerBlock(value.tolist() if isinstance(value, np.ndarray) else value)
            if isinstance(value, (list, np.ndarray)) else value
            for key, value in values.items() if key.startswith(prefix)}


class PerBlock(list):
    """A value for each block. TypeError where it is taken for one number: a list times a size is a list of that length."""

    __mul__ = __rmul__ = __imul__ = None
