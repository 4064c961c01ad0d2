"""An architecture as data: hyperparameter rules, tensor rows, stacks of blocks, and what stands around them. No I/O.

A table (`arch/*.py`) describes an architecture once. The same rows convert HF -> GGUF, GGUF -> HF, and a LoRA adapter's
factors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..ops import Op, Reshape
from .facts import Config, Fact, GgufFacts, Has, get_first
from .hparam_rules import Const, HparamRule
from .template import Holes, Template

CONV = "conv"  # convolutions of towers: the runtime computes with them in these two types only
Hparams = Mapping[str, Any]  # GGUF keys without the architecture prefix, and the derived sizes of hparams.py
When = Callable[[Hparams, Any], bool]  # of a block: its number, in a row of no stack None


@dataclass(frozen=True)
class Stack:
    """A run of blocks, which a hole of the names counts: `count` (a hyperparameter or derived size) of them, or the numbers
    that they have in GGUF names, where `count` is a list.

    In GGUF names they come behind the blocks of stack `after`; in HF names each stack counts from 0. A hole that only the
    GGUF name has is the first block. `beyond`: what HF's blocks behind the last one are, which GGUF has no place for.
    """

    count: str = "block_count"
    after: str | None = None
    beyond: str | None = None

    def numbers(self, hp: Hparams, start: int) -> Sequence[int]:
        """What its blocks are called in GGUF names; those of a counted stack from `start` on."""
        count = hp.get(self.count, 0)
        if isinstance(count, (list, tuple)) and all(type(n) is int for n in count):
            return count
        return range(start, start + (max(0, count) if isinstance(count, int) else 0))


@dataclass(frozen=True)
class TensorRule:
    """GGUF tensors <-> HF tensors. A hole that only the HF side has ({e}) is a new first axis: stacked experts.

    Where several rows take one HF name, the first is the layout that is written; the others are read. Rows that are `of` some
    blocks take it only there, each as another tensor. Where several rows make one GGUF name, `given` tells them apart on the
    way back, else the layout that the file records, else the order.
    """

    gguf: tuple[Template, ...]
    hf: tuple[Template, ...]
    ops: tuple[Op, ...] = ()
    need: bool = True
    when: When | None = None  # in which blocks the tensor is needed
    shape: str | None = None  # HF shape in sizes: "vocab_size 2*embedding_length"; of HF names that differ "width; width 1"
    type: str | None = None  # the GGUF type, whatever the file's; CONV: F16 in a file of F16, else F32
    hf_dtype: str | None = None  # the element type in HF, whatever the model's
    no_lora: str | None = None  # why the runtime applies no LoRA update to the tensor, or not as peft does
    given: Has | None = None  # on the way back: only where the file has, or lacks, this tensor at the same block
    each: str = "expert_count"  # the size that a stack's {e} runs over
    joined: bool = False  # the rows of a stack follow each other: it adds no axis
    within: str = ""  # the size that is the number of the block {b} in HF, where the GGUF name has none
    of: When | None = None  # the blocks that have it: elsewhere its names are another row's
    borrowed: bool = False  # the HF tensor is another part's, which holds it: read, and not written on the way back
    borrows: int = 0  # so are as many of several, the last ones
    in_memory: bool = False  # transformers 5 holds the weight so, whatever the file: how adapters name it

    @property
    def emits(self) -> str | None:
        """The tensor type that the ops themselves produce, if they do."""
        return next((op.emits for op in reversed(self.ops) if op.emits), None)

    @cached_property
    def stacked(self) -> bool:
        return any("e" in t.holes for t in self.hf) and not any("e" in t.holes for t in self.gguf)

    @cached_property
    def stack(self) -> str | None:
        """The hole that counts the row's blocks."""
        return next((hole for hole in self.gguf[0].holes if hole not in "ep"), None)

    def block(self, holes: Holes) -> int | None:
        """The block that these holes are of, None in a row of no stack."""
        return None if self.stack is None else holes.get(self.stack)


@dataclass(frozen=True)
class Derived:
    """A GGUF tensor computed from the config (`make`) and turned back into config (`recover`); with `{b}` in its name one of
    each block, all of them the same."""

    gguf: str
    make: Callable[[Config, Hparams], np.ndarray | None]
    recover: Callable[[np.ndarray, GgufFacts, Config], None]
    most: int = 4096  # values that a stranger's may have: by far more than pairs of dimensions in a head


