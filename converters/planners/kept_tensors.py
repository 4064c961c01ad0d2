"""The few bytes that a GGUF file's tensors do not determine, kept so that the way back is exact.

Norms stored as an offset from one, decays behind an exponential, position rows that the runtime never reads, tensors
that GGUF has no place for: all small. What is larger than `MAX_KEPT_BYTES` together is named as lost instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...quant import dequantize, quantize
from ..errors import InputError
from ..io.files import read_bytes
from ..io.tensors import StoredTensor
from ..io.values import Metadata
from ..notes import Note
from ..ops import Crop
from ..plan.plan import region_bytes
from ..rules.match import HfMatches, Match
from ..sources.merged import MergedTensor, read_merged
from ..sources.packed.tensor import PackedTensor
from .own_keys import KEPT, MAX_KEPT_BYTES, Source, kept_bytes, kept_value


def keep(tensors: Mapping[str, StoredTensor], found: HfMatches, source: Source, notes: list[str]) -> Metadata:
    """Key-values with what must be kept of the tensors; `source` and `notes` learn what is kept and what is lost."""
    out: Metadata = {}
    room = MAX_KEPT_BYTES

    def add(name: str, raw: np.ndarray, rows: list[list[int]] | None) -> bool:
        nonlocal room
        if raw.nbytes > room:
            return False
        room -= raw.nbytes
        out[KEPT + name] = kept_value(raw)
        source.kept[name] = {"dtype": tensors[name].type, "shape": list(tensors[name].shape), "rows": rows}
        return True

    for match in found.matches:
        if match.rule.borrowed or all(op.exact for op in match.ops):
            continue
        told = match.ops[0].told if len(match.ops) == 1 else ()
        sources = [tensors[found.names[name]] for part, names in enumerate(match.hf[: len(match.hf) - match.rule.borrows])
                   for name in names if part not in told]
        if len(match.hf) > 1:  # factors of a product, which does not tell them: all or none
            if sum(tensor.nbytes for tensor in sources) <= room and not any(isinstance(t, PackedTensor) for t in sources):
                for tensor in sources:
                    add(tensor.name, read_tensor(tensor), None)
            elif told:
                notes.append(Note("do not come back, the file holds what the model makes of them", *(t.name for t in sources)))
            else:
                notes.append(Note("come back as other factors of the same product", *(tensor.name for tensor in sources)))
            continue
        tensor = sources[0]
        if isinstance(tensor, PackedTensor):
            continue  # comes back as floats, to within a rounding
        crop = next((op for op in match.ops if isinstance(op, Crop)), None)
        if crop is not None:
            outside = rows_outside(crop, tensor.shape[0])
            if outside and not add(tensor.name, read_rows(tensor, outside), outside):
                notes.append(Note("rows that are not in GGUF do not come back", f"{tensor.name} {outside}"))
        elif tensor.nbytes <= room and not returns(match, tensor):
            add(tensor.name, read_tensor(tensor), None)
        elif tensor.nbytes > room:
            notes.extend(lost(match))
    for name, (rule, _) in found.keyed.items():
        if not rule.within:  # whole numbers are in their key as they are
            add(name, read_tensor(tensors[name]), None)
    if (sum(tensors[name].nbytes for name in found.ignored) <= room
            and not any(isinstance(tensors[name], PackedTensor) for name in found.ignored)):
        for name in found.ignored:
            add(name, read_tensor(tensors[name]), None)
    else:  # all or none: half a layer is of no use
        source.dropped.update(dict.fromkeys(found.ignored, "GGUF has no place for it"))
        notes.extend(dropped_notes(found.ignored))
    source.dropped.update({f"{part}*": "another part of the model" for part in found.parts})
    return out


def lost(match: Match) -> list[Note]:
    """What to say of a tensor whose ops are for good."""
    return [Note(f"does not come back with {op.loses}", match.hf[0][0]) for op in match.ops if op.loses]


def dropped_notes(names: list[str]) -> list[str]:
    """What to say of tensors that do not come back."""
    return [Note("tensors that GGUF has no place for do not come back", *names)] if names else []


def rows_outside(crop: Crop, rows: int) -> list[list[int]]:
    """The runs of rows that a crop leaves out."""
    (kept,) = crop.lengths(rows)
    first, last = (crop.start, crop.start + kept) if kept else (rows, rows)
    return [run for run in ([0, first], [last, rows]) if run[0] < run[1]]


def read_tensor(tensor: StoredTensor) -> np.ndarray:
    """uint8 bytes of a small tensor."""
    if isinstance(tensor, MergedTensor):
        return read_merged(tensor)
    return np.frombuffer(read_bytes(tensor.file, tensor.offset, tensor.nbytes), np.uint8)


def read_rows(tensor: StoredTensor, runs: Iterable[list[int]]) -> np.ndarray:
    """uint8 bytes of runs of rows, joined."""
    step = tensor.nbytes // tensor.shape[0]
    if isinstance(tensor, MergedTensor):
        whole = read_merged(tensor)
        return np.concatenate([whole[start * step : stop * step] for start, stop in runs])
    parts = [read_bytes(tensor.file, tensor.offset + start * step, (stop - start) * step) for start, stop in runs]
    return np.frombuffer(b"".join(parts), np.uint8)


def returns(match: Match, tensor: StoredTensor) -> bool:
    """Whether the float32 values behind the ops give the tensor back bit for bit."""
    raw = read_tensor(tensor)
    xs = [floats(raw, tensor.type).reshape(tensor.shape)]
    with np.errstate(all="ignore"):
        for op in match.ops:
            xs = op.forward(xs)
        for op in reversed(match.ops):
            xs = op.inverse.forward(xs)
        back = xs[0].astype(np.float64 if tensor.type == "F64" else np.float32).reshape(1, -1)
    if tensor.type not in ("F32", "F64"):
        back = quantize(back, tensor.type)
    return np.array_equal(back.reshape(-1).view(np.uint8), raw)


def floats(raw: np.ndarray, kind: str) -> np.ndarray:
    """float32 values of the bytes of numbers."""
    if kind in ("F32", "F64"):
        with np.errstate(all="ignore"):  # what float32 does not reach does not return
            return raw.view(np.float32 if kind == "F32" else np.float64).astype(np.float32)
    return dequantize(raw.reshape(1, -1), kind)


def kept_pieces(metadata: Metadata, file: Path, name: str, kept: Mapping[str, Any], offset: int) -> list[tuple[int, bytes]]:
    """Where the kept bytes of a tensor at `offset` go. InputError where they do not fit the tensor."""
    value = metadata.get(KEPT + kept.get("key", name))
    shape, dtype = tuple(kept["shape"]), kept["dtype"]
    whole = region_bytes(dtype, shape)
    step = whole // shape[0] if shape and shape[0] else whole
    runs = kept["rows"] if kept["rows"] is not None else [[0, shape[0] if shape else 1]]
    try:
        data = kept_bytes(value)
    except ValueError:
        data = b""
    if len(data) != sum(stop - start for start, stop in runs) * step:
        raise InputError(f"{KEPT}{name} does not hold what ggufx.source says", file=file)
    pieces = []
    for start, stop in runs:
        pieces.append((offset + start * step, data[: (stop - start) * step]))
        data = data[(stop - start) * step :]
    return pieces
