"""Devices: where a tile's arrays are while it is converted, and what computes on them. The CPU; a GPU is engines/cuda.py.

An array holds raw bits as long as ops only move them: whole numbers as wide as the elements. Blocks are rows of uint8.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from ...quant import ELEMENT_TYPES, dequantize, quantize
from ...quant.formats import FLOATS
from ..ops import Array
from ..ops.arrays import contiguous
from ..ops.unpack import Window
from ..plan.plan import Merged, Packed, Region, Source
from ..plan.tiles import RAW

CACHED = 1 << 16  # numbers that stay in the second-level cache between two looks at them


class Files(Protocol):
    """Positioned reads and writes on the files of a plan."""

    def read(self, file: int, offset: int, data: np.ndarray) -> None:
        """Fill uint8 [n] from an input; StorageError or InputError where the file is not what was planned."""

    def write(self, file: int, offset: int, data: np.ndarray) -> None:
        """All of a contiguous array into an output."""

    def copy(self, source: tuple[int, int], target: tuple[int, int], nbytes: int) -> None:
        """Bytes from (input, offset) to (output, offset)."""


def read_columns(files: Files, region: Region, start: int, out: np.ndarray) -> None:
    """Columns of a matrix of raw bits from `start` on into `out` [rows, columns], row by row."""
    width = ELEMENT_TYPES[region.type].width
    step = region.shape[1] * width
    for r, row in enumerate(out):
        files.read(region.file, region.offset + r * step + start * width, row.view(np.uint8))


def read_window(device: Device, files: Files, source: Source, window: Window | None) -> Array:
    """What an op needs of a stored array, where the device computes; floats as float32."""
    if window is None:
        x = device.read(files, source)
    elif window.axis == 0:
        x = device.read(files, source.rows(window.start, window.stop))
    elif isinstance(source, Region):
        x = device.columns(files, source, window.start, window.stop)
    else:
        x = contiguous(device.read(files, source)[:, window.start : window.stop])
    return device.floats(x, source.type) if source.type in FLOATS else x


class Device(Protocol):
    """What the conversion of a tile asks of the place where it happens. `kind` is a type's name, "BF16" or "Q4_K"."""

    def read(self, files: Files, source: Source) -> Array:
        """An array of an input: raw bits in the source's shape, or blocks uint8 [..., row_bytes]."""

    def columns(self, files: Files, region: Region, start: int, stop: int) -> Array:
        """Columns `start` to `stop` of a matrix of raw bits."""

    def floats(self, x: Array, kind: str) -> Array:
        """float32 values of raw bits or blocks."""

    def rows(self, x: Array, kind: str) -> Array:
        """[rows, cols] as `quantize` takes it: float32, or the 16 bits of F16 and BF16 as they are."""

    def bits(self, rows: Array) -> Array:
        """The same elements as whole numbers."""

    def peak(self, rows: Array) -> int:
        """The greatest of them without their signs, as a whole number; 0 of none. NaN is greater than infinity."""

    def quantize(self, rows: Array, target: str, weights: np.ndarray | None) -> Array:
        """uint8 [rows, row_bytes]: the blocks of what `rows` gave."""

    def fetch(self, x: Array) -> np.ndarray:
        """The array, contiguous, in this machine's memory; it is there after `wait`."""

    def wait(self) -> None:
        """Until all that was asked for is done."""


class Cpu:
    """This machine's memory; kernels share `threads` threads."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads

    def read(self, files: Files, source: Source) -> np.ndarray:
        if isinstance(source, Packed):
            return self._unpacked(files, source)
        if isinstance(source, Merged):
            return self._merged(files, source)
        region = source
        data = np.empty(region.nbytes, np.uint8)
        files.read(region.file, region.offset, data)
        if region.type in RAW:
            return data.view(f"u{ELEMENT_TYPES[region.type].width}").reshape(region.shape or (1,))
        return data.reshape(*region.shape[:-1], -1)

    def _unpacked(self, files: Files, packed: Packed) -> np.ndarray:
        """The bits of what the stored arrays make."""
        if packed.count is not None and not packed.flat:
            return np.stack([self._unpacked(files, packed.item(e)) for e in range(packed.count)])
        (made,) = packed.op.forward(self._windows(files, packed))
        return made.view(np.uint32).reshape(packed.shape) if packed.type == "F32" else made

    def _merged(self, files: Files, merged: Merged) -> np.ndarray:
        """The bits of a weight with its updates."""
        base = self.floats(self.read(files, merged.base), merged.base.type)
        (made,) = merged.op.forward([base, *self._windows(files, merged)])
        return made

    def _windows(self, files: Files, source: Packed | Merged) -> list[np.ndarray]:
        """What an op needs of its stored arrays; floats as float32."""
        windows = source.op.windows([r.shape for r in source.parts])
        return [read_window(self, files, part, window) for part, window in zip(source.parts, windows, strict=True)]

    def columns(self, files: Files, region: Region, start: int, stop: int) -> np.ndarray:
        out = np.empty((region.shape[0], stop - start), f"u{ELEMENT_TYPES[region.type].width}")
        read_columns(files, region, start, out)
        return out

    def floats(self, x: np.ndarray, kind: str) -> np.ndarray:
        if kind == "F32":
            return x.view(np.float32)
        if kind == "F64":
            with np.errstate(over="ignore", invalid="ignore"):  # `encoded` refuses what float32 does not reach
                return x.view(np.float64).astype(np.float32)
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[-1]).view(np.uint8)
        return dequantize(rows, kind, threads=self.threads).reshape(*x.shape[:-1], -1)

    def rows(self, x: np.ndarray, kind: str) -> np.ndarray:
        values = np.ascontiguousarray(x if kind in ("F16", "BF16") else self.floats(x, kind))
        rows = values.reshape(-1, values.shape[-1])
        return rows.view(np.float16) if kind == "F16" else rows

    def bits(self, rows: np.ndarray) -> np.ndarray:
        return rows.view(f"u{rows.itemsize}")

    def peak(self, rows: np.ndarray) -> int:
        bits, peak, signless = self.bits(rows).reshape(-1), 0, (1 << 8 * rows.itemsize - 1) - 1
        for start in range(0, bits.size, CACHED):
            part = bits[start : start + CACHED]
            # As signed numbers the greatest positive one leads, as unsigned ones the negative one farthest from zero.
            peak = max(peak, int(part.view(f"i{rows.itemsize}").max()), int(part.max()) & signless)
        return peak

    def quantize(self, rows: np.ndarray, target: str, weights: np.ndarray | None) -> np.ndarray:
        return quantize(rows, target, weights, threads=self.threads, source="BF16" if rows.dtype == np.uint16 else None)

    def fetch(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x)

    def wait(self) -> None:
        pass
