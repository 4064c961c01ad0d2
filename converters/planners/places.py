"""Where a model has the weights that an adapter names: as they stand, as the class's table knows them, or in the table's other
layouts: an adapter of stacked experts also fits a checkpoint that stores them one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..io.files import read_bytes
from ..io.tensors import StoredTensor
from ..ops import IndexMap, Op, Shape, Transpose
from ..rules.match import BlockHparams, HfMatches, Match, block_of, is_of, rename
from ..rules.shapes import expected_shape
from ..rules.spec import ArchSpec, Hparams, TensorRule
from ..rules.template import Holes, TemplateIndex
from ..sources.names import HEADS, PREFIXES

EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embeddings.weight", "embed_in.weight")
CHUNK = 1 << 24  # bytes that are compared at a time


@dataclass(frozen=True)
class Place:
    """A weight that an update belongs to. `ops`, `output`, `expert`: as of `LowRank`; `within`: the part of what is stored that
    is changed, empty where it is the whole: `start`, `stop`, `only` as of `Within`."""

    name: str
    ops: tuple[Op, ...] = ()
    output: int = 0
    expert: int = -1
    within: tuple[int, int | None, int] | tuple[()] = ()

    @property
    def as_it_stands(self) -> bool:
        """Whether the weight is what is stored."""
        return self == Place(self.name)


def is_head(weight: str) -> bool:
    return weight in HEADS or weight.endswith(tuple(f".{head}" for head in HEADS))


def _unwrapped(name: str) -> str:
    """A name of a part of a model without the modules that only wrap it, which versions of transformers put differently."""
    return ".".join(word for word in name.split(".") if word not in ("model", "vision_model"))


def same_bytes(one: StoredTensor, two: StoredTensor) -> bool:
    """Whether two tensors have the same bytes."""
    return (one.type, one.shape) == (two.type, two.shape) and all(
        read_bytes(one.file, one.offset + at, n) == read_bytes(two.file, two.offset + at, n)
        for at in range(0, one.nbytes, CHUNK) for n in (min(CHUNK, one.nbytes - at),))


def _rows(numbers: list[np.ndarray], ops: tuple[Op, ...]) -> list[np.ndarray]:
    """The numbers of rows behind ops. ValueError where these do more than move rows, or do not fit."""
    for op in ops:
        if not isinstance(op, IndexMap) or op.columns or op.vector:
            raise ValueError(f"{type(op).__name__} does more than move rows")
        numbers = op.forward(numbers)
    return numbers


class Places:
    """Where a checkpoint has the weights that a class names. `found`: its tensors by the class's table, where it has one."""

    def __init__(self, tensors: Mapping[str, StoredTensor], spec: ArchSpec | None, hp: Hparams, found: HfMatches | None,
                 tied: bool) -> None:
        self.tensors, self.spec, self.hp, self.found = tensors, spec, hp, found
        self.aliases = spec.aliases if spec else ()
        self.made: dict[str, Match] = {}
        self.match_of: dict[str, Match] = {}
        for match in found.matches if found else ():
            self.made.update(dict.fromkeys(match.gguf, match))
            for names in match.hf:
                self.match_of.update({found.names[name]: match for name in names if found})
        self.index: TemplateIndex[TensorRule] = TemplateIndex()
        for rule in spec.tensors if spec else ():
            for template in rule.hf:
                self.index.add(template, rule)
        known = set(found.names.values()) if found else set()
        self.spelled: dict[str, str] = {}  # of what the table does not know
        for name in tensors:
            for spelling in (name, *rename(name, PREFIXES), _unwrapped(name)) if name not in known else ():
                self.spelled.setdefault(spelling, name)
        self.tied = tied

    def of(self, weight: str) -> list[Place]:
        """Where the weight is: one place, or one per tensor that stores a part of it."""
        if (name := self.stored(weight)) is not None:
            return [Place(name)]
        if (known := self.rule(weight)) is None or self.found is None:
            return self._of_tied(weight)
        rule, holes = known
        at = BlockHparams(self.hp, rule.block(holes))
        try:
            ops = tuple(op.bind(at) for op in rule.ops)
        except (KeyError, ValueError):
            return []
        made = tuple(template.format({"p": "weight", **holes}) for template in rule.gguf)
        match = self.made.get(made[0])
        if match is not None and not match.rule.stacked:
            if rule.stacked or len(rule.hf) > 1 or len(match.gguf) > len(made):
                found = self._part(weight, rule, holes, made, ops, match)
                return [found] if found else []
            if (match.gguf, match.ops, len(match.hf)) == (made, ops, 1):
                return [Place(self.match_names(match))]  # under another name
        out: list[Place] = []
        for number, name in enumerate(made):
            match = self.made.get(name)
            if match is None or len(match.gguf) != 1 or len(match.hf) != 1 or match.rule.joined:
                return self._of_tied(weight)
            names = [self.found.names[spelled] for spelled in match.hf[0]]
            back = tuple(op.inverse for op in reversed(match.ops))
            out += [Place(own, (*ops, *back), number, e if match.rule.stacked else -1) for e, own in enumerate(names)]
        return out

    def _part(self, weight: str, rule: TensorRule, holes: Holes, made: tuple[str, ...], ops: tuple[Op, ...],
              match: Match) -> Place | None:
        """Where the rows of a weight stand in one that is stored together with others; None where they are no run of rows."""
        shape = expected_shape(rule, BlockHparams(self.hp, rule.block(holes)), weight.endswith(".bias"))
        stored = self.tensors[self.match_names(match)].shape
        only = int(holes["e"]) if rule.stacked else -1
        if shape is None or len(match.hf) != 1 or match.rule.stacked or len(stored) != len(shape) + (only >= 0) \
                or not set(made) <= set(match.gguf):
            return None
        number = next(i for i, t in enumerate(rule.hf) if any(t.match(s) is not None for s in rename(weight, self.aliases)))
        mine = [np.arange(shape[0]) if i == number else np.full(shape[0], -1) for i in range(len(rule.hf))]
        try:
            given, held = _rows(mine, ops), _rows([np.arange(stored[only >= 0])], match.ops)
        except ValueError:
            return None
        of = dict(zip(match.gguf, held, strict=True))
        row, at = np.concatenate(given), np.concatenate([of[name] for name in made])
        at = at[row >= 0][np.argsort(row[row >= 0], kind="stable")]
        if not np.array_equal(at, at[0] + np.arange(shape[0])):
            return None
        return Place(self.match_names(match), within=(int(at[0]), int(at[-1]) + 1, only))

    def _of_tied(self, weight: str) -> list[Place]:
        """A head that is not stored is the embedding."""
        if self.tied and is_head(weight):
            return [Place(name) for name in self.embedding[:1]]
        return []

    @property
    def embedding(self) -> list[str]:
        """The table of tokens, by its name in the checkpoint."""
        if match := self.made.get("token_embd.weight"):
            return [self.match_names(match)]
        return [name for name in self.tensors if name.endswith(EMBEDDINGS)]

    def match_names(self, match: Match) -> str:
        assert self.found is not None
        return self.found.names[match.hf[0][0]]

    instead = False  # whether what takes a weight's place is an update of it, not a tensor of its own

    def same(self, tensor: StoredTensor, weight: str, name: str) -> bool:
        """Whether an adapter's copy of a weight is what is stored."""
        return same_bytes(tensor, self.tensors[name])

    def stored(self, weight: str) -> str | None:
        if weight in self.tensors:
            return weight
        for spelling in rename(weight, self.aliases or PREFIXES):
            if self.found is not None and spelling in self.found.names:
                return self.found.names[spelling]
        return next((self.spelled[s] for s in (*rename(weight, PREFIXES), _unwrapped(weight)) if s in self.spelled), None)

    def rule(self, weight: str) -> tuple[TensorRule, Holes] | None:
        """The table's row of a weight, with the block as GGUF counts it."""
        return next(self.rules(weight), None)

    def rules(self, weight: str) -> Iterator[tuple[TensorRule, Holes]]:
        """All rows of a weight: the layouts in which a GGUF file can have it."""
        for spelling in rename(weight, self.aliases):
            for _, rule, holes in self.index.find(spelling):
                if self.spec and is_of(self.spec, rule, holes, self.hp):
                    yield rule, {**holes, rule.stack: block_of(self.spec, rule, holes, self.hp)} if rule.stack else holes

    def shape(self, weight: str) -> Shape | None:
        """The weight's shape, as the class has it."""
        if (name := self.stored(weight)) is not None:
            return self.tensors[name].shape
        if (known := self.rule(weight)) is not None:
            shape = expected_shape(known[0], BlockHparams(self.hp, known[0].block(known[1])), False)
            if shape is not None:
                return shape
        found = self.of(weight)  # under another name: a router, a head that is the embedding
        return self.tensors[found[0].name].shape if len(found) == 1 and found[0].as_it_stands else None

    def turned(self, weight: str) -> bool:
        """Whether the class stores it as [in, out], which peft's factors are not."""
        match = self.match_of.get(self.stored(weight) or "")
        rule = match.rule if match else (known := self.rule(weight)) and known[0]
        return bool(rule and rule.ops and isinstance(rule.ops[0], Transpose) and rule.ops[0].conv1d)


