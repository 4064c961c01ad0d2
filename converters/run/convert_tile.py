"""Conversion of one tile of a job: read, apply the ops, encode, write.

Values stay raw bits as long as ops only move them; they become float32 where an op computes or the type changes. A tile
is read, converted and decoded once, however many outputs it has, and outputs of equal type are encoded once.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ..errors import GgufxError, InputError, UnsupportedError
from ..ops import Array
from ..plan.plan import TensorJob
from ..plan.tiles import Tile, is_copy, kind_after, needs_floats
from .device import Cpu, Device, Files

FLOATS = ("F32", "F16", "BF16")
NO_CHECKSUM = -1  # no CRC-32 equals it

# Bits of a magnitude, of the least that is not finite, and of the least that rounds to infinity as F16 (65520).
MAGNITUDES = {"F32": (0x7FFFFFFF, 0x7F800000, 0x477FF000), "BF16": (0x7FFF, 0x7F80, 0x4780), "F16": (0x7FFF, 0x7C00, 0x7C00)}


def run_tile(job: TensorJob, tile: Tile, files: Files, weights: Sequence[np.ndarray | None] = (),
             device: Device | None = None, failed: dict[int, GgufxError] | None = None) -> tuple[int, ...]:
    """Convert one tile and write it. The CRC-32 of what each output got; none for a copy, which its source proves.

    `weights`: float32 [cols] per output, or None; empty for all None. `device`: where it is converted, by default on the
    calling thread. `failed`: if given, a file in which a value has no place is entered here with the error, and gets
    nothing from then on, instead of raising it.

    UnsupportedError for what cannot be computed: a type without a decoder, values that an op is not defined for.
    """
    try:
        with np.errstate(all="ignore"):
            return _run_tile(job, tile, files, weights, device or Cpu(), failed)
    except ValueError as error:
        raise UnsupportedError(str(error), tensor=job.name) from error


def _run_tile(job: TensorJob, tile: Tile, files: Files, weights: Sequence[np.ndarray | None], device: Device,
              failed: dict[int, GgufxError] | None) -> tuple[int, ...]:
    sources = [tile.of(r) for r in job.sources]
    outputs = [tile.of(r) for r in job.outputs]
    if is_copy(job):
        files.copy((sources[0].file, sources[0].offset), (outputs[0].file, outputs[0].offset), sources[0].nbytes)
        return ()
    held = [device.read(files, r) for r in sources]
    kind = sources[0].type
    for op in job.ops:
        if needs_floats(op, kind):
            held = [device.floats(x, kind) for x in held]
        held = op.forward(held)
        kind = kind_after(op, kind)
    widen = len({r.type for r in outputs} - {*FLOATS, kind}) > 1
    arrays = [_Values(x, kind, widen, device) for x in held]
    keys = [(i % len(arrays), r.type, job.weights[i : i + 1]) for i, r in enumerate(outputs)]
    made: dict[tuple[object, ...], np.ndarray] = {}
    for i, (key, region) in enumerate(zip(keys, outputs, strict=True)):
        if key in made or (failed and region.file in failed):
            continue
        first = (region.offset - job.outputs[i].offset) * math.prod(region.shape[:-1]) // max(region.nbytes, 1)
        try:
            made[key] = device.fetch(arrays[key[0]].encoded(job.name, first, region.type, weights[i] if weights else None))
        except InputError as error:
            if failed is None:
                raise
            failed.setdefault(region.file, error)
    device.wait()
    sums = {key: zlib.crc32(data) for key, data in made.items()}
    checksums = [NO_CHECKSUM] * len(outputs)
    for i, (key, region) in enumerate(zip(keys, outputs, strict=True)):
        if key in made and not (failed and region.file in failed):
            files.write(region.file, region.offset, made[key])
            checksums[i] = sums[key]
    return tuple(checksums)


class _Values:
    """An array that the ops gave, in the forms that outputs are made of; each form is made once.

    `widen`: several quantized types are made of it, so narrow floats are widened once for all of them.
    """

    def __init__(self, x: Array, kind: str, widen: bool, device: Device) -> None:
        self.x, self.kind, self.widen, self.device = x, kind, widen, device

    @cached_property
    def rows(self) -> Array:
        """[rows, cols]; what is narrow stays so."""
        return self.device.rows(self.x, self.kind)

    @cached_property
    def wide(self) -> Array:
        """float32 [rows, cols]."""
        if self.kind not in ("F16", "BF16"):
            return self.rows
        return self.device.rows(self.device.floats(self.x, self.kind), "F32")

    @cached_property
    def not_finite(self) -> tuple[int, int, np.floating] | None:
        return self._first_unfit(1)

    def encoded(self, name: str, first: int, target: str, weights: np.ndarray | None) -> Array:
        """The bytes as type `target`, of an array that begins at row `first` of its tensor.

        InputError for NaN, infinity, and values that the target's 16-bit floats, or float32, cannot hold.
        """
        if self.kind == target:
            return self.x
        if target not in ("F32", "BF16") or self.kind == "F64":
            unfit = self._first_unfit(2) if target == "F16" else self.not_finite
            if unfit is not None:
                row, col, value = unfit
                raise InputError(f"the value {value} in row {first + row}, column {col} has no place in {target}",
                                 tensor=name,
                                 hint="Choose bf16 if the value is large; if it is not finite, the model is damaged.")
        return self.device.quantize(self.wide if self.widen and target not in FLOATS else self.rows, target, weights)

    def _first_unfit(self, limit: int) -> tuple[int, int, np.floating] | None:
        """Row, column and value of the first number that reaches a limit, the 1st or 2nd of MAGNITUDES."""
        kind = self.kind if self.kind in FLOATS else "F32"
        mask, least = MAGNITUDES[kind][0], MAGNITUDES[kind][limit]
        bits = self.device.bits(self.rows)
        step = max(1, self.device.scan_elements // bits.shape[1])
        for start in range(0, len(bits), step):
            part = bits[start : start + step]
            if not ((part & mask) >= least).any():
                continue
            here = self.device.fetch(part)
            self.device.wait()
            row, col = (int(i) for i in np.argwhere((here & mask) >= least)[0])
            return start + row, col, Cpu().floats(here[row : row + 1, col : col + 1], kind)[0, 0]
        return None
