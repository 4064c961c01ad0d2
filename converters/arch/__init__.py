"""The registry of architectures. A new architecture is one table in this package and one line in `FAMILIES`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import UnsupportedError
from ..rules.spec import ArchSpec
from . import bert, deepseek, gemma, gemma4, gpt, llama, phi, qwen, qwen35

FAMILIES = (llama, qwen, qwen35, gemma, gemma4, phi, gpt, bert, deepseek)
SPECS: tuple[ArchSpec, ...] = tuple(spec for family in FAMILIES for spec in family.SPECS)


def _check(specs: tuple[ArchSpec, ...]) -> dict[str, ArchSpec]:
    """Each HF class once; each rule complete; where specs share a GGUF name, exactly one is the default."""
    by_class: dict[str, ArchSpec] = {}
    for spec in specs:
        for name in spec.classes:
            if name in by_class:
                raise AssertionError(f"{name} is in two tables")
            by_class[name] = spec
        for rule in spec.tensors:
            if rule.stacked and (len(rule.hf) != 1 or len(rule.gguf) != 1):
                raise AssertionError(f"{spec.name}: {rule.hf[0]} stacks experts, so it is one name on each side")
    for name in {s.name for s in specs}:
        if sum(s.name == name and s.chosen is None for s in specs) != 1:
            raise AssertionError(f"{name}: one of the tables of this GGUF name must be the default")
    return by_class


BY_CLASS = _check(SPECS)


def for_class(hf_class: str, file: str) -> ArchSpec:
    """The table of an HF class. UnsupportedError names one of the same model, if there is one."""
    if hf_class in BY_CLASS:
        return BY_CLASS[hf_class]
    raise UnsupportedError(f"architecture {hf_class!r} is not supported", file=file, found=hf_class,
                           hint=_nearest(hf_class, BY_CLASS))


def for_gguf(arch: str, keys: Mapping[str, Any], tensors: Collection[str], file: str) -> ArchSpec:
    """The table for a GGUF file, by general.architecture, its key-values and the names of its tensors."""
    specs = [spec for spec in SPECS if spec.name == arch]
    if not specs:
        raise UnsupportedError(f"architecture {arch!r} is not supported", file=file, found=arch,
                               hint=_nearest(arch, [s.name for s in SPECS]))
    plain = {key: value for key, value in keys.items() if isinstance(value, (str, int, float))}  # no arrays
    chosen = [s for s in specs if s.chosen is not None and s.chosen(plain, tensors)]
    return (chosen or [s for s in specs if s.chosen is None])[0]


def _nearest(name: str, known: Collection[str]) -> str:
    """A hint: a supported name of the same model, where it is only written otherwise or has another head. A name that
    merely looks alike would lead nowhere: models are made by others, not mistyped."""
    same = next((k for k in known if _stem(k) == _stem(name)), None)
    return (f"The same model is supported as {same}. " if same else "") + "`ggufx archs` lists all."


def _stem(name: str) -> str:
    """What of a class or architecture name says which model it is: `qwen3moe` of `Qwen3MoeForCausalLM`, `qwen3-moe`."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"(For[A-Z].*|Text|LMHead)?(Model)?$", "", name).lower())
