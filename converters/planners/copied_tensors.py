"""GGUF -> GGUF with the same tensors, byte for byte: a file is split, parts are joined, or the key-values change.

Every plan copies each tensor, in the order of the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

from ..errors import InputError, UnsupportedError, UsageError, raise_all
from ..io.gguf import read_gguf, read_gguf_model, split_names
from ..io.tensors import StoredTensor
from ..io.values import Metadata, plain, text_of
from ..notes import grouped
from ..plan.gguf_output import SPLIT_KEYS, WHOLE, SplitLimits, gguf_output
from ..plan.plan import ConversionPlan, InputFile, PlannedTensor, Region, TensorJob, bits_per_weight, numbered
from ..sources.recognise import GGUFS, expect


def plan_split(path: Path, out: str | Path, limits: SplitLimits) -> ConversionPlan:
    """Plan a GGUF file, or the parts of one, -> parts of the sizes asked for, named `out`-0000i-of-0000n.gguf.

    `out`: the beginning of their names, or a folder for those of the source. Raises UnsupportedError for files that are never
    split: adapters, projectors, importance matrices.
    """
    expect(path, "gguf")
    if limits.max_bytes is limits.max_tensors is None:
        raise UsageError("what a part holds at most is missing", file=path, hint="Give --max-size, --max-tensors, or both.")
    model = read_gguf_model(path)
    keys = plain(model.metadata)
    for thing in GGUFS:
        if thing.seen(str(keys.get("general.type", "")), str(keys.get("general.architecture", "")), ()):
            raise UnsupportedError(f"is {thing.name}, which no program reads in parts", file=path)
    if not model.tensors:
        raise InputError("the file holds no tensors", file=path)
    name = Path(out) / _stem(path) if Path(out).is_dir() else Path(out)
    return copies("split", path, model.tensors.values(), model.metadata, name, replace(limits, always=True))


def plan_join(path: Path, out: str | Path) -> ConversionPlan:
    """Plan the parts of a split model, given the first, -> one file, without the `split.*` keys."""
    expect(path, "gguf")
    if not any(key in read_gguf(path).metadata for key in SPLIT_KEYS):
        raise UsageError("is no part of a split model", file=path, hint="Give the first part, <name>-00001-of-0000N.gguf.")
    model = read_gguf_model(path)
    name = Path(out) / f"{_stem(path)}.gguf" if Path(out).is_dir() else Path(out)
    return copies("join", path, model.tensors.values(), model.metadata, name)


def copies(direction: str, source: Path, tensors: Iterable[StoredTensor], key_values: Metadata, out: Path,
           limits: SplitLimits = WHOLE, notes: Sequence[str] = (), in_place: bool = False) -> ConversionPlan:
    """A plan of these tensors as they are, under these key-values. UsageError where it would write to what it reads, unless
    it shall take the place of it."""
    stored = list(tensors)
    planned = [PlannedTensor(t.name, t.type, t.shape) for t in stored]
    made = gguf_output(out, key_values, planned, limits=limits)
    files = numbered([source, *(t.file for t in stored)])
    inputs = tuple(map(InputFile.of, files))
    if not in_place:
        refuse_sources([o.path for o in made.files], inputs)
    jobs = (TensorJob(t.name, (Region(files[t.file], t.offset, t.type, t.shape),), (), (made.regions[t.name],)) for t in stored)
    return ConversionPlan(
        direction, inputs, made.files, tuple(jobs), tuple(planned), tuple(grouped(notes)),
        {"architecture": text_of(key_values, "general.architecture"), "parameters": sum(prod(t.shape) for t in planned),
         "bits_per_weight": bits_per_weight(planned)})


def refuse_sources(outputs: Iterable[Path], inputs: Iterable[InputFile]) -> None:
    """UsageError for outputs that are inputs."""
    sources = [i.path for i in inputs]
    raise_all(UsageError("input and output are the same file", file=path) for path in outputs
              if path.exists() and any(source.exists() and path.samefile(source) for source in sources))


def _stem(path: Path) -> str:
    """The name of a model without what says that it is a part."""
    parts = split_names(path)
    return (parts[0].removesuffix(f"-00001-of-{len(parts):05d}.gguf")) if parts else path.name.removesuffix(".gguf")
