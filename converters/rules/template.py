"""Tensor names with typed holes: `blk.{b}.attn_q.{p}`.

Holes are few: {e} expert index, {p} `weight` or `bias`; every other letter counts the blocks of a stack (spec.Stack): {b}
by convention those of the model, {m} multi-token prediction, {d} a decoder, {v} vision, {a} audio. `match` and `format`
are inverse by construction, so one table row reads in both directions and nobody writes a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from string import ascii_lowercase
from typing import Any, Generic, TypeVar

INDEX = "(?P<{}>0|[1-9][0-9]{{0,8}})"
HOLES = {**{hole: INDEX.format(hole) for hole in ascii_lowercase}, "p": "(?P<p>weight|bias)"}
Holes = dict[str, Any]  # {p}: str, every other hole: int
T = TypeVar("T")


@dataclass(frozen=True)
class Template:
    """One name pattern. `Template("blk.{b}.attn_q.{p}").match("blk.3.attn_q.bias") == {"b": 3, "p": "bias"}`."""

    text: str

    def __post_init__(self) -> None:
        if unknown := set(self.holes) - set(HOLES):
            raise ValueError(f"{self.text!r}: unknown hole {{{unknown.pop()}}}")
        if len(self.holes) != len(set(self.holes)):
            raise ValueError(f"{self.text!r}: a hole stands twice")

    def __str__(self) -> str:
        return self.text

    @cached_property
    def holes(self) -> tuple[str, ...]:
        return tuple(re.findall(r"\{(\w+)\}", self.text))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        pieces = re.split(r"\{(\w+)\}", self.text)
        return re.compile("".join(HOLES[x] if i % 2 else re.escape(x) for i, x in enumerate(pieces)))

    def match(self, name: str) -> Holes | None:
        """The value of each hole, or None when `name` is not of this form."""
        found = self._pattern.fullmatch(name)
        return found and {k: v if k == "p" else int(v) for k, v in found.groupdict().items()}

    def format(self, holes: Holes) -> str:
        """The name with these holes; holes of other templates are ignored. KeyError if one is missing."""
        return self.text.format_map(holes)

    @cached_property
    def skeleton(self) -> str:
        """The name with every number, a hole's or its own, as `#`, and the last segment as `%` where it is a hole: a
        dictionary key."""
        index = re.sub(r"(?:\{[a-oq-z]\}|[0-9])+", "#", self.text)
        return ".".join("%" if s == "{p}" else s for s in index.split("."))


def skeletons(name: str) -> tuple[str, str]:
    """The two dictionary keys that a template matching `name` can have."""
    segments = re.sub(r"[0-9]+", "#", name).split(".")
    plain = ".".join(segments)
    if segments[-1] in ("weight", "bias"):
        return plain, ".".join([*segments[:-1], "%"])
    return plain, plain


@dataclass
class TemplateIndex(Generic[T]):
    """Templates with a value each, found by name in constant time however many rows a table has."""

    _rows: dict[str, list[tuple[Template, T]]] = field(default_factory=dict)

    def add(self, template: Template, value: T) -> None:
        self._rows.setdefault(template.skeleton, []).append((template, value))

    def find(self, name: str) -> Iterator[tuple[Template, T, Holes]]:
        """Every row whose template matches `name`, in the order in which they were added per key."""
        for key in dict.fromkeys(skeletons(name)):
            for template, value in self._rows.get(key, ()):
                if (holes := template.match(name)) is not None:
                    yield template, value, holes

    @property
    def texts(self) -> Iterable[str]:
        return [template.text for rows in self._rows.values() for template, _ in rows]
