"""Facts of a GGUF file, and the few questions that tables ask of them on the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from .template import Holes, Template

Config = dict[str, Any]  # a canonical config.json (see hf_config.py)
MISSING: Any = object()
TOKENS, LAST = "tokenizer.ggml.tokens", 8


class Missing(KeyError):
    """A setting that config.json, or a key that the file, does not have. `args[0]` is its path."""


class Settings(dict[str, Any]):
    """A config or a file's keys: `Missing` where a rule asks for what is not there, whatever else a KeyError means."""

    def __missing__(self, key: str) -> Any:
        raise Missing(key)


class StoredTensor(Protocol):
    @property
    def type(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...


@dataclass
class GgufFacts:
    """What the way back knows: the file's keys below the prefix, its tensors' shapes and types, all its keys, and what is
    assumed."""

    kv: Mapping[str, Any]
    tensors: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)
    assumed: dict[str, tuple[str, str]] = field(default_factory=dict)  # config path -> which value, and why

    @classmethod
    def of(cls, keys: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> GgufFacts:
        """Those of a file: its plain key-values and its tensors."""
        return cls({}, {n: t.shape for n, t in tensors.items()}, {n: t.type for n, t in tensors.items()}, keys)

    def telling(self) -> GgufFacts:
        """These facts with what tells tables apart of all keys: single values, and the last tokens of the vocabulary."""
        keys: dict[str, Any] = {key: v if isinstance(v, (str, int, float)) else None for key, v in self.keys.items()}
        tokens = self.keys.get(TOKENS)
        return replace(self, keys={**keys, TOKENS: list(tokens[-LAST:])} if isinstance(tokens, Sequence) else keys)

    def assume(self, config: Config, path: str, value: Any, why: str) -> None:
        set_path(config, path, value)
        self.assumed[path] = repr(value), why


Fact = Callable[[GgufFacts], Any]  # None: the file does not tell


@dataclass(frozen=True)
class Has:
    """Whether the file has a tensor of this name; in a row, at the row's own block."""

    tensor: Template
    absent: bool = False

    def __call__(self, facts: GgufFacts) -> bool:
        return self.at(facts.tensors, {})

    def at(self, tensors: Mapping[str, Any], holes: Holes) -> bool:
        return (self.tensor.format(holes) in tensors) != self.absent


def has(tensor: str) -> Has:
    return Has(Template(tensor))


def lacks(tensor: str) -> Has:
    return Has(Template(tensor), absent=True)


def size(tensor: str, axis: int = 0) -> Fact:
    """The length of an axis of a tensor."""
    return lambda facts: facts.tensors[tensor][axis] if tensor in facts.tensors else None


def says(key: str, *values: Any) -> Fact:
    """Whether one of the file's keys (by its full name) has one of these values; without values, whether it is there."""
    return lambda facts: facts.keys.get(key) in values if values else key in facts.keys


def speaks(token: str) -> Fact:
    """Whether this is one of the last tokens of the vocabulary, behind those of its own tokenizer."""
    return lambda facts: token in (facts.keys.get(TOKENS) or ())


def named(word: str) -> Fact:
    """Whether the model's own name speaks of it."""
    return lambda facts: word in str(facts.keys.get("general.name", "")).lower()


def get_path(config: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path ("rope_parameters.factor", "multipliers.0"), or MISSING. An explicit null counts as
    missing: transformers writes both."""
    value: Any = config
    for part in path.split("."):
        if isinstance(value, (list, tuple)) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, Mapping):
            value = value.get(part)
        else:
            return MISSING
        if value is None:
            return MISSING
    return value


def get_first(config: Mapping[str, Any], paths: Iterable[str], default: Any = MISSING) -> Any:
    """The value at the first of these paths that has one."""
    return next((value for path in paths if (value := get_path(config, path)) is not MISSING), default)


def set_path(config: Config, path: str, value: Any) -> None:
    """Set the value at a dotted path; a number is a place in a list, which is filled from the first on."""
    *parents, last = parts = path.split(".")
    for part, inner in zip(parents, parts[1:], strict=True):
        config = config.setdefault(part, [] if inner.isdecimal() else {})
    if isinstance(config, list):
        config[int(last) : int(last) + 1] = [value]
    else:
        config[last] = value
