"""One of two checkpoints that are compared: its tensors under comparable names, to be read in any runs of elements.

A tensor is put together from the outputs of a plan's jobs, which are evaluated in memory as `execute` would write them;
of a GGUF file, or of a checkpoint compared by its own names, the jobs only read. Nothing is held but what is asked for.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...quant.formats import ELEMENT_TYPES, FORMATS
from ..io.files import open_regular
from ..io.gguf import GgufFile, planned_header
from ..io.tensors import StoredTensor
from ..io.values import Metadata, text_of
from ..ops import Shape
from ..plan.plan import ConversionPlan, InputFile, Region, TensorJob, numbered, region_bytes
from ..plan.tiles import RAW, Tile, by_address, memory, native_kind, unit_count
from ..planners.nvfp4_scales import Factors, read_factors
from ..planners.packed_sources import jobs_of, parts_of
from ..run.convert_tile import run_tile
from ..run.open_files import OpenFiles, OpenInput
from ..sources.hf_folder import Checkpoint
from ..sources.merged import MergedTensor
from ..sources.original.joined import JoinedTensor
from ..sources.packed.tensor import PackedTensor


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements `start` to `stop` of a tensor, in `units` equal runs: output number `output` of a job."""

    start: int
    stop: int
    job: TensorJob
    output: int
    units: int

    @property
    def unit(self) -> int:
        return (self.stop - self.start) // self.units

    @property
    def element_memory(self) -> int:
        """Bytes that an element takes while it is made."""
        return -(-memory(self.job) // (self.stop - self.start))


@dataclass(frozen=True)
class SideTensor:
    """`type`: as it is stored; `kind`: as `Side.read` gives it. `computed`: by more than moving elements."""

    name: str
    type: str
    shape: Shape
    kind: str
    pieces: tuple[Piece, ...]
    computed: bool = False
    data: np.ndarray | None = None  # the bytes of a tensor that stands in no file

    @property
    def count(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return region_bytes(self.type, self.shape) if _is_known(self.type) else self.count

    @property
    def cuts(self) -> np.ndarray:
        """int64: the elements before which the tensor may be cut, its end included."""
        runs = [np.arange(p.start, p.stop, p.unit) for p in self.pieces if p.stop > p.start]
        return np.concatenate([*runs, [self.count]]) if runs else np.unique([0, self.count])


@dataclass
class Side:
    """`names` "gguf" or "hf": in whose names the tensors are. `form`: checkpoint, gguf, adapter or gguf adapter."""

    path: Path
    form: str
    names: str
    tensors: dict[str, SideTensor]
    inputs: tuple[InputFile, ...]
    metadata: Metadata = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    _open: list[OpenInput] = field(default_factory=list, repr=False)

    def open(self, stack: ExitStack) -> None:
        """Open the files; they are closed with `stack`."""
        for planned in self.inputs:
            file, _ = stack.enter_context(open_regular(planned.path))
            self._open.append(OpenInput(file.fileno(), planned))
        self._files = OpenFiles(self._open, [])
        self.check()

    def check(self) -> None:
        """InputError if a file changed since it was planned."""
        for opened in self._open:
            opened.check()

    def read(self, tensor: SideTensor, start: int, stop: int) -> np.ndarray:
        """uint8: elements `start` to `stop`, both of them cuts of the tensor, in its `kind`."""
        if tensor.data is not None:
            width = tensor.data.nbytes // max(tensor.count, 1)
            return tensor.data[start * width : stop * width]
        parts = []
        for piece in _touched(tensor.pieces, start, stop):
            first = (max(start, piece.start) - piece.start) // piece.unit
            last = (min(stop, piece.stop) - piece.start) // piece.unit
            sink = _Sink(self._files)
            run_tile(piece.job, Tile(first, last, piece.units), sink)
            parts.append(sink.written[piece.output])
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, np.uint8)


@dataclass
class _Sink:
    """`device.Files` that keeps what is written, in the order of a job's outputs."""

    files: OpenFiles
    written: list[np.ndarray] = field(default_factory=list)

    def read(self, file: int, offset: int, data: np.ndarray) -> None:
        self.files.read(file, offset, data)

    def write(self, file: int, offset: int, data: np.ndarray) -> None:
        self.written.append(np.ascontiguousarray(data).reshape(-1).view(np.uint8))

    def copy(self, source: tuple[int, int], target: tuple[int, int], nbytes: int) -> None:
        self.written.append(np.empty(nbytes, np.uint8))
        self.files.read(*source, self.written[-1])


def of_gguf(model: GgufFile) -> Side:
    """A GGUF file by its own names."""
    files = numbered([model.path, *(t.file for t in model.tensors.values())])
    factors = read_factors(model)
    tensors = {t.name: _stored(t.name, t.type, t.shape, files[t.file], t.offset) if t.name not in factors.of else
               _multiplied(t, files[t.file], factors) for t in model.tensors.values() if t.name not in factors.names}
    keys = model.metadata
    adapter = text_of(keys, "general.type") == "adapter"
    return Side(model.path, "gguf adapter" if adapter else "gguf", "gguf", tensors, _inputs(files), keys)


def joined_keys(first: Metadata, *more: Metadata) -> Metadata:
    """The key-values of a model in several files: who made it, and of what type its files are, by the first."""
    others = {k: v for keys in more for k, v in keys.items() if not k.startswith("general.")}
    return {**others, **first} if others else first


def of_checkpoint(checkpoint: Checkpoint, form: str = "checkpoint") -> Side:
    """A checkpoint or adapter folder by its own names."""
    files = numbered(part.file for t in checkpoint.tensors.values() for part in parts_of(t))
    tensors = {t.name: _made(t, files) if isinstance(t, (PackedTensor, JoinedTensor, MergedTensor)) else
               _stored(t.name, t.type, t.shape, files[t.file], t.offset, t.nbytes) for t in checkpoint.tensors.values()}
    return Side(checkpoint.folder, form, "hf", tensors, _inputs(files), config=checkpoint.config,
                notes=tuple(checkpoint.notes))


def of_plan(path: Path, form: str, plan: ConversionPlan) -> Side:
    """What a plan would write, under the names that it gives: GGUF's, or HF's for a plan of a checkpoint."""
    if plan.direction == "gguf-to-hf":
        metadata: Metadata = {}
        regions = _planned_safetensors(plan)
    else:
        headers = [planned_header(output.head, output.size, path) for output in plan.outputs]
        metadata = joined_keys(*(header.metadata for header in headers))
        regions = {t.name: Region(number, t.offset, t.type, t.shape)
                   for number, header in enumerate(headers) for t in header.tensors.values()}
    tensors = _put_together(plan, regions)
    return Side(path, form, "hf" if plan.direction == "gguf-to-hf" else "gguf", tensors, plan.inputs, metadata,
                notes=plan.notes)


def _stored(name: str, kind: str, shape: Shape, file: int, offset: int, nbytes: int | None = None) -> SideTensor:
    """A tensor as it lies in a file. What has no whole bytes per element is read as bytes."""
    if not _is_known(kind):
        shape = (nbytes or 0,)
    region = Region(file, offset, kind if _is_known(kind) else "U8", _flat(shape))
    job = TensorJob(name, (region,), (), (region,))
    piece = Piece(0, prod(shape), job, 0, unit_count(job))
    return SideTensor(name, kind, shape, kind, (piece,) if prod(shape) else ())


def _multiplied(tensor: StoredTensor, file: int, factors: Factors) -> SideTensor:
    """An NVFP4 weight with the factors that stand beside it."""
    whole = Region(file, tensor.offset, tensor.type, tensor.shape)
    matrices = [whole.item(e) for e in range(tensor.shape[0])] if len(tensor.shape) == 3 else [whole]
    pieces, at = [], 0
    for number, region in enumerate(matrices):
        job = TensorJob(tensor.name, (region,), factors.ops((tensor.name,), number), (replace(region, type="F32"),))
        pieces.append(Piece(at, at + prod(region.shape), job, 0, unit_count(job)))
        at += prod(region.shape)
    return SideTensor(tensor.name, tensor.type, tensor.shape, "F32", tuple(pieces), True)


def _made(tensor: PackedTensor | JoinedTensor | MergedTensor, files: Mapping[Path, int]) -> SideTensor:
    """A weight that several stored tensors make."""
    kind = tensor.op.emits if isinstance(tensor, PackedTensor) else tensor.type
    pieces, at = [], 0
    for job in jobs_of(tensor.name, [tensor], files, (), [Region(0, 0, kind, tensor.shape)]):
        end = at + prod(job.outputs[0].shape)
        pieces.append(Piece(at, end, job, 0, unit_count(job)))
        at = end
    return SideTensor(tensor.name, kind, tensor.shape, kind, tuple(pieces))


def _is_known(kind: str) -> bool:
    return kind in FORMATS or kind in RAW


def _flat(shape: Shape) -> Shape:
    """As rows, so that it can be cut at any of them."""
    return (prod(shape[:-1]), shape[-1]) if len(shape) > 2 else shape or (1,)


def _inputs(paths: Iterable[Path]) -> tuple[InputFile, ...]:
    return tuple(InputFile.of(path) for path in paths)


def _planned_safetensors(plan: ConversionPlan) -> dict[str, Region]:
    """Where the tensors of a planned checkpoint will lie."""
    regions = {}
    for index, output in enumerate(plan.outputs):
        if output.path.suffix == ".safetensors":
            length = int.from_bytes(output.head[:8], "little")
            for name, entry in json.loads(output.head[8 : 8 + length]).items():
                if name != "__metadata__":
                    offset = 8 + length + entry["data_offsets"][0]
                    regions[name] = Region(index, offset, entry["dtype"], tuple(entry["shape"]))
    return regions


def _put_together(plan: ConversionPlan, regions: Mapping[str, Region]) -> dict[str, SideTensor]:
    """The planned tensors, each from the job outputs that lie in it, or from the head that holds it."""
    place = Places({name: (r.file, r.offset) for name, r in regions.items()})
    pieces: dict[str, list[Piece]] = {name: [] for name in regions}
    for job in (part for whole in plan.jobs for part in by_address(whole)):
        kind = native_kind(job)
        made = replace(job, outputs=tuple(replace(o, type=kind) for o in job.outputs), weights=())
        flat = tuple(replace(r, shape=_flat(r.shape)) for r in made.sources if isinstance(r, Region))
        if not job.ops and len(flat) == len(made.sources):
            made = replace(made, sources=flat, outputs=tuple(replace(r, shape=_flat(r.shape)) for r in made.outputs))
        units = unit_count(made)
        for number, output in enumerate(job.outputs):
            name = place.at(output.file, output.offset)
            region = regions[name]
            start = _elements(region.type, output.offset - region.offset)
            pieces[name].append(Piece(start, start + prod(output.shape), made, number, units))
    tensors = {}
    for name, region in regions.items():
        parts = sorted(pieces[name], key=lambda p: p.start)
        if not parts:
            head = plan.outputs[region.file].head
            data = np.frombuffer(head, np.uint8, region.nbytes, region.offset).copy() if region.offset < len(head) else None
            tensors[name] = SideTensor(name, region.type, region.shape, region.type, (), True, data)
            continue
        kinds = {p.job.outputs[p.output].type for p in parts}
        kind = kinds.pop() if len(kinds) == 1 else "F32"
        parts = [_as_kind(p, kind) for p in parts]
        computed = any(not op.moves for p in parts for op in p.job.ops)
        stored = parts[0].job.sources[0].type if computed else kind
        tensors[name] = SideTensor(name, stored, region.shape, kind, tuple(parts), computed)
    return tensors


def _as_kind(piece: Piece, kind: str) -> Piece:
    outputs = tuple(replace(o, type=kind) for o in piece.job.outputs)
    return piece if outputs == piece.job.outputs else replace(piece, job=replace(piece.job, outputs=outputs))


def _elements(kind: str, nbytes: int) -> int:
    if kind in RAW:
        return nbytes // ELEMENT_TYPES[kind].width
    return nbytes // FORMATS[kind].block_bytes * FORMATS[kind].block_size


def _touched(pieces: Sequence[Piece], start: int, stop: int) -> Sequence[Piece]:
    first = bisect_right(pieces, start, key=lambda p: p.stop)
    last = bisect_right(pieces, stop - 1, key=lambda p: p.start)
    return pieces[first:last]


class Places:
    """Which of some named things an address lies in; `begin`: the (file, offset) at which each begins."""

    def __init__(self, begin: Mapping[str, tuple[Any, int]]) -> None:
        self._sorted = sorted((file, offset, name) for name, (file, offset) in begin.items())

    def at(self, file: Any, offset: int) -> str:
        """The name of the last one that begins at or before the address."""
        return self._sorted[bisect_right(self._sorted, (file, offset), key=lambda b: b[:2]) - 1][2]
