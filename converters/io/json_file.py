"""JSON from strangers: bounded in size and depth, every key once, the top an object. And JSON for the files that are made."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import repeat
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import open_regular, printable, read_at, refuse_stand_in

MAX_JSON_BYTES = 64 << 20  # configs and indexes; readers of tokenizer.json pass more
MAX_DEPTH = 64  # the deepest known config nests 6 levels, the deepest tokenizer.json 8


class _Refused(ValueError):
    """A document that is JSON, but not one that ggufx takes."""


def read_json(path: str | Path, *, max_bytes: int = MAX_JSON_BYTES, non_finite: bool = False) -> dict[str, Any]:
    """The object in a UTF-8 JSON file.

    `non_finite` admits NaN and Infinity, which Python writes into configs (`"time_step_limit": [0.0, Infinity]`).
    Raises `InputError` with the position for anything else than one JSON object with unique keys inside the bounds.
    """
    path = Path(path)
    with open_regular(path) as (file, size):
        if size > max_bytes:
            raise InputError("too large for a JSON file of its kind", file=path, expected=f"at most {max_bytes} bytes",
                             found=size)
        raw = read_at(file, 0, size, path)
    refuse_stand_in(raw, path)
    return parse_object(raw, path, non_finite=non_finite)


def parse_object(raw: bytes, path: str | Path, *, start: int = 0, non_finite: bool = False) -> dict[str, Any]:
    """The JSON object that `raw` holds; `start` is the byte of `path` at which `raw` stands, for the messages."""
    try:
        constant = float if non_finite else _no_constant
        found = json.loads(raw.decode(), object_pairs_hook=_unique, parse_constant=constant)
    except UnicodeDecodeError as error:
        raise InputError(f"byte {start + error.start}: not UTF-8 ({error.reason})", file=path) from None
    except json.JSONDecodeError as error:
        at = start + len(error.doc[:error.pos].encode("utf-8", "surrogatepass"))
        where = f"byte {at}, line {error.lineno} column {error.colno}"
        raise InputError(f"{where}: not JSON ({error.msg})", file=path) from None
    except RecursionError:
        raise InputError(f"byte {start}: nested deeper than {MAX_DEPTH} levels", file=path) from None
    except ValueError as error:  # also an integer of thousands of digits
        raise InputError(f"byte {start}: {error}", file=path) from None
    if not isinstance(found, dict):
        raise InputError(f"byte {start}: wrong type at the top", file=path, expected="an object",
                         found=type(found).__name__)
    level: list[Any] = [found]
    for _ in range(MAX_DEPTH):
        level = [item for holder in level for item in (holder.values() if isinstance(holder, dict) else holder)
                 if isinstance(item, (dict, list))]
        if not level:
            return found
    raise InputError(f"byte {start}: nested deeper than {MAX_DEPTH} levels", file=path)


def json_bytes(data: Any, *, indent: int | None = None, sort_keys: bool = False, compact: bool = False) -> bytes:
    """UTF-8, with a newline at the end where it is indented; ASCII where a text holds half of a surrogate pair, which JSON
    can spell and UTF-8 cannot."""
    separators = (",", ":") if compact else None
    text = json.dumps(data, ensure_ascii=False, indent=indent, sort_keys=sort_keys, separators=separators)
    try:
        made = text.encode("utf-8")
    except UnicodeEncodeError:
        made = json.dumps(data, indent=indent, sort_keys=sort_keys, separators=separators).encode("ascii")
    return made + b"\n" * (indent is not None)


@dataclass(frozen=True)
class JsonStyle:
    """How a JSON text is spelled. The defaults are the pretty form of the `tokenizers` library (Rust's serde_json)."""

    indent: int = 2  # spaces a level; 0: all in one line
    spaces: bool = True  # behind commas and colons, where it is not indented
    newline: bool = False  # at the end
    ascii: bool = False  # everything else as \\uXXXX

    @classmethod
    def of(cls, raw: bytes) -> JsonStyle:
        """The style that the text has, told from its first and last bytes; a text in no known style gets the nearest."""
        head = raw[:256]
        indent = re.match(rb"\{\r?\n( *)", head)
        return cls(len(indent[1]) if indent else 0, b'": ' in head or (b'": ' not in head and b'":' not in head),
                   raw.endswith(b"\n"), raw.isascii() and b"\\u" in raw)

    @property
    def changes(self) -> dict[str, int]:
        """What differs from the defaults: the arguments that make this style again."""
        return {name: value for name, value in asdict(self).items() if value != asdict(JsonStyle())[name]}

    def encode(self, data: Any) -> bytes:
        """The text, in UTF-8. A text that holds half of a surrogate pair is written in ASCII."""
        pieces: list[str] = []
        self._write(data, "\n" if self.indent else "", pieces.append)
        made = "".join(pieces) + "\n" * self.newline
        try:
            return (_ascii(made) if self.ascii else made).encode("utf-8")
        except UnicodeEncodeError:
            return _ascii(made).encode("ascii")

    def _write(self, data: Any, line: str, put: Callable[[str], None]) -> None:
        """`data` in pieces; `line` begins a line of its level."""
        if not isinstance(data, (dict, list)) or not data:
            put(_scalar(data))
            return
        inner = line and line + " " * self.indent
        between = "," + (inner or " " * self.spaces)
        colon = ": " if self.indent or self.spaces else ":"
        opening, closing = "{}" if isinstance(data, dict) else "[]"
        lead = opening + inner
        for key, value in data.items() if isinstance(data, dict) else zip(repeat(None), data, strict=False):
            name = lead if key is None else lead + encode_basestring(key) + colon
            lead = between
            if isinstance(value, (dict, list)):
                put(name)
                self._write(value, inner, put)
            else:
                put(name + _scalar(value))
        put(line + closing)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    return _number(value) if isinstance(value, float) else json.dumps(value)


def _number(value: float) -> str:
    """As serde_json writes it: 1e-7, where Python writes 1e-07, and 0.00001 for Python's 1e-05."""
    text = json.dumps(value)
    if "e" not in text or not math.isfinite(value):
        return text
    digits, exponent = text.split("e")
    sign = "-" if digits.startswith("-") else ""
    if int(exponent) == -5:
        return f"{sign}0.0000{digits.removeprefix('-').replace('.', '')}"
    return f"{digits}e{int(exponent):+d}"


def _ascii(text: str) -> str:
    """Every character beyond printed ASCII as JSON escapes it. Outside of its strings a JSON text has none."""
    return re.sub(r"[^\x00-\x7e]+", lambda run: json.dumps(run[0])[1:-1], text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise _Refused(f"the key '{printable(twice)}' occurs twice in one object")
    return made


def _no_constant(name: str) -> float:
    raise _Refused(f"{name} is not a JSON number")
