"""What llama.cpp's converter makes of the towers, kept as digests in tests/golden/projectors/ (scripts/golden/projectors.py).

One file per family. Of each tower the key-values that a runtime reads, the names of the tensors by their number and digest, and for
each output type one digest of all their types, shapes and bytes; scripts/try_mmproj spells out what differs.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from ggufx.converters.arch.projectors import FAMILIES

from .golden import digest, short
from .peers import Gguf, runtime_values
from .towers import TOWERS

GOLDEN = Path(__file__).parents[1] / "golden" / "projectors"
FAMILY = {name: module.__name__.rpartition(".")[2] for name, row in TOWERS.items() for module in FAMILIES
          if any(row.model.cls in spec.classes for spec in module.SPECS)}


def source_digest(folder: Path) -> str:
    files = sorted(folder.glob("**/model.safetensors"), key=lambda path: len(path.parts))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def described(made: dict[str, Gguf], without: tuple[str, ...] = ()) -> dict[str, Any]:
    """`made`: the file of each output type; `without`: key-values and tensors that are left out."""
    out: dict[str, Any] = {}
    for outtype, file in made.items():
        out["values"] = {key: short(value) for key, value in sorted(runtime_values(file.values).items())
                         if key != "general.file_type" and key not in without}
        names = sorted(name for name in file.tensors if name not in without)
        out["tensors"] = [len(names), digest(json.dumps(names).encode())]
        whole = hashlib.sha256()
        for name in names:
            kind, shape, data = file.tensors[name]
            whole.update(json.dumps([name, kind, list(shape)]).encode() + data)
        out[outtype] = whole.hexdigest()[:24]
    return out


@cache
def golden() -> dict[str, Any]:
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(GOLDEN.glob("*.json"))]
    return {name: entry for file in files for name, entry in file["towers"].items()}
