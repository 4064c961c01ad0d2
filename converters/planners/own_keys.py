"""What GGUF has no place for, and ggufx keeps in key-values of its own so that its files come back exactly.

`ggufx.config`, `ggufx.generation_config`: the original JSON texts. `ggufx.source`: JSON about the tensors (element
types, names, layout, what was dropped). `ggufx.kept.<name>`: raw bytes of small tensors, or of rows, that the GGUF
tensors do not determine. llama.cpp ignores all of them; `--plain` leaves them out.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from ...quant.formats import ELEMENT_TYPES
from ..errors import InputError
from ..io.json_file import parse_object, read_json
from ..io.safetensors import MAX_ELEMENTS, Shard, header_metadata, layout
from ..io.tensors import StoredTensor
from ..io.values import Metadata, Value, ValueType, array, string
from ..ops import Shape
from ..sources.subfolders import folder_of

VERSION = 1
MAX_KEPT_BYTES = 8 << 20  # all kept tensors of a file together: a hundredth of a small model, nothing of a large one
MAX_INDEX_METADATA = 4096  # characters; usually {"total_size": ..}
KEPT = "ggufx.kept."


@dataclass
class Source:
    """The checkpoint behind a GGUF file. Names are the checkpoint's own."""

    dtype: str = "BF16"
    hf_class: str = ""  # the class that the model was taken for, where config.json names another or none
    dtypes: dict[str, str] = field(default_factory=dict)  # tensors of another type than `dtype`
    names: dict[str, str] = field(default_factory=dict)  # table spelling -> checkpoint spelling, where they differ
    aliases: list[tuple[str, str]] = field(default_factory=list)  # (checkpoint prefix, table prefix)
    layouts: list[str] = field(default_factory=list)  # HF templates of rules that were not the table's first choice
    dropped: dict[str, str] = field(default_factory=dict)  # name -> why it does not come back
    kept: dict[str, dict] = field(default_factory=dict)  # name -> {"dtype", "shape", "rows": runs or None}
    files: list[str] = field(default_factory=list)  # the safetensors files, where they are several
    places: list[tuple[int, int]] = field(default_factory=list)  # of the names in order: (index in `files`, how many)
    index: dict[str, Any] = field(default_factory=dict)  # `metadata` of the index
    folded: dict[str, list] = field(default_factory=dict)  # of an adapter's weight: (expert, rank, scale in B) of each pair
    decoded: list[str] = field(default_factory=list)  # what quantized weights were stored as
    packings: list[dict] = field(default_factory=list)  # stored forms of weights that are repacked: see `original_packing`
    packed: dict[str, list] = field(default_factory=dict)  # GGUF name -> of each part, index in `packings` and what is kept
    beside: dict[str, list] = field(default_factory=dict)  # tensors that are no weights: type, shape, which kept content
    headers: dict[str, list] = field(default_factory=dict)  # file -> (key, text) of its metadata, of packed weights

    def to_value(self) -> str:
        return json.dumps({"version": VERSION, **{k: v for k, v in vars(self).items() if v}}, sort_keys=True)

    @classmethod
    def of(cls, metadata: Metadata, file: Path) -> Source | None:
        """The file's own record; None for files made by others. InputError where it is damaged."""
        if "ggufx.source" not in metadata:
            return None
        data = parse_object(str(metadata["ggufx.source"].data).encode(), file)
        if data.pop("version", None) != VERSION:
            raise InputError("ggufx.source has another version", file=file, expected=VERSION,
                             hint="Use the ggufx that wrote the file, or strip the ggufx.* keys.")
        known = {f: data.get(f, getattr(cls(), f)) for f in vars(cls())}
        if set(data) - set(known) or not _sound(known):
            raise InputError("ggufx.source is damaged", file=file,
                             hint="Without it (and the other ggufx.* keys) the file is read as any other maker's.")
        known["aliases"], known["places"] = ([tuple(pair) for pair in known[f]] for f in ("aliases", "places"))
        return cls(**known)

    def original_name(self, table_name: str) -> str:
        """The checkpoint's spelling of a table's name."""
        if table_name in self.names:
            return self.names[table_name]
        for found, table in self.aliases:
            if table_name.startswith(table):
                return found + table_name.removeprefix(table)
        return table_name

    def of_text_part(self) -> Source:
        """The same for a folder that gets the text part of the model only, under the table's names."""
        spelled = {own: table for table, own in self.names.items()}

        def table_name(own: str) -> str:
            tables = (table + own.removeprefix(found) for found, table in self.aliases if own.startswith(found))
            return spelled.get(own) or next(tables, own)

        return Source(self.dtype, dtypes={table_name(name): dtype for name, dtype in self.dtypes.items()},
                      layouts=self.layouts, decoded=self.decoded,
                      kept={table_name(n): {**kept, "key": n} for n, kept in self.kept.items()})

    def record_files(self, tensors: Mapping[str, StoredTensor], index: Path) -> None:
        """Remember which file holds which tensor, where that is not all in model.safetensors."""
        tensors = {name: t for name, t in tensors.items() if not folder_of(name)}
        files = sorted({t.file.name for t in tensors.values()})
        if files == ["model.safetensors"] or not all(map(_file_name, files)):
            return
        self.files = files
        self.places = [(file, len(list(run))) for file, run in
                       groupby(files.index(tensors[name].file.name) for name in sorted(tensors))]
        metadata = read_json(index).get("metadata") if index.is_file() else None
        if isinstance(metadata, dict) and len(json.dumps(metadata)) <= MAX_INDEX_METADATA:
            self.index = metadata

    def record_headers(self, files: Iterable[Path], room: int) -> bool:
        """Remember what files say beside their tensors, where that is not what is written anyway; whether there is room."""
        found = {file.name: list(header_metadata(file).items()) for file in files if _file_name(file.name)}
        if all(said == [("format", "pt")] for said in found.values()):
            return True
        self.headers = found
        return sum(len(key) + len(text) for said in found.values() for key, text in said) <= room

    def shards(self, rows: Sequence[tuple[str, str, Shape]]) -> list[Shard] | None:
        """The files as they were; None where they are not known, or not of exactly these tensors."""
        if not self.files or len(rows) != sum(count for _, count in self.places):
            return None
        ordered = iter(sorted(rows))
        parts: dict[str, list[tuple[str, str, Shape]]] = {name: [] for name in self.files}
        for file, count in self.places:
            parts[self.files[file]].extend(islice(ordered, count))
        return [Shard(name, tuple(layout(part))) for name, part in parts.items()]

    def record_names(self, names: Mapping[str, str], aliases: tuple[tuple[str, str], ...]) -> None:
        """Remember how the checkpoint spells what the table calls otherwise."""
        changed = {table: own for table, own in names.items() if table != own}
        self.aliases = [a for a in aliases if any(own == a[0] + t.removeprefix(a[1]) and t.startswith(a[1])
                                                  for t, own in changed.items())]
        self.names = {table: own for table, own in names.items() if self.original_name(table) != own}


