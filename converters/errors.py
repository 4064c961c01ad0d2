"""One family of errors. Each is written for the person who must act on it.

The command line maps the class to an exit status (`cli/exit.py`); nothing else in ggufx exits. May import `notes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .notes import listed

SHOWN_PROBLEMS = 20  # kinds of many, in the message for people
SHOWN_HINTS = 3


def escaped(text: str) -> str:
    """`text` with what does not print (control and direction characters, halves of surrogate pairs) as escapes."""
    return text if text.isprintable() else "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in text)


class GgufxError(Exception):
    """What is wrong, where, and what to do about it.

    `file` and `tensor` say where; `expected` and `found` say what differs; `hint` says what to do next.
    """

    code = "error"

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        tensor: str | None = None,
        expected: object = None,
        found: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = None if file is None else str(file)
        self.tensor = tensor
        self.expected = expected
        self.found = found
        self.hint = hint

    def __str__(self) -> str:
        return self.told()

    def told(self, all_names: bool = False) -> str:
        """For people; of many alike a few names, or all."""
        where = [part for part in (self.file, self.tensor and f"tensor {self.tensor}") if part]
        return _lines(": ".join((*map(escaped, where), self.message)) + self._details(), self.hint)

    def _details(self) -> str:
        details = [f"{k} {escaped(str(v))}" for k, v in (("expected", self.expected), ("found", self.found))
                   if v is not None]
        return f" ({', '.join(details)})" if details else ""

    def to_json(self) -> dict[str, object]:
        """The error as one JSON object; absent fields are left out."""
        fields = {"code": self.code, "message": self.message, "file": self.file, "tensor": self.tensor,
                  "expected": self.expected, "found": self.found, "hint": self.hint}
        return {k: v if isinstance(v, (str, int, float, list)) else str(v) for k, v in fields.items() if v is not None}


class UsageError(GgufxError):
    """The call itself is wrong: an option, a combination of options, an existing output without --force."""

    code = "usage"


class InputError(GgufxError):
    """A file is missing, damaged, hostile or contradicts itself."""

    code = "input"


class UnsupportedError(GgufxError):
    """The input is sound, but ggufx (or the target format) cannot express it."""

    code = "unsupported"


class StorageError(GgufxError):
    """Reading or writing failed: no space, no permission, an I/O error."""

    code = "io"


class NetworkError(GgufxError):
    """The Hub could not be reached, or refused."""

    code = "network"


class ManyErrors(GgufxError):
    """Everything that is wrong, in one message. Takes the code of its first problem."""

    def __init__(self, problems: Sequence[GgufxError]) -> None:
        self.problems = tuple(problems)
        self.code = problems[0].code
        super().__init__(f"{len(problems)} problems")

    def __reduce__(self) -> tuple[Any, ...]:  # another process may be told of it
        return type(self), (self.problems,), self.__dict__

    def told(self, all_names: bool = False) -> str:
        """One line of each kind, with its count: what is wrong with a thousand tensors alike is one thing to mend."""
        kinds: dict[object, list[GgufxError]] = {}
        for problem in self.problems:
            kinds.setdefault((type(problem), problem.message), []).append(problem)
        told = [_alike(problems, all_names) for problems in kinds.values()]
        if len(told) == 1:
            return told[0]
        shown = [f"- {text}" for text in told[: len(told) if all_names else SHOWN_PROBLEMS]]
        if more := len(told) - len(shown):
            shown.append(f"- and {more} more kinds; --json lists them all")
        return "\n".join([f"{len(self.problems)} problems:", *shown])

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "problems": [p.to_json() for p in self.problems]}


def _alike(problems: Sequence[GgufxError], all_names: bool) -> str:
    """Problems of one message as one text."""
    first = problems[0]
    if len(problems) == 1:
        return first.told(all_names)
    file = first.file if all(p.file == first.file for p in problems) else None
    tensors = [p.tensor for p in problems if p.tensor]
    what = "tensors" if len(tensors) == len(problems) else "problems" if tensors or file else "files"
    places = [": ".join(filter(None, (None if file else p.file, p.tensor))) for p in problems]
    names = [name for place, p in zip(places, problems, strict=True) if (name := (escaped(place) + p._details()).strip())]
    text = f"{f'{escaped(file)}: ' if file else ''}{first.message} ({len(problems):,} {what})"
    hints = list(dict.fromkeys(p.hint for p in problems if p.hint))
    return _lines(f"{text}: {listed(names, all_names)}" if names else text, *hints[: None if all_names else SHOWN_HINTS])


def _lines(text: str, *hints: str | None) -> str:
    """A message with its hints; strangers' files speak through it, to a terminal."""
    whole = "\n  ".join((text, *filter(None, hints)))
    return "\n".join(map(escaped, whole.split("\n")))


@dataclass(frozen=True, slots=True)
class Failure:
    """One of several outputs that stand for themselves was not made, and why."""

    path: Path
    error: GgufxError

    def __str__(self) -> str:
        return f"{self.path} was not made: {self.error}"

    def told(self, all_names: bool = False) -> str:
        return told_failures([self], all_names)

    def to_json(self) -> dict[str, object]:
        return {"path": str(self.path), "error": self.error.to_json()}


class IncompleteError(ManyErrors):
    """Some outputs failed, the others are complete: `result` is what was done (a `Result`), or would be (a plan)."""

    def __init__(self, failures: Sequence[Failure], result: Any) -> None:
        super().__init__([f.error for f in failures])
        self.failures = tuple(failures)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.failures, self.result), self.__dict__

    def told(self, all_names: bool = False) -> str:
        return told_failures(self.failures, all_names)

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "failures": [f.to_json() for f in self.failures]}


def told_failures(failures: Iterable[Failure], all_names: bool = False) -> str:
    """For people: which outputs were not made, and why; several for one reason in one line."""
    reasons: dict[str, list[str]] = {}
    for failure in failures:
        reasons.setdefault(failure.error.told(all_names), []).append(escaped(str(failure.path)))
    return "\n".join(f"{listed(paths, all_names=True)} {'was' if len(paths) == 1 else 'were'} not made: {reason}"
                     for reason, paths in reasons.items())


def raise_all(problems: Iterable[GgufxError]) -> None:
    """Raise what was found: nothing, the one error itself, or `ManyErrors`."""
    found = list(problems)
    if len(found) == 1:
        raise found[0]
    if found:
        raise ManyErrors(found)
