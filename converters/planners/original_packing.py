"""The stored form of weights that are repacked without loss: recorded in a file of ours, so that they come back as they were.

Blocks hold codes and scales (`ops.Pack`); whatever else a checkpoint stores of a weight is small, and kept. `ggufx.source`
says of every GGUF tensor in which stored form its weights were, `packed`, an index into `packings`; `beside` are tensors that
belong to no weight. All of it is used or none: a checkpoint that is packed in part only has no honest quantization_config.

Zeros are kept as they are where there is room for all of them. Else the blocks tell them, but for what `ops.least_codes` keeps:
nothing of most groups, which the whole checkpoint must be read to see.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from ...quant.formats import ELEMENT_TYPES
from ..errors import InputError
from ..io.files import Reader
from ..io.gguf import GgufFile
from ..io.tensors import StoredTensor
from ..io.values import Metadata
from ..ops import Each, Op, Pack
from ..plan.plan import region_bytes
from ..rules.match import Match
from ..sources.packed.tensor import PackedTensor
from .own_keys import KEPT, MAX_KEPT_BYTES, Source, kept_bytes, kept_value
from .packed_sources import stored_of
from .packed_zeros import NoRoom, NoWayBack, joined, least_codes, taken_apart
from .packing import Packing, fits, packing_of
from .reading import Reading

KEY = "packed."  # behind KEPT: the bytes of small parts, each content once
LEAST = "least codes"  # what is kept of zeros that are made of blocks, beside the roles of what is stored


class _Room:
    """Contents that are kept, each once, as long as there is room. `read`: what reads them; `most`: bytes of one that is read;
    `kinds`: bytes by the last word of the names that they have."""

    def __init__(self, room: int, read: Reader) -> None:
        self.most, self.left, self.read, self.numbers = room, room, read, dict[bytes, int]()
        self.kinds = dict[str, int]()

    def add(self, content: bytes | None, name: str, size: int) -> int:
        """The number of a content; None is of so many bytes that it was not read."""
        if content in self.numbers:
            return self.numbers[content]
        kind = name.rpartition(".")[2]
        self.kinds[kind] = self.kinds.get(kind, 0) + size
        if content is None or len(content) > self.left:
            raise NoRoom(f"what blocks do not hold, {max(self.kinds, key=lambda k: self.kinds[k])} above all, is beyond "
                         f"the {MAX_KEPT_BYTES >> 20} MiB that a file keeps beside them")
        self.left -= len(content)
        self.numbers[content] = len(self.numbers)
        return self.numbers[content]

    def metadata(self) -> Metadata:
        return {f"{KEPT}{KEY}{number}": kept_value(np.frombuffer(content, np.uint8))
                for content, number in self.numbers.items()}


def record(reading: Reading, repacked: Mapping[str, str], source: Source, taken: int) -> Metadata:
    """Tells `source` how the weights were stored, where all that were packed are repacked and the rest has room; the
    key-values that it refers to. `taken`: bytes that are kept already. Raises NoWayBack, or NotSeen."""
    with Reader() as read:
        try:
            return _record(reading, repacked, source, _Room(MAX_KEPT_BYTES - taken, read), {})
        except NoRoom:
            if not (least := least_codes(reading.source(name) for match in reading.found.matches for part in match.hf
                                         for name in part)):
                raise
        return _record(reading, repacked, source, _Room(MAX_KEPT_BYTES - taken, read), least)


def _record(reading: Reading, repacked: Mapping[str, str], source: Source, room: _Room, least: Mapping[str, bytes]) -> Metadata:
    """As `record`; `least`: what is kept of zeros that are made of blocks, of weights."""
    packings: dict[Packing, int] = {}
    weights: dict[str, list[list[StoredTensor]]] = {}
    for match in reading.found.matches:
        each = [[reading.source(name) for name in names] for names in match.hf]
        if first := next((t for names in each for t in names if isinstance(t, PackedTensor)), None):
            if match.gguf[0] not in repacked:
                raise NoWayBack(f"no block holds the {first.form} numbers of {first.name} as it is stored")
            weights[match.gguf[0]] = each
    packed = {made: [_recorded(names, packings, room, least) for names in each] for made, each in weights.items()}
    if not packed:
        return {}
    beside = {}
    for tensor in reading.checkpoint.beside.values():
        number = room.add(_content(tensor, room.read) if tensor.nbytes <= room.most else None, tensor.name, tensor.nbytes)
        beside[tensor.name] = [tensor.type, list(tensor.shape), number]
    stored = (part for t in reading.checkpoint.tensors.values() for part in stored_of(t))
    files = dict.fromkeys(part.file for part in (*stored, *reading.checkpoint.beside.values()))
    if not source.record_headers(files, room.left):
        room.add(None, "metadata of the safetensors files", MAX_KEPT_BYTES)
    source.packings, source.packed, source.beside = [p.to_json() for p in packings], packed, beside
    return room.metadata()


def _recorded(weights: list[StoredTensor], packings: dict[Packing, int], room: _Room, least: Mapping[str, bytes]) -> list[Any]:
    """Number of the stored form of these, which is one and the same, and numbers of kept contents by role."""
    tensors = [t for t in weights if isinstance(t, PackedTensor)]
    (first, *others) = [packing_of(t, t.name in least) for t in tensors] or [None]
    if first is None or len(tensors) < len(weights) or any(other != first for other in others) or not first.fits:
        raise NoWayBack(f"blocks do not tell all of how {weights[0].name} is stored")
    kept, made = {}, first.made
    for number, (role, _, kind, shape) in enumerate(first.parts):
        if role in made:
            if (role == "scales" and any(first.pack.padding)
                    and not all(first.padded_with_zeros(role, _content(t.stored[number][1], room.read)) for t in tensors)):
                raise NoWayBack(f"blocks do not tell what lies behind the rows of {tensors[0].stored[number][1].name}")
            continue
        size = region_bytes(kind, shape)
        content = _contents((t.stored[number][1] for t in tensors), room.most, room.read) if size <= room.most else None
        kept[role] = room.add(content, tensors[0].stored[number][1].name, size * len(tensors))
    if first.derived and any(least[t.name] for t in tensors):
        content = joined([least[t.name] for t in tensors])
        kept[LEAST] = room.add(content, dict(tensors[0].stored)["zeros"].name, len(content))
    return [packings.setdefault(first, len(packings)), kept]


def _contents(tensors: Iterable[StoredTensor], room: int, read: Reader) -> bytes | None:
    """The bytes of small tensors, one after another; of equal ones once. None where they take more than that."""
    found: list[bytes] = []
    same = True
    for tensor in tensors:
        content = _content(tensor, read)
        same = same and content == (found or [content])[0]
        if not same and len(content) * (len(found) + 1) > room:
            return None
        if not found or len(content) * (len(found) + 1) <= room:
            found.append(content)
    return found[0] if same else b"".join(found)


def _content(tensor: StoredTensor, read: Reader) -> bytes:
    return read(tensor.file, tensor.offset, tensor.nbytes)


@dataclass(frozen=True)
class Stored:
    """A tensor of the checkpoint to be, of a weight that was packed. `made`: the shape of its bytes as they come out of blocks;
    None where they are kept. `numbers`: how many of the weight's it holds."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    made: tuple[int, ...] | None
    numbers: int = 0


