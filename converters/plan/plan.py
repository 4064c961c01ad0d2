"""A conversion as pure data: what is read, what is done to it, and where each byte of the result goes.

A plan is made from headers alone, before a byte is written. It can be printed (`--dry-run`), stored as JSON, compared
and hashed; executing it is a map over independent jobs, in any order.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...quant.formats import ELEMENT_TYPES, FORMATS
from ..io.ranges import elsewhere
from ..notes import Note
from ..ops import Merge, Op, Shape, Unpack, op_from_json


def region_bytes(type_name: str, shape: Shape) -> int:
    """Bytes of an array of this tensor type; ValueError where a row is not a whole number of blocks, or of bytes."""
    if type_name in ELEMENT_TYPES:
        return ELEMENT_TYPES[type_name].nbytes(prod(shape))
    return prod(shape[:-1]) * FORMATS[type_name].row_bytes(shape[-1] if shape else 1)


@dataclass(frozen=True, slots=True)
class Region:
    """An array in a file: `file` is an index into the plan's inputs or outputs, `shape` is outermost first."""

    file: int
    offset: int
    type: str
    shape: Shape

    @property
    def nbytes(self) -> int:
        return region_bytes(self.type, self.shape)

    @property
    def regions(self) -> tuple[Region, ...]:
        """What is read of it."""
        return (self,)

    def rows(self, start: int, stop: int) -> Region:
        """Positions `start` to `stop` of axis 0; of blocks in one row, those of whole blocks."""
        first = self.nbytes * start // self.shape[0]
        return replace(self, offset=self.offset + first, shape=(stop - start, *self.shape[1:]))

    def item(self, number: int) -> Region:
        """One array of those along axis 0."""
        return replace(self.rows(number, number + 1), shape=self.shape[1:])

    def to_json(self) -> dict[str, Any]:
        # Not asdict(): a plan may hold hundreds of thousands of regions, and that copies each deeply.
        return {"file": self.file, "offset": self.offset, "type": self.type, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class Packed:
    """An array that several stored ones make: `op` of the `parts`, which stay whole. With `count`, a stack of that many
    matrices, each of which has parts of its own, or all of them (`flat`) are packed as one."""

    parts: tuple[Region, ...]
    op: Unpack
    count: int | None = None
    flat: bool = False

    @property
    def type(self) -> str:
        return self.op.emits

    @property
    def shape(self) -> Shape:
        if self.flat and self.count is not None:
            return self.count, self.op.size[0] // self.count, self.op.size[1]
        return self.op.size if self.count is None else (self.count, *self.op.size)

    @property
    def file(self) -> int:
        return self.parts[0].file

    @property
    def offset(self) -> int:
        return self.parts[0].offset

    @property
    def nbytes(self) -> int:
        """Of its parts that are read; of those that are read by columns, those of the columns."""
        if self.count is not None and not self.flat:
            return sum(r.nbytes for r in self.parts)
        windows = self.op.windows([r.shape for r in self.parts])
        return sum(r.nbytes if w is None else r.nbytes * (w.stop - w.start) // max(r.shape[w.axis], 1)
                   for r, w in zip(self.parts, windows, strict=True))

    @property
    def regions(self) -> tuple[Region, ...]:
        return self.parts

    def rows(self, start: int, stop: int) -> Packed:
        """As `Region.rows`."""
        if self.count is None:
            return replace(self, op=self.op.rows(start, stop))
        if self.flat:
            each = self.shape[1]
            return replace(self, op=self.op.rows(each * start, each * stop), count=stop - start)
        return replace(self, parts=tuple(r.rows(start, stop) for r in self.parts), count=stop - start)

    def item(self, number: int) -> Packed:
        """As `Region.item`, of a stack."""
        if self.flat:
            return replace(self.rows(number, number + 1), count=None, flat=False)
        return replace(self, parts=tuple(r.item(number) for r in self.parts), count=None)

    def to_json(self) -> dict[str, Any]:
        return {"parts": [r.to_json() for r in self.parts], "op": self.op.to_json(), "count": self.count,
                "flat": self.flat}


@dataclass(frozen=True, slots=True)
class Merged:
    """A weight that the updates of adapters are merged into: `op` of the `base` and the `parts`, which stay whole."""

    base: Region | Packed
    parts: tuple[Region | Packed, ...]
    op: Merge

    @property
    def type(self) -> str:
        return self.op.kind

    @property
    def shape(self) -> Shape:
        return self.op.size

    @property
    def file(self) -> int:
        return self.base.file

    @property
    def offset(self) -> int:
        return self.base.offset

    @property
    def nbytes(self) -> int:
        """Of the weight and of its parts that are read."""
        windows = self.op.windows([r.shape for r in self.parts])
        return self.base.nbytes + sum(r.nbytes if w is None else r.nbytes * (w.stop - w.start) // max(r.shape[w.axis], 1)
                                      for r, w in zip(self.parts, windows, strict=True))

    @property
    def regions(self) -> tuple[Region, ...]:
        return *self.base.regions, *(region for part in self.parts for region in part.regions)

    def rows(self, start: int, stop: int) -> Merged:
        """As `Region.rows`."""
        return replace(self, base=self.base.rows(start, stop), op=self.op.rows(start, stop))

    def item(self, number: int) -> Merged:
        """As `Region.item`, of a stack."""
        return replace(self, base=self.base.item(number), op=self.op.item(number))

    def to_json(self) -> dict[str, Any]:
        return {"base": self.base.to_json(), "parts": [r.to_json() for r in self.parts], "op": self.op.to_json()}


Source = Region | Packed | Merged


@dataclass(frozen=True, slots=True)
class TensorJob:
    """Read `sources`, apply `ops`, encode as each output's type, write. Jobs share nothing.

    Where the ops give n arrays, `outputs[i]` is made of array i % n: one file's outputs follow another's.
    `weights`: the importance weights of each output's columns, as (entry, index) in the plan's imatrix; empty without.
    """

    name: str
    sources: tuple[Source, ...]
    ops: tuple[Op, ...]
    outputs: tuple[Region, ...]
    weights: tuple[tuple[str, int] | None, ...] = ()


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file the jobs read. Size and modification time tell whether it is still the one that was planned."""

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> InputFile:
        if (there := elsewhere(path)) is not None:
            return cls(path, there.size, 0)
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns)


def numbered(files: Iterable[Path]) -> dict[Path, int]:
    """Each file once, with its number among a plan's inputs, by which regions name it."""
    return {path: number for number, path in enumerate(dict.fromkeys(files))}


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file of the result: `head` at offset 0, `pieces` at theirs, jobs fill the rest (else zeros).

    `set`: number of the set that it is part of. A set is what is of use only as a whole: the files of a checkpoint, or the
    parts of a split model. Its files become visible together, in plan order; a set that fails leaves the others alone.
    """

    path: Path
    size: int
    head: bytes = field(default=b"", repr=False)
    pieces: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)
    set: int = 0


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor of the result: its type, and the type the recipe wanted where that did not fit.

    `set`: which of several sets of files, each of which holds a whole model.
    """

    name: str
    type: str
    shape: Shape
    wanted: str | None = None
    set: int = 0

    @property
    def nbytes(self) -> int:
        return region_bytes(self.type, self.shape)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "shape": list(self.shape), "wanted": self.wanted, "set": self.set}


