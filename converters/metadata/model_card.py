"""Model cards: the YAML front matter of a README.md, as far as `general.*` key-values come from it or go into it.

A card is data that a stranger wrote. No tag, alias or merge of YAML is honoured and every scalar is text: "no" stays
Norwegian, "1.10" keeps its zero, a date is no object. Keys: the Hub's model card metadata, and those that llama.cpp's
converter reads besides (`name`, `author`, `basename` ..., each also with `model_` before it).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..errors import GgufxError
from ..io.files import open_regular, printable, read_at
from ..io.values import Metadata, ValueType

ORIGIN_FIELDS = ("name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url")

_MAX_FRONT_MATTER = 4 << 20  # bytes of README.md looked at; the largest cards (benchmark tables) take a few hundred KiB
_MAX_DEPTH = 32  # libyaml's composer recurses on the C stack
_MAX_ID = 256  # characters; the Hub allows 96 for each half of an id
_LINE_ENDS = frozenset("\x85\u2028\u2029")  # YAML's that are no ASCII
_YAML_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_HUB = "https://huggingface.co/"

_OWN = ("name", "author", "version", "organization", "description", "finetune", "basename", "size_label",
        "url", "doi", "uuid", "repo_url")
_TEXTS = (*_OWN, *(f"model_{key}" for key in _OWN), "model_creator", "model_type", "license_name", "license_link")
_LISTS = ("license", "tags", "pipeline_tag", "languages", "language")
BASE_MODELS = ("base_model", "base_models", "base_model_sources")
_ORIGINS = (*BASE_MODELS, "datasets", "dataset", "dataset_sources")

# The card's key for a `general.*` key, for the way back.
_CARD_KEYS = {
    "name": "name", "author": "author", "version": "version", "organization": "organization", "finetune": "finetune",
    "basename": "basename", "size_label": "size_label", "description": "description",
    "source.url": "url", "source.doi": "doi", "source.uuid": "uuid", "source.repo_url": "repo_url",
    "license.name": "license_name", "license.link": "license_link",
}
# The Hub's tasks of the architectures that ggufx knows; forward, the task joins the tags as the last of them.
_TASKS = frozenset((
    "text-generation", "text2text-generation", "feature-extraction", "sentence-similarity", "fill-mask",
    "text-classification", "token-classification", "zero-shot-classification", "text-ranking", "question-answering",
    "summarization", "translation", "image-text-to-text", "any-to-any",
))


def read_card(folder: Path, notes: list[str]) -> dict[str, Any]:
    """The keys of `folder`/README.md that matter, where not empty: a text, a list of texts, an origin's ids and dicts.

    A card that cannot be read, and an origin that is a path of somebody's machine, is left out and said in `notes`.
    """
    path = folder / "README.md"
    if not path.is_file():
        return {}
    try:
        raw = _front_matter(path)
    except (GgufxError, ValueError) as error:
        reason = error.message if isinstance(error, GgufxError) else str(error)
        notes.append(f"README.md: its front matter is left out, {printable(reason, 200)}")
        return {}
    found: dict[str, Any] = {key: raw[key] for key in _TEXTS if _is_text(raw.get(key))}
    for key in (*_LISTS, *_ORIGINS):
        items = raw.get(key, [])
        items = list(items) if isinstance(items, list) else [items]
        kept = [item for item in items if _is_text(item)]
        if key in _ORIGINS:
            kept = [item for item in map(_origin, items) if item]
            if any(_is_text(item) and _origin(item) is None for item in items):
                notes.append(f"README.md: a {key} that is no id, address or name is left out")
        if kept:
            found[key] = kept
    return found


def model_card(metadata: Metadata) -> bytes | None:
    """README.md (UTF-8) whose front matter says what `general.*` says; None where it says nothing about the model.

    Converted again, the card gives the same key-values. Those that describe a GGUF file (`general.url`,
    `general.quantized_by` ...), and what an origin has beside its id, have no place in a card.
    """
    front = card_fields(metadata)
    if not front:
        return None
    front["library_name"] = "peft" if _text(metadata, "type") == "adapter" else "transformers"
    title = printable(" ".join(_text(metadata, "name").split()) or "Model", 200)
    return f"---\n{front_matter(front)}---\n\n# {title}\n\nConverted from a GGUF file with ggufx.\n".encode()


def card_fields(metadata: Metadata) -> dict[str, Any]:
    """The keys of a model card that `general.*` tells: texts, and lists of texts."""
    tags = _texts(metadata, "tags")
    task = tags.pop() if tags and tags[-1] in _TASKS else None
    licences = _text(metadata, "license").split(",")
    front = {
        **{name: _text(metadata, key) for key, name in _CARD_KEYS.items()},
        "license": licences if len(licences) > 1 else licences[0],
        "language": _texts(metadata, "languages"),
        "base_model": [_origin_id(entry) for entry in _entries(metadata, "general.base_model")],
        "datasets": [_origin_id(entry) for entry in _entries(metadata, "general.dataset")],
        "pipeline_tag": task,
        "tags": tags,
    }
    return {key: value for key, value in front.items() if value}


def front_matter(fields: dict[str, Any]) -> str:
    """The YAML of a card's head, without the lines around it."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Has all line ends come back: outside of double quotes some would be folded into a space."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if _LINE_ENDS & set(value) else None)

    Dumper.add_representer(str, text)
    return yaml.dump(fields, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=1 << 20)