def _sound(data: Mapping[str, Any]) -> bool:
    """Whether the fields of `Source` have the types that they are read as."""
    return (_dtype(data["dtype"]) and _text(data["hf_class"])
            and all(isinstance(data[f], dict) and all(map(_name, data[f]))
                    for f in ("dtypes", "names", "dropped", "kept", "packed", "beside"))
            and all(map(_dtype, data["dtypes"].values())) and all(map(_name, data["names"].values()))
            and all(isinstance(data[f], list) for f in ("aliases", "layouts", "decoded", "packings"))
            and all(map(_text, (*data["layouts"], *data["decoded"])))
            and all(isinstance(p, list) and len(p) == 2 and all(map(_text, p)) for p in data["aliases"])
            and all(map(_kept, data["kept"].values()))
            and isinstance(data["headers"], dict) and all(map(_file_name, data["headers"]))
            and all(map(_said, data["headers"].values()))
            and isinstance(data["folded"], dict) and all(map(_folded, data["folded"].values()))
            and all(isinstance(data[f], list) for f in ("files", "places")) and isinstance(data["index"], dict)
            and all(map(_file_name, data["files"])) and len(set(data["files"])) == len(data["files"])
            and all(_counts(p) and len(p) == 2 and p[0] < len(data["files"]) for p in data["places"])
            and len({p[0] for p in data["places"]}) == len(data["files"]))


def _said(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2
                                           and all(isinstance(text, str) for text in pair) for pair in value)


def _text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _name(value: Any) -> bool:
    return _text(value) and value != ""


def _file_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\w[\w.+-]{0,200}\.safetensors", value, re.ASCII) is not None


def _dtype(value: Any) -> bool:
    return isinstance(value, str) and value in ELEMENT_TYPES


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= MAX_ELEMENTS for n in value)


def _kept(value: Any) -> bool:
    return (isinstance(value, dict) and value.keys() == {"dtype", "shape", "rows"} and _dtype(value["dtype"])
            and _counts(value["shape"]) and (value["rows"] is None or (isinstance(value["rows"], list) and all(
                _counts(run) and len(run) == 2 and run[0] <= run[1] for run in value["rows"]))))


def _folded(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(
        isinstance(pair, list) and len(pair) == 3 and _counts(pair[:2]) and isinstance(pair[2], float)
        and math.isfinite(pair[2]) for pair in value)


def kept_value(raw: np.ndarray) -> Value:
    """A key-value of raw bytes: base64, in an array of one string. Of an array of numbers llama.cpp makes a text, number by
    number, whenever it loads the file (0.3 s for a MiB), and a string alone it keeps."""
    return array(ValueType.STRING, [base64.b64encode(np.ascontiguousarray(raw)).decode()])


def kept_bytes(value: Value | None) -> bytes:
    """What `kept_value` was made of; of older files, which have arrays of bytes. ValueError where it is no such value."""
    if value is not None and value.item_type is ValueType.UINT8:
        return np.asarray(value.data, np.uint8).tobytes()
    if value is None or value.item_type is not ValueType.STRING or len(value.data) != 1:
        raise ValueError("no raw bytes")
    return base64.b64decode(value.data[0], validate=True)


def json_key(name: str) -> str:
    """What keeps the text of this JSON file, of the model's folder or one in it."""
    return f"ggufx.{name.removesuffix('.json').replace('/', '.')}"


def json_value(folder: Path, name: str, made: Mapping[str, bytes | Path] | None = None) -> Metadata:
    """`{}` or the text of a JSON file, as a one-element part of the metadata named after the file. `made`: texts that stand
    for files."""
    path = folder / name
    raw = made.get(name) if made else None
    if not isinstance(raw, bytes):
        if not path.is_file():
            return {}
        raw = path.read_bytes()
    parse_object(raw, path, non_finite=True)  # as both files are read everywhere else
    return {json_key(name): string(raw.decode())}
