"""One family of errors. Each is written for the person who must act on it.

The command line maps the class to an exit status (`cli/exit.py`); nothing else in ggufx exits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHOWN_PROBLEMS = 20  # of many, in the message for people


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
        where = [part for part in (self.file, self.tensor and f"tensor {self.tensor}") if part]
        text = f"{': '.join(map(escaped, where))}: {self.message}" if where else self.message
        details = [f"{k} {escaped(str(v))}" for k, v in (("expected", self.expected), ("found", self.found))
                   if v is not None]
        if details:
            text += f" ({', '.join(details)})"
        if self.hint:
            text += f"\n  {self.hint}"
        return "\n".join(map(escaped, text.split("\n")))  # strangers' files speak through it, to a terminal

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

    def __str__(self) -> str:
        shown = [f"- {p}" for p in self.problems[:SHOWN_PROBLEMS]]
        if more := self.problems[SHOWN_PROBLEMS:]:
            shown.append(f"- and {len(more)} more problems; --json lists them all")
        return "\n".join([f"{len(self.problems)} problems:", *shown])

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "problems": [p.to_json() for p in self.problems]}


@dataclass(frozen=True, slots=True)
class Failure:
    """One of several outputs that stand for themselves was not made, and why."""

    path: Path
    error: GgufxError

    def __str__(self) -> str:
        return f"{self.path} was not made: {self.error}"

    def to_json(self) -> dict[str, object]:
        return {"path": str(self.path), "error": self.error.to_json()}


class IncompleteError(ManyErrors):
    """Some outputs failed, the others are complete: `result` is what was done (a `Result`), or would be (a plan)."""

    def __init__(self, failures: Sequence[Failure], result: Any) -> None:
        super().__init__([f.error for f in failures])
        self.failures = tuple(failures)
        self.result = result

    def __str__(self) -> str:
        return "\n".join(map(str, self.failures))

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "failures": [f.to_json() for f in self.failures]}


def raise_all(problems: Iterable[GgufxError]) -> None:
    """Raise what was found: nothing, the one error itself, or `ManyErrors`."""
    found = list(problems)
    if len(found) == 1:
        raise found[0]
    if found:
        raise ManyErrors(found)
