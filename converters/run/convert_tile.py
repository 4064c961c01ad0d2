"""Conversion of one tile of a job: read, apply the ops, encode, write.

Values stay raw bits as long as ops only move them; they become float32 where an op computes or the type changes. A tile
is read, converted and decoded once, however many outputs it has, and outputs of equal type are encoded once.

What has no place in its type is refused by name and place, on every device: the values are looked at before they are
encoded, and the scales of the blocks that came out.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ...quant import SOURCES
from ...quant.formats import ELEMENT_TYPES, FLOATS, FORMATS
from ...quant.limits import first_unsound, least_bits
from ..errors import GgufxError, InputError, UnsupportedError
from ..ops import Array
from ..plan.plan import Region, TensorJob
from ..plan.tiles import Tile, is_copy, kind_after, needs_floats
from .device import Cpu, Device, Files
from .losses import Sums, sums_of

NO_CHECKSUM = -1  # no CRC-32 equals it
PIECE = 1 << 20  # bytes of a copy that are looked at at a time: few calls, whose result is still in a cache

_Made = tuple[int, str, tuple[tuple[str, int] | None, ...]]  # number of an array, type, importance weights
Unfit = tuple[int, np.floating]  # a number by its place in an array, counted over its rows, and its value


def run_tile(job: TensorJob, tile: Tile, files: Files, weights: Sequence[np.ndarray | None] = (),
             device: Device | None = None, failed: dict[int, GgufxError] | None = None,
             sound: bool = False, sums: dict[int, Sums] | None = None) -> tuple[int, ...]:
    """Convert one tile and write it. The CRC-32 of what each output got; none for a copy, which its source proves.

    `weights`: float32 [cols] per output, or None; empty for all None. `device`: where it is converted, by default on the
    calling thread. `failed`: if given, a file in which a value has no place is entered here with the error, and gets
    nothing from then on, instead of raising it. `sound`: NaN has no place in any type, nor have blocks that decode to it;
    otherwise a type that holds what the source holds gets it. `sums`: if given, what each output lost is entered here, by its
    number, but for those of the source's type, which lose nothing.

    InputError for a value that has no place in the type of an output. UnsupportedError for what cannot be computed: a type
    without a decoder, values that an op is not defined for.
    """
    try:
        with np.errstate(all="ignore"):
            return _run_tile(job, tile, files, weights, device or Cpu(), failed, sound, sums)
    except ValueError as error:
        raise UnsupportedError(str(error), tensor=job.name) from error


def _run_tile(job: TensorJob, tile: Tile, files: Files, weights: Sequence[np.ndarray | None], device: Device,
              failed: dict[int, GgufxError] | None, sound: bool, lost: dict[int, Sums] | None) -> tuple[int, ...]:
    sources = [tile.of(r) for r in job.sources]
    outputs = [tile.of(r) for r in job.outputs]

    def refuse(i: int, at: int, value: np.floating) -> None:
        error = _no_place(job, i, outputs[i], at, value)
        if failed is None:
            raise error
        failed.setdefault(outputs[i].file, error)

    if is_copy(job):
        (source,), (output,) = sources, outputs
        if not isinstance(source, Region):
            raise TypeError("what is unpacked is no copy")
        if not sound or source.type not in FORMATS:  # whole numbers and bytes: of positions, of packed weights
            files.copy((source.file, source.offset), (output.file, output.offset), source.nbytes)
        elif unfit := _copy_sound(source, output, files):
            refuse(0, *unfit)
        return ()
    held = [device.read(files, r) for r in sources]
    kind = sources[0].type
    if {kind} < {r.type for r in sources} <= {*FLOATS, *FORMATS}:  # of several types, blocks too
        held, kind = [device.floats(x, r.type) for x, r in zip(held, sources, strict=True)], "F32"
    for op in job.ops:
        if needs_floats(op, kind):
            held = [device.floats(x, kind) for x in held]
        held = op.forward(held)
        kind = kind_after(op, kind)
    widen = len({r.type for r in outputs} - {*SOURCES, kind}) > 1
    arrays = [_Values(x, kind, widen, device) for x in held]
    keys: list[_Made] = [(i % len(arrays), r.type, job.weights[i : i + 1]) for i, r in enumerate(outputs)]
    made: dict[_Made, np.ndarray] = {}
    for i, (key, region) in enumerate(zip(keys, outputs, strict=True)):
        if key in made or (failed and region.file in failed):
            continue
        values = arrays[key[0]]
        if unfit := values.unfit(region.type, sound):
            refuse(i, *unfit)
        else:
            made[key] = device.fetch(values.encoded(region.type, weights[i] if weights else None))
    device.wait()
    sums = {key: zlib.crc32(data) for key, data in made.items()}
    unsound = {key: arrays[key[0]].unsound(data, key[1]) for key, data in made.items() if sound or key[1] != kind}
    checksums = [NO_CHECKSUM] * len(outputs)
    losses: dict[_Made, Sums] = {}
    for i, (key, region) in enumerate(zip(keys, outputs, strict=True)):
        if key not in made or (failed and region.file in failed):
            continue
        if unfit := unsound.get(key):
            refuse(i, *unfit)
            continue
        files.write(region.file, region.offset, made[key])
        checksums[i] = sums[key]
        if lost is not None and key[1] != kind:
            if key not in losses:
                losses[key] = arrays[key[0]].loss(made[key], key[1], weights[i] if weights else None, len(region.shape) < 2)
            lost[i] = losses[key]
    return tuple(checksums)


def _copy_sound(source: Region, output: Region, files: Files) -> Unfit | None:
    """A copy in pieces that stay in the processor's cache, up to one that holds NaN or a block that decodes to it."""
    kind = source.type
    unit = FORMATS[kind].block_bytes
    buffer = np.empty(PIECE - PIECE % unit, np.uint8)
    for start in range(0, source.nbytes, len(buffer)):
        piece = buffer[: source.nbytes - start]
        files.read(source.file, source.offset + start, piece)
        values = _Values((piece.view(f"u{unit}") if kind in FLOATS else piece)[None], kind, False, Cpu())
        if unfit := values.unfit(kind, True) or values.unsound(piece, kind):
            return start // unit * FORMATS[kind].block_size + unfit[0], unfit[1]
        files.write(output.file, output.offset + start, piece)
    return None


