"""One job of a plan, cut into tiles that fit the memory budget: read, apply the ops, encode, write.

Array values are held as raw bits (uint16 for F16 and BF16) as long as ops only move them; they become float32 where an
op computes or the type changes. A tile is a run of axis 0 that the ops can convert on its own. It is read, converted and
decoded once, however many outputs it has, and outputs of equal type are encoded once.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from ..quant import FORMATS, dequantize, quantize
from .errors import GgufxError, InputError
from .ops import Crop, Op, Shape, Split
from .plan import Region, TensorJob

# Bits of one element, for types that are moved without being computed with.
RAW = {"F32": np.uint32, "F16": np.uint16, "BF16": np.uint16, "F64": np.uint64, "I8": np.int8, "I16": np.int16,
       "I32": np.int32, "I64": np.int64, "U8": np.uint8, "BOOL": np.uint8, "F8_E4M3": np.uint8, "F8_E5M2": np.uint8}
FLOATS = ("F32", "F16", "BF16")
NO_CHECKSUM = -1  # no CRC-32 equals it

CHECK_AT_ONCE = 1 << 18  # elements whose values are looked at at a time: no second array of a tile's size


class Files(Protocol):
    """Positioned reads and writes on the files of a plan."""

    def read(self, file: int, offset: int, nbytes: int) -> np.ndarray:
        """uint8 [nbytes] from an input; StorageError or InputError where the file is not what was planned."""

    def write(self, file: int, offset: int, data: np.ndarray) -> None:
        """All of a contiguous array into an output."""

    def copy(self, source: tuple[int, int], target: tuple[int, int], nbytes: int) -> None:
        """Bytes from (input, offset) to (output, offset)."""


@dataclass(frozen=True)
class Tile:
    """Units `start` to `stop` of the `count` equal units that a job can be cut into."""

    start: int
    stop: int
    count: int

    def of(self, region: Region) -> Region:
        """The part of an array that belongs to this tile."""
        if self.count == 1:
            return region
        per_unit = region.shape[0] // self.count
        unit_bytes = region.nbytes // self.count
        shape = (per_unit * (self.stop - self.start), *region.shape[1:])
        return replace(region, offset=region.offset + unit_bytes * self.start, shape=shape)


def is_copy(job: TensorJob) -> bool:
    """The bytes stay as they are."""
    return not job.ops and job.sources[0].type == job.outputs[0].type and len(job.sources) == len(job.outputs) == 1


def shapes_through(ops: Sequence[Op], shapes: list[Shape]) -> list[Shape]:
    """The shapes behind a chain of ops. ValueError says what does not fit."""
    for op in ops:
        shapes = op.shape(shapes)
    return shapes


def by_address(job: TensorJob) -> tuple[TensorJob, ...]:
    """The same conversion in smaller jobs, where whole rows are split off, joined or cropped: that takes no work, only
    other addresses. What is left can be cut into tiles, however large the arrays are."""
    ops, sources, outputs = job.ops, job.sources, job.outputs
    if ops and isinstance(ops[0], Crop) and not ops[0].undo and _cuts_rows(ops[0], sources[0]):
        start, stop = _ends(ops[0], sources[0].shape[0])
        ops, sources = ops[1:], (_rows(sources[0], start, stop),)
    last = ops[-1] if ops else None
    if isinstance(last, Crop) and last.undo and outputs[0].type in RAW and _cuts_rows(last, outputs[0]):
        # The rows that are not written stay zero, as a new file is.
        start, stop = _ends(last, outputs[0].shape[0])
        ops, outputs = ops[:-1], (_rows(outputs[0], start, stop),)
    if len(ops) == 1 and isinstance(ops[0], Split):
        whole = (outputs if ops[0].undo else sources)[0]
        if _cuts_rows(ops[0], whole):
            parts = [_rows(whole, int(i[0]), int(i[-1]) + 1) for i in ops[0].index(whole.shape[0])]
            weights = job.weights or (None,) * len(outputs)
            pairs = (((s, p, weights[0]) for s, p in zip(sources, parts, strict=True)) if ops[0].undo
                     else zip(parts, outputs, weights, strict=True))
            return tuple(replace(job, sources=(s,), ops=(), outputs=(o,), weights=(w,)) for s, o, w in pairs)
    if not ops and len(sources) == len(outputs) == 1:
        sources, outputs = (_as_rows(sources[0]),), (_as_rows(outputs[0]),)
    return (replace(job, sources=sources, ops=ops, outputs=outputs),)


def _as_rows(region: Region) -> Region:
    return replace(region, shape=(math.prod(region.shape[:-1]), region.shape[-1])) if len(region.shape) > 2 else region


def _cuts_rows(op: Crop | Split, region: Region) -> bool:
    """The rows that the op selects are axis 0, and an address can be given for each of them."""
    shape = region.shape
    return bool(shape) and (len(shape) == 1 or (len(shape) == 2 and not op.vector)) and (
        len(shape) == 2 or region.type in RAW)


def _ends(op: Crop, rows: int) -> tuple[int, int]:
    return op.start, rows if op.stop is None else min(rows, op.stop)


def _rows(region: Region, start: int, stop: int) -> Region:
    row = region.nbytes // region.shape[0]
    return replace(region, offset=region.offset + start * row, shape=(stop - start, *region.shape[1:]))


def unit_count(job: TensorJob) -> int:
    """Into how many equal units the job can be cut."""
    shapes: list[Shape] = [s.shape for s in job.sources]
    count = math.gcd(*(_unit_rows(r) for r in (*job.sources, *job.outputs)))
    for op in job.ops:
        count = math.gcd(count, op.units(shapes))
        shapes = op.shape(shapes)
    return max(count, 1)


def _unit_rows(region: Region) -> int:
    if not region.shape:
        return 1
    block = FORMATS[region.type].block_size if len(region.shape) == 1 and region.type in FORMATS else 1
    return region.shape[0] // block


def memory(job: TensorJob) -> int:
    """Bytes that the whole job takes while it is converted: the stored forms, and float32 where it computes."""
    regions = (*job.sources, *job.outputs)
    stored = sum(r.nbytes for r in regions)
    raw = regions[0].type in RAW and all(op.moves for op in job.ops)
    if len({r.type for r in regions}) == 1 and (raw or not job.ops):
        return 2 * stored if job.ops else stored
    arrays = len(shapes_through(job.ops, [r.shape for r in job.sources]))
    return stored + 4 * sum(math.prod(r.shape) for r in (*job.sources, *job.outputs[:arrays]))


def tiles(job: TensorJob, budget: int, done: Iterable[Tile] = ()) -> Iterator[Tile]:
    """What is not `done` of the job, in pieces that take about `budget` bytes each, at least one unit each."""
    count = unit_count(job)
    step = max(1, budget * count // max(memory(job), 1))
    begin = 0
    for tile in (*sorted(done, key=lambda t: t.start), Tile(count, count, count)):
        for start in range(begin, tile.start, step):
            yield Tile(start, min(start + step, tile.start), count)
        begin = max(begin, tile.stop)


def run_tile(job: TensorJob, tile: Tile, files: Files, weights: Sequence[np.ndarray | None] = (), threads: int = 1,
             device: str = "cpu", failed: dict[int, GgufxError] | None = None) -> tuple[int, ...]:
    """Convert one tile and write it. The CRC-32 of what each output got; none for a copy, which its source proves.

    `weights`: float32 [cols] per output, or None; empty for all None. `failed`: if given, a file in which a value has no
    place is entered here with the error, and gets nothing from then on, instead of raising it.
    """
    sources = [tile.of(r) for r in job.sources]
    outputs = [tile.of(r) for r in job.outputs]
    if is_copy(job):
        files.copy((sources[0].file, sources[0].offset), (outputs[0].file, outputs[0].offset), sources[0].nbytes)
        return ()
    held = [_held(files.read(r.file, r.offset, r.nbytes), r) for r in sources]
    kind = sources[0].type
    for op in job.ops:
        if not op.moves or (kind not in RAW and not op.on_blocks):  # raw bits become values; float32 ones too
            held, kind = [floats(x, kind, threads, device) for x in held], "F32"
        held = op.forward(held)
        kind = op.emits or kind
    widen = len({r.type for r in outputs} - {*FLOATS, kind}) > 1
    arrays = [_Values(x, kind, widen, threads, device) for x in held]
    made: dict[tuple[object, ...], tuple[np.ndarray, int]] = {}
    checksums = [NO_CHECKSUM] * len(outputs)
    for i, region in enumerate(outputs):
        if failed and region.file in failed:
            continue
        key = (i % len(arrays), region.type, job.weights[i : i + 1])
        try:
            if key not in made:
                first = (region.offset - job.outputs[i].offset) * math.prod(region.shape[:-1]) // max(region.nbytes, 1)
                data = arrays[key[0]].encoded(job.name, first, region.type, weights[i] if weights else None)
                made[key] = data, zlib.crc32(data)
        except InputError as error:
            if failed is None:
                raise
            failed.setdefault(region.file, error)
            continue
        data, checksums[i] = made[key]
        files.write(region.file, region.offset, data)
    return tuple(checksums)


def _held(data: np.ndarray, region: Region) -> np.ndarray:
    """The array as raw bits; blocks of a quantized type as uint8 rows."""
    if region.type in RAW:
        return data.view(RAW[region.type]).reshape(region.shape or (1,))
    return data.reshape(*region.shape[:-1], -1)


def floats(x: np.ndarray, kind: str, threads: int = 1, device: str = "cpu") -> np.ndarray:
    """float32 values of raw bits or blocks."""
    if kind == "F32":
        return x.view(np.float32)
    if kind == "F64":
        return x.view(np.float64).astype(np.float32)
    rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1]).view(np.uint8)
    return dequantize(rows, kind, device=device, threads=threads).reshape(*x.shape[:-1], -1)


class _Values:
    """An array that the ops gave, in the forms that outputs are made of; each form is made once.

    `widen`: several quantized types are made of it, so narrow floats are widened once for all of them.
    """

    def __init__(self, x: np.ndarray, kind: str, widen: bool, threads: int, device: str) -> None:
        self.x, self.kind, self.widen = x, kind, widen
        self.threads, self.device = threads, device

    @cached_property
    def wide(self) -> np.ndarray:
        """float32 [rows, cols]."""
        values = np.ascontiguousarray(floats(self.x, self.kind, self.threads, self.device))
        return values.reshape(-1, values.shape[-1])

    @cached_property
    def rows(self) -> np.ndarray:
        """[rows, cols]: float32, float16, or bfloat16 as uint16; what is narrow stays so."""
        if self.kind not in ("F16", "BF16"):
            return self.wide
        rows = np.ascontiguousarray(self.x).reshape(-1, self.x.shape[-1])
        return rows.view(np.float16) if self.kind == "F16" else rows

    @cached_property
    def not_finite(self) -> tuple[int, int, np.floating] | None:
        return _first_unfit(self.rows, self.kind, "")

    def encoded(self, name: str, first: int, target: str, weights: np.ndarray | None) -> np.ndarray:
        """The bytes as type `target`, of an array that begins at row `first` of its tensor.

        InputError for NaN, infinity, and values that the target's 16-bit floats cannot hold.
        """
        if self.kind == target:
            return np.ascontiguousarray(self.x)
        if target not in ("F32", "BF16"):
            unfit = _first_unfit(self.rows, self.kind, target) if target == "F16" else self.not_finite
            if unfit is not None:
                row, col, value = unfit
                raise InputError(f"the value {value} in row {first + row}, column {col} has no place in {target}",
                                 tensor=name,
                                 hint="Choose bf16 if the value is large; if it is not finite, the model is damaged.")
        rows = self.wide if self.widen and target not in FLOATS else self.rows
        return quantize(rows, target, weights=weights, device=self.device, threads=self.threads,
                        source="BF16" if rows.dtype == np.uint16 else None)


def _first_unfit(rows: np.ndarray, kind: str, target: str) -> tuple[int, int, np.floating] | None:
    """Row, column and value of the first that has no place in the target."""
    step = max(1, CHECK_AT_ONCE // rows.shape[1])
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        bad = _unfit(part, kind, target)
        if bad.any():
            row, col = (int(i) for i in np.argwhere(bad)[0])
            value = (part[row, col].astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else part[row, col]
            return start + row, col, value
    return None


def _unfit(rows: np.ndarray, kind: str, target: str) -> np.ndarray:
    if kind == "BF16":
        # 65520 rounds to infinity in F16: 0x477f is the last bf16 below. All that is not finite lies above both.
        return (rows & 0x7FFF) > (0x477F if target == "F16" else 0x7F7F)
    with np.errstate(invalid="ignore"):  # signalling NaN
        return ~(np.abs(rows) < 65520) if target == "F16" else ~np.isfinite(rows)
