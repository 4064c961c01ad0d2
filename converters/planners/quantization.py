"""Quantization recipes in a plan: the type of each tensor, the importance weights of each job.

The choice itself is `quant/recipe.py`'s; here it meets key-values, files and errors. Both ways to a quantized file, from
a checkpoint and from another GGUF file, go through this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np

from ...quant.recipes import recipe
from ...quant.recipes.imatrix import ImportanceMatrix, UnfitEntry, from_gguf, from_legacy
from ..errors import GgufxError, InputError, UnsupportedError, UsageError, raise_all
from ..io.files import open_regular, read_at
from ..io.gguf import MAGIC, read_gguf
from ..io.machine_paths import without_paths
from ..io.tensors import StoredTensor
from ..io.values import Metadata, Value, boolean, f32, plain, string, u32
from ..notes import Note
from ..ops import Shape
from ..plan.plan import PlannedTensor, TensorJob
from ..plan.tiles import unit_count
from .published import CUT

NEEDS_IMATRIX = "tensors of a type that needs an importance matrix"
MAX_IMATRIX_BYTES = 4 << 30


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """What a user may ask of a quantized file beside its type. Strings as on the command line."""

    pure: bool = False
    tensor_types: tuple[str, ...] = ()  # PATTERN=TYPE
    tensor_type_file: Path | None = None
    output_tensor_type: str | None = None
    token_embedding_type: str | None = None
    leave_output_tensor: bool = False
    allow_fallback: bool = True
    allow_requantize: bool = False
    override_kv: tuple[str, ...] = ()  # KEY=TYPE:VALUE
    imatrix_file: Path | None = None
    include_weights: tuple[str, ...] = ()
    exclude_weights: tuple[str, ...] = ()
    require_imatrix: bool = True  # False: to see what a type would give

    @property
    def chooses(self) -> bool:
        """Whether something is asked of the types of single tensors."""
        return bool(self.pure or self.tensor_types or self.tensor_type_file or self.output_tensor_type
                    or self.token_embedding_type or self.leave_output_tensor)


@dataclass
class Chosen:
    """The recipe's result: a choice per tensor, in the order given, and what to tell."""

    choices: list[recipe.Choice]
    notes: list[str] = field(default_factory=list)


def named_type(outtype: str) -> tuple[recipe.FileType, int]:
    """The file type of this name, and its number. UsageError where there is none that a file can be of."""
    hint = "`ggufx types` lists the file types."
    try:
        found = recipe.file_type(outtype)
    except ValueError as error:
        raise UsageError(str(error), hint=hint) from error
    if found.number is None:
        raise UsageError(f"{found.name} is not a type of its own", hint=hint)
    return found, found.number


def choose_types(outtype: str, tensors: Sequence[StoredTensor | PlannedTensor], keys: Metadata, asked: Quantization,
                 imatrix: ImportanceMatrix | None, file: str) -> Chosen:
    """The type of every tensor under file type `outtype`. Raises with everything that is wrong."""
    kind, _ = named_type(outtype)
    try:
        pairs = [recipe.parse_tensor_type(t) for t in asked.tensor_types]
        if asked.tensor_type_file is not None:
            pairs += recipe.parse_tensor_types(_text(asked.tensor_type_file))
        options = recipe.Options(
            asked.pure, tuple(pairs), _type(asked.output_tensor_type), _type(asked.token_embedding_type),
            asked.leave_output_tensor, imatrix is not None and bool(imatrix.entries), also_in_floats=True)
    except ValueError as error:
        raise UsageError(str(error), hint="`ggufx types` lists the tensor types.") from error
    try:
        facts = recipe.ModelFacts.from_metadata(plain(keys))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"a number of blocks, heads or experts cannot be read: {error}", file=file) from error
    try:
        choices = recipe.choose(kind, [recipe.TensorShape(t.name, t.shape, t.type) for t in tensors], facts, options)
    except ValueError as error:
        raise UnsupportedError(str(error), file=file) from error
    _refuse(choices, imatrix, asked, file)
    chosen = Chosen(choices)
    if need := _without_weights(choices, imatrix):
        chosen.notes.append(Note(NEEDS_IMATRIX, *(c.name for c in need)))
    if imatrix is not None:
        quantized = [c.name for c in choices if c.eligible and len(c.shape) > 1]
        if missing := imatrix.missing(quantized):
            chosen.notes.append(Note("quantized tensors without an entry in the importance matrix", *missing))
        names = {c.name for c in choices}
        if others := [name for name in imatrix.entries if name not in names]:
            chosen.notes.append(Note("entries of the importance matrix without a tensor in this model", *others))
        for what, pairs_ in (("were never reached by a token", imatrix.unseen), ("are all zero", imatrix.zero)):
            if pairs_:
                chosen.notes.append(Note(f"entries of the importance matrix that {what} weigh every column alike",
                                         *(f"{n} {i}" for n, i in pairs_)))
    return chosen


def _without_weights(choices: Sequence[recipe.Choice], imatrix: ImportanceMatrix | None) -> list[recipe.Choice]:
    return [c for c in choices if c.requires_imatrix and (imatrix is None or c.name not in imatrix.entries)]


def _type(name: str | None) -> str | None:
    return None if name is None else recipe.tensor_type(name)


