"""Tensor names against a table's rules: which sources make which results. Complete, or a list of all that is wrong.

Works on headers alone and in both directions: `match_hf` groups the tensors of a checkpoint, `match_gguf` those of a
GGUF file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from ..errors import GgufxError, InputError
from ..ops import WHOLE_NUMBERS, Op, Shape
from ..sources.names import spellings
from .spec import ArchSpec, Hparams, Keyed, TensorRule, When
from .template import Holes, TemplateIndex, skeletons

MAX_HINTS = 200
MAX_HF_TENSORS = 1 << 20  # as many as a GGUF file may have; the largest models have a tenth


@dataclass(frozen=True)
class Match:
    """One application of a rule. `hf[i]` are the names at the rule's i-th HF template: one, or one per expert.

    `holes` are those of the GGUF names: a block has the number that it has there.
    """

    rule: TensorRule
    holes: Holes
    hf: tuple[tuple[str, ...], ...]
    ops: tuple[Op, ...]

    @cached_property
    def gguf(self) -> tuple[str, ...]:
        return tuple(t.format(self.holes) for t in self.rule.gguf)

    @property
    def block(self) -> int | None:
        return self.rule.block(self.holes)

    @cached_property
    def uneven(self) -> bool:
        """Whether the tensors of a stack differ in shape, which its ops make up for."""
        return self.rule.stacked and any(op.item(0) is not op for op in self.ops)

    def ops_of(self, expert: int) -> tuple[Op, ...]:
        """The ops of one tensor of a stack."""
        return tuple(op.item(expert) for op in self.ops) if self.uneven else self.ops

    def whole(self, item: Shape) -> Shape:
        """The shape of a stack of such tensors, of a single one its own."""
        if not self.rule.stacked:
            return item
        count = len(self.hf[0])
        return (count * item[0], *item[1:]) if self.rule.joined else (count, *item)

    def item(self, whole: Shape) -> Shape:
        """The shape of each tensor of a stack. ValueError where it holds another number of them."""
        if not self.rule.stacked:
            return whole
        count = len(self.hf[0])
        if self.rule.joined and whole and whole[0] % count == 0:
            return (whole[0] // count, *whole[1:])
        if not self.rule.joined and whole[:1] == (count,):
            return whole[1:]
        held, each = ("rows", " tensors of them") if self.rule.joined else ("experts", "")
        raise ValueError(f"holds {whole[0] if whole else 0} {held}, the settings say {count}{each}")


class BlockHparams(Mapping[str, Any]):
    """Hyperparameters as one block sees them: a list with an entry per block gives that block's entry."""

    def __init__(self, hp: Hparams, block: int | None) -> None:
        self._hp, self._block = hp, block

    def __getitem__(self, key: str) -> Any:
        value = self._hp[key]
        if isinstance(value, (list, tuple)) and self._block is not None and self._block < len(value):
            return value[self._block]
        return value

    def __iter__(self):
        return iter(self._hp)

    def __len__(self) -> int:
        return len(self._hp)


def rename(name: str, aliases: Iterable[tuple[str, str]]) -> Iterable[str]:
    """The spellings under which a table may know an HF name, the nearest first."""
    for spelling in spellings(name):
        yield spelling
        for found, table in aliases:
            if spelling.startswith(found):
                yield table + spelling.removeprefix(found)


@dataclass
class HfMatches:
    """`matches` in table order, `ignored` names dropped on purpose, `names`: table spelling -> checkpoint spelling."""

    matches: list[Match]
    ignored: list[str]
    names: dict[str, str]
    parts: dict[str, int]  # prefix of another part of the model -> number of its tensors
    beyond: dict[tuple[int, str], int]  # block behind a stack's last that is ignored, what it is -> number of its tensors
    keyed: dict[str, tuple[Keyed, int | None]] = field(default_factory=dict)  # what becomes keys, with its block


