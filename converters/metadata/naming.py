"""Sizes and names: how many parameters a GGUF file holds, and what the file is called.

Sources: `get_total_parameter_count` of llama.cpp's GGUF writer; the naming convention in ggml's `docs/gguf.md`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path
from typing import Literal, NamedTuple

from ..errors import StorageError
from ..io.values import Metadata

_MAX_STEM_BYTES = 200  # file systems allow 255: room for "-00001-of-00003", ".gguf", ".part" and the journal's suffix
_SAFE = frozenset("-_.+")


Kind = Literal["model", "adapter", "vocab", "mmproj"]


class ParameterCount(NamedTuple):
    """Numbers of parameters. `total` is negative for LoRA adapters: it says "about", since they skip layers.

    `expert` counts one expert of each expert tensor, `shared` everything else, so a mixture is `expert_count` x
    (`shared` + `expert`) in a size label.
    """

    total: int
    shared: int
    expert: int
    expert_count: int


def count_parameters(names_and_shapes: Iterable[tuple[str, Sequence[int]]]) -> ParameterCount:
    """Count GGUF tensors, given in file order with numpy-order shapes.

    A LoRA pair counts as the matrix it updates. All zeros where a `.lora_b` does not follow its `.lora_a` at once, as
    llama.cpp has it.
    """
    total = shared = expert = expert_sum = expert_tensors = 0
    last_a: tuple[str, Sequence[int]] | None = None
    for name, given in names_and_shapes:
        shape = tuple(given)
        if name.endswith(".lora_a"):
            last_a = (name, shape)
            continue
        if name.endswith(".lora_b"):
            if last_a is None or last_a[0] != f"{name[:-1]}a":
                return ParameterCount(0, 0, 0, 0)
            shape = (*shape[:-1], last_a[1][-1])
        size = prod(shape)
        total += size
        if "_exps." in name and len(shape) >= 3:
            experts = shape[-2 if ".bias" in name else -3]
            expert += size // experts
            expert_sum += experts
            expert_tensors += 1
        else:
            shared += size
    count = expert_sum // expert_tensors if expert_tensors else 0
    return ParameterCount(total if last_a is None else -total, shared, expert, count)


def default_file_name(
    metadata: Metadata, file_type_name: str | None, kind: Kind = "model"
) -> str:
    """`<base name or name>-<size>-<fine-tune>-<version>-<ENCODING>[-LoRA|-vocab].gguf`, from `general.*`.

    `file_type_name` is the encoding as llama.cpp spells it ("F16", "Q8_0", "Q4_K_M"). A vocabulary has neither size nor
    encoding; a projector has no size, and is called `mmproj-` in front, by which runtimes find it. Always one plain file
    name: letters, digits and `-_.+` of any script, never a path, never hidden, never an option, at most 205 bytes.
    """
    def text(key: str) -> str:
        return str(metadata[key].data) if key in metadata else ""

    encoding = "" if kind == "vocab" or file_type_name is None else file_type_name.upper()
    suffix = _joined(encoding, {"model": "", "adapter": "LoRA", "vocab": "vocab", "mmproj": ""}[kind])
    stem = _joined(
        _safe(text("general.basename") or text("general.name")) or "model",
        "" if kind in ("vocab", "mmproj") else text("general.size_label"), text("general.finetune"), text("general.version"),
    )
    stem = _joined("mmproj" if kind == "mmproj" else "", stem)
    room = _MAX_STEM_BYTES - len(suffix.encode()) - 1
    return f"{_joined(stem.encode()[:room].decode(errors='ignore'), suffix)}.gguf"


def output_path(outfile: str | Path | None, outtype: str, name: str) -> Path:
    """`outfile` with `{outtype}` filled in; in a folder, and in the current one for None, the file of the conventional `name`.

    `{OUTTYPE}` is filled in in upper case; `{ftype}` likewise. StorageError for a folder (it ends in /) that is not there.
    """
    if outfile is None:
        return Path(name)
    text = str(outfile)
    for word, spelled in _words(outtype):
        text = text.replace(word, spelled)
    if os.path.isdir(text):
        return Path(text, name)
    if text.endswith(("/", os.sep)):
        raise StorageError("no such folder", file=text, hint="Make it first, or write to another folder.")
    return Path(text)


def set_path(outfile: str | Path | None, outtype: str, path: Path) -> Path | None:
    """What the files of a split model are named after where each type gets a folder of its own, which is then made.

    `path`: the file that it would be otherwise. A folder in which `outfile` has `{outtype}` is that of the type; where only
    the file's name has it, it is one below. None where `outfile` has none.
    """
    text = str(outfile or "")
    spelled = next((spelled for word, spelled in _words(outtype) if word in text), None)
    if spelled is None:
        return None
    return path if any(word in os.path.dirname(text) for word, _ in _words(outtype)) else path.parent / spelled / path.name


def _words(outtype: str) -> list[tuple[str, str]]:
    """What stands for a type in the name of a file, and what it is filled in with."""
    return [(f"{{{word}}}", spelled) for name in ("outtype", "ftype")
            for word, spelled in ((name, outtype.lower()), (name.upper(), outtype.upper()))]


def _joined(*parts: str) -> str:
    return "-".join(filter(None, map(_safe, parts)))


def _safe(part: str) -> str:
    kept = (c if c in _SAFE or unicodedata.category(c)[0] in "LMN" else "-" for c in part.strip())
    return "".join(kept).strip("-.")
