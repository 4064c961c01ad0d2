"""The few values of a tower that F16 does not hold: below 2^-17 BF16 is finer. Kept, so that the way back is exact.

llama.cpp's files of towers are F16, some of their tensors whatever is asked for. Of trained BF16 weights one in several
thousand is rounded; `ggufx.rounded.<name>` holds where and what they were: uint32 positions, then float32 values. Where more
would be kept than `MAX_KEPT_BYTES` in all, as of F32 weights, the tensor is named instead.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import InputError
from ..io.files import open_regular, read_at
from ..io.gguf import GgufFile
from ..io.tensors import StoredTensor
from ..io.values import Metadata
from ..notes import Note
from ..ops import Restore
from ..sources.packed.tensor import PackedTensor
from .own_keys import MAX_KEPT_BYTES, kept_bytes, kept_value
from .reading import Reading

KEY = "ggufx.rounded."
CHUNK = 1 << 22  # elements looked at together
LEAST_BF16 = 110 << 7  # bits of 2^-17


def keep_rounded(reading: Reading, types: Mapping[str, str], notes: list[Note | str]) -> Metadata:
    """Key-values with what F16 rounds; `types`: of the GGUF tensors. `notes` learns what is not kept."""
    out: Metadata = {}
    room = MAX_KEPT_BYTES
    lost = []
    for match in reading.found.matches:
        if match.rule.borrowed or types[match.gguf[0]] != "F16" or not all(op.moves and op.exact for op in match.ops):
            continue
        for tensor in (reading.source(name) for names in match.hf for name in names):
            if isinstance(tensor, PackedTensor) or tensor.type not in ("BF16", "F32"):
                continue
            found = _rounded(tensor, room // 8)
            if found is None:
                lost.append(tensor.name)
            elif len(found[0]):
                out[KEY + tensor.name] = kept_value(np.concatenate([found[0].view(np.uint8), found[1].view(np.uint8)]))
                room -= 8 * len(found[0])
    if lost:
        notes.append(Note("rounded to F16; --mmproj-type bf16 or f32 keeps more of the values", *lost))
    return out


def _rounded(tensor: StoredTensor, most: int) -> tuple[np.ndarray, np.ndarray] | None:
    """uint32 positions and float32 values of what F16 does not hold; None where they are more than `most`."""
    width = 2 if tensor.type == "BF16" else 4
    count = tensor.nbytes // width
    if count >= 1 << 32:
        return None
    places, values, found = [], [], 0
    with open_regular(tensor.file) as (file, _):
        for start in range(0, count, CHUNK):
            raw = read_at(file, tensor.offset + start * width, min(CHUNK, count - start) * width, tensor.file)
            at, held = _of_bf16(np.frombuffer(raw, "<u2")) if width == 2 else _of_f32(np.frombuffer(raw, "<f4"))
            found += len(at)
            if found > most:
                return None
            places.append((at + start).astype("<u4"))
            values.append(held.astype("<f4"))
    return np.concatenate(places), np.concatenate(values)


def _of_bf16(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    small = bits & 0x7FFF
    at = np.flatnonzero((small < LEAST_BF16) & (small != 0))
    values = (bits[at].astype(np.uint32) << 16).view(np.float32)
    off = values.astype(np.float16).astype(np.float32) != values
    return at[off], values[off]


def _of_f32(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(over="ignore"):
        at = np.flatnonzero((values.astype(np.float16).astype(np.float32) != values) & np.isfinite(values))
    return at, values[at]


def restore(model: GgufFile, tensors: Sequence[tuple[str, int]]) -> tuple[Restore, ...]:
    """The op that puts the kept values back into these tensors, by name and number of elements; none where there are none."""
    kept = [model.metadata.get(KEY + name) for name, _ in tensors]
    if all(value is None for value in kept):
        return ()
    texts = []
    for (name, size), value in zip(tensors, kept, strict=True):
        try:
            data = np.frombuffer(kept_bytes(value), np.uint8)
        except ValueError:
            data = np.empty(0, np.uint8)
        places = data[: len(data) // 2]
        if value is not None and (len(data) % 8 or not len(data) or int(places.view("<u4").max()) >= size):
            raise InputError(f"{KEY}{name} does not fit the tensor", file=model.path, expected=f"places among {size}")
        texts.append(base64.b64encode(data.tobytes()).decode())
    return (Restore(tuple(texts)),)
