"""sentence-transformers folders: how token vectors become one vector (`modules.json`, `1_Pooling/config.json`).

The runtime knows the pooling as `<arch>.pooling_type`; a model without these files has none. Source: sentence-transformers
`models/Pooling.py`, llama.cpp `enum llama_pooling_type`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, UnsupportedError
from ..io.files import open_regular, read_at
from ..io.json_file import MAX_JSON_BYTES, json_bytes, parse_object, read_json
from .hparam_rules import Codec, H

KEY = "sentence_transformers.pooling"
WIDTHS = ("hidden_size", "n_embd", "dim")
MODES = {"mean": 1, "cls": 2, "lasttoken": 3}
_FLAGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "lasttoken"}
_NAMES = {number: name for name, number in MODES.items()}

POOLING = H("pooling_type", KEY, need=False, codec=Codec(MODES.__getitem__, _NAMES.get))


def read_pooling(folder: Path, notes: list[str]) -> dict[str, Any]:
    """`{"sentence_transformers": {"pooling": mode}}`, to be merged into a config; `{}` for other folders.

    `notes` learn which dense layers behind the pooling are left out.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return {}
    with open_regular(path) as (file, size):
        raw = read_at(file, 0, min(size, MAX_JSON_BYTES), path)
    wrapper = b'{"modules":'
    modules = parse_object(wrapper + raw + b"}", path, start=-len(wrapper))["modules"]
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        raise InputError("must be a list of modules", file=path)
    dense = [str(m.get("path", "")) for m in modules if str(m.get("type", "")).endswith("Dense")]
    if dense:
        notes.append(f"{', '.join(dense)}: dense layers behind the pooling are left out; vectors are those before them")
    for module in modules:
        if not str(module.get("type", "")).endswith("Pooling"):
            continue
        place = str(module.get("path", ""))
        if not place or Path(place).is_absolute() or ".." in Path(place).parts:
            raise InputError("names a folder outside of the model", file=path, found=place)
        config = read_json(folder / place / "config.json")
        mode = next((name for flag, name in _FLAGS.items() if config.get(flag)), config.get("pooling_mode"))
        if mode not in MODES:
            raise UnsupportedError("this pooling has no GGUF form", file=folder / place / "config.json",
                                   expected=", ".join(MODES), found=mode)
        return {"sentence_transformers": {"pooling": mode}}
    return {}


def sentence_files(config: dict[str, Any]) -> dict[str, bytes]:
    """The files that say the pooling of a foreign GGUF; takes the setting out of `config`."""
    settings: Mapping[str, Any] = config.pop("sentence_transformers", {})
    if settings.get("pooling") is None:  # there is none, or it ranks, which is no pooling of theirs
        return {}
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    pooling = {"word_embedding_dimension": next(config[name] for name in WIDTHS if name in config),
               **{flag: settings["pooling"] == name for flag, name in _FLAGS.items()}}
    return {"modules.json": json_bytes(modules, indent=2), "1_Pooling/config.json": json_bytes(pooling, indent=2)}