@dataclass
class OriginalPacking:
    """How the weights of a GGUF file were stored, by its tensors. `kept`: as `Source.kept`; `bytes_of`: the key-values that
    these stand for."""

    forms: dict[str, list[tuple[Packing, dict[str, bytes]]]]
    matrices: dict[str, int]  # weights of each part
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    bytes_of: Metadata = field(default_factory=dict)

    def __contains__(self, match: Match) -> bool:
        return match.gguf[0] in self.forms

    def shape(self, match: Match, part: int) -> tuple[int, ...]:
        """Of each weight of a part."""
        return self.forms[match.gguf[0]][part][0].shape

    def tensors(self, match: Match, part: int, number: int, weight: str) -> list[Stored]:
        """What a weight was stored as, in the order of what `ops` make."""
        packing, _ = self.forms[match.gguf[0]][part]
        shapes = packing.pack.shape([packing.shape])
        made = dict(zip(packing.made, shapes, strict=True))
        out = []
        for role, template, kind, shape in sorted(packing.parts, key=lambda p: (*made, p[0]).index(p[0])):
            name = template.replace("{w}", weight).replace("{m}", weight.removesuffix(".weight"))
            numbers = prod(packing.shape) if role == "codes" else 0
            out.append(Stored(name, kind, shape, made.get(role), numbers))
            if role not in made:
                self.keep(name, kind, shape, self._content(match, part, number, role))
        return out

    def keep(self, name: str, kind: str, shape: tuple[int, ...], content: bytes) -> None:
        """A tensor that is there as it was."""
        self.kept[name] = {"dtype": kind, "shape": list(shape), "rows": None}
        self.bytes_of[KEPT + name] = kept_value(np.frombuffer(content, np.uint8))

    def ops(self, match: Match, number: int) -> tuple[Op, ...]:
        """What makes the stored arrays of a match's weights of the blocks."""
        made = tuple(self._op(match, part, number) for part in range(len(match.hf)))
        return made if len(made) == 1 else (Each(made),)

    def _op(self, match: Match, part: int, number: int) -> Pack:
        packing, kept = self.forms[match.gguf[0]][part]
        if packing.derived and LEAST in kept:
            least = taken_apart(kept[LEAST], self.matrices[match.gguf[0]])[number]
            return replace(packing.pack, least=base64.b64encode(least).decode())
        if "zeros" not in kept or "zeros" not in dict(packing.op.parts):
            return packing.pack
        zeros = _zeros(packing, self._content(match, part, number, "zeros"), packing.kinds["zeros"]).astype("<i2")
        return replace(packing.pack, zeros=base64.b64encode(zeros.tobytes()).decode())

    def _content(self, match: Match, part: int, number: int, role: str) -> bytes:
        packing, kept = self.forms[match.gguf[0]][part]
        content, size = kept[role], packing.sizes[role]
        return content if len(content) == size else content[number * size : (number + 1) * size]


