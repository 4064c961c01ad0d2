"""Every tensor's shape is held against the settings, in both directions: one axis changed in a header is refused, by the names
of file and tensor with both shapes; but for sizes that nothing else tells, which stand in `zoo/unseen_shapes.py`.

Planned from headers alone: what a model of the zoo is in GGUF is what its plan says. Of the tensors that a row makes in several
blocks the first is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from ggufx.converters.arch import SPECS, projectors
from ggufx.converters.io.tensors import StoredTensor
from ggufx.converters.io.values import plain
from ggufx.converters.planners.consistency import misfits
from ggufx.converters.planners.hf_to_gguf import GgufOptions, GgufPlanner
from ggufx.converters.planners.projector import ProjectorPlanner
from ggufx.converters.planners.reading import check_shapes
from ggufx.converters.rules.hparams import sizes
from ggufx.converters.rules.match import Match, match_gguf
from ggufx.converters.rules.runtime_defaults import with_defaults
from ggufx.converters.rules.spec import Hparams
from zoo import golden
from zoo.models import MODELS
from zoo.proof import beside
from zoo.towers import TOWERS, build_tower
from zoo.unseen_shapes import UNSEEN_IN_GGUF, UNSEEN_IN_HF

FILE = Path("model.gguf")
EMBEDDING = "token_embd.weight"


@cache
def _first_of_each_table() -> list[str]:
    """Of each table one model of the zoo."""
    found: dict[int, str] = {}
    for name, row in MODELS.items():
        found.setdefault(id(golden.table(row)), name)
    return list(found.values())


@pytest.fixture(scope="module", params=[*_first_of_each_table(), *TOWERS])
def planner(request, zoo, tmp_path_factory) -> GgufPlanner:
    """Headers read and matched; nothing is written."""
    name = request.param
    if name in TOWERS:
        folder = build_tower(TOWERS[name], tmp_path_factory.mktemp("tower") / "model")
        return ProjectorPlanner(folder, FILE, GgufOptions(plain=True))
    return GgufPlanner(zoo(name), FILE, GgufOptions(plain=True, **beside(name, zoo)))


def changed(shape: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, ...]]]:
    for axis, length in enumerate(shape):
        yield axis, (*shape[:axis], length + 32, *shape[axis + 1 :])


def named(match: Match) -> set[str]:
    """The sizes in the match's shapes, as its row writes them."""
    words = match.rule.shape.replace(";", "").split()
    return {word for factors in words for word in factors.split("*") if not word.isdecimal()}


def related(spec, hp: Hparams, match: Match, matches: list[Match]) -> list[Match]:
    """The match, and those that share a size with it which tensors alone show: the others say nothing of it. All, where a size
    is made of such."""
    def shown(one: Match) -> set[str]:
        return {word.format_map(one.holes) for word in named(one) if word in spec.shown}

    if any(word not in spec.shown and word not in hp for word in named(match)):
        return matches
    own = shown(match)
    return [other for other in matches if other is match or own & shown(other)]


def once(matches: list[Match]) -> Iterator[Match]:
    """Of each row a match of weights and one of biases."""
    seen = set()
    for match in matches:
        if (key := (id(match.rule), match.holes.get("p"))) not in seen:
            seen.add(key)
            yield match


def told(problems: list, file: Path) -> bool:
    """Whether there is a refusal that says where and what. An op says both numbers in its sentence."""
    return any(p.file == str(file) and p.tensor and ((p.expected and p.found) or any(c.isdigit() for c in p.message))
               for p in problems)


def unseen(table: Mapping[str, Mapping[str, str]], spec, there: Iterable[str], found: set[str]) -> None:
    """Whether what was found is what is listed of the class; `there`: the rows' names of which the model has a tensor."""
    listed = {axis for axis in table.get(spec.classes[0], {}) if axis.rpartition(":")[0] in there}
    assert found == listed


def test_of_a_foreign_file(planner):
    spec, keys = planner.spec, {**planner.keys, **planner.tokens}
    tensors = {t.name: StoredTensor(t.name, "F32", t.shape, FILE, 0, 0) for t in planner.tensors}
    types = {t.name: t.type for t in planner.tensors_of("auto")[0] if t.name in tensors}

    def settings(held):
        rows = {"vocab_size": held[EMBEDDING].shape[0]} if EMBEDDING in held else {}
        return {**sizes(spec, plain(with_defaults(spec, keys)), rows.get("vocab_size"), None), **rows}

    hp, problems = settings(tensors), []
    matches = match_gguf(spec, hp, types, str(FILE), problems).matches
    assert [*problems, *misfits(spec, matches, hp, tensors)] == []
    found = set()
    for match in once(matches):
        for name, template in zip(match.gguf, match.rule.gguf, strict=True):
            for axis, shape in changed(tensors[name].shape):
                held = {**tensors, name: replace(tensors[name], shape=shape)}
                others = matches if name == EMBEDDING else related(spec, hp, match, matches)
                if not told(misfits(spec, others, settings(held) if name == EMBEDDING else hp, held), FILE):
                    found.add(f"{template}:{axis}")
    if sum("vocab_size" in named(match) for match in matches) == 1:
        found.discard(f"{EMBEDDING}:0")  # tied, and perhaps padded: the vocabulary is as long as this table
    unseen(UNSEEN_IN_GGUF, spec, {str(t) for match in matches for t in match.rule.gguf}, found)


def test_of_a_checkpoint(planner):
    reading = planner.reading
    spec, found = reading.spec, reading.found
    shapes = {found.names[name]: reading.source(name).shape for match in found.matches for names in match.hf for name in names}
    missed = set()
    for match in once(found.matches):
        for names, template in zip(match.hf, match.rule.hf, strict=True):
            own = found.names[names[0]]
            for axis, shape in changed(shapes[own]):
                problems: list = []
                check_shapes(spec, replace(found, matches=related(spec, reading.hp, match, found.matches)), reading.hp,
                             {**shapes, own: shape}, "model", problems)
                if not told(problems, Path("model")):
                    missed.add(f"{template}:{axis}")
    unseen(UNSEEN_IN_HF, spec, {str(t) for match in found.matches for t in match.rule.hf}, missed)


def test_nothing_is_listed_of_a_class_without_a_table():
    assert {*UNSEEN_IN_GGUF, *UNSEEN_IN_HF} <= {spec.classes[0] for spec in (*SPECS, *projectors.SPECS)}
