"""The rule kinds for hyperparameters: config.json <-> the architecture's key-values.

| kind | says | forward | back |
|---|---|---|---|
| `Key` (`H`) | one config value is one key | written | read |
| `Computed` | a key is made of several config values | written | one config value |
| `Const` | a key that says the same for every model of the class | written | nothing |
| `Fixed` | a config value that GGUF has no key for: the runtime always computes with this one | checked | assumed |
| `Seen` | a config value that shows in tensors and keys | nothing, or read from the tensors' names | from the facts |
| `Note` | something to say of some configs | said | nothing |

`Rope` (rope.py) is one more: the rotary settings, whose keys depend on each other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..errors import UnsupportedError
from ..io.values import Metadata, Value, ValueType, array
from .facts import MISSING, Config, Fact, GgufFacts, Missing, get_first, get_path, set_path

PLAIN_TYPES: dict[ValueType, type[Any] | tuple[type[Any], ...]] = {
    ValueType.FLOAT32: (int, float), ValueType.BOOL: bool, ValueType.STRING: str,
}  # of the rest: int
LIMITS: dict[ValueType, tuple[float, float]] = {
    ValueType.UINT32: (0, 2**32 - 1), ValueType.INT32: (-(2**31), 2**31 - 1),
    ValueType.FLOAT32: (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)),
}


class HparamRule(Protocol):
    """Anything that turns part of a config into key-values and back. `write` and `read` are inverse.

    `writes`: the keys, below the architecture's prefix, and `fills`: the config paths, that it is about.
    """

    @property
    def writes(self) -> tuple[str, ...]: ...

    @property
    def fills(self) -> tuple[str, ...]: ...

    def write(self, config: Config, notes: list[str]) -> Metadata: ...

    def read(self, facts: GgufFacts, config: Config) -> None: ...


@dataclass(frozen=True)
class Codec:
    """A two-way value map between config.json and GGUF."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


class OneKey:
    """A kind that is about one key."""

    key: str
    type: ValueType

    @property
    def writes(self) -> tuple[str, ...]:
        return (self.key,)


class NoKey:
    """A kind that is about a config path without a key."""

    hf: str

    @property
    def writes(self) -> tuple[str, ...]:
        return ()

    @property
    def fills(self) -> tuple[str, ...]:
        return (self.hf,)


@dataclass(frozen=True)
class Key(OneKey):
    """One key-value. `hf` lists config paths; the first is the one written on the way back."""

    key: str
    hf: tuple[str, ...]
    type: ValueType = ValueType.UINT32
    need: bool = True
    codec: Codec | None = None
    default: Any = MISSING  # the value a config without the key stands for

    @property
    def fills(self) -> tuple[str, ...]:
        return self.hf

    def write(self, config: Config, notes: list[str]) -> Metadata:
        value = get_first(config, self.hf, self.default)
        if value is MISSING:
            if self.need:
                raise Missing(self.hf[0])
            return {}
        if self.codec:
            value = self.codec.encode(value)
        return {} if value is None else {self.key: typed(self.type, value)}

    def read(self, facts: GgufFacts, config: Config) -> None:
        if self.key in facts.kv:
            value = facts.kv[self.key]
            value = short(value) if self.type == ValueType.FLOAT32 else value
            set_path(config, self.hf[0], self.codec.decode(value) if self.codec else value)
        elif self.default is not MISSING:
            facts.assume(config, self.hf[0], self.default, f"the file has no {self.key}")
        elif self.need:
            raise Missing(self.key)


@dataclass(frozen=True)
class Computed(OneKey):
    """One key-value made of several config keys, and the config key that it gives back.

    `value(config)` None leaves the key out. Without `hf`, other rules bring back what this one was made of.
    """

    key: str
    value: Callable[[Config], Any]
    hf: str | None = None
    back: Callable[[Mapping[str, Any]], Any] | None = None  # the file's keys below the prefix -> the value of `hf`,
    # None where there is nothing to bring back
    type: ValueType = ValueType.UINT32

    @property
    def fills(self) -> tuple[str, ...]:
        return (self.hf,) if self.hf else ()

    def write(self, config: Config, notes: list[str]) -> Metadata:
        value = self.value(config)
        return {} if value is None else {self.key: typed(self.type, value)}

    def read(self, facts: GgufFacts, config: Config) -> None:
        if self.hf is not None and self.back is not None and (value := self.back(facts.kv)) is not None:
            set_path(config, self.hf, value)


@dataclass(frozen=True)
class Const(OneKey):
    """A key that has the same value for every model of the class."""

    key: str
    value: Any
    type: ValueType = ValueType.UINT32

    @property
    def fills(self) -> tuple[str, ...]:
        return ()

    def write(self, config: Config, notes: list[str]) -> Metadata:
        return {self.key: typed(self.type, self.value)}

    def read(self, facts: GgufFacts, config: Config) -> None:
        pass