def _zeros(packing: Packing, content: bytes, kind: str) -> np.ndarray:
    """float32 [matrices, bands, groups] of the whole numbers that zeros stand for."""
    op, grid = packing.op, dict(packing.op.parts)["zeros"]
    bands, groups = -(-op.size[0] // op.block[0]), -(-op.size[1] // op.block[1])
    rows = groups if grid.turned else bands
    rows = -(-rows * grid.bits // 32) if grid.bits and grid.axis == 0 else rows
    x = np.frombuffer(content, f"<u{ELEMENT_TYPES[kind].width}")
    return np.stack([grid.numbers(each, groups)[:bands] for each in x.reshape(packing.count or 1, rows, -1)])


def original_packing(model: GgufFile, own: Source, matches: Iterable[Match]) -> OriginalPacking | None:
    """How a file of ours says that its weights were stored; None where it does not, or its tensors are no longer the blocks
    that were made of them. InputError where what it says cannot be."""
    if not own.packed:
        return None
    by_name = {match.gguf[0]: match for match in matches}
    types = {name: tensor.type for name, tensor in model.tensors.items()}
    try:
        packings = [Packing.from_json(data) for data in own.packings]
        forms = {name: [(packings[number], {role: _kept(model, k) for role, k in kept.items()}) for number, kept in parts]
                 for name, parts in own.packed.items()}
        if any(types.get(name) != packing.op.into for name, parts in forms.items() for packing, _ in parts):
            return None
        matrices = {name: len(by_name[name].hf[0]) for name in forms}
        found = OriginalPacking(forms, matrices)
        for name, parts in forms.items():
            _check(by_name[name], parts, matrices[name])
        for name, (kind, shape, number) in own.beside.items():
            content = _kept(model, number)
            fits(region_bytes(kind, tuple(shape)) == len(content))
            found.keep(name, kind, tuple(shape), content)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError("ggufx.source is damaged: how the weights were stored", file=model.path,
                         hint="Without it (and the other ggufx.* keys) the file is read as any other maker's.") from error
    return found


def _check(match: Match, parts: list[tuple[Packing, dict[str, bytes]]], matrices: int) -> None:
    fits(len(parts) == len(match.hf))
    for packing, kept in parts:
        fits(kept.keys() - {LEAST} == {p[0] for p in packing.parts} - set(packing.made))
        fits(all(len(content) in (packing.sizes[role], packing.sizes[role] * matrices)
                  for role, content in kept.items() if role != LEAST))
        if LEAST in kept:
            fits(packing.derived)
            taken_apart(kept[LEAST], matrices)
        if "zeros" in kept and "zeros" in dict(packing.op.parts):
            _zeros(packing, kept["zeros"][: packing.sizes["zeros"]], packing.kinds["zeros"])


def _kept(model: GgufFile, number: int) -> bytes:
    return kept_bytes(model.metadata[f"{KEPT}{KEY}{int(number)}"])