def match_hf(
    spec: ArchSpec, hp: Hparams, shapes: Mapping[str, Shape], file: str, problems: list[GgufxError]
) -> HfMatches:
    """Group a checkpoint's tensors by rule."""
    index: TemplateIndex[tuple[int, int]] = TemplateIndex()
    for r, rule in enumerate(spec.tensors):
        for t, template in enumerate(rule.hf) if not spec.layouts[r] else ():
            index.add(template, (r, t))
    dropped: TemplateIndex[Keyed | None] = TemplateIndex()
    for template in spec.ignore:
        dropped.add(template, None)
    for keyed_rule in spec.keyed:
        dropped.add(keyed_rule.hf, keyed_rule)
    keyed: dict[str, tuple[Keyed, int | None]] = {}
    unread = {str(template) for template in spec.ignore if not template.holes}  # also where a row of all blocks would take it

    unknown = _Unknown(index.texts, file)
    groups: dict[tuple[int, tuple], dict[tuple[int, int], str]] = {}
    names: dict[str, str] = {}
    ignored: list[str] = []
    others: dict[str, int] = {}
    beyond: dict[tuple[int, str], int] = {}
    blocks_of = {hole: spec.blocks(hole, hp) for hole in spec.stacks}
    parts = spec.whole.parts if spec.whole else ()
    for name in shapes:
        part = next((p for p in parts if name.startswith(p)), None)
        if part is not None:
            others[part] = others.get(part, 0) + 1
            continue
        for spelling in rename(name, spec.aliases):
            found = None if spelling in unread else next((f for f in index.find(spelling) if is_of(
                spec, spec.tensors[f[1][0]], f[2], hp)), None)
            if found is not None or spelling in unread:
                break
        if found is None:
            unmatched = next((f for s in rename(name, spec.aliases) if (f := next(dropped.find(s), None))), None)
            if unmatched is None:
                problems.append(unknown(name))
            elif unmatched[1] is not None:
                keyed[name] = unmatched[1], unmatched[2].get("b")
            else:
                ignored.append(name)
            continue
        _, (r, t), holes = found
        stack = spec.tensors[r].stack
        if stack is not None:
            blocks, block = blocks_of[stack], holes.get(stack, 0)
            if block < len(blocks):
                holes[stack] = blocks[block]
            else:
                if what := spec.stacks[stack].beyond:
                    ignored.append(name)
                    beyond[block, what] = beyond.get((block, what), 0) + 1
                else:
                    problems.append(InputError("the block is beyond the model's block count", file=file, tensor=name,
                                               expected=f"{len(blocks)} blocks, counted from 0", found=block))
                continue
        if within := spec.tensors[r].within:
            block = holes.pop("b")
            if block != hp.get(within):
                problems.append(InputError("config.json does not have it in this block", file=file, tensor=name,
                                           expected=hp.get(within), found=block))
                continue
        expert = holes.pop("e", 0)
        if spelling in names:
            problems.append(InputError(f"stands for the same weight as {names[spelling]}", file=file, tensor=name))
        names[spelling] = name
        groups.setdefault((r, tuple(sorted(holes.items()))), {})[t, expert] = spelling

    matches: list[Match] = []
    made: dict[str, str] = {}
    for (r, items), found_parts in sorted(groups.items(), key=lambda g: (g[0][0], str(g[0][1]))):
        match = _grouped(spec, spec.tensors[r], dict(items), found_parts, hp, file, problems)
        if match is None:
            continue
        for gguf in match.gguf:
            if gguf in made:
                problems.append(InputError(f"{match.hf[0][0]} and {made[gguf]} make the same GGUF tensor", file=file,
                                           tensor=gguf))
            made[gguf] = match.hf[0][0]
        matches.append(match)
    problems.extend(_missing(spec, hp, made, file))
    return HfMatches(matches, ignored, names, others, beyond, keyed)


class _Unknown:
    """Makes the problem of a name that no rule takes. The nearest template is looked for once per kind of name, and for
    so many kinds: each search takes a millisecond, and a file can hold a hundred thousand names."""

    def __init__(self, known: Iterable[str], file: str) -> None:
        self._known, self._file = list(known), file
        self._near: dict[str, list[str]] = {}

    def __call__(self, name: str) -> GgufxError:
        kind = skeletons(name)[0]
        if kind not in self._near and len(self._near) < MAX_HINTS:
            self._near[kind] = difflib.get_close_matches(name, self._known, 1, 0.6)
        near = self._near.get(kind)
        return InputError("no rule of this architecture takes the tensor", file=self._file, tensor=name,
                          hint=f"The nearest is {near[0]}." if near else None)


