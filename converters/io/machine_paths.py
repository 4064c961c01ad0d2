"""Paths of the machine that a text was written on: what a file that is given away must not tell.

Libraries write them of their own accord: PEFT into tags and adapter_config.json, transformers into config.json and
tokenizer_config.json, llama-quantize into the file. What stays of one is its last part, the name of the file or folder.
"""

from __future__ import annotations

import json
import re
from typing import Any

_ROOT = r"(?:file:/{2,3}|/(?!/)|~[\w.-]*/|[A-Za-z]:[\\/]+|\\\\)"
_PART = r"""[^\s"'`()\[\]{},;:|<>?*\\/]+"""
_WHOLE = re.compile(rf"(?:{_ROOT}|\.{{1,2}}[\\/])[^\n]*[^\\/\s][^\n]*")
# Within a text: behind its begin, a space, or what may stand before a value; `/one` alone, or an address, is no path.
_WITHIN = re.compile(rf"""(?:^|(?<=[\s"'`(\[=:,]))(?:file:/{{2,3}}(?:{_PART}[\\/]+)*|[A-Za-z]:[\\/]+(?:{_PART}[\\/]+)*"""
                     rf"""|\\\\(?:{_PART}[\\/]+)+|(?:/(?!/)|~[\w.-]*/)(?:{_PART}[\\/]+)+)""")
_WORDS = 8  # in one path; what is longer is prose


def is_machine_path(text: str) -> bool:
    """Whether the whole text is a path: an absolute one, one that begins in a home folder or in `.`, a file:// address."""
    return _WHOLE.fullmatch(text) is not None and len(text.split(" ")) <= _WORDS


def without_paths(text: str) -> str:
    """The text with the last part in the place of each path."""
    if is_machine_path(text):
        return re.split(r"[\\/]+", text.rstrip("\\/"))[-1]
    return _WITHIN.sub("", text)


def json_without_paths(text: str) -> tuple[str, list[str]]:
    """A JSON text in which values that are paths are cut to their last part, spelled as before otherwise; and those values.

    What is no JSON is left to whoever reads it.
    """
    try:
        found = [value for value in _texts(json.loads(text)) if is_machine_path(value)]
    except (ValueError, RecursionError):
        return text, []
    for value in dict.fromkeys(found):
        for ascii_only in (True, False):
            spelled, short = (json.dumps(x, ensure_ascii=ascii_only) for x in (value, without_paths(value)))
            text = text.replace(spelled, short)
    return text, found


def _texts(value: Any) -> list[str]:
    """The strings among a JSON document's values."""
    out, level = [], [value]
    while level:
        item = level.pop()
        if isinstance(item, str):
            out.append(item)
        elif isinstance(item, (dict, list)):
            level.extend(item.values() if isinstance(item, dict) else item)
    return out