@dataclass(frozen=True)
class Keyed:
    """A tensor that GGUF holds in a key (by its full name): a single number of each block, or of the model where `hf` has no
    hole, `shape` in HF, as a float32 each; or the whole numbers of 64 bits of the one block that the size `within` names, none
    without it."""

    key: str
    hf: Template
    shape: tuple[int, ...] = ()
    within: str = ""


@dataclass(frozen=True)
class Constant:
    """A setting of config.json that is folded into weights, so that GGUF has no key for it. Ops and sizes read it.

    `neutral`: its value for a file of others, whose weights it is in already.
    """

    hf: str
    neutral: Any = 1.0
    default: Any = None  # what a config without the key stands for; None: `neutral`


@dataclass(frozen=True)
class Shown:
    """A size of shapes that no key of the file holds, and `why`: tensors that have it must agree on it. Of sizes of each block
    (or of what else is counted), the holes of the rows stand in the name: `"inner.{s}"`.

    `hf`: settings of config.json that say it, the first that is there; or what computes it of them. `key`: one of the file that
    may say it, by its full name."""

    why: str
    hf: tuple[str, ...] | Callable[[Config], Any] = ()
    key: str = ""

    def told(self, config: Config) -> int | None:
        """What config.json says of it, if it does."""
        if callable(self.hf):
            try:
                found = self.hf(config)
            except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
                return None
        else:
            found = get_first(config, self.hf)
        return found if type(found) is int else None


@dataclass(frozen=True)
class ArchSpec:
    """One architecture. `classes`: HF class names, the first is the one written on the way back."""

    name: str
    classes: tuple[str, ...]
    model_type: str
    hparams: tuple[HparamRule, ...]
    tensors: tuple[TensorRule, ...]
    stacks: Mapping[str, Stack] = field(default_factory=lambda: {"b": Stack()})
    defaults: Mapping[str, Any] = field(default_factory=dict)  # config keys that the HF class fills: values, callables
    constants: Mapping[str, Constant] = field(default_factory=dict)  # by the name that ops and sizes use
    aliases: tuple[tuple[str, str], ...] = ()  # (found prefix, table prefix) of HF names
    modules: tuple[tuple[str, str], ...] = ()  # the same of transformers' modules, by which adapters go, where files differ
    ignore: tuple[Template, ...] = ()  # HF names that GGUF has no place for, dropped by name
    derived: tuple[Derived, ...] = ()
    keyed: tuple[Keyed, ...] = ()
    sizes: Mapping[str, Callable[[Hparams], Any]] = field(default_factory=dict)  # derived sizes for ops and shapes
    shown: Mapping[str, Shown] = field(default_factory=dict)  # sizes for shapes alone, that tensors show
    headless: tuple[str, ...] = ()  # classes without a language head, whose config may promise one all the same
    head: bool = True  # whether the runtime's graph ends in logits
    local_rope_base: str | None = None  # config key for the rotary base of layers with sliding attention
    example: str = ""  # a public repository of this architecture
    absent: str = ""  # what the HF class has and GGUF has not, said on the way back
    fits: Callable[[Config], bool] | None = None  # of several tables for one class, whether this one is the config's
    whole: Whole | None = None  # the class whose text part this is
    inside: str = ""  # the model_type of text_config, where the class has its settings there, but for those in `outside`
    outside: tuple[str, ...] = ()
    again: tuple[str, ...] = ()  # GGUF tensors that repeat rows of others
    wordless: bool = False  # the class has no tokenizer, and its files say so
    draft: bool = False  # a draft model: tokenizer and settings of its target (`config["target"]`) go into the file
    idle: When | None = None  # blocks that the runtime carries and does not compute with, so that no LoRA update works there

    @cached_property
    def layouts(self) -> tuple[bool, ...]:
        """For each row whether it is only read: another row writes its HF tensors."""
        taken: set[str] = set()
        out = []
        for rule in self.tensors:
            names = {str(t) for t in rule.hf} if rule.of is None else set()
            out.append(bool(names & taken))
            taken |= names
        return tuple(out)

    def names_of(self, derived: Derived, hp: Hparams) -> list[str]:
        """The tensors that are computed so."""
        blocks = self.blocks("b", hp) if "{b}" in derived.gguf else (0,)
        return [derived.gguf.format(b=b) for b in blocks]

    def blocks(self, hole: str, hp: Hparams) -> Sequence[int]:
        """The blocks of a stack by their numbers in GGUF names."""
        stack = self.stacks[hole]
        before = self.blocks(stack.after, hp) if stack.after else ()
        return stack.numbers(hp, before[-1] + 1 if before else 0)


