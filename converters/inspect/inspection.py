"""One look at a GGUF file, a checkpoint, an adapter or an importance matrix: what it is, before what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from ...quant.recipes.imatrix import COUNTS, SUMS, from_legacy
from ...quant.recipes.recipe import FILE_TYPES
from .. import arch
from ..errors import GgufxError, InputError
from ..io.files import open_regular, read_at
from ..io.gguf import MAGIC, GgufFile, read_gguf, read_gguf_model, split_names
from ..io.tensors import StoredTensor
from ..io.values import Metadata, plain
from ..rules.facts import GgufFacts
from ..rules.hf_config import canonical
from ..rules.hparams import read_hparams, write_hparams
from ..sources.hf_folder import Checkpoint
from ..sources.original.folder import open_model
from ..sources.original.joined import JoinedTensor
from ..sources.packed.logical import logical
from ..sources.packed.mlx_adapter import open_adapter
from ..sources.packed.tensor import PackedTensor
from ..sources.recognise import GGUFS, expect, recognise
from ..tokenizer.folder import Folder
from ..tokenizer.templates import KEY as TEMPLATE_KEY
from ..tokenizer.templates import chat_templates
from .memory import Memory, cache_bytes
from .projector import projector_facts

DEFAULT_CONTEXT = 8192  # tokens, where the model takes as many
MAX_LEGACY_BYTES = 4 << 30


@dataclass(repr=False)
class Inspection:
    """What was found. `form`: gguf, checkpoint, adapter, mmproj, imatrix or legacy imatrix.

    `files`: all files with tensors, the parts of a split model in order. `metadata`: a GGUF file's key-values; `config`: a
    folder's config.json. `keys`: plain GGUF key-values, of a checkpoint those that its table makes of its config.
    `layers`: layer types, where they are known. `templates`: chat templates by name. `notes`: what could not be told.
    """

    path: Path
    form: str
    files: tuple[Path, ...] = ()
    tensors: list[StoredTensor] = field(default_factory=list)
    metadata: Metadata = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)
    layers: Sequence[str] | None = None
    templates: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    version: int | None = None

    def __repr__(self) -> str:
        return (f"<Inspection {self.path}: {self.form}, {self.architecture}, {self.parameters:,} parameters, "
                f"{self.nbytes:,} bytes>")

    @property
    def architecture(self) -> str | None:
        """The GGUF architecture; of a checkpoint without a table its class."""
        return self.keys.get("general.architecture") or next(iter(self.config.get("architectures") or ()), None)

    @property
    def name(self) -> str | None:
        return self.keys.get("general.name")

    @property
    def parameters(self) -> int:
        return sum(prod(t.shape) for t in self.tensors)

    @property
    def nbytes(self) -> int:
        return sum(t.nbytes for t in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        return round(8 * self.nbytes / max(self.parameters, 1), 3)

    @property
    def context_length(self) -> int | None:
        """Tokens that the model was made for."""
        found = self.keys.get(f"{self.architecture}.context_length")
        return found if isinstance(found, int) else None

    @property
    def file_type(self) -> str | None:
        """The name of general.file_type."""
        number = self.keys.get("general.file_type")
        return next((row.name for row in FILE_TYPES.values() if row.number is not None and row.number == number), None)

    @property
    def types(self) -> dict[str, tuple[int, int]]:
        """Tensors and bytes of each type, the largest first."""
        found: dict[str, tuple[int, int]] = {}
        for t in self.tensors:
            kind = t.form if isinstance(t, PackedTensor) else t.type
            count, nbytes = found.get(kind, (0, 0))
            found[kind] = count + 1, nbytes + t.nbytes
        return dict(sorted(found.items(), key=lambda row: -row[1][1]))

    def memory(self, context: int | None = None) -> Memory:
        """Bytes in llama.cpp at `context` tokens; None: the model's own length, at most 8192."""
        if context is None:
            context = min(self.context_length or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
        return Memory(context, self.nbytes, cache_bytes(self.keys, self.layers, context))

    def to_json(self, context: int | None = None) -> dict[str, Any]:
        """The summary as one JSON object."""
        return {"path": str(self.path), "form": self.form, "name": self.name, "architecture": self.architecture,
                "parameters": self.parameters, "bytes": self.nbytes, "bits_per_weight": self.bits_per_weight,
                "file_type": self.file_type, "context_length": self.context_length,
                "types": {k: {"tensors": n, "bytes": size} for k, (n, size) in self.types.items()},
                "memory": self.memory(context).to_json(), "chat_templates": {k: len(v) for k, v in self.templates.items()},
                "files": [str(f) for f in self.files], **self.facts}


def inspect(path: Path) -> Inspection:
    """Look at a GGUF file (any part of a split one), an importance matrix of either kind, or a folder. Reads headers only."""
    if path.is_dir():
        return _of_folder(path)
    with open_regular(path) as (file, size):
        start = read_at(file, 0, min(size, len(MAGIC)), path)
    if start != MAGIC and (found := _of_legacy_imatrix(path)) is not None:
        return found
    expect(path, "gguf")
    return _of_gguf(path)


def _of_gguf(path: Path) -> Inspection:
    file = read_gguf(path)
    out = Inspection(path, "gguf", version=file.version, metadata=file.metadata)
    whole = _whole(file, out)
    out.keys = plain(whole.metadata)
    out.tensors = list(whole.tensors.values())
    out.templates = {key.removeprefix(TEMPLATE_KEY).lstrip(".") or "default": str(value) for key, value in out.keys.items()
                     if key == TEMPLATE_KEY or key.startswith(f"{TEMPLATE_KEY}.")}
    kind = str(out.keys.get("general.type", ""))
    if kind == "imatrix" or any(name.endswith(SUMS) for name in whole.tensors):
        out.form = "imatrix"
        entries = {name.removesuffix(SUMS).removesuffix(COUNTS) for name in whole.tensors}
        out.facts = {"entries": len(entries), "chunks": out.keys.get("imatrix.chunk_count"),
                     "datasets": list(out.keys.get("imatrix.datasets", ()))}
    elif kind == "adapter":
        out.form = "adapter"
        out.facts = {"alpha": out.keys.get("adapter.lora.alpha")}
    elif out.architecture == "clip":
        out.form, out.facts = "mmproj", projector_facts(out.keys)
    else:
        out.facts = {"tokenizer": out.keys.get("tokenizer.ggml.model"), "pre": out.keys.get("tokenizer.ggml.pre"),
                     "tokens": len(out.keys.get("tokenizer.ggml.tokens", ()))}
        out.layers = _layers(whole, out.keys)
        for thing in GGUFS:
            if thing.seen(kind, str(out.architecture), whole.tensors):
                out.facts["kind"] = thing.name
    return out


def _whole(file: GgufFile, out: Inspection) -> GgufFile:
    """All parts of a split model, or, with a note, this file alone where they are not there."""
    count = file.metadata.get("split.count")
    names = split_names(file.path) if count is not None and count.data != 0 else []
    out.files = (file.path,)
    if not names:
        if count is not None and count.data > 1:
            out.notes.append(f"one of {count.data} parts, alone: its name does not say so, it was renamed")
        return file
    try:
        whole = read_gguf_model(file.path.with_name(names[0]))
    except GgufxError as error:
        out.notes.append(f"one of {len(names)} parts, alone: {error}")
        return file
    out.files = tuple(file.path.with_name(name) for name in names)
    return whole


def _layers(file: GgufFile, keys: Mapping[str, Any]) -> Sequence[str] | None:
    """Layer types as the table reads them; None for an architecture without a table, or keys that it refuses."""
    try:
        facts = GgufFacts.of(keys, file.tensors)
        spec = arch.for_gguf(str(keys.get("general.architecture")), facts, str(file.path))
        config, _ = read_hparams(spec, facts, str(file.path), [])
    except GgufxError:
        return None
    return _layer_types(config)


def _layer_types(config: Mapping[str, Any]) -> Sequence[str] | None:
    found = config.get("layer_types")
    return found if isinstance(found, list) and all(isinstance(kind, str) for kind in found) else None


def _of_folder(folder: Path) -> Inspection:
    found = recognise(folder)
    adapter = bool(found) and "adapter" in found[0][0].takes
    checkpoint = open_adapter(folder) if adapter else open_model(folder, whole=False)
    stored = (part for t in checkpoint.tensors.values() for part in (t.parts if isinstance(t, JoinedTensor) else (t,)))
    files = tuple(dict.fromkeys(part.file for part in stored))
    try:
        checkpoint = logical(checkpoint) if not adapter else checkpoint
    except GgufxError as error:
        checkpoint.notes.append(f"the tensors are shown as they are stored: {error}")
    tensors = list(checkpoint.tensors.values())
    out = Inspection(folder, "adapter" if adapter else "checkpoint", files, tensors,
                     config=checkpoint.config, notes=list(checkpoint.notes))
    if adapter:
        out.facts = {"base": checkpoint.config.get("base_model_name_or_path"), "rank": checkpoint.config.get("r"),
                     "alpha": checkpoint.config.get("lora_alpha")}
        return out
    _read_config(checkpoint, out)
    try:
        out.templates = chat_templates(Folder(folder, checkpoint.made))
    except GgufxError as error:
        out.notes.append(f"the chat template cannot be read: {error}")
    return out


def _read_config(checkpoint: Checkpoint, out: Inspection) -> None:
    """Key-values and layer types, where the class has a table."""
    file = f"{checkpoint.folder}/config.json"
    try:
        spec = arch.for_config(checkpoint.config, file)
        config = canonical(checkpoint.config, spec, file, checkpoint.tensors.keys())
        keys = plain(write_hparams(spec, config, [], []))
    except GgufxError as error:
        out.notes.append(error.message)
        return
    out.keys, out.layers = {"general.architecture": spec.name, **keys}, _layer_types(config)


def _of_legacy_imatrix(path: Path) -> Inspection | None:
    """llama.cpp's older format of importance matrices, which has no magic: it is one if every byte of it makes sense."""
    try:
        with open_regular(path) as (file, size):
            if size > MAX_LEGACY_BYTES:
                return None
            found = from_legacy(read_at(file, 0, size, path))
    except (ValueError, InputError):
        return None
    entries = [StoredTensor(name, "F32", values.shape[1:], path, 0, 4 * values.size)
               for name, values in found.entries.items()]
    return Inspection(path, "legacy imatrix", (path,), entries,
                      facts={"entries": len(entries), "chunks": found.chunk_count, "datasets": list(found.datasets)})
