"""One family of errors. Each is written for the person who must act on it.

The command line maps the class to an exit status (`cli/exit.py`); nothing else in ggufx exits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

SHOWN_PROBLEMS = 20  # of many, in the message for people


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
        text = f"{': '.join(where)}: {self.message}" if where else self.message
        details = [f"{k} {v}" for k, v in (("expected", self.expected), ("found", self.found)) if v is not None]
        if details:
            text += f" ({', '.join(details)})"
        return f"{text}\n  {self.hint}" if self.hint else text

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
            shown.append(f"- and {len(more)} more; --json lists them all")
        return "\n".join([f"{len(self.problems)} problems:", *shown])

    def to_json(self) -> dict[str, object]:
        return {**super().to_json(), "problems": [p.to_json() for p in self.problems]}


def raise_all(problems: Iterable[GgufxError]) -> None:
    """Raise what was found: nothing, the one error itself, or `ManyErrors`."""
    found = list(problems)
    if len(found) == 1:
        raise found[0]
    if found:
        raise ManyErrors(found)