def _no_place(job: TensorJob, output: int, part: Region, at: int, value: np.floating) -> InputError:
    """Of element `at` of a part of an output: its row, counted over all axes but the last, and its column."""
    format, whole = FORMATS[part.type], job.outputs[output]
    before = (part.offset - whole.offset) // format.block_bytes * format.block_size
    row, col = divmod(before + at, (whole.shape or (1,))[-1])
    if np.isnan(value):
        hint = "The model is damaged: take a sound copy of it."
    elif np.isinf(value):
        hint = "If infinity is meant, choose bf16 or f32; if not, the model is damaged."
    elif part.type in FLOATS:
        hint = "Choose a type that reaches further: bf16 or f32."
    else:
        hint = "Choose a type that reaches further, for the file or for this tensor alone (--tensor-type), such as bf16."
    where = f"row {row}, column {col}"
    return InputError(f"the value {value:.7g} in {where} has no place in {part.type}", tensor=job.name, hint=hint)


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

    @property
    def kind_of_rows(self) -> str:
        return self.kind if self.kind in SOURCES else "F32"

    @cached_property
    def wide(self) -> Array:
        """float32 [rows, cols]."""
        if self.kind not in ("F16", "BF16"):
            return self.rows
        return self.device.rows(self.device.floats(self.x, self.kind), "F32")

    @cached_property
    def peak(self) -> int:
        """The greatest magnitude of `rows`, as bits."""
        return self.device.peak(self.rows)

    def unfit(self, target: str, sound: bool) -> Unfit | None:
        """The first number that has no place in `target`.

        Infinity has one where it is kept, or becomes a wide float; so has NaN, unless all is to be `sound`.
        """
        same = self.kind == target
        if same and (not sound or target not in FLOATS):
            return None
        infinity = ELEMENT_TYPES[self.kind_of_rows].infinity
        least = infinity if same else least_bits(target, self.kind_of_rows)
        kept = same or (target in ("F32", "BF16") and self.kind != "F64")
        if self.peak < least + (kept and least == infinity):
            return None
        magnitudes = self._bits(0, None) & (1 << ELEMENT_TYPES[self.kind_of_rows].bits - 1) - 1
        wrong = magnitudes >= least
        if kept:
            wrong &= magnitudes != infinity
            if not sound:
                wrong &= magnitudes < infinity
        places = np.flatnonzero(wrong)
        return (at := int(places[0]), self._floats(at, at + 1)[0]) if places.size else None

    def unsound(self, data: np.ndarray, target: str) -> Unfit | None:
        """What made the first block among `data`, of type `target`, decode to infinity or NaN: its greatest number."""
        block = first_unsound(data, target)
        if block is None:
            return None
        size = FORMATS[target].block_size
        values = self._floats(block * size, (block + 1) * size)
        at = int(np.abs(values).argmax())  # NaN, where the source has it
        return block * size + at, values[at]

    def loss(self, data: np.ndarray, target: str, weights: np.ndarray | None, vector: bool) -> Sums:
        """What the numbers lost in `data`, of type `target`; by the CPU, so that the digits are the same on all devices."""
        shape = tuple(self.rows.shape)
        return sums_of(self._bits(0, None).reshape(shape), self.kind_of_rows, data, target, weights, vector)

    def _bits(self, start: int, stop: int | None) -> np.ndarray:
        """Numbers as they are, counted over rows, in this machine's memory."""
        bits = self.device.fetch(self.device.bits(self.rows).reshape(-1)[start:stop])
        self.device.wait()
        return bits

    def _floats(self, start: int, stop: int) -> np.ndarray:
        return Cpu().floats(self._bits(start, stop)[None], self.kind_of_rows)[0]

    def encoded(self, target: str, weights: np.ndarray | None) -> Array:
        """The bytes as type `target`."""
        if self.kind == target:
            return self.x
        return self.device.quantize(self.wide if self.widen and target not in SOURCES else self.rows, target, weights)