def _refuse(choices: Sequence[recipe.Choice], imatrix: ImportanceMatrix | None, asked: Quantization, file: str) -> None:
    """Raise with all that cannot be done."""
    problems: list[GgufxError] = []
    if asked.require_imatrix and (need := _without_weights(choices, imatrix)):
        problems.append(UsageError(f"{len(need)} tensors of type {', '.join(sorted({c.type for c in need}))} need an "
                                   f"importance matrix: {', '.join(c.name for c in need[:3])}", file=file,
                                   hint="Give one with --imatrix, or choose another type."))
    if not asked.allow_requantize and (again := [c for c in choices if c.requantizes]):
        problems.append(UsageError(f"{len(again)} tensors are quantized already ({again[0].name}: {again[0].source})",
                                   file=file, hint="Quantize from F32, F16 or BF16; or pass --allow-requantize."))
    if not asked.allow_fallback and (fell := [c for c in choices if c.fell_back]):
        problems.append(UnsupportedError(
            f"{len(fell)} tensors do not fit their type: " + ", ".join(f"{c.name} {c.wanted} -> {c.type}" for c in fell[:4]),
            file=file, hint="Without --no-fallback they are stored as the type after the arrow."))
    raise_all(problems)


def read_imatrix(asked: Quantization, shapes: Iterable[tuple[str, Shape]]) -> ImportanceMatrix | None:
    """An importance matrix of either file format, filtered as asked; None where none is given.

    Entries become float32 [experts, cols], as the tensors' names and shapes tell; a legacy file does not. Raises
    InputError with everything that does not fit.
    """
    path = asked.imatrix_file
    if path is None:
        return None
    try:
        with open_regular(path) as (file, size):
            if size > MAX_IMATRIX_BYTES:
                raise InputError("too large for an importance matrix", file=path, found=size)
            raw = read_at(file, 0, size, path)
        if raw[:4] == MAGIC:
            parsed = read_gguf(path)
            values = {name: np.frombuffer(raw, np.float32, prod(t.shape), t.offset).reshape(t.shape)
                      for name, t in parsed.tensors.items() if t.type == "F32"}
            found = from_gguf(plain(parsed.metadata), values)
        else:
            found = from_legacy(raw)
        found = found.select(asked.include_weights, asked.exclude_weights)
    except ValueError as error:
        raise InputError(f"no sound importance matrix: {error}", file=path) from error
    entries, problems = dict(found.entries), []
    for name, shape in shapes:
        try:
            if (weights := found.weights(name, shape)) is not None:
                entries[name] = weights
        except UnfitEntry as error:
            problems.append(InputError("the entry is of a tensor of another size", file=path, tensor=name,
                                       expected=f"{error.expected} values", found=error.found,
                                       hint="An importance matrix serves the model that it was made of."))
    raise_all(problems)
    return replace(found, entries=entries)


def imatrix_keys(imatrix: ImportanceMatrix | None, path: Path | None, notes: list[str]) -> Metadata:
    """`quantize.imatrix.*`, as llama-quantize writes them, but for paths."""
    if imatrix is None:
        return {}
    cut = replace(imatrix, datasets=tuple(map(without_paths, imatrix.datasets)))
    if changed := [name for name in (str(path), *imatrix.datasets[:1]) if without_paths(name) != name]:
        notes.append(Note(CUT, *changed))
    return {k: u32(v) if isinstance(v, int) else string(v) for k, v in cut.facts(without_paths(str(path))).items()}


def with_weights(jobs: Sequence[TensorJob], names: Sequence[str], imatrix: ImportanceMatrix | None) -> list[TensorJob]:
    """The jobs that make the tensors `names`, with their importance weights.

    A stack of experts becomes one job per expert, each with its own weights.
    """
    if imatrix is None or not any(n in imatrix.entries for n in names):
        return list(jobs)
    parts = [part for job in jobs for part in (_per_expert(job) if len(job.outputs[0].shape) == 3 else [job])]
    return [replace(part, weights=tuple(_entry(imatrix, n, r.shape[-1], len(parts), index)
                                        for n, r in zip(names, part.outputs, strict=True)))
            for index, part in enumerate(parts)]


def _entry(imatrix: ImportanceMatrix, name: str, cols: int, experts: int, index: int) -> tuple[str, int] | None:
    values = imatrix.entries.get(name)
    if values is None or values.shape[-1] != cols:  # of a token embedding; others are refused
        return None
    return name, index if len(values) == experts else 0


def _per_expert(job: TensorJob) -> list[TensorJob]:
    count = job.outputs[0].shape[0]
    if unit_count(job) % count:
        raise UnsupportedError("the experts of this tensor cannot be weighted apart", tensor=job.name)

    return [replace(job, name=f"{job.name} expert {e}", sources=tuple(r.item(e) for r in job.sources),
                    outputs=tuple(r.item(e) for r in job.outputs)) for e in range(count)]


def override(keys: Metadata, asked: Quantization) -> Metadata:
    """The key-values with `--override-kv KEY=TYPE:VALUE` applied: int as u32, float, bool, str, as llama-quantize."""
    out = dict(keys)
    for text in asked.override_kv:
        key, equals, typed = text.partition("=")
        kind, colon, value = typed.partition(":")
        try:
            if not (key and equals and colon):
                raise ValueError("expected KEY=TYPE:VALUE")
            out.pop(key, None)
            out[key] = _override_value(kind, value)
        except ValueError as error:
            raise UsageError(f"--override-kv {text}: {error}") from error
    return out


def _override_value(kind: str, text: str) -> Value:
    if kind == "int":
        return u32(abs(int(text)))
    if kind == "float":
        return f32(float(text))
    if kind == "bool" and text in ("true", "false"):
        return boolean(text == "true")
    if kind == "str":
        return string(text)
    raise ValueError("TYPE is int, float, bool (true or false) or str")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", file=path) from error