@dataclass(frozen=True)
class Fixed(NoKey):
    """A config value that GGUF has no key for: the runtime always computes with this one.

    `value` may be computed from the config: from what the rules before this one brought back, on the way back.
    """

    hf: str
    value: Any
    also: tuple[Any, ...] = ()  # spellings that mean the same
    refuse: bool = False  # a model with another value is not what the tensors would say
    elsewhere: tuple[str, ...] = ()  # paths where other forms of config.json have it

    @property
    def fills(self) -> tuple[str, ...]:
        return (self.hf, *self.elsewhere)

    def write(self, config: Config, notes: list[str]) -> Metadata:
        found = get_first(config, self.fills)
        value = self._value(config)
        if found is not MISSING and found != value and found not in self.also:
            if self.refuse:
                raise UnsupportedError(f"{self.hf} has no GGUF form", file="config.json", expected=value, found=found)
            notes.append(f"config.json says {self.hf} = {found!r}; the runtime always computes with {value!r}")
        return {}

    def read(self, facts: GgufFacts, config: Config) -> None:
        facts.assume(config, self.hf, self._value(config), "GGUF has no key for it; the runtime's value")

    def _value(self, config: Config) -> Any:
        return self.value(config) if callable(self.value) else self.value


@dataclass(frozen=True)
class Seen(NoKey):
    """A config value that shows in the file: in its tensors (`has`, `lacks`, `size`), keys and types; None leaves it out.

    `names`: on the way there, what the checkpoint's tensor names say of it, whatever config.json says. `among`: the values
    that the runtime can compute with; others are refused.
    """

    hf: str
    fact: Fact
    names: Callable[[Config, Collection[str]], Any] | None = None
    among: tuple[Any, ...] = ()

    def write(self, config: Config, notes: list[str]) -> Metadata:
        found = get_path(config, self.hf)
        if self.among and found is not MISSING and found not in self.among:
            raise UnsupportedError(f"{self.hf} has no GGUF form", file="config.json",
                                   expected=" or ".join(map(str, self.among)), found=found)
        return {}

    def read(self, facts: GgufFacts, config: Config) -> None:
        if (value := self.fact(facts)) is not None:
            set_path(config, self.hf, value)


@dataclass(frozen=True)
class Note:
    """Something to say of some configs: that the runtime computes a little differently than HF."""

    text: str
    when: Callable[[Config], Any]  # said where it is true of the config
    writes: tuple[str, ...] = ()
    fills: tuple[str, ...] = ()

    def write(self, config: Config, notes: list[str]) -> Metadata:
        if self.when(config):
            notes.append(self.text)
        return {}

    def read(self, facts: GgufFacts, config: Config) -> None:
        pass


def H(
    key: str,
    hf: str | tuple[str, ...],
    type: ValueType = ValueType.UINT32,
    *,
    need: bool = True,
    codec: Codec | None = None,
    default: Any = MISSING,
) -> Key:
    """A `Key` row."""
    return Key(key, (hf,) if isinstance(hf, str) else hf, type, need, codec, default)


def without(rules: tuple[HparamRule, ...], *names: str) -> tuple[HparamRule, ...]:
    """The rules but those that write one of these keys or fill one of these config paths. ValueError for a name that
    none of them is about."""
    about = {name for rule in rules for name in (*rule.writes, *rule.fills)}
    if unknown := set(names) - about:
        raise ValueError(f"no rule is about {', '.join(sorted(unknown))}")
    return tuple(rule for rule in rules if not {*rule.writes, *rule.fills} & set(names))


def typed(kind: ValueType, value: Any) -> Value:
    """A scalar or, for a list, an array of that item type; counts in arrays are INT32, as existing files have them.

    TypeError or ValueError for a value that is not of this type, or beyond it: sizes are computed from these.
    """
    if isinstance(value, (list, tuple)):
        kind = ValueType.INT32 if kind == ValueType.UINT32 else kind
        return array(kind, [_checked(kind, item) for item in value])
    return Value(kind, _checked(kind, value))


def _checked(kind: ValueType, value: Any) -> Any:
    wanted = PLAIN_TYPES.get(kind, int)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != ValueType.BOOL):
        raise TypeError(f"{value!r:.80} is not of type {kind.name.lower()}")
    if kind in LIMITS and not LIMITS[kind][0] <= value <= LIMITS[kind][1]:
        raise ValueError(f"{value!r:.80} is beyond {kind.name.lower()}")
    return float(value) if kind == ValueType.FLOAT32 else value


def short(value: Any) -> Any:
    """The shortest decimal that is this float32: 1e-06, not 9.999999974752427e-07. ValueError for NaN, and for what
    float32 does not reach: infinity, large float64s."""
    if not isinstance(value, (float, np.floating)):
        return value
    if not abs(float(value)) <= LIMITS[ValueType.FLOAT32][1]:
        raise ValueError(f"{value} is no finite number of float32")
    return float(str(np.float32(value)))
