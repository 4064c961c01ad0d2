"""Differences between the settings of two checkpoints, key by key: key-values, config.json, tokenizer files.

A difference *counts* where the runtime, or the model class, would do something else; names, licences, counts and dates
are told but do not make two models different, unless everything is asked to count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ..io.files import printable
from ..io.json_file import parse_object, read_json
from ..io.values import Metadata, Value, text_of
from ..rules.facts import MISSING
from ..rules.hf_config import canonical
from ..rules.spec import ArchSpec
from .runtime import Runtime, alike

SHOWN = 120  # characters of a value
Shown = tuple[str | None, str | None]  # what A and B say; None where one says nothing
IDENTITY = ("general.architecture", "general.type")  # of general.*, what a runtime acts on
STORAGE = ("general.file_type", "general.quantization_version")
OWN = "ggufx."
MAX_TOKENIZER_BYTES = 512 << 20  # as tokenizer/folder.py

# Keys of config.json that say where a model comes from, or how it is stored.
CONFIG_UNCOUNTED = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "auto_map", "quantization_config")
ADAPTER_UNCOUNTED = ("base_model_name_or_path", "revision", "inference_mode", "peft_version", "auto_mapping")
ADAPTER_SETS = ("target_modules", "target_parameters", "exclude_modules")  # the order says nothing
VOCABULARY = "model.vocab"  # of tokenizer.json; the rest of it is judged by the ids that it makes


@dataclass(frozen=True, slots=True)
class Difference:
    """`where`: key-value, or a file's name. `a`, `b`: what each side says, shortened; None where it says nothing."""

    where: str
    key: str
    a: str | None
    b: str | None
    counts: bool

    def to_json(self) -> dict[str, Any]:
        return {"where": self.where, "key": self.key, "a": self.a, "b": self.b, "counts": self.counts}


def key_values(a: Metadata, b: Metadata, *, planned: bool) -> list[Difference]:
    """Differences of GGUF key-values, `ggufx.*` left out. Those of another architecture are compared under A's name.

    `planned`: one of them is of no file, so that how it is stored says nothing.
    """
    names = [text_of(m, "general.architecture") for m in (a, b)]
    if names[0] != names[1] and all(names):
        b = {f"{names[0]}.{k.removeprefix(f'{names[1]}.')}" if k.startswith(f"{names[1]}.") else k: v
             for k, v in b.items()}
    one, two = (Runtime(m, names[0] or names[1]) for m in (a, b))
    out = []
    for key in dict.fromkeys((*a, *b)):
        x, y = a.get(key), b.get(key)
        if key.startswith(OWN) or (planned and key in STORAGE) or _same_value(x, y):
            continue
        counts = _runtime_key(key) and not alike(key, one, two)
        shown, other = _shown_values(x, y)
        if not counts:
            shown, other = shown or _default(one.meaning(key)), other or _default(two.meaning(key))
        out.append(Difference("key-value", key, shown, other, counts))
    return out


def _default(value: Any) -> str | None:
    """What the runtime takes for an absent key, as the report shows it."""
    plain = value is not MISSING and not isinstance(value, (np.ndarray, list)) and value is not None
    return printable(f"{value} (default)", SHOWN) if plain else None


def _runtime_key(key: str) -> bool:
    return key in IDENTITY or not key.startswith(("general.", "quantize.", "split."))


def _same_value(a: Value | None, b: Value | None) -> bool:
    if a is None or b is None or (a.type, a.item_type) != (b.type, b.item_type):
        return False
    if a.item_type is None:
        return a.data == b.data or (a.data != a.data and b.data != b.data)
    if len(a.data) != len(b.data):
        return False
    if isinstance(a.data, np.ndarray) and isinstance(b.data, np.ndarray):
        return np.array_equal(a.data, b.data, equal_nan=a.data.dtype.kind == "f")
    return a.data == b.data


def _shown_values(a: Value | None, b: Value | None) -> Shown:
    if a is None or b is None:
        return _shown(a), _shown(b)
    if a.item_type is not None and b.item_type is not None:
        at = next((i for i, (x, y) in enumerate(zip(a.data, b.data, strict=False)) if x != y), None)
        if at is not None:
            one, two = (f"{_shown(v)} [{at}] = {printable(repr(_scalar(v.data[at])), 40)}" for v in (a, b))
            return one, two
    x, y = _shown(a), _shown(b)
    if x == y and isinstance(a.data, str) and isinstance(b.data, str):
        at = next((i for i, (p, q) in enumerate(zip(a.data, b.data, strict=False)) if p != q), min(len(a.data), len(b.data)))
        one, two = (f"character {at}: {printable(v.data[at:], SHOWN)!r}" for v in (a, b))
        return one, two
    return (x, y) if x != y else (f"{x} ({_type(a)})", f"{y} ({_type(b)})")


def _shown(value: Value | None) -> str | None:
    if value is None:
        return None
    if value.item_type is not None:
        return f"{len(value.data)} {value.item_type.name.lower()}"
    return printable(str(value.data), SHOWN)


def _type(value: Value) -> str:
    return value.type.name.lower() if value.item_type is None else f"{value.item_type.name.lower()} array"


