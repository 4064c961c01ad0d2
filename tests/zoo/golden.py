"""What llama.cpp's converter makes of the zoo, kept as digests in tests/golden/forward/ (made by scripts/golden/forward.py).

One file per family: the module of converters/arch that holds the tables of its classes. One entry per model: "source", the digest of its safetensors file; "values", the key-values that a runtime reads, as [type, value];
"tensors", per tensor its shape and, per output type, stored type and digest of its bytes. An entry with "as" has the tensors of that
other model, and its key-values but for those in its own "values" (null: absent).
Models that llama.cpp's converter gets wrong are entered as it makes them once the fault is avoided (`fault` of the row).
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from ggufx.converters.arch import BY_CLASS, FAMILIES, SPECS
from ggufx.converters.rules.spec import ArchSpec

from .models import MODELS, Model
from .models.rows import OUTTYPES as OUTTYPES  # for those who compare
from .peers import Gguf, read_peer_gguf, runtime_values

GOLDEN = Path(__file__).parents[1] / "golden" / "forward"
_OWNERS = dict(zip(map(id, SPECS), (module.__name__.rpartition(".")[2] for module in FAMILIES for _ in module.SPECS), strict=True))


def table(row: Model) -> ArchSpec | None:
    """The table of a row's class, by its config where there are several."""
    return next((spec for spec in BY_CLASS.get(row.cls, ()) if spec.fits is None or spec.fits(row.config)), None)


FAMILY = {name: _OWNERS.get(id(table(row))) for name, row in MODELS.items()}  # model -> module of its table


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:24]


def short(value: tuple[str, Any]) -> list:
    """A key-value as it stands in the file: long arrays and strings by length and digest."""
    kind, content = value
    if isinstance(content, (list, str)) and len(content) > 24:
        return [kind, {"count": len(content), "digest": digest(json.dumps(content).encode())}]
    return [kind, content]


def describe(file: Gguf) -> tuple[dict[str, list], dict[str, list]]:
    """Key-values that a runtime reads, shortened, and tensors as {name: [type, shape, digest]}."""
    values = {key: short(value) for key, value in runtime_values(file.values).items()}
    tensors = {name: [kind, list(shape), digest(data)] for name, (kind, shape, data) in file.tensors.items()}
    return values, tensors


@cache
def _entries() -> dict[str, Any]:
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(GOLDEN.glob("*.json"))]
    return {name: entry for document in documents for name, entry in document["models"].items()}


def names() -> list[str]:
    """The models that have an entry."""
    return list(_entries())


def expected(name: str, outtype: str) -> tuple[dict[str, list], dict[str, list]]:
    """Key-values and tensors, as `describe` gives them, of the right file; keys that llama.cpp gets wrong are not in it."""
    entry = _entries()[name]
    if "as" in entry:
        base = _entries()[entry["as"]]
        entry = base | {"values": base["values"] | entry["values"]}
    wrong = MODELS[name].fault.keys
    values = {key: value for key, value in entry["values"].items() if value and key not in wrong}
    values["general.file_type"] = entry["file_type"][outtype]
    return values, {
        tensor: [row[outtype if outtype in row else "all"][0], row["shape"], row[outtype if outtype in row else "all"][1]]
        for tensor, row in entry["tensors"].items()
    }


def differences(path: Path, name: str, outtype: str) -> list[str]:
    """How the GGUF file at `path` differs from the expected one of the model `name`; empty when it does not."""
    values, tensors = describe(read_peer_gguf(path))
    right_values, right_tensors = expected(name, outtype)
    wrong = MODELS[name].fault.keys
    out = []
    for what, mine, right in (("key", values, right_values), ("tensor", tensors, right_tensors)):
        for key in sorted((mine.keys() | right.keys()) - set(wrong)):
            if mine.get(key) != right.get(key):
                out.append(f"{what} {key}: {mine.get(key, 'absent')}, expected {right.get(key, 'absent')}")
    return out


def source(name: str) -> str:
    """SHA-256 of the safetensors file that the entry was made from."""
    return _entries()[name]["source"]
