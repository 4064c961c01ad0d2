"""One job of a plan, cut into tiles that fit the memory budget: read, apply the ops, encode, write.

Array values are held as raw bits (uint16 for F16 and BF16) as long as ops only move them; they become float32 where an
op computes or the type changes. A tile is a run of axis 0 that the ops can convert on its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..quant import dequantize, quantize
from .errors import InputError
from .ops import Op, Shape
from .plan import Region, TensorJob

# Bits of one element, for types that are moved without being computed with.
RAW = {"F32": np.uint32, "F16": np.uint16, "BF16": np.uint16, "F64": np.uint64, "I8": np.int8, "I16": np.int16,
       "I32": np.int32, "I64": np.int64, "U8": np.uint8, "BOOL": np.uint8, "F8_E4M3": np.uint8, "F8_E5M2": np.uint8}


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


def tiles(job: TensorJob, budget: int) -> Iterator[Tile]:
    """The job in pieces that take about `budget` bytes each while they are converted, at least one unit each."""
    shapes: list[Shape] = [s.shape for s in job.sources]
    count = math.gcd(*(s[0] if s else 1 for s in shapes), *(o.shape[0] if o.shape else 1 for o in job.outputs))
    for op in job.ops:
        count = math.gcd(count, op.units(shapes))
        shapes = op.shape(shapes)
    # float32 in and out beside the stored forms: what a unit takes at most.
    elements = sum(math.prod(r.shape) for r in (*job.sources, *job.outputs))
    stored = sum(r.nbytes for r in (*job.sources, *job.outputs))
    unit = max(1, (stored + 4 * elements) // max(count, 1))
    step = max(1, budget // unit)
    for start in range(0, count, step):
        yield Tile(start, min(start + step, count), count)


def run_tile(job: TensorJob, tile: Tile, files: Files, weights: np.ndarray | None, threads: int = 1,
             device: str = "cpu") -> int:
    """Convert one tile and write it; the number of bytes written."""
    sources = [tile.of(r) for r in job.sources]
    outputs = [tile.of(r) for r in job.outputs]
    if is_copy(job):
        files.copy((sources[0].file, sources[0].offset), (outputs[0].file, outputs[0].offset), sources[0].nbytes)
        return outputs[0].nbytes
    held = [_held(files.read(r.file, r.offset, r.nbytes), r) for r in sources]
    kind = sources[0].type
    for op in job.ops:
        if not op.moves and kind != "F32":
            held, kind = [floats(x, kind, threads, device) for x in held], "F32"
        held = op.forward(held)
        kind = op.emits or kind
    for array, region in zip(held, outputs, strict=True):
        files.write(region.file, region.offset, _encoded(job.name, array, kind, region, weights, threads, device))
    return sum(r.nbytes for r in outputs)


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


def _encoded(name: str, x: np.ndarray, kind: str, region: Region, weights: np.ndarray | None, threads: int,
             device: str) -> np.ndarray:
    """The bytes of the output region."""
    if kind == region.type:
        return np.ascontiguousarray(x)
    if kind in ("F16", "BF16"):
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1])
        rows = rows.view(np.float16) if kind == "F16" else rows
    else:
        rows = np.ascontiguousarray(floats(x, kind, threads, device))
        rows = rows.reshape(-1, rows.shape[-1])
    if region.type not in ("F32", "BF16"):
        _refuse_unfit(name, rows, kind, region.type)
    return quantize(rows, region.type, weights=weights, device=device, threads=threads,
                    source="BF16" if kind == "BF16" else None)


def _refuse_unfit(name: str, rows: np.ndarray, kind: str, target: str) -> None:
    """InputError for NaN, infinity, and values that the target's 16-bit floats cannot hold."""
    if kind == "BF16":
        bad = (rows & 0x7F80) == 0x7F80
        if target == "F16" and not bad.any():  # 65520 rounds to infinity in F16: 0x477f is the last bf16 below
            bad = (rows & 0x7FFF) > 0x477F
    else:
        with np.errstate(invalid="ignore"):
            bad = ~(np.abs(rows) < 65520) if target == "F16" else ~np.isfinite(rows)
    if bad.any():
        row, col = (int(i) for i in np.argwhere(bad)[0])
        value = (rows[row, col].astype(np.uint32) << 16).view(np.float32) if kind == "BF16" else rows[row, col]
        raise InputError(f"the value {value} in row {row}, column {col} has no place in {target}", tensor=name,
                         hint="Choose bf16 if the value is large; if it is not finite, the model is damaged.")
