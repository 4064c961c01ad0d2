"""Key-values as they are written on a command line: the type that a key has, and a value of it out of text.

A type is what the file has, what the key is known for, or what is stated: KEY:u32=5, KEY:str[]=["a","b"].
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

from .. import arch
from ..errors import UsageError
from ..io.gguf_cursor import CODES
from ..io.values import Metadata, Value, ValueType, array, plain
from ..metadata.general import ORIGIN_KEY
from ..metadata.general import TYPES as GENERAL
from ..rules.hparam_rules import OneKey
from ..rules.runtime_defaults import RuntimeHparams
from ..tokenizer.special import ID_KEYS, PREFIX
from ..tokenizer.templates import KEY as TEMPLATE
from ..tokenizer.templates import NAMES_KEY

Kind = tuple[ValueType, ValueType | None]  # of a value, and of the items of an array

NAMES = {"u8": ValueType.UINT8, "i8": ValueType.INT8, "u16": ValueType.UINT16, "i16": ValueType.INT16,
         "u32": ValueType.UINT32, "i32": ValueType.INT32, "u64": ValueType.UINT64, "i64": ValueType.INT64,
         "f32": ValueType.FLOAT32, "f64": ValueType.FLOAT64, "bool": ValueType.BOOL, "str": ValueType.STRING}
_STRINGS = (ValueType.ARRAY, ValueType.STRING)
# The ids of tokens by what they are for: `ID_KEYS`, and those that code models have.
TOKENS = {**ID_KEYS, "cls": "cls_token_id", **{f"fim_{name}": f"fim_{name}_token_id"
                                             for name in ("pre", "suf", "mid", "pad", "rep", "sep")}}
_KNOWN: dict[str, Kind] = {
    **{key: _STRINGS if kind is ValueType.ARRAY else (kind, None) for key, kind in GENERAL.items()},
    "general.file_type": (ValueType.UINT32, None),
    **{PREFIX + key: (ValueType.UINT32, None) for key in TOKENS.values()},
    **{f"{PREFIX}{key}": (ValueType.BOOL, None) for key in (
        "add_bos_token", "add_eos_token", "add_sep_token", "add_space_prefix", "remove_extra_whitespaces",
        "normalizer.lowercase", "normalizer.strip_accents")},
    PREFIX + "pre": (ValueType.STRING, None), PREFIX + "tokens": _STRINGS, PREFIX + "merges": _STRINGS,
    PREFIX + "token_type": (ValueType.ARRAY, ValueType.INT32), PREFIX + "scores": (ValueType.ARRAY, ValueType.FLOAT32),
    PREFIX + "token_type_count": (ValueType.UINT32, None),
    TEMPLATE: (ValueType.STRING, None), NAMES_KEY: _STRINGS,
}  # fmt: skip
_BY_VALUE = ((bool, ValueType.BOOL), (int, ValueType.UINT32), (float, ValueType.FLOAT32), (str, ValueType.STRING))


def known_kind(key: str, metadata: Metadata) -> Kind | None:
    """The type that readers of the key expect; None for a key that is not known.

    Of an architecture's settings: as its table writes it, or of the value that the runtime takes where it is absent.
    """
    if key in _KNOWN:
        return _KNOWN[key]
    if key.startswith(f"{TEMPLATE}."):
        return ValueType.STRING, None
    if origin := ORIGIN_KEY.fullmatch(key):
        return ValueType.UINT32 if origin[2] else ValueType.STRING, None
    values = plain(metadata)
    name = str(values.get("general.architecture", ""))
    if not name or not key.startswith(f"{name}."):
        return None
    own = key.removeprefix(f"{name}.")
    for spec in arch.SPECS:
        for rule in spec.hparams if spec.name == name else ():
            if isinstance(rule, OneKey) and rule.key == own:
                return rule.type, None
    try:
        value = RuntimeHparams(name, {k.removeprefix(f"{name}."): v for k, v in values.items()})[own]
    except (KeyError, TypeError, ValueError, ArithmeticError, IndexError):
        return None
    return next(((kind, None) for python, kind in _BY_VALUE if isinstance(value, python)), None)


def kind_of(key: str, stated: str, metadata: Metadata) -> Kind:
    """The type of a key's new value. UsageError where it is not known, or not what the key's readers expect."""
    known = known_kind(key, metadata)
    if stated:
        item = NAMES.get(stated.removesuffix("[]"))
        if item is None:
            raise UsageError(f"{key}: no type of a value", found=stated, expected=f"{', '.join(NAMES)}, or one of them with []")
        kind: Kind = (ValueType.ARRAY, item) if stated.endswith("[]") else (item, None)
        # Settings that differ from block to block are arrays in the place of numbers.
        if known is not None and kind != known and (kind[1] is None or known[1] is not None or key in _KNOWN):
            raise UsageError(f"{key}: of another type than its readers expect", expected=spelled(known), found=stated)
        return kind
    if key in metadata and key not in _KNOWN:
        return metadata[key].type, metadata[key].item_type
    if known is None:
        raise UsageError(f"{key}: the file has no such key, and it is none that is known",
                         hint=f"{near(key, metadata) or ''} State the type of a new key, as in {key}:u32=5.".strip())
    return known


def spelled(kind: Kind) -> str:
    """`u32`, `str[]`."""
    names = {value: name for name, value in NAMES.items()}
    return names[kind[0]] if kind[1] is None else f"{names[kind[1]]}[]"


def value_of(key: str, kind: Kind, text: str) -> Value:
    """The value that a text says; of an array as JSON. UsageError where it says none, or one beyond the type."""
    type_, item = kind
    try:
        if item is None:
            return Value(type_, _scalar(type_, text if type_ is ValueType.STRING else _parsed(type_, text.strip())))
        items = json.loads(text)
        if not isinstance(items, list):
            raise ValueError("a JSON list is needed")
        return array(item, [_scalar(item, each) for each in items])
    except (ValueError, OverflowError, struct.error) as error:
        raise UsageError(f"{key}: no value of type {spelled(kind)}: {error}", found=f"{text!r:.80}") from error


def _parsed(kind: ValueType, text: str) -> Any:
    if kind is ValueType.BOOL:
        if text not in ("true", "false"):
            raise ValueError("true or false is needed")
        return text == "true"
    whole = kind not in (ValueType.FLOAT32, ValueType.FLOAT64)
    try:
        return int(text) if whole else float(text)
    except ValueError:
        raise ValueError(f"a {'whole ' if whole else ''}number is needed") from None


def _scalar(kind: ValueType, value: Any) -> Any:
    """A value of this type as it is; ValueError, OverflowError or struct.error where it is of another."""
    if kind is ValueType.STRING:
        if not isinstance(value, str) or "\0" in value:
            raise ValueError("text without NUL is needed")
        value.encode()
        return value
    if kind is ValueType.BOOL or isinstance(value, bool):
        if kind is not ValueType.BOOL or not isinstance(value, bool):
            raise ValueError("true or false is needed" if kind is ValueType.BOOL else "a number is needed")
        return value
    if not isinstance(value, (int, float)):
        raise ValueError("a number is needed")
    if kind not in (ValueType.FLOAT32, ValueType.FLOAT64):
        struct.pack(CODES[kind], value)
        return value
    if not math.isfinite(struct.unpack(CODES[kind], struct.pack(CODES[kind], value))[0]):
        raise ValueError("a finite number is needed")
    return float(value)


def split_assignment(option: str, text: str) -> tuple[str, str, str]:
    """`KEY:type=VALUE` as key, type (or nothing) and value. UsageError for another form."""
    left, equals, value = text.partition("=")
    key, _, stated = left.partition(":")
    if not key or not equals:
        raise UsageError(f"{option} {text}: KEY=VALUE is needed, or KEY:type=VALUE")
    return key, stated, value


def near(key: str, keys: Mapping[str, Any]) -> str | None:
    """A question after the key that is spelled like this one."""
    import difflib

    close = difflib.get_close_matches(key, keys, 1)
    return f"Did you mean {close[0]}?" if close else None
