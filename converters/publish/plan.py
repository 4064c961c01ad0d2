"""What a push would do, before anything is sent: the target, the card, what is to be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..io.files import printable, read_text
from ..notes import Note
from ..sources.hub import HubReference
from .card import Lineage, make_card
from .contents import CARD, Contents
from .names import told_names
from .upload import as_target

RELATIONS = ("quantized", "adapter", "merge", "finetune", "")


@dataclass(frozen=True)
class Prepared:
    """`target`: None where nothing is pushed. `card`: the text of README.md, that of the files where they have one."""

    contents: Contents
    target: HubReference | None
    card: str
    notes: tuple[Note, ...]


def prepare(contents: Contents, repo: str | None, bases: Sequence[str] = (), relation: str = "quantized") -> Prepared:
    """`repo`: ORG/REPO[@BRANCH]. `bases`: Hub ids of what the files were made of. UsageError for what is neither."""
    target = None if repo is None else as_target(repo)
    notes = [*contents.notes]
    kinds = {name: found for name, found in contents.ggufs.items()}
    notes += told_names({name: found.file_type or "" for name, found in kinds.items() if found.form == "gguf"},
                        {name: found.form for name, found in kinds.items() if found.form != "gguf"},
                        [item.name for item in contents.items])
    own = next((item.path for item in contents.items if item.name == CARD), None)
    if own is not None:
        card = read_text(Path(own))
    else:
        lineage = Lineage(tuple(map(as_reference, bases)), _relation(contents, relation))
        card = make_card(contents, lineage, target.repo if target else None, notes)
    return Prepared(contents, target, card, tuple(notes))


def _relation(contents: Contents, stated: str) -> str:
    """An adapter is one of its base, whatever was done to it."""
    if stated not in RELATIONS:
        raise UsageError("is no relation that the Hub knows", found=printable(stated), expected=", ".join(RELATIONS[:-1]))
    forms = {found.form for found in contents.ggufs.values()}
    return "adapter" if forms == {"adapter"} else stated


def as_reference(text: str) -> HubReference:
    """`ORG/MODEL[@REVISION]`. UsageError for anything else."""
    found = HubReference.parse(text)
    if found is None or found.file:
        raise UsageError("is no model of the Hub", found=printable(text), expected="ORG/MODEL or ORG/MODEL@REVISION")
    return found
