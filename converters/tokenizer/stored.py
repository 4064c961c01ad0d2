"""The `tokenizer.*` key-values of a GGUF file, checked and in plain Python."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import InputError
from ..io.values import Value, ValueType
from ..notes import Note
from .special import ID_KEYS, PREFIX, RUNTIME_ADDS, RUNTIME_IDS
from .templates import KEY as TEMPLATE_KEY
from .vocabulary import SPACE, TokenType

_INTEGERS = frozenset((ValueType.UINT8, ValueType.INT8, ValueType.UINT16, ValueType.INT16, ValueType.UINT32,
                       ValueType.INT32, ValueType.UINT64, ValueType.INT64))
_FLOATS = frozenset((ValueType.FLOAT32, ValueType.FLOAT64))
_PADDING = re.compile(r"\[PAD(\d+)\]")
# Written by some converters, read by nobody but us; the fim_* ids have no place in tokenizer_config.json.
_MORE_IDS = {"cls": "cls_token_id"}


@dataclass(slots=True)
class _Reader:
    metadata: Mapping[str, Value]

    def _value(self, key: str, types: frozenset[ValueType] | tuple[ValueType, ...], what: str) -> Any:
        value = self.metadata.get(key)
        if value is None:
            return None
        if value.type not in types:
            raise InputError(f"{key}: wrong type", expected=what, found=value.type.name.lower())
        return value.data

    def text(self, key: str) -> str | None:
        return self._value(key, (ValueType.STRING,), "a string")

    def number(self, key: str) -> int | None:
        return self._value(key, _INTEGERS, "a whole number")

    def flag(self, key: str) -> bool | None:
        return self._value(key, (ValueType.BOOL,), "a bool")

    def items(self, key: str, types: frozenset[ValueType] | tuple[ValueType, ...], what: str) -> Sequence[Any] | None:
        value = self.metadata.get(key)
        if value is None:
            return None
        if value.type != ValueType.ARRAY or value.item_type not in types:
            found = value.item_type if value.type == ValueType.ARRAY else value.type
            raise InputError(f"{key}: wrong type", expected=f"an array of {what}",
                             found=found.name.lower() if found is not None else None)
        return value.data


@dataclass
class Stored:
    """One vocabulary as the file has it. `ids` and `adds` hold what the file says, completed by the runtime's defaults
    where the token in question is there; `explicit_adds` what the file says alone."""

    kind: str
    pre: str | None
    tokens: list[str]
    types: list[int]
    scores: Sequence[float] | None
    merges: Sequence[str] | None
    ids: dict[str, int]
    adds: dict[str, bool]
    space_prefix: bool | None
    remove_extra_whitespaces: bool | None
    charsmap: bytes
    lowercase: bool | None
    strip_accents: bool | None
    templates: dict[str, str]
    name: str
    context_length: int | None
    notes: list[str] = field(default_factory=list)

    def is_padding(self, token_id: int) -> bool:
        """Whether the id only fills the vocabulary up: `[PADn]`, unused or numbered with its own id."""
        text = self.tokens[token_id]
        match = _PADDING.fullmatch(text.removeprefix(SPACE))
        if match is None:
            return False
        return self.types[token_id] == TokenType.UNUSED or match[1] == str(token_id)

    @cached_property
    def used(self) -> list[int]:
        """The ids that are tokens: no padding, no repetition of an earlier text."""
        seen: set[str] = set()
        found = []
        for token_id, text in enumerate(self.tokens):
            if text in seen:
                self.notes.append(Note("ids left out that repeat another's token", f"{token_id} {text!r}"))
            elif text and not self.is_padding(token_id):
                seen.add(text)
                found.append(token_id)
        return found

    def text_of(self, name: str) -> str | None:
        """The text of a named special token, None where there is none."""
        token_id = self.ids.get(name)
        return None if token_id is None else self.tokens[token_id]


def read_stored(metadata: Mapping[str, Value], arch: str) -> Stored:
    """Check and collect. Raises InputError for keys of wrong types and arrays of unequal lengths."""
    read = _Reader(metadata)
    kind = read.text(PREFIX + "model")
    if kind is None:
        raise InputError(f"no tokenizer: {PREFIX}model is missing")
    tokens = list(read.items(PREFIX + "tokens", (ValueType.STRING,), "strings") or ())
    types = read.items(PREFIX + "token_type", _INTEGERS, "whole numbers")
    types = [int(TokenType.NORMAL)] * len(tokens) if types is None else [int(kind_) for kind_ in types]
    scores = read.items(PREFIX + "scores", _FLOATS | _INTEGERS, "numbers")
    for key, items in (("token_type", types), ("scores", scores)):
        if items is not None and len(items) < len(tokens):
            raise InputError(f"{PREFIX}{key}: too short", expected=f"{len(tokens)} items", found=len(items))
    if scores is not None:
        scores = [float(score) for score in scores]
        if not all(map(math.isfinite, scores)):
            raise InputError(f"{PREFIX}scores: not finite", found=next(x for x in scores if not math.isfinite(x)))
    charsmap = read.items(PREFIX + "precompiled_charsmap", (ValueType.UINT8, ValueType.INT8), "bytes")
    charsmap = b"" if charsmap is None else bytes(byte & 0xFF for byte in charsmap)
    if charsmap and not _is_charsmap(charsmap):
        raise InputError(f"{PREFIX}precompiled_charsmap: damaged", found=f"{len(charsmap)} bytes")
    found = Stored(
        kind=kind, pre=read.text(PREFIX + "pre"), tokens=tokens, types=types[:len(tokens)],
        scores=None if scores is None else scores[:len(tokens)],
        merges=read.items(PREFIX + "merges", (ValueType.STRING,), "strings"), ids={}, adds={},
        space_prefix=read.flag(PREFIX + "add_space_prefix"),
        remove_extra_whitespaces=read.flag(PREFIX + "remove_extra_whitespaces"),
        charsmap=charsmap,
        lowercase=read.flag(PREFIX + "normalizer.lowercase"),
        strip_accents=read.flag(PREFIX + "normalizer.strip_accents"),
        templates=_templates(read, metadata), name=read.text("general.name") or "",
        context_length=read.number(f"{arch}.context_length"))
    _read_ids(read, found)
    found.adds = dict(RUNTIME_ADDS.get(kind, {}))
    return found


def _is_charsmap(data: bytes) -> bool:
    """Whether the bytes are a SentencePiece character map: the size of a trie, the trie, replacement texts."""
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 or size % 4 or size > len(data) - 4:
        return False
    try:
        data[4 + size:].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def explicit_adds(metadata: Mapping[str, Value]) -> dict[str, bool]:
    """The add_bos / add_eos / add_sep flags that the file has."""
    read = _Reader(metadata)
    flags = {name: read.flag(f"{PREFIX}add_{name}_token") for name in ("bos", "eos", "sep")}
    return {name: flag for name, flag in flags.items() if flag is not None}


def _read_ids(read: _Reader, found: Stored) -> None:
    size = len(found.tokens)
    for name, key in {**ID_KEYS, **_MORE_IDS}.items():
        token_id = read.number(PREFIX + key)
        if token_id is None:
            default = RUNTIME_IDS.get(found.kind, {}).get(name)
            if default is not None and default < size and found.types[default] in (TokenType.CONTROL,
                                                                                 TokenType.UNKNOWN):
                found.ids[name] = default
        elif 0 <= token_id < size and found.is_padding(token_id):
            found.notes.append(f"{PREFIX}{key} {token_id} is {found.tokens[token_id]!r}, which only fills the vocabulary up, "
                               "and is left out")
        elif not 0 <= token_id < size:
            found.notes.append(f"{PREFIX}{key} {token_id} is no token of the vocabulary ({size} ids) and is left out")
        else:
            found.ids[name] = int(token_id)


def _templates(read: _Reader, metadata: Mapping[str, Value]) -> dict[str, str]:
    templates = {}
    if (default := read.text(TEMPLATE_KEY)) is not None:
        templates["default"] = default
    for key in metadata:
        if key.startswith(TEMPLATE_KEY + ".") and (text := read.text(key)) is not None:
            templates[key[len(TEMPLATE_KEY) + 1:]] = text
    return templates