def split_card(text: str) -> tuple[str, str]:
    """The YAML of a card's head and what stands below it; the former is empty where there is none."""
    first, *lines = text.removeprefix("\ufeff").splitlines(keepends=True) or [""]
    end = next((i for i, line in enumerate(lines) if line.rstrip() == "---"), None)
    if first.rstrip() != "---" or end is None:
        return "", text
    return "".join(lines[:end]), "".join(lines[end + 1:])


def fields_of(yaml_text: str) -> dict[str, Any]:
    """What a card's head says: every scalar a text. ValueError for what is no mapping, aliases, deep nesting."""
    return _yaml_mapping(yaml_text.replace("\t", "  "))


def _text(metadata: Metadata, key: str) -> str:
    value = metadata.get(f"general.{key}")
    return value.data if value is not None and value.type is ValueType.STRING else ""


def _texts(metadata: Metadata, key: str) -> list[str]:
    value = metadata.get(f"general.{key}")
    return list(value.data) if value is not None and value.item_type is ValueType.STRING else []


def is_id(text: Any) -> bool:
    """A text that may name a model: in configs that were never loaded from anywhere `_name_or_path` is empty."""
    return isinstance(text, str) and len(text) <= _MAX_ID and any(map(str.isalnum, text))


def is_path(text: str) -> bool:
    """A path of some machine, not a Hub id, an address or a name."""
    if re.match(r"(?:https?|ssh)://", text):
        return False
    return text.startswith(("/", "./", "../", "~")) or "\\" in text or text.count("/") > 1 or text[1:2] == ":"


def _front_matter(path: Path) -> dict[str, Any]:
    """The YAML between the leading `---` lines. Raises ValueError, or `GgufxError` where the file cannot be read."""
    with open_regular(path) as (file, size):
        text = read_at(file, 0, min(size, _MAX_FRONT_MATTER), path).decode(errors="replace")
    first, *lines = text.removeprefix("\ufeff").splitlines() or [""]
    if first.rstrip() != "---":
        return {}
    end = next((i for i, line in enumerate(lines) if line.rstrip() == "---"), None)
    if end is None and size > _MAX_FRONT_MATTER:
        raise ValueError(f"it does not end within {_MAX_FRONT_MATTER >> 20} MiB")
    return _yaml_mapping("\n".join(lines[:end]).replace("\t", "  "))


def _yaml_mapping(text: str) -> dict[str, Any]:
    """A mapping of texts, lists and mappings. Raises ValueError for anything else, aliases and deep nesting too."""
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # base loaders resolve no tag and construct no object
    depth = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it uses YAML aliases")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise ValueError("it is nested too deeply")
        data = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if not data:
        return {}
    if not isinstance(data, dict):
        raise ValueError("it is not a mapping")
    return data


def _is_text(item: Any) -> bool:
    return isinstance(item, str) and item not in _YAML_NULL


def _origin(item: Any) -> str | dict[str, str] | None:
    if isinstance(item, dict):
        return {field: item[field] for field in ORIGIN_FIELDS if _is_text(item.get(field))}
    return item if _is_text(item) and is_id(item) and not is_path(item) else None


def _entries(metadata: Metadata, stem: str) -> list[dict[str, str]]:
    """The origins that are described, whatever `.count` claims."""
    entries: list[dict[str, str]] = []
    while True:
        keys = {field: f"{stem}.{len(entries)}.{field}" for field in ORIGIN_FIELDS}
        entry = {field: str(metadata[key].data) for field, key in keys.items() if key in metadata}
        if not entry:
            return entries
        entries.append(entry)


def _origin_id(entry: dict[str, str]) -> str:
    """How a card names an origin: its Hub id, or else its address, or else its name."""
    address = entry.get("repo_url") or entry.get("url") or ""
    path = address.removeprefix(_HUB).removeprefix("datasets/")
    if address.startswith(_HUB) and re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        return path
    return address or "/".join(entry[field] for field in ("organization", "name") if entry.get(field))