@dataclass(frozen=True, slots=True)
class PlannedReport:
    """Where what the types lost is written with the result. `source`: what is converted, as it was named."""

    path: Path
    source: str


def bits_per_weight(tensors: Sequence[PlannedTensor]) -> float:
    """Real bits per weight of a whole model, norms included, without padding."""
    return round(8 * sum(t.nbytes for t in tensors) / max(sum(prod(t.shape) for t in tensors), 1), 3)


@dataclass(frozen=True, repr=False)
class ConversionPlan:
    """`outputs`: set after set. `notes`: everything lost, approximated or assumed, one of each kind. `facts`: what the
    result says of itself (architecture ...); under `sets`, where several were asked for, that of each.

    `imatrix`: float32 [matrices, cols] by entry, which the jobs' `weights` refer to. `folder`: the folder that the result
    is, and which is made for it, as are `folders`; other outputs go to folders that are there. `report`: what shards are to
    note, and `commit` to write; the bytes are the same, and so is the digest.
    """

    direction: str
    inputs: tuple[InputFile, ...]
    outputs: tuple[OutputFile, ...]
    jobs: tuple[TensorJob, ...]
    tensors: tuple[PlannedTensor, ...]
    notes: tuple[Note, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    imatrix: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)
    folder: Path | None = None
    folders: tuple[Path, ...] = ()
    report: PlannedReport | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        results = ", ".join(str(self.folder or path) for path in self.results)
        return f"<ConversionPlan {self.direction}: {len(self.tensors)} tensors, {self.output_bytes:,} bytes -> {results}>"

    @property
    def sets(self) -> tuple[tuple[OutputFile, ...], ...]:
        """The outputs by set. The last file of a set completes it, and names it."""
        return tuple(tuple(files) for _, files in groupby(self.outputs, key=lambda o: o.set))

    @property
    def results(self) -> tuple[Path, ...]:
        """The file that names each set, by which the whole of it is opened."""
        return tuple(files[-1].path for files in self.sets)

    @property
    def listed(self) -> list[OutputFile]:
        """The outputs as people look for them: set after set, each by name."""
        return sorted(self.outputs, key=lambda o: (o.set, o.path))

    @property
    def output_bytes(self) -> int:
        return sum(o.size for o in self.outputs)

    def to_json(self) -> dict[str, Any]:
        """The whole plan as JSON data."""
        return {
            "direction": self.direction,
            "inputs": [{**asdict(i), "path": str(i.path)} for i in self.inputs],
            "outputs": [{"path": str(o.path), "size": o.size, "head": base64.b64encode(o.head).decode(),
                         "pieces": [[at, base64.b64encode(data).decode()] for at, data in o.pieces], "set": o.set}
                        for o in self.outputs],
            "jobs": [{"name": j.name, "sources": [r.to_json() for r in j.sources],
                      "ops": [op.to_json() for op in j.ops], "outputs": [r.to_json() for r in j.outputs],
                      "weights": j.weights} for j in self.jobs],
            "tensors": [t.to_json() for t in self.tensors],
            "notes": [note.to_json() for note in self.notes],
            "facts": self.facts,
            "imatrix": {name: [list(values.shape), base64.b64encode(values.tobytes()).decode()]
                        for name, values in self.imatrix.items()},
            "folder": None if self.folder is None else str(self.folder),
            "folders": [str(folder) for folder in self.folders],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ConversionPlan:
        """The inverse of `to_json`."""

        def region(r: dict[str, Any]) -> Region:
            return Region(r["file"], r["offset"], r["type"], tuple(r["shape"]))

        def source(r: dict[str, Any]) -> Source:
            if "parts" not in r:
                return region(r)
            op = op_from_json(r["op"])
            if isinstance(op, Merge):
                base, *parts = (unmerged(part) for part in (r["base"], *r["parts"]))
                return Merged(base, tuple(parts), op)
            if not isinstance(op, Unpack):
                raise ValueError(f"{type(op).__name__} unpacks nothing")
            return Packed(tuple(map(region, r["parts"])), op, r["count"], r["flat"])

        def unmerged(r: dict[str, Any]) -> Region | Packed:
            found = source(r)
            if isinstance(found, Merged):
                raise ValueError("a part is merged itself")
            return found

        return cls(
            data["direction"],
            tuple(InputFile(Path(i["path"]), i["size"], i["mtime_ns"]) for i in data["inputs"]),
            tuple(OutputFile(Path(o["path"]), o["size"], base64.b64decode(o["head"]),
                             tuple((at, base64.b64decode(piece)) for at, piece in o["pieces"]), o["set"])
                  for o in data["outputs"]),
            tuple(TensorJob(j["name"], tuple(map(source, j["sources"])), tuple(map(op_from_json, j["ops"])),
                            tuple(map(region, j["outputs"])), tuple(w and (w[0], w[1]) for w in j["weights"]))
                  for j in data["jobs"]),
            tuple(PlannedTensor(**{**t, "shape": tuple(t["shape"])}) for t in data["tensors"]),
            tuple(Note(n["kind"], *n["names"]) for n in data["notes"]), data["facts"],
            {name: np.frombuffer(base64.b64decode(raw), np.float32).reshape(shape)
             for name, (shape, raw) in data["imatrix"].items()},
            None if data["folder"] is None else Path(data["folder"]), tuple(map(Path, data["folders"])),
        )

    def noting(self, notes: Iterable[Note]) -> ConversionPlan:
        """The plan, with these notes in front of its own."""
        return replace(self, notes=(*notes, *self.notes))

    def digest(self) -> str:
        """sha256 of the plan: equal plans give equal bytes."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()
