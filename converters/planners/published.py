"""Key-values as they may be given away: without paths of the machine that the model, or its card, was made on."""

from __future__ import annotations

from dataclasses import replace

from ..io.machine_paths import is_machine_path, json_without_paths, without_paths
from ..io.values import Metadata, Value, ValueType, string, strings
from ..notes import Note

# Free text, or lists of it; other texts are names of the format, or what the model computes with.
_FREE = ("general.", "adapter.", "quantize.")
# Names of tensors and texts of tokens, which no path stands among.
_OURS = ("ggufx.source", "ggufx.tokenizer")
CUT = "paths of a machine are cut to their last part, or left out of lists"


def published(key_values: Metadata, notes: list[str]) -> Metadata:
    """The same key-values; a text has the last part in the place of each path, a list lacks the entries with one."""
    out = {}
    for key, value in key_values.items():
        out[key] = _published(key, value)
        if out[key] is not value:
            notes.append(Note(CUT, key))
    return {key: value for key, value in out.items() if key_values[key] is value or len(value.data)}


def _published(key: str, value: Value) -> Value:
    if value.type is ValueType.STRING and key.startswith(_FREE):
        cut = without_paths(value.data)
        return value if cut == value.data else replace(value, data=cut)
    if value.type is ValueType.STRING and key.startswith("ggufx.") and key not in _OURS:  # files of the folder, as JSON
        cut, found = json_without_paths(value.data)
        return string(cut) if found else value
    if value.item_type is ValueType.STRING and key.startswith(_FREE):
        kept = [item for item in value.data if without_paths(item) == item and not is_machine_path(_behind_marks(item))]
        return value if len(kept) == len(value.data) else strings(kept)
    return value


def _behind_marks(tag: str) -> str:
    """What PEFT's own tag says: the base model, behind `base_model:adapter:`."""
    return tag.split(":", 2)[-1]