def _grouped(spec: ArchSpec, rule: TensorRule, holes: Holes, parts: dict[tuple[int, int], str], hp: Hparams, file: str,
             problems: list[GgufxError]) -> Match | None:
    """One match from the names found for it; None, with a problem, where a part is missing."""
    at = BlockHparams(hp, rule.block(holes))
    experts = _experts(rule, at)
    beyond = [name for (_, e), name in parts.items() if e >= experts]
    for name in beyond:
        problems.append(InputError("the expert is beyond the model's expert count", file=file, tensor=name,
                                   expected=f"experts 0 to {experts - 1}"))
    absent = len(rule.hf) * experts - (len(parts) - len(beyond))  # a number: config.json may claim billions of experts
    if absent:
        local = local_holes(spec, rule, holes, hp)
        first = islice((rule.hf[t].format({**local, "e": e}) for t in range(len(rule.hf)) for e in range(experts)
                        if (t, e) not in parts), 3)
        shown = ", ".join(first) + (f" and {absent - 3} more" if absent > 3 else "")
        problems.append(InputError("others of its stack or set are missing", file=file, tensor=next(iter(parts.values())),
                                   expected=shown))
    if absent or beyond:
        return None
    lists = tuple(tuple(parts[t, e] for e in range(experts)) for t in range(len(rule.hf)))
    try:
        return Match(rule, holes, lists, tuple(op.bind(at) for op in rule.ops))
    except KeyError:
        return None  # the missing hyperparameter has been reported
    except ValueError as error:
        problems.append(InputError(str(error), file=file, tensor=lists[0][0]))
        return None


def _experts(rule: TensorRule, at: Hparams) -> int:
    """How many HF tensors stand at each of the rule's templates."""
    count = at.get(rule.each, 0) if rule.stacked else 1
    return count if isinstance(count, int) else 0


def _missing(spec: ArchSpec, hp: Hparams, made: Mapping[str, str], file: str) -> list[GgufxError]:
    """Each GGUF tensor that the runtime needs and no source makes."""
    problems: list[GgufxError] = []
    reported: set[str] = set()
    for r, rule in enumerate(spec.tensors):
        if not rule.need or spec.layouts[r]:
            continue
        stack = rule.stack
        for b in (None,) if stack is None else spec.blocks(stack, hp):
            holes: Holes = {"p": "weight"} if stack is None else {"p": "weight", stack: b}
            if not _needed(rule, hp, b) or (rule.given and not rule.given.at(made, holes)):
                continue
            for template in rule.gguf:
                name = template.format(holes)
                if name not in made and name not in reported:
                    reported.add(name)
                    hf = rule.hf[0].format({**local_holes(spec, rule, holes, hp), "e": 0})
                    problems.append(InputError("missing, the GGUF file cannot be made without it", file=file, tensor=hf,
                                               expected=f"the source of {name}"))
    return problems


def _needed(rule: TensorRule, hp: Hparams, block: int | None) -> bool:
    """Whether the runtime needs the rule's tensors."""
    return rule.when is None or _asked(rule.when, hp, block)


def _asked(when: When, hp: Hparams, block: int | None) -> bool:
    """What that depends on may be unfit, or the block beyond the last; its own rule reports it."""
    try:
        return when(hp, block)
    except (KeyError, TypeError, IndexError):
        return False


def local_holes(spec: ArchSpec, rule: TensorRule, holes: Holes, hp: Hparams) -> Holes:
    """The holes of the HF names: there each stack counts its blocks from 0."""
    if rule.stack is None:
        return {**holes, "b": hp.get(rule.within)} if rule.within else holes
    return {**holes, rule.stack: spec.blocks(rule.stack, hp).index(holes[rule.stack])}


def block_of(spec: ArchSpec, rule: TensorRule, holes: Holes, hp: Hparams) -> int | None:
    """The number that a block has in GGUF names, by the holes of an HF name."""
    if rule.stack is None:
        return None
    blocks, number = spec.blocks(rule.stack, hp), int(holes.get(rule.stack, 0))
    return blocks[number] if number < len(blocks) else number + (blocks[0] if blocks else 0)


