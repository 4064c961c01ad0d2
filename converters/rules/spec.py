"""The vocabulary of the architecture tables: frozen data, no I/O.

A table (`arch/*.py`) describes an architecture once: hyperparameter rules and tensor rules. The same rows convert
HF -> GGUF, GGUF -> HF, and a LoRA adapter's factors.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..errors import UnsupportedError
from ..io.values import Metadata, Value, ValueType, array
from ..ops import Op
from .template import Template

Config = dict[str, Any]  # a canonical config.json (see config.py)
Hparams = Mapping[str, Any]  # GGUF keys without the architecture prefix, and the derived sizes of hparams.py
MISSING: Any = object()
PLAIN_TYPES = {ValueType.FLOAT32: (int, float), ValueType.BOOL: bool, ValueType.STRING: str}  # of the rest: int
LIMITS = {ValueType.UINT32: (0, 2**32 - 1), ValueType.INT32: (-(2**31), 2**31 - 1),
          ValueType.FLOAT32: (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max))}


def get_path(config: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or MISSING. An explicit null counts as missing: transformers writes both."""
    value: Any = config
    for part in path.split("."):
        if not isinstance(value, Mapping) or value.get(part) is None:
            return MISSING
        value = value[part]
    return value


def set_path(config: Config, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        config = config.setdefault(part, {})
    config[last] = value


@dataclass
class Found:
    """What the way back knows: the file's keys below the prefix, its tensors' shapes and types, and what is assumed."""

    kv: Mapping[str, Any]
    tensors: Mapping[str, tuple[int, ...]]
    types: Mapping[str, str] = field(default_factory=dict)
    assumed: dict[str, str] = field(default_factory=dict)  # config path -> why this value

    def assume(self, config: Config, path: str, value: Any, why: str) -> None:
        set_path(config, path, value)
        self.assumed[path] = f"{value!r}: {why}"


class HparamGroup(Protocol):
    """Anything that turns part of a config into key-values and back. `write` and `read` are inverse."""

    def write(self, config: Config, notes: list[str]) -> Metadata: ...

    def read(self, found: Found, config: Config) -> None: ...


@dataclass(frozen=True)
class Codec:
    """A two-way value map between config.json and GGUF."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


@dataclass(frozen=True)
class HparamRule:
    """One key-value. `hf` lists config paths; the first is the one written on the way back."""

    key: str
    hf: tuple[str, ...]
    type: ValueType = ValueType.UINT32
    need: bool = True
    codec: Codec | None = None
    default: Any = MISSING  # the value a config without the key stands for

    def write(self, config: Config, notes: list[str]) -> Metadata:
        value = next((v for p in self.hf if (v := get_path(config, p)) is not MISSING), self.default)
        if value is MISSING:
            if self.need:
                raise KeyError(self.hf[0])
            return {}
        if self.codec:
            value = self.codec.encode(value)
        return {} if value is None else {self.key: typed(self.type, value)}

    def read(self, found: Found, config: Config) -> None:
        if self.key in found.kv:
            value = found.kv[self.key]
            value = short(value) if self.type == ValueType.FLOAT32 else value
            set_path(config, self.hf[0], self.codec.decode(value) if self.codec else value)
        elif self.default is not MISSING:
            found.assume(config, self.hf[0], self.default, f"the file has no {self.key}")
        elif self.need:
            raise KeyError(self.key)


@dataclass(frozen=True)
class Computed:
    """One key-value made of several config keys, and the config key that it gives back.

    `value(config)` None leaves the key out. Without `hf`, other rules bring back what this one was made of.
    """

    key: str
    value: Callable[[Config], Any]
    hf: str | None = None
    back: Callable[[Mapping[str, Any]], Any] | None = None  # the file's keys below the prefix -> the value of `hf`,
    # None where there is nothing to bring back
    type: ValueType = ValueType.UINT32

    def write(self, config: Config, notes: list[str]) -> Metadata:
        value = self.value(config)
        return {} if value is None else {self.key: typed(self.type, value)}

    def read(self, found: Found, config: Config) -> None:
        if self.hf is not None and self.back is not None and (value := self.back(found.kv)) is not None:
            set_path(config, self.hf, value)


@dataclass(frozen=True)
class Fixed:
    """A config value that GGUF has no key for: the runtime always computes with this one.

    `value` may be computed from the config: from what the rules before this one brought back, on the way back.
    """

    hf: str
    value: Any
    also: tuple[Any, ...] = ()  # spellings that mean the same
    refuse: bool = False  # a model with another value is not what the tensors would say

    def write(self, config: Config, notes: list[str]) -> Metadata:
        found, value = get_path(config, self.hf), self._value(config)
        if found is not MISSING and found != value and found not in self.also:
            if self.refuse:
                raise UnsupportedError(f"{self.hf} has no GGUF form", file="config.json", expected=value, found=found)
            notes.append(f"config.json says {self.hf} = {found!r}; the runtime always computes with {value!r}")
        return {}

    def read(self, found: Found, config: Config) -> None:
        found.assume(config, self.hf, self._value(config), "GGUF has no key for it; the runtime's value")

    def _value(self, config: Config) -> Any:
        return self.value(config) if callable(self.value) else self.value


@dataclass(frozen=True)
class Present:
    """A config flag that shows in the tensors: true when a GGUF tensor of this name exists."""

    hf: str
    tensor: str
    absent: bool = False  # the flag is true when the tensor does NOT exist

    def write(self, config: Config, notes: list[str]) -> Metadata:
        return {}

    def read(self, found: Found, config: Config) -> None:
        set_path(config, self.hf, (self.tensor in found.tensors) != self.absent)


@dataclass(frozen=True)
class Rows:
    """A config size that shows in a tensor's shape: the length of one of its axes."""

    hf: str
    tensor: str
    axis: int = 0

    def write(self, config: Config, notes: list[str]) -> Metadata:
        return {}

    def read(self, found: Found, config: Config) -> None:
        if self.tensor in found.tensors:
            set_path(config, self.hf, found.tensors[self.tensor][self.axis])


@dataclass(frozen=True)
class Shown:
    """A config value that shows in what other rules and rows wrote; None leaves the key out of the config."""

    hf: str
    value: Callable[[Found], Any]

    def write(self, config: Config, notes: list[str]) -> Metadata:
        return {}

    def read(self, found: Found, config: Config) -> None:
        if (value := self.value(found)) is not None:
            set_path(config, self.hf, value)


@dataclass(frozen=True)
class Deviates:
    """Something to say of some configs: that the runtime computes a little differently than HF."""

    text: str
    when: Callable[[Config], bool]

    def write(self, config: Config, notes: list[str]) -> Metadata:
        if self.when(config):
            notes.append(self.text)
        return {}

    def read(self, found: Found, config: Config) -> None:
        pass


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
    if not abs(value) <= LIMITS[ValueType.FLOAT32][1]:
        raise ValueError(f"{value} is no finite number of float32")
    return float(str(np.float32(value)))


@dataclass(frozen=True)
class TensorRule:
    """GGUF tensors <-> HF tensors. A hole that only the HF side has ({e}) is a new first axis: stacked experts."""

    gguf: tuple[Template, ...]
    hf: tuple[Template, ...]
    ops: tuple[Op, ...] = ()
    need: bool = True
    when: Callable[[Hparams, int], bool] | None = None  # in which blocks the tensor is needed
    shape: str | None = None  # HF shape in hyperparameters, "vocab_size embedding_length"; checked before writing
    keep_f32: bool = False  # HF keeps the tensor in float32 whatever the model's type
    adaptable: bool = True  # the runtime applies a LoRA update to the tensor
    foreign: bool = False  # in files of other makers only: the way there takes another rule

    @property
    def emits(self) -> str | None:
        """The tensor type that the ops themselves produce, if they do."""
        return next((op.emits for op in reversed(self.ops) if op.emits), None)

    @property
    def stacked(self) -> bool:
        return any("e" in t.holes for t in self.hf) and not any("e" in t.holes for t in self.gguf)

    @property
    def mtp(self) -> bool:
        """For the blocks of multi-token prediction where HF counts them apart: {m}, or no number for the first."""
        return any("b" in t.holes for t in self.gguf) and not any("b" in t.holes for t in self.hf)


@dataclass(frozen=True)
class Derived:
    """A GGUF tensor computed from the config (`make`) and turned back into config (`recover`)."""

    gguf: str
    make: Callable[[Config, Hparams], np.ndarray | None]
    recover: Callable[[np.ndarray, Found, Config], None]


@dataclass(frozen=True)
class ArchSpec:
    """One architecture. `classes`: HF class names, the first is the one written on the way back."""

    name: str
    classes: tuple[str, ...]
    model_type: str
    hparams: tuple[HparamGroup, ...]
    tensors: tuple[TensorRule, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)  # config keys that the HF class fills: values, callables
    aliases: tuple[tuple[str, str], ...] = ()  # (found prefix, table prefix) of HF names
    ignore: tuple[Template, ...] = ()  # HF names that GGUF has no place for, dropped by name
    ignore_extra_blocks: bool = False  # so are blocks behind the last one: multi-token prediction
    parts: tuple[str, ...] = ()  # prefixes of HF names of other parts of the model: vision, audio
    observed: Mapping[str, Callable[[Config, Collection[str]], Any]] = field(default_factory=dict)  # config keys that
    # the checkpoint's tensor names decide, whatever config.json says
    derived: tuple[Derived, ...] = ()
    sizes: Mapping[str, Callable[[Hparams], Any]] = field(default_factory=dict)  # derived sizes for ops and shapes
    example: str = ""  # a public repository of this architecture
    absent: str = ""  # what the HF class has and GGUF has not, said on the way back
    text_class: tuple[str, str] | None = None  # (class, model_type) of the text part, for classes that hold more
    chosen: Callable[[Mapping[str, Any], Collection[str]], bool] | None = None  # (keys, tensor names) on the way back,
    # where several specs share a name; the one without it is the default

    def blocks(self, rule: TensorRule, hp: Hparams) -> range:
        """The blocks that a rule may make. Those of multi-token prediction come last."""
        count = hp.get("block_count", 0)
        main = max(0, count - hp.get("nextn_predict_layers", 0))
        if rule.mtp:
            return range(main, count)
        return range(main if any(r.mtp for r in self.tensors) else count)


def H(
    key: str,
    hf: str | tuple[str, ...],
    type: ValueType = ValueType.UINT32,
    *,
    need: bool = True,
    codec: Codec | None = None,
    default: Any = MISSING,
) -> HparamRule:
    return HparamRule(key, (hf,) if isinstance(hf, str) else hf, type, need, codec, default)


def R(
    gguf: str | tuple[str, ...],
    hf: str | tuple[str, ...],
    *ops: Op,
    need: bool = True,
    when: Callable[[Hparams, int], bool] | None = None,
    shape: str | None = None,
    keep_f32: bool = False,
    adaptable: bool = True,
    foreign: bool = False,
) -> TensorRule:
    def templates(x: str | tuple[str, ...]) -> tuple[Template, ...]:
        return tuple(Template(t) for t in ((x,) if isinstance(x, str) else x))

    return TensorRule(templates(gguf), templates(hf), ops, need and not foreign, when, shape, keep_f32, adaptable,
                      foreign)