@dataclass(frozen=True)
class Projector(ArchSpec):
    """What is not the language model of the classes: vision and audio towers, in a GGUF file of their own (mmproj).

    Its rules see config.json as it stands, with the settings of the processor files under `processor`.
    """

    tokens: Mapping[str, str] = field(default_factory=dict)  # name -> text of a token whose id the rules see as `tokens.<name>`
    ids: Mapping[str, str] = field(default_factory=dict)  # config path -> text of the token whose id it is, for the way back
    text: str = "text_config"  # where config.json has the settings of the language model; "": beside the others
    tells: Mapping[str, Fact] = field(default_factory=dict)  # of classes that share the rest, what the file of this one shows
    without: tuple[str, ...] = ()  # beginnings of names that are neither this part's nor the language model's
    spelled: tuple[tuple[str, str], ...] = ()  # what begins names of a pair of others where it comes back, and in the table
    beside: str = ""  # a folder of the model with a checkpoint of its own (sources/subfolders): the rules see its settings, and
    # the rows its tensors, under the folder's name: `audio_tokenizer.n_mels`, `audio_tokenizer/encoder.conv1.weight`

    @property
    def types(self) -> dict[str, str]:
        """The keys that say which projector it is, with their values."""
        return {f"clip.{rule.key}": rule.value for rule in self.hparams
                if isinstance(rule, Const) and rule.key.endswith("projector_type")}


@dataclass(frozen=True)
class Whole:
    """An HF class that holds more than a language model. `parts`: prefixes of the other parts' names, and their tables
    where there are any; `aliases`: how it spells the names of `text`, `modules`, `fits`: as of `ArchSpec`; `layout`: rows for
    tensors that it lays out in another way than the class of its text part; `settings`: what that class must be told and this
    one always computes with: values, or what makes them of its config."""

    name: str
    model_type: str
    text: ArchSpec
    aliases: tuple[tuple[str, str], ...]
    parts: Mapping[str, ArchSpec | None]
    example: str
    layout: tuple[TensorRule, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    modules: tuple[tuple[str, str], ...] = ()
    fits: Callable[[Config], bool] | None = None

    def as_spec(self) -> ArchSpec:
        """The text part's table under this class's names."""
        return replace(self.text, classes=(self.name,), model_type=self.model_type, example=self.example,
                       fits=self.fits or self.text.fits,
                       headless=tuple(name for name in self.text.headless if name == self.name),
                       tensors=(*self.layout, *self.text.tensors), aliases=(*self.aliases, *self.text.aliases),
                       modules=(*self.modules, *self.text.modules), whole=self)


@dataclass(frozen=True)
class Choice:
    """The table for files of one GGUF name: the first whose fact holds, else the default."""

    default: ArchSpec
    others: tuple[tuple[ArchSpec, Fact], ...] = ()

    def of(self, facts: GgufFacts) -> ArchSpec:
        return next((spec for spec, fact in self.others if fact(facts)), self.default)


def choice(default: ArchSpec, *others: tuple[ArchSpec, Fact]) -> Choice:
    return Choice(default, others)


def R(
    gguf: str | tuple[str, ...],
    hf: str | tuple[str, ...],
    *ops: Op,
    need: bool = True,
    when: When | None = None,
    shape: str | None = None,
    type: str | None = None,
    hf_dtype: str | None = None,
    no_lora: str | None = None,
    given: Has | None = None,
    each: str = "expert_count",
    of: When | None = None,
    borrowed: bool = False,
    borrows: int = 0,
    joined: bool = False,
    within: str = "",
) -> TensorRule:
    """A row: GGUF name(s), HF name(s), and the ops between them. One that begins with `Reshape` has its shape from that."""

    def templates(x: str | tuple[str, ...]) -> tuple[Template, ...]:
        return tuple(Template(t) for t in ((x,) if isinstance(x, str) else x))

    if shape is None and ops and isinstance(ops[0], Reshape):
        shape = " ".join(map(str, ops[0].hf))
    return TensorRule(templates(gguf), templates(hf), ops, need, when or of, shape, type, hf_dtype, no_lora, given, each,
                      joined, within, of, borrowed, borrows)


def in_memory(*rows: TensorRule) -> tuple[TensorRule, ...]:
    """The rows as those that transformers 5 holds the weights by."""
    return tuple(replace(row, in_memory=True) for row in rows)