def is_of(spec: ArchSpec, rule: TensorRule, local: Holes, hp: Hparams) -> bool:
    """Whether the rule is of the block that these holes of an HF name are in."""
    if rule.of is None:
        return True
    if rule.stack is None:
        return _asked(rule.of, hp, None)
    blocks, number = spec.blocks(rule.stack, hp), local.get(rule.stack, 0)
    block = blocks[number] if number < len(blocks) else number + (blocks[0] if blocks else 0)
    return _asked(rule.of, hp, block)


def in_stack(spec: ArchSpec, rule: TensorRule, holes: Holes, hp: Hparams) -> bool:
    """Whether the rule makes this block. One whose HF name counts no blocks makes the first."""
    if rule.stack is None:
        return True
    blocks = spec.blocks(rule.stack, hp)
    return holes[rule.stack] in (blocks if rule.stack in rule.hf[0].holes else blocks[:1])


def _other_layouts(spec: ArchSpec, match: Match) -> list[str]:
    """What the same HF tensors would be called in another layout of the GGUF file."""
    return [t.format(match.holes) for rule in spec.tensors if rule.hf == match.rule.hf and rule is not match.rule
            and rule.of is None for t in rule.gguf]


@dataclass
class GgufMatches:
    """`matches` in table order; `derived`: tensors that stand for config values."""

    matches: list[Match]
    derived: list[str]


def match_gguf(spec: ArchSpec, hp: Hparams, types: Mapping[str, str], file: str, problems: list[GgufxError],
               layouts: frozenset[str] = frozenset(), *, packed: bool = True) -> GgufMatches:
    """Group a GGUF file's tensors by rule. `types`: tensor name -> type.

    Where several rules make a tensor, one named in `layouts` goes first, then table order. A rule that emits blocks of
    a type takes only tensors of that type, and none with `packed` False, but for whole numbers.
    """
    names = list(types)
    index: TemplateIndex[int] = TemplateIndex()
    for r, rule in enumerate(spec.tensors):
        for template in rule.gguf:
            index.add(template, r)
    derived = {name for d in spec.derived for name in spec.names_of(d, hp)}
    matches: dict[tuple[int, tuple], Match] = {}
    count = 0
    available = set(names) - derived - {*spec.again}
    unknown = _Unknown(index.texts, file)
    for name in names:
        if name not in available:
            continue
        options = [(rule, r, holes) for _, r, holes in index.find(name)
                   if in_stack(spec, rule := spec.tensors[r], holes, hp)
                   and (rule.given is None or rule.given.at(types, holes))
                   and (rule.of is None or _asked(rule.of, hp, rule.block(holes)))]
        whole = [(rule, r, holes) for rule, r, holes in options
                 if all(t.format(holes) in available for t in rule.gguf)
                 and (rule.emits is None or (rule.emits == types[name] and (packed or rule.emits in WHOLE_NUMBERS)))]
        if not whole:
            if options:
                parts = [t.format(options[0][2]) for t in options[0][0].gguf]
                absent = [part for part in parts if part not in available]
                problems.append(InputError("others of its set are missing", file=file, tensor=name,
                                           expected=", ".join(absent)))
            else:
                problems.append(unknown(name))
            continue
        rule, r, holes = next((o for o in whole if str(o[0].hf[0]) in layouts), whole[0])
        at, local = BlockHparams(hp, rule.block(holes)), local_holes(spec, rule, holes, hp)
        experts = _experts(rule, at)
        count += len(rule.hf) * experts
        if count > MAX_HF_TENSORS:
            problems.append(InputError("the file would make too many HF tensors", file=file, tensor=name,
                                       expected=f"at most {MAX_HF_TENSORS}"))
            break
        hf = tuple(tuple(t.format({**local, "e": e}) for e in range(experts)) for t in rule.hf)
        try:
            match = Match(rule, holes, hf, tuple(op.bind(at) for op in rule.ops))
        except KeyError:
            continue
        except ValueError as error:
            problems.append(InputError(str(error), file=file, tensor=name))
            continue
        available.difference_update(match.gguf)
        matches[r, tuple(sorted(holes.items()))] = match
    ordered = [matches[key] for key in sorted(matches, key=lambda k: (k[0], str(k[1])))]
    made = {g: g for m in ordered for g in (*m.gguf, *_other_layouts(spec, m))}
    problems.extend(_missing(spec, hp, made, file))
    return GgufMatches(ordered, [n for n in names if n in derived])
