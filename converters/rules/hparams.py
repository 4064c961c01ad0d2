"""Runs the hyperparameter rules of a table: config -> key-values, key-values -> config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from ..errors import GgufxError, InputError, raise_all
from ..io.files import printable
from ..io.string_array import StringArray
from ..io.values import Metadata, ValueType
from .facts import MISSING, Config, GgufFacts, Missing, Settings, get_path
from .hf_config import BLOCK_COUNTS, check_block_count, check_expert_count
from .hparam_rules import LIMITS, PLAIN_TYPES, HparamRule, OneKey
from .spec import ArchSpec, Hparams

WITHOUT_PREFIX = ("diffusion.shift_logits",  # keys that are the same for all architectures
                  *(f"tokenizer.ggml.{key}" for key in ("mask_token_id", "eos_token_id", "add_eos_token", "suppress_tokens")),
                  *(f"vision.pos_emb_{axis}" for axis in ("height", "width", "time")))
UNFIT = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)  # what arithmetic on odd settings raises


def write_hparams(spec: ArchSpec, config: Config, notes: list[str], problems: list[GgufxError]) -> Metadata:
    """The architecture's key-values, prefixed. Everything that is missing or unfit is appended to `problems`."""
    out: Metadata = {}
    for rule in spec.hparams:
        try:
            out.update(rule.write(config, notes))
        except Missing as error:
            name, where = _where(error.args[0])
            problems.append(InputError(f"{where} has no {name}", file=where,
                                       hint=f"{spec.classes[0]} cannot be described without it."))
        except UNFIT as error:
            problems.append(_unfit(rule, error))
        except GgufxError as error:
            problems.append(error)
    for key, check in (*((key, check_block_count) for key in BLOCK_COUNTS), ("expert_count", check_expert_count)):
        for count in np.atleast_1d(out[key].data).tolist() if key in out else ():
            try:
                check(count, f"the {key.replace('_', ' ')}", "config.json")
            except InputError as error:
                problems.append(error)
    return {key if key in WITHOUT_PREFIX else f"{spec.name}.{key}": value for key, value in out.items()}


def _unfit(rule: HparamRule, error: Exception) -> InputError:
    """A setting that a rule cannot compute with, by its name in config.json or in the file."""
    found = [_where(path) for path in rule.fills] or [(key, "config.json") for key in rule.writes] or [("", "config.json")]
    names, where = " or ".join(name for name, _ in found), found[0][1]
    return InputError(f"{names} cannot be used: {error}", file=where)


def _where(path: str) -> tuple[str, str]:
    """The name of a setting and the file that has it. Those of processors stand under a name of their own."""
    found = path.removeprefix("processor.")
    return found, "config.json" if found == path else "preprocessor_config.json"


def sizes(spec: ArchSpec, values: Mapping[str, Any], vocab_size: int | None, config: Config | None) -> Hparams:
    """Hyperparameters without prefix, with the table's constants and derived sizes: what ops and shapes are written in.

    `config`: that of the checkpoint, whose constants are folded into weights; None for a file of others, which is not
    folded back. A derived size whose parts are missing is left out; the missing part has been reported by its own rule.
    """
    hp = _own_keys(spec, values)
    if vocab_size is not None:
        hp.setdefault("vocab_size", vocab_size)
    for name, constant in spec.constants.items():
        told = get_path(config, constant.hf) if config is not None else MISSING
        hp[name] = told if told is not MISSING else constant.neutral
    for name, shown in spec.shown.items():
        length = shown.told(config) if config is not None else values.get(shown.key)
        if type(length) is int:
            hp[name] = length
    return with_derived(spec, hp)


def with_derived(spec: ArchSpec, hp: Hparams) -> Hparams:
    """The hyperparameters with the table's derived sizes, but for those whose parts are missing."""
    out = Settings(hp)
    for name, derive in spec.sizes.items():
        try:
            out[name] = derive(out)
        except (LookupError, TypeError, ValueError, ZeroDivisionError):
            continue
    return out


def read_hparams(spec: ArchSpec, facts: GgufFacts, file: str, problems: list[GgufxError]) -> tuple[Config, GgufFacts]:
    """The canonical config that the file's standard keys describe, and what had to be assumed."""
    kv = _own_keys(spec, facts.keys)
    for key in BLOCK_COUNTS:
        check_block_count(kv.get(key), f"{spec.name}.{key}", file)
    for count in (n if isinstance(n := kv.get("expert_count"), list) else [n]):
        check_expert_count(count, f"{spec.name}.expert_count", file)
    facts = GgufFacts(kv, facts.tensors, facts.types, facts.keys)
    main = spec.whole.text if spec.whole else spec
    config = Settings(architectures=[main.classes[0]], model_type=main.model_type)
    raise_all(InputError(f"{spec.name}.{rule.key} has the wrong type", file=file, expected=rule.type.name.lower(),
                         found=printable(repr(kv[rule.key])))
              for rule in spec.hparams if isinstance(rule, OneKey) and rule.key in kv and not _fits(rule.type, kv[rule.key]))
    for rule in spec.hparams:
        try:
            rule.read(facts, config)
        except Missing as error:
            problems.append(InputError(f"the file has no {spec.name}.{error.args[0]}", file=file))
        except UNFIT as error:
            name = " or ".join(rule.writes or rule.fills)
            problems.append(InputError(f"{spec.name}.{name} cannot be read: {error}", file=file))
        except GgufxError as error:
            problems.append(error)
    for constant in spec.constants.values():
        if get_path(config, constant.hf) is MISSING:
            facts.assume(config, constant.hf, constant.neutral, "it is in the weights")
    return config, facts


def _fits(kind: ValueType, value: Any) -> bool:
    """Whether a file's value can be what a rule of this type reads: one, or a list with one per block."""
    wanted = int if kind == ValueType.BOOL else PLAIN_TYPES.get(kind, int)
    most = LIMITS[ValueType.FLOAT32][1]  # neither NaN nor infinity is a setting
    return all(isinstance(v, wanted) and not (isinstance(v, float) and not abs(v) <= most)
               for v in (value if isinstance(value, list) else [value]))


def _own_keys(spec: ArchSpec, values: Mapping[str, Any]) -> Settings:
    """The architecture's keys without its prefix; arrays, which list a value per block or label, as lists."""
    prefix = f"{spec.name}."
    return Settings({key.removeprefix(prefix): PerBlock(value.tolist() if isinstance(value, np.ndarray) else value)
                     if isinstance(value, (list, np.ndarray, StringArray)) else value
                     for key, value in values.items() if key.startswith(prefix)})


class PerBlock(list):
    """A value for each block. TypeError where it is taken for one number: a list times a size is a list of that length."""

    def __mul__(self, factor: Any) -> NoReturn:
        raise TypeError("a value for each block is not one number")

    __rmul__ = __imul__ = __mul__
