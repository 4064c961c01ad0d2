"""The `general.*` key-values: who made a model, from what, under which licence, and how to sample from it.

Sources, weakest first: the folder's name, `_name_or_path` of config.json, the model card, generation_config.json, the
`--metadata` file, `--model-name`. Names are taken apart by the heuristics of the `gguf` package; keys, types, values
and order are those of llama.cpp's converter. Where that fails, this does not:

- a broken or hostile card, generation_config.json or single value in them costs itself, not the conversion;
- paths of the machine that made the model (`base_model: /home/...`) stay out of the file;
- a model from the Hub or its cache is named by its repository, not by a commit hash, and an empty `_name_or_path` does
  not take the name away;
- an adapter knows its base model even without a card;
- `--metadata` sets every key, the licence too, and a misspelled key is an error.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GgufxError, InputError, raise_all
from ..io.files import printable
from ..io.json_file import read_json
from ..io.values import Metadata, Value, ValueType, string, strings, u32
from ..sources.hub import cached_origin
from .model_card import BASE_MODELS, ORIGIN_FIELDS, is_id, is_path, read_card
from .naming import Kind, ParameterCount

_MAX_FLOAT32 = float(np.finfo(np.float32).max)

# general.sampling.<key>: type, and keys of generation_config.json, of which transformers writes the last
_SAMPLING = {
    "sequence": (ValueType.STRING, ("sequence",)),
    "top_k": (ValueType.INT32, ("top_k",)),
    "top_p": (ValueType.FLOAT32, ("top_p",)),
    "min_p": (ValueType.FLOAT32, ("min_p",)),
    "xtc_probability": (ValueType.FLOAT32, ("xtc_probability",)),
    "xtc_threshold": (ValueType.FLOAT32, ("xtc_threshold",)),
    "temp": (ValueType.FLOAT32, ("temperature",)),
    "penalty_last_n": (ValueType.INT32, ("penalty_last_n",)),
    "penalty_repeat": (ValueType.FLOAT32, ("penalty_repeat", "repetition_penalty")),
    "mirostat": (ValueType.INT32, ("mirostat",)),
    "mirostat_tau": (ValueType.FLOAT32, ("mirostat_tau",)),
    "mirostat_eta": (ValueType.FLOAT32, ("mirostat_eta",)),
}
_TEXTS = (
    "name", "author", "version", "organization", "finetune", "basename", "description", "quantized_by", "size_label",
    "license", "license.name", "license.link", "url", "doi", "uuid", "repo_url",
    "source.url", "source.doi", "source.uuid", "source.repo_url",
)
_LISTS = ("tags", "languages")
TYPES = {
    **{f"general.sampling.{key}": kind for key, (kind, _) in _SAMPLING.items()},
    **{f"general.{key}": ValueType.STRING for key in _TEXTS},
    **{f"general.{key}": ValueType.ARRAY for key in _LISTS},
}
# Origins are `<stem>.count` and `<stem>.<i>.<field>` in the file, one array of objects in a --metadata file.
_ORIGINS = {"general.base_models": "general.base_model", "general.datasets": "general.dataset"}
ORIGIN_KEY = re.compile(r"(general\.(?:base_model|dataset))\.(?:(count)|(\d{1,4})\.(\w+))")

Origins = dict[str, list[dict[str, str]]]


def general_metadata(
    folder: Path,
    *,
    arch: str,
    tensors_params: ParameterCount,
    model_name: str | None = None,
    override_file: Path | None = None,
    kind: Kind = "model",
    hub_id: str | None = None,
    notes: list[str] | None = None,
) -> Metadata:
    """`general.architecture`, `general.type` (an adapter's `adapter.type` too), sampling and authorship, in file order.

    `folder` holds the checkpoint or the adapter, `tensors_params` counts the tensors of the GGUF file, `hub_id` is the
    `org/name` the folder came from. What was left out, and why, is appended to `notes`.
    Raises `InputError` for an `override_file` that is absent, no JSON object, or sets what cannot be set.
    """
    notes = [] if notes is None else notes
    hub_id = hub_id or cached_origin(folder)
    label = hub_id.rpartition("/")[2] if hub_id else Path(os.path.abspath(folder)).name
    card = read_card(folder, notes)
    if kind == "adapter" and not any(key in card for key in BASE_MODELS):
        config = _optional_json(folder / "adapter_config.json", notes)
        base = config.get("base_model_name_or_path", config.get("model"))  # the latter of mlx-lm
        if isinstance(base, str) and is_id(base) and base.count("/") == 1 and not is_path(base):
            card["base_model"] = [base]
    given = hub_id or _optional_json(folder / "config.json", notes).get("_name_or_path")
    values, origins = _described(card, given, label, tensors_params.total)
    values |= _sampling(folder, notes)
    if override_file is not None:
        _override(values, origins, override_file)
    if model_name is not None:
        values["general.name"] = string(_encodable(model_name))
    values.setdefault("general.name", string(_encodable(label)))
    if "general.size_label" not in values and tensors_params.total > 0:
        from gguf.utility import size_label

        values["general.size_label"] = string(size_label(*tensors_params))

    lists = {f"general.{key}": values.pop(f"general.{key}") for key in _LISTS if f"general.{key}" in values}
    described = {key: values[key] for key in TYPES if key in values}
    for stem in _ORIGINS.values():
        described |= _origin_values(stem, origins.get(stem, []))
    out: Metadata = {"general.architecture": string(arch), "general.type": string(kind)}
    if kind == "adapter":
        out["adapter.type"] = string("lora")
    return out | {key: value for key, value in (described | lists).items() if value.data not in ("", [])}


def sampling_parameters(metadata: Metadata) -> dict[str, Any]:
    """`general.sampling.*` under generation_config.json's names, floats as the shortest decimals that float32 keeps."""
    found = {}
    for key, (kind, names) in _SAMPLING.items():
        value = metadata.get(f"general.sampling.{key}")
        if value is not None and value.type is kind:
            found[names[-1]] = float(str(np.float32(value.data))) if kind is ValueType.FLOAT32 else value.data
    return found


def _described(card: dict[str, Any], given: Any, label: str, total: int) -> tuple[Metadata, Origins]:
    """What the card and the names say: `given` is an id that somebody wrote, `label` the folder's name."""
    from gguf.metadata import Metadata as Heuristics

    config = {"_name_or_path": given} if is_id(given) else {}
    folder = Path(label) if is_id(label) else None
    found = Heuristics.apply_metadata_heuristic(Heuristics(), card, config, folder, total)
    if found.license is not None:
        found.license = ",".join(found.license)
    values: Metadata = {}
    for key in (*_TEXTS, *_LISTS):
        if (raw := getattr(found, key.replace(".", "_"))) is not None:
            values[f"general.{key}"] = _typed(f"general.{key}", raw)
    return values, {"general.base_model": found.base_models or [], "general.dataset": found.datasets or []}


def _sampling(folder: Path, notes: list[str]) -> Metadata:
    path = folder / "generation_config.json"
    config = _optional_json(path, notes)
    found: Metadata = {}
    for key, (_, names) in _SAMPLING.items():
        name = next((name for name in names if config.get(name) is not None), None)
        if name is not None:
            try:
                found[f"general.sampling.{key}"] = _typed(f"general.sampling.{key}", config[name])
            except ValueError as error:
                notes.append(f"{path.name}: {name} is left out, {error}")
    return found


def _override(values: Metadata, origins: Origins, path: Path) -> None:
    """Set in `values` and `origins` what the file sets; null removes."""
    document = read_json(path)
    problems: list[GgufxError] = []
    for key in sorted(document, key=_rank):
        try:
            _override_one(values, origins, key, document[key])
        except ValueError as error:
            problems.append(InputError(f"{printable(key)}: {error}", file=path))
    raise_all(problems)


def _rank(key: str) -> tuple[int, int]:
    """Whole lists before their entries, those in order, the counts last, wherever they stand in the file."""
    match = ORIGIN_KEY.fullmatch(key)
    if not match:
        return 0, 0
    return (2, 0) if match[2] else (1, int(match[3]))


def _override_one(values: Metadata, origins: Origins, key: str, raw: Any) -> None:
    """Raises ValueError where `key` or `raw` cannot be set."""
    if key in TYPES:
        if raw is None:
            values.pop(key, None)
        else:
            values[key] = _typed(key, raw)
    elif key in _ORIGINS:
        if raw is not None and not (isinstance(raw, list) and all(isinstance(entry, dict) for entry in raw)):
            raise ValueError("a list of objects is needed")
        origins[_ORIGINS[key]] = [{f: _origin_text(f, text) for f, text in entry.items()} for entry in raw or []]
    elif match := ORIGIN_KEY.fullmatch(key):
        stem, is_count, number, field = match.groups()
        entries = origins.setdefault(stem, [])
        if is_count:
            if raw != len(entries):
                raise ValueError(f"{printable(json.dumps(raw))} announced, {len(entries)} described")
        elif int(number) > len(entries):
            raise ValueError(f"entry {len(entries)} is missing")
        else:
            entries += [{}] if int(number) == len(entries) else []
            entries[int(number)][field] = _origin_text(field, raw)
    else:
        near = difflib.get_close_matches(key, [*TYPES, *_ORIGINS], 1)
        raise ValueError(f"no such key, the nearest is {near[0]}" if near else "not a key that this file can set")


def _origin_text(field: str, raw: Any) -> str:
    if field not in ORIGIN_FIELDS:
        raise ValueError(f"{printable(field)} is not one of {', '.join(ORIGIN_FIELDS)}")
    if not isinstance(raw, str):
        raise ValueError("text is needed")
    return _encodable(raw)


def _typed(key: str, raw: Any) -> Value:
    """`raw`, as JSON gives it, as the value of `key`. Raises ValueError."""
    kind = TYPES[key]
    number = isinstance(raw, (int, float)) and not isinstance(raw, bool)
    if kind is ValueType.STRING:
        if not isinstance(raw, str) and not number:
            raise ValueError("text is needed")
        return string(_encodable(str(raw)))
    if kind is ValueType.ARRAY:
        items = [raw] if isinstance(raw, str) else raw
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ValueError("a list of texts is needed")
        return strings([_encodable(item) for item in items])
    if not number:
        raise ValueError(f"a number is needed, not {printable(json.dumps(raw))}")
    if not abs(raw) <= _MAX_FLOAT32:
        raise ValueError(f"{printable(str(raw))} is out of range")
    if kind is ValueType.FLOAT32:
        return Value(kind, float(raw))
    if raw != int(raw) or not -(1 << 31) <= raw < 1 << 31:
        raise ValueError(f"{printable(str(raw))} is not a 32-bit integer")
    return Value(kind, int(raw))


def _origin_values(stem: str, entries: list[dict[str, str]]) -> Metadata:
    if not entries:
        return {}
    out: Metadata = {f"{stem}.count": u32(len(entries))}
    for number, entry in enumerate(entries):
        out |= {f"{stem}.{number}.{f}": string(_encodable(entry[f])) for f in ORIGIN_FIELDS if f in entry}
    return out


def _optional_json(path: Path, notes: list[str]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return read_json(path, non_finite=True)
    except GgufxError as error:
        notes.append(f"{path.name} is left out, {error.message}")
        return {}


def _encodable(text: str) -> str:
    """JSON can spell half of a surrogate pair; UTF-8, and so GGUF, cannot."""
    return text.encode(errors="replace").decode()
