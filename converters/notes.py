"""What a result does not say by itself: what is lost, approximated or assumed. Many alike are told as one.

A note is a sentence, a `str`. One that concerns tensors, tokens, entries ... is a `Note`, which carries what (`kind`) and of
which (`names`), so that whoever shows notes counts names instead of repeating the sentence. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

SHOWN_NAMES = 6  # for people; of more, the first ones


class Note(str):
    """`kind` of `names`; as text: "tokens left out, the model has 256 ids: '<a>' (id 256), '<b>' (id 257)"."""

    kind: str
    names: tuple[str, ...]

    def __new__(cls, kind: str, *names: str) -> Note:
        note = super().__new__(cls, f"{kind}: {', '.join(names)}" if names else kind)
        note.kind, note.names = kind, names
        return note

    @classmethod
    def of(cls, text: str) -> Note:
        """A note as it is; any other text is a note without names."""
        return text if isinstance(text, Note) else cls(text)

    def about(self, subject: str) -> Note:
        """The same, said of a file or a side."""
        return Note(f"{subject}: {self.kind}", *self.names)

    def told(self, all_names: bool = False) -> str:
        """For people: "kind (298): a, b, c and 295 more"."""
        if len(self.names) < 2:
            return self
        return f"{self.kind} ({len(self.names):,}): {listed(self.names, all_names)}"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "names": list(self.names)}


def listed(names: Sequence[str], all_names: bool = False) -> str:
    """`a, b, c and 295 more`: all where they are few."""
    if all_names or len(names) <= SHOWN_NAMES:
        return ", ".join(names)
    first = SHOWN_NAMES // 2
    return f"{', '.join(names[:first])} and {len(names) - first:,} more"


def grouped(notes: Iterable[str]) -> list[Note]:
    """One note of each kind, with the names of all, in the order of their first ones."""
    kinds: dict[str, list[str]] = {}
    for note in map(Note.of, notes):
        kinds.setdefault(note.kind, []).extend(note.names)
    return [Note(kind, *names) for kind, names in kinds.items()]
