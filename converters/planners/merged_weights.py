"""The weights of a checkpoint with adapters merged into them: which are changed, and by what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GgufxError, InputError, UnsupportedError, UsageError, raise_all
from ..io.files import printable, read_bytes
from ..io.tensors import StoredTensor
from ..notes import Note
from ..ops import LowRank
from ..ops.merge import FLOAT_WIDTH, Update
from ..sources.hf_folder import Checkpoint
from ..sources.hub import resolve_model
from ..sources.merged import merged_tensor, read_floats
from ..sources.names import HEADS
from ..sources.packed.tensor import PackedTensor
from ..sources.quantized import without_quantization
from .adapter_config import MERGE_BY_PEFT
from .adapter_updates import Adapter, OpenedAdapter, Step
from .kept_tensors import floats as values_of
from .places import Places, is_head, same_bytes

MAX_SCALE = 1e6
CHUNK = 1 << 24  # numbers that are looked at at a time while norms are taken


def resolve_adapters(given: Iterable[str | Path], progress: bool = False, headers: bool = False) -> tuple[Adapter, ...]:
    """The adapters that references `ADAPTER` or `ADAPTER@SCALE` stand for: a folder, a GGUF file, or one on the Hub, whose
    revision comes first.

    Raises as `resolve_model`.
    """
    out = []
    for reference in map(str, given):
        name, at, scale = reference.rpartition("@")
        try:
            factor = float(scale) if at and not Path(reference).exists() else None
        except ValueError:
            factor = None
        if factor is not None and not (math.isfinite(factor) and abs(factor) <= MAX_SCALE):
            raise UsageError("no scale of an adapter", found=printable(reference), expected=f"-{MAX_SCALE:g} to {MAX_SCALE:g}")
        named = name if factor is not None else reference
        path = resolve_model(named, what="gguf" if named.endswith(".gguf") else "adapter", progress=progress,
                             headers=headers)
        out.append(Adapter(path, 1.0 if factor is None else factor))
    return tuple(out)


def with_adapters(checkpoint: Checkpoint, adapters: Sequence[Adapter], places: Places) -> Checkpoint:
    """The checkpoint with the adapters merged into its weights, one after another; weights that are packed are decoded.

    Raises InputError or UnsupportedError with everything that keeps them from being merged.
    """
    if checkpoint.made:
        raise UnsupportedError("adapters are not merged into an original checkpoint", file=checkpoint.folder,
                               hint="Merge them into what `ggufx original-to-hf` makes of it.")
    notes = list(checkpoint.notes)
    problems: list[GgufxError] = []
    opened = [OpenedAdapter(adapter, places, notes, problems) for adapter in adapters]
    raise_all(problems)
    bases: dict[str, StoredTensor] = {}
    for one in opened:
        bases |= one.replaced()
    config = {k: dict(v) if k == "text_config" and isinstance(v, dict) else v for k, v in checkpoint.config.items()}
    _untie(bases, checkpoint, places, any(one.checkpoint.config.get("ensure_weight_tying") for one in opened), config, notes)
    _resize(bases, checkpoint, places, config, problems)
    raise_all(problems)
    places.tensors = {**checkpoint.tensors, **bases}
    steps: list[Step] = [step for one in opened for step in one.updates()]
    raise_all(problem for one in opened for problem in one.all_problems(checkpoint.folder))
    of: dict[str, list[tuple[Update, tuple[StoredTensor, ...]]]] = {}
    for _, name, update, parts in sorted(steps, key=lambda step: step[0]):  # peft merges module after module
        of.setdefault(name, []).append((update, parts))
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in places.tensors.items():
        original = checkpoint.tensors.get(name, tensor)
        if name not in bases and name not in of and not isinstance(tensor, PackedTensor):
            tensors[name] = tensor
        elif tensor.type not in FLOAT_WIDTH:
            problems.append(UnsupportedError(f"{tensor.type} weights are not merged", file=tensor.file, tensor=name))
        else:
            at = original if name in checkpoint.tensors else checkpoint.tensors[places.embedding[0]]
            tensors[name] = merged_tensor(replace(original, name=name) if at is original else _beside(at, name), tensor,
                                          with_norms(tensor, of.get(name, []), problems))
    raise_all(problems)
    notes.append(changed_note([*of, *(name for name in bases if name not in of)]))
    notes.extend(filter(None, (one.trained_on_another(checkpoint.folder) for one in opened)))
    if any(isinstance(t, PackedTensor) for t in checkpoint.tensors.values()):
        config = without_quantization(config)
    return replace(checkpoint, config=config, tensors=tensors, notes=notes)


def changed_note(names: Iterable[str]) -> Note:
    """Which tensors adapters change."""
    return Note("adapters change", *sorted(names))


def _beside(tensor: StoredTensor, name: str) -> StoredTensor:
    """Another tensor of the same type in the same file."""
    return StoredTensor(name, tensor.type, tensor.shape, tensor.file, tensor.offset, tensor.nbytes)


def _untie(bases: dict[str, StoredTensor], checkpoint: Checkpoint, places: Places, keep: bool, config: dict[str, Any],
           notes: list[str]) -> None:
    """Where an adapter has weights of its own for a head or an embedding that share one tensor: the other keeps what it had, as
    in peft, and the model is tied no more. `keep`: peft was told to keep them tied."""
    if not places.tied or len(places.embedding) != 1:
        return
    (embedding,) = places.embedding
    head = next(filter(is_head, bases), None)
    if head is None and embedding not in bases:
        return
    if keep or (head in checkpoint.tensors):
        return
    own = bases.get(head or "") or checkpoint.tensors[embedding]
    if embedding in bases and head is not None and same_bytes(own, bases[embedding]):
        del bases[head]
        return
    bases[head or HEADS[0]] = own
    for part in (config, config.get("text_config")):
        if isinstance(part, dict):
            part["tie_word_embeddings"] = False
    places.tied = False
    notes.append("the adapter has weights of its own for head or embedding: they are tied no more, as after peft's merge")


def _resize(bases: dict[str, StoredTensor], checkpoint: Checkpoint, places: Places, config: dict[str, Any],
            problems: list[GgufxError]) -> None:
    """Where an adapter has tables of more (or fewer) tokens: config.json counts them, and head and embedding agree."""
    names = [*places.embedding, *(name for name in (*checkpoint.tensors, *bases) if is_head(name))]
    rows = {name: (bases.get(name) or checkpoint.tensors[name]).shape[0] for name in names}
    if len(set(rows.values())) > 1:
        problems.append(InputError("head and embedding have different numbers of tokens with the adapter in them",
                                   file=checkpoint.folder, tensor=names[0],
                                   found=", ".join(f"{name} {count}" for name, count in rows.items())))
    elif rows and rows[names[0]] != checkpoint.tensors[names[0]].shape[0]:
        for part in (config, config.get("text_config")):
            if isinstance(part, dict) and "vocab_size" in part:
                part["vocab_size"] = rows[names[0]]


def with_norms(tensor: StoredTensor, steps: list[tuple[Update, tuple[StoredTensor, ...]]],
                problems: list[GgufxError]) -> Iterator[tuple[Update, tuple[StoredTensor, ...]]]:
    """The steps, those of DoRA with the norms of columns where magnitudes are of columns: a pass over the whole weight."""
    for update, parts in steps:
        if isinstance(update, LowRank) and update.dora and update.turned:
            if any(isinstance(t, PackedTensor) for t in (tensor, *parts)) or len(tensor.shape) != 2:
                problems.append(UnsupportedError("DoRA of a packed table is not merged", file=tensor.file, tensor=tensor.name,
                                                 hint=MERGE_BY_PEFT))
                continue
            update = replace(update, norms=_column_norms(tensor, update, parts))
        yield update, parts


def _column_norms(tensor: StoredTensor, update: LowRank, parts: Sequence[StoredTensor]) -> tuple[float, ...]:
    """The norms of the columns of weight + update; summed in float64 from top to bottom, rounded once."""
    from ...quant.cpu.low_rank import add_squares

    rows, cols = tensor.shape
    step = max(1, CHUNK // cols)
    a, b = (read_floats(part) for part in parts[:2])
    sums = np.zeros(cols)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        width = tensor.nbytes // rows
        raw = np.frombuffer(read_bytes(tensor.file, tensor.offset + start * width, (stop - start) * width), np.uint8)
        add_squares(update.whole(values_of(raw, tensor.type).reshape(stop - start, cols), start, (a[:, start:stop], b)), sums)
    return tuple(map(float, np.sqrt(sums).astype(np.float32)))
