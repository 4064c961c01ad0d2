"""Zeros of packed weights, of which headers tell nothing: whether they are symmetric, and what blocks do not tell of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ...quant.formats import ELEMENT_TYPES
from ..io.files import read_bytes
from ..io.ranges import elsewhere
from ..io.tensors import StoredTensor
from ..ops import Grid, Pack, Unpack
from ..ops.code_values import values_of
from ..ops.least_codes import encoded, spans
from ..ops.pack import AT_ONCE
from ..sources.packed.tensor import PackedTensor
from .packing import fits, packing_of
from .reading import Reading

AT_ONCE_BYTES = 256 << 20  # of matrices that are read together
MATRICES = 4


def tell_symmetry(reading: Reading) -> None:
    """Of weights whose first zeros are the middle of the codes' range all are looked at: where others are not, the weight is
    no longer taken for symmetric. Nor are those that go into one tensor of GGUF with such a one: its blocks are of one type."""
    tensors = dict(reading.checkpoint.tensors)
    ops: dict[Unpack, Unpack] = {}  # `repacked` is found out once
    for match in reading.found.matches:
        names = [reading.found.names[name] for part in match.hf for name in part]
        zeros = {name: t for name in names if isinstance(t := tensors[name], PackedTensor) and "zeros" in dict(t.op.parts)}
        if not all(tensor.op.symmetric and _in_the_middle(tensor) for tensor in zeros.values()):
            for name, tensor in zeros.items():
                op = replace(tensor.op, symmetric=False)
                tensors[name] = replace(tensor, op=ops.setdefault(op, op))
    reading.checkpoint = replace(reading.checkpoint, tensors=tensors)


def _in_the_middle(tensor: PackedTensor) -> bool:
    """Whether all zeros are the middle of the codes' range."""
    return all((_zeros(tensor.op, _array(tensor, "zeros", i)) == tensor.op.middle).all() for i in range(tensor.count or 1))


class NoWayBack(Exception):
    """Weights cannot come back as they were stored: the first reason, for people."""


class NoRoom(NoWayBack):
    """There is more to keep than has room."""


class NotSeen(Exception):
    """Whether weights come back is told by files that are not here."""


def least_codes(tensors: Iterable[StoredTensor]) -> dict[str, bytes]:
    """What must be kept of zeros that are made of blocks, by the names of weights; nothing where no zeros are. Reads all of
    these weights. Raises NoWayBack, or NotSeen."""
    found = [(t, packing) for t in tensors if isinstance(t, PackedTensor) and (packing := packing_of(t, derived=True))
             and packing.derived]
    if any(elsewhere(part.file) for tensor, _ in found for part in tensor.parts):
        raise NotSeen("its zeros are beyond what a file keeps, and the weights that may tell them are not here")
    largest = max((tensor.nbytes // (tensor.count or 1) for tensor, _ in found), default=1)
    with ThreadPoolExecutor(min(MATRICES, max(AT_ONCE_BYTES // largest, 1))) as pool:
        contents = list(pool.map(lambda one: _least_codes(one[0], one[1].pack) if one[1].fits else None, found))
    out = {tensor.name: content for (tensor, _), content in zip(found, contents, strict=True) if content is not None}
    if lost := [tensor.name for tensor, _ in found if tensor.name not in out]:
        raise NoWayBack(f"blocks do not tell how the zeros of {lost[0]} are stored")
    return out


def joined(contents: list[bytes]) -> bytes:
    """The contents of several weights, their lengths in front of them."""
    return b"".join([*(len(content).to_bytes(4, "little") for content in contents), *contents])


def taken_apart(content: bytes, count: int) -> list[bytes]:
    """The inverse of `joined`. ValueError where it is not of so many."""
    lengths = np.frombuffer(content, "<u4", count).tolist()
    fits(4 * count + sum(lengths) == len(content))
    stops = np.cumsum([4 * count, *lengths]).tolist()
    return [content[start:stop] for start, stop in pairwise(stops)]


def _least_codes(tensor: PackedTensor, pack: Pack) -> bytes | None:
    """What is kept of one weight, a matrix at a time; None where its zeros are not stored as they would come back."""
    first, last = pack.of.reach
    grid: Grid = dict(pack.of.parts)["codes"]
    lowest = int(values_of(grid.kind, grid.bits).min())
    kept = []
    for i in range(tensor.count or 1):
        stored = _array(tensor, "zeros", i)
        low, high = spans(_in_order(tensor.op, _array(tensor, "codes", i)), tensor.op.block, tensor.op.size[1])
        low, high = low + lowest, high + lowest
        if not np.array_equal(pack.stored_zeros(_zeros(tensor.op, stored).astype(np.int16)).reshape(-1),
                              stored.view(np.uint8).reshape(-1)) or low.min() < first or high.max() > last:
            return None
        kept.append(encoded(low - first, last - first - (high - low)))
    return b"".join(kept)


def _array(tensor: PackedTensor, role: str, matrix: int) -> np.ndarray:
    """Bits of a part of one matrix."""
    part = next(part for (name, _), part in zip(tensor.op.parts, tensor.parts, strict=True) if name == role)
    size, shape = (part.nbytes, part.shape) if tensor.count is None else (part.nbytes // tensor.count, part.shape[1:])
    raw = read_bytes(part.file, part.offset + matrix * size, size)
    return np.frombuffer(raw, f"<u{ELEMENT_TYPES[part.type].width}").reshape(shape)


def _zeros(op: Unpack, stored: np.ndarray) -> np.ndarray:
    """float32 [bands, groups] of the whole numbers that zeros stand for."""
    return dict(op.parts)["zeros"].numbers(stored, -(-op.size[1] // op.block[1]))[: -(-op.size[0] // op.block[0])]


def _in_order(op: Unpack, stored: np.ndarray) -> Iterator[np.ndarray]:
    """uint8 [n, cols] of runs of rows: codes, in the order of the whole numbers that they stand for."""
    grid: Grid = dict(op.parts)["codes"]
    signed = (1 << (grid.bits or 8) - 1) * (grid.kind == "I")
    rows, cols = op.size
    for start in range(0, rows, step := -(-AT_ONCE // cols)):
        stop = min(start + step, rows)
        axis, begin, end = grid.window(stored.shape, start, stop)
        codes = grid.codes(stored[begin:end] if axis == 0 else stored[:, begin:end], cols)
        yield codes[grid.before(start) :][: stop - start] ^ np.uint8(signed)