def _scalar(x: Any) -> Any:
    return x.item() if getattr(x, "ndim", 0) == 0 and hasattr(x, "item") else x


# ------------------------------------------------------------------------------------------------- files of folders


def model_files(a: Path, b: Path, specs: Sequence[ArchSpec | None],
                made: Sequence[Mapping[str, bytes | Path]] = ({}, {})) -> list[Difference]:
    """Differences of config.json, generation_config.json and the tokenizer files of two checkpoint folders.

    With a table, config.json is compared in its canonical form: what is said in the style of transformers 4 and 5, or
    by a class's default, is the same. Keys that only one side has count for nothing then: it is the default or unread.
    `made`: of each folder, what stands for files of it.
    """
    x, y = (_read(f / "config.json", m) for f, m in zip((a, b), made, strict=True))
    known = specs[0] if specs[0] is specs[1] else None
    if known is not None:
        x, y = (canonical(c, known, "config.json") for c in (x, y))
    out = list(_documents("config.json", x, y, CONFIG_UNCOUNTED, absent_counts=known is None))
    for name in ("generation_config.json", "tokenizer_config.json"):
        out += _documents(name, _read(a / name, made[0]), _read(b / name, made[1]), None)
    one, two = (_tokenizer(f / "tokenizer.json") for f in (a, b))
    if one is not None and two is not None:
        found = _documents("tokenizer.json", one, two, None, depth=1)
        out += [replace(d, counts=d.key == VOCABULARY) for d in found]
    elif one is not None or two is not None:
        out.append(Difference("tokenizer.json", "", None if one is None else "present", None if two is None else "present",
                              False))
    return out


def tokenizers_differ(found: Iterable[Difference]) -> bool:
    """Whether both folders have a tokenizer.json, in other words: only their ids tell whether it is the same."""
    return any(d.where == "tokenizer.json" and d.key for d in found)


def adapter_files(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Differences of the adapter_config.json of two adapter folders."""
    x, y = ({k: sorted(map(str, v)) if k in ADAPTER_SETS and isinstance(v, list) else v for k, v in config.items()}
            for config in (a, b))
    return list(_documents("adapter_config.json", x, y, ADAPTER_UNCOUNTED))


def _read(path: Path, made: Mapping[str, bytes | Path] | None = None) -> dict[str, Any]:
    if isinstance(raw := (made or {}).get(path.name), bytes):
        return parse_object(raw, path)
    return read_json(path, non_finite=True) if path.is_file() else {}


def _tokenizer(path: Path) -> dict[str, Any] | None:
    """tokenizer.json in one spelling: merges as pairs, tokens by name."""
    if not path.is_file():
        return None
    found = read_json(path, max_bytes=MAX_TOKENIZER_BYTES)
    model = found.get("model")
    if isinstance(model, dict) and isinstance(model.get("merges"), list):
        merges = [m.split(" ", 1) if isinstance(m, str) else m for m in model["merges"]]
        found["model"] = {**model, "merges": merges}
    return found


def _documents(where: str, a: Mapping[str, Any], b: Mapping[str, Any], uncounted: tuple[str, ...] | None, *,
               absent_counts: bool = True, depth: int = 8) -> Iterator[Difference]:
    """Leaves of two JSON objects that differ. `uncounted`: top-level keys that never count; None: none ever does."""
    for path, x, y in _leaves(a, b, (), depth):
        present = x is not None and y is not None
        counts = uncounted is not None and path[0] not in uncounted and (present or absent_counts)
        yield Difference(where, ".".join(path), *_shown_json(x, y), counts)


def _leaves(a: Any, b: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """(path, a, b) of what differs; an absent key is None, as null is."""
    if isinstance(a, Mapping) and isinstance(b, Mapping) and len(path) <= depth and max(len(a), len(b)) < 1000:
        for key in dict.fromkeys((*a, *b)):
            yield from _leaves(a.get(key), b.get(key), (*path, str(key)), depth)
    elif a != b and path:
        yield path, a, b


def _shown_json(a: Any, b: Any) -> Shown:
    one, two = (None if v is None else _json(v) for v in (a, b))
    if (one is not None and two is not None and max(len(one), len(two)) > SHOWN
            and isinstance(a, (list, dict)) and isinstance(b, (list, dict))):
        items = [list(v.items()) if isinstance(v, dict) else v for v in (a, b)]
        at = next((i for i, (x, y) in enumerate(zip(*items, strict=False)) if x != y), min(map(len, items)))
        one, two = (f"{len(v)} items [{at}] = {printable(_json(v[at]), 60) if at < len(v) else 'none'}" for v in items)
        return one, two
    return None if one is None else printable(one, SHOWN), None if two is None else printable(two, SHOWN)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def settle(found: Iterable[Difference], ignore: Sequence[str], strict: bool) -> list[Difference]:
    """The differences that count first; none of the keys in `ignore` (wildcards) counts, with `strict` all others do."""
    out = []
    for d in found:
        ignored = any(fnmatchcase(d.key, pattern) for pattern in ignore)
        out.append(Difference(d.where, d.key, d.a, d.b, not ignored and (d.counts or strict)))
    return sorted(out, key=lambda d: not d.counts)
