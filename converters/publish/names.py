"""How runtimes find a file in a repository by its name, and what hides it.

Facts: llama.cpp `common/download.cpp`: of `-hf org/repo:TAG` the tag is searched in the whole path, any case, with `.` or `-`
behind it and anything before it; the first hit counts, of a set its first part. Without a tag: Q4_K_M, then Q8_0, then the
first model. Files called with one of HIDING are never models. LM Studio and Ollama ask the Hub for files by the same types.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ..notes import Note
from .contents import parts_of

HIDING = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
FIRST = ("Q4_K_M", "Q8_0")  # what is taken without a tag
PRESET = "preset.ini"


def tag_finds(tag: str, names: Collection[str]) -> str | None:
    """The file of these that `-hf repo:TAG` takes."""
    wanted = tag.lower()
    return next((name for name in sorted(names) if not _hidden(name) and parts_of(name)[0] == name and (
        f"{wanted}." in name.lower() or f"{wanted}-" in name.lower())), None)


def told_names(models: Mapping[str, str], others: Mapping[str, str], names: Collection[str]) -> Iterator[Note]:
    """What is to be said of names, as notes.

    `models`: the files that are models (of a set its first part) with their file types; `others`: files that are none, with
    what they are (mmproj, imatrix, adapter); `names`: all files that the repository will have.
    """
    ggufs = [name for name in names if name.endswith(".gguf")]
    for name, kind in models.items():
        if (word := _hidden(name)) is not None:
            yield Note(f"llama-server -hf takes no file with {word} in its name for a model", name)
        elif not kind:
            continue
        elif (found := tag_finds(kind, ggufs)) is None:
            yield Note(f"llama-server -hf does not find it as :{kind}, which must stand in it with . or - behind", name)
        elif found != name and models.get(found) != kind:
            yield Note(f"llama-server -hf takes {found} for :{kind}", name)
    for name, kind in others.items():
        if kind in ("mmproj", "imatrix") and kind not in name.rpartition("/")[2]:
            yield Note(f"runtimes take it for a model: a name with {kind} in it says what it is", name)
    if PRESET in names:
        yield Note("llama-server -hf reads this file of a repository and nothing else", PRESET)


def _hidden(name: str) -> str | None:
    return next((word for word in HIDING if word in name.rpartition("/")[2]), None)
