"""Shapes of tensors against the sizes that a table writes them in, in both directions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

from ..ops import Crop, Shape, evaluate
from .hparams import with_derived
from .match import BlockHparams, Match
from .spec import ArchSpec, Hparams, TensorRule
from .template import Holes

Known = tuple[int | None, ...]  # a shape of which some lengths may be unknown


def expected_shape(rule: TensorRule, hp: Hparams, bias: bool) -> Shape | None:
    """The HF shape that the rule's `shape` describes; None where it says nothing or a size is unknown. `hp`: as the tensor's
    block sees them. Of several HF tensors of different shapes the first's."""
    return _whole(_lengths(rule, hp, {"p": "bias"} if bias else {}, 0))


def expected(match: Match, hp: Hparams, part: int = 0, item: int = 0) -> Shape | None:
    """`expected_shape` of the match's HF tensor at its `part`-th template, of a stack the `item`-th."""
    return _whole(known(match, hp, part, item))


def known(match: Match, hp: Hparams, part: int = 0, item: int = 0) -> Known | None:
    """`expected`, with None for each size that is unknown."""
    return _lengths(match.rule, _at(match, hp, item), match.holes, part)


def measured(spec: ArchSpec, hp: Hparams, shapes: Iterable[tuple[Match, Sequence[Known]]]) -> Hparams:
    """The sizes and those that tensors alone show (`ArchSpec.shown`): of each the length that most of them have.

    `shapes`: of a match's HF tensors, one for each of its templates.
    """
    if not spec.shown:
        return hp
    found: dict[str, Counter[int]] = {}
    for match, parts in shapes:
        at = _at(match, hp)
        for part, shape in enumerate(parts):
            words = _words(match.rule, match.holes, part)
            for word, length in zip(words, in_front(shape, len(words)), strict=False):
                factors = word.split("*")
                unknown = [f for f in factors if f in spec.shown and f.format_map(match.holes) not in at]
                rest = _length("*".join(("1", *(f for f in factors if f not in unknown))), at, match.holes)
                if length is not None and len(unknown) == 1 and rest and length % rest == 0:
                    found.setdefault(unknown[0].format_map(match.holes), Counter())[length // rest] += 1
    told = {name: lengths.most_common(1)[0][0] for name, lengths in found.items()}
    return with_derived(spec, {**hp, **told}) if told else hp


def restored(match: Match, shapes: Sequence[Shape]) -> list[Known]:
    """The shapes of the HF tensors that GGUF tensors of these shapes make; of stacks those of one tensor. Shorter than the
    match's templates where the ops do not give all back. ValueError says what does not fit."""
    out: list[Shape] = [match.item(shapes[0])] if match.rule.stacked else list(shapes)
    for op in reversed(match.ops_of(0)):
        if not isinstance(op, Crop):
            out = op.inverse.shape(out)
    cropped = any(isinstance(op, Crop) for op in match.ops)
    return [(None, *shape[1:]) if cropped else shape for shape in out]


def stored(match: Match, hp: Hparams) -> list[Shape] | None:
    """The shapes that the match's GGUF tensors must have; None where a size is unknown. ValueError where the sizes themselves
    do not fit."""
    shapes = [shape for part in range(len(match.hf)) if (shape := expected(match, hp, part)) is not None]
    if len(shapes) < len(match.hf):
        return None
    for op in match.ops_of(0):
        shapes = op.shape(shapes)
    return [match.whole(shapes[0])] if match.rule.stacked else shapes


def without_ones(shape: Shape) -> Shape:
    """A shape as ggml counts axes: without the outermost ones of length 1."""
    return next((shape[axis:] for axis, length in enumerate(shape) if length != 1), ())


def in_front(shape: Known, axes: int) -> Known:
    """A shape of so many axes, of which ggml did not count those of 1 in front."""
    return (*[1] * (axes - len(shape)), *shape)


def fits(said: Known, found: Known) -> bool:
    """Whether the shape that was found may be what the sizes say, where lengths of both may be unknown."""
    found = in_front(found, len(said))
    return len(said) == len(found) and all(None in pair or pair[0] == pair[1] for pair in zip(said, found, strict=True))


def _at(match: Match, hp: Hparams, item: int = 0) -> BlockHparams:
    """The sizes as the match's block sees them; of a stack of different tensors as each of these does."""
    return BlockHparams(hp, item if match.uneven else match.block)


def _whole(lengths: Known | None) -> Shape | None:
    return None if lengths is None or None in lengths else tuple(n for n in lengths if n is not None)


def _words(rule: TensorRule, holes: Holes, part: int) -> tuple[str, ...]:
    """The sizes of an HF tensor as the row writes them."""
    words = _parsed(rule.shape or "", part)
    return words[:1] if holes.get("p") == "bias" else words


@cache
def _parsed(shapes: str, part: int) -> tuple[str, ...]:
    each = shapes.split(";")
    return tuple(each[part if len(each) > 1 else 0].split())


def _lengths(rule: TensorRule, hp: Hparams, holes: Holes, part: int) -> Known | None:
    return None if rule.shape is None else tuple(_length(word, hp, holes) for word in _words(rule, holes, part))


def _length(word: str, hp: Hparams, holes: Holes) -> int | None:
    try:
        value = evaluate(word.format_map(holes), hp)
    except (KeyError, ValueError):
        return None
    return value if type(value) is int else None
