"""What a person states of an original checkpoint whose files do not tell it."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Stated:
    """`llama_version`: 1, 2, 3, 3.1 ..., of Meta's; `context_length`: tokens that the model was made for. Both may be open."""

    llama_version: str | None = None
    context_length: int | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """The same on a command line."""
        said = (("--llama-version", self.llama_version), ("--context-length", self.context_length))
        return tuple(word for option, value in said if value is not None for word in (option, str(value)))

    def refuse(self, why: str) -> None:
        """UsageError where anything is stated: it has no place in what was found."""
        if self.words:
            raise UsageError(f"{self.words[0]} is of no use: {why}", found=" ".join(self.words))


NOTHING = Stated()
