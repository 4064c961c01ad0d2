"""The weights of an original checkpoint under canonical names: read from all of its files, the ranks' pieces joined.

Along which axis ranks cut a weight is told by its shape in one rank beside its whole shape, whatever the version: Llama 1 and
2 cut the embedding by columns, 3 by rows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from ...errors import GgufxError, InputError, raise_all
from ...io.files import printable, read_bytes
from ...io.tensors import StoredTensor
from ...io.torch_pickle import read_torch_pickle
from ...ops import RopePermute
from ..hf_folder import attempt, missing_parts, read_files, safe_file
from ..weight_files import PARAMS, RANKS
from .joined import JoinedTensor
from .names import BUFFERS, VISION, Row, row_of
from .params import Params

MAX_RANKS = 64  # the largest known checkpoints have 16
_COMPARED = 16 << 20  # bytes at a time

Shard = dict[str, StoredTensor]
Sizes = dict[str, int]


def read_shards(folder: Path, files: list[str]) -> list[Shard]:
    """The tensors of each rank, in order; of safetensors, which are parts of one rank, all in one. Raises InputError for
    numbers that are missing, and as the readers."""
    problems: list[GgufxError] = []
    if files[0].endswith(".safetensors"):
        problems += missing_parts(folder, files)
        shards = [read_files(folder, files, problems)]
    else:
        if len(files) > MAX_RANKS:
            raise InputError("too many shards", file=folder, expected=f"at most {MAX_RANKS}", found=len(files))
        numbers = [int(match[1]) for name in files if (match := RANKS.fullmatch(name))]
        if absent := sorted({*range(min(numbers[-1], MAX_RANKS))} - {*numbers}):
            problems.append(_missing(folder, absent))
        shards = [attempt(partial(read_torch_pickle, safe_file(folder, name)), problems) or {} for name in files]
    raise_all(problems)
    return shards


def joined(shards: list[Shard], params: Params, sizes: Sizes, notes: list[str]) -> Shard:
    """All weights by canonical name. `sizes`: those that params.json tells; the others are filled in.

    Raises InputError, of all that are wrong in one, for ranks that differ, or whose pieces make no weight of these sizes.
    """
    folder, count = params.file.parent, len(shards)
    first = shards[0].get("layers.0.attention.wq.weight")
    if first is not None and len(first.shape) == 2 and first.shape[0] and first.shape[1] == sizes["dim"]:
        wanted, rest = divmod(sizes["q"], first.shape[0])
        if not rest and wanted > count:
            raise _missing(folder, list(range(count, wanted)))
    problems: list[GgufxError] = []
    found: Shard = {}
    left_out: dict[str, int] = {}
    for name in dict.fromkeys(name for shard in shards for name in shard):
        parts = [shard[name] for shard in shards if name in shard]
        if BUFFERS.fullmatch(name):
            continue
        if name.startswith(VISION):
            what = f"{name.partition('.')[0]}.*"
            left_out[what] = left_out.get(what, 0) + 1
            continue
        if len(parts) < count:
            problems.append(InputError(f"in {len(parts)} of the {count} shards", file=parts[0].file, tensor=name,
                                       hint="The shards are not those of one checkpoint."))
            continue
        if (odd := next((p for p in parts if (p.type, p.shape) != (parts[0].type, parts[0].shape)), None)) is not None:
            one, other = (f"{t.type} {list(t.shape)}" for t in (parts[0], odd))
            problems.append(InputError(f"is not as in {parts[0].file.name}", file=odd.file, tensor=name, expected=one,
                                       found=other, hint="The shards are not those of one checkpoint."))
            continue
        if (known := row_of(name)) is None:
            found[name] = parts[0]  # the table refuses it by name
            continue
        row, canonical, kind = known
        if canonical in found:
            problems.append(InputError(f"{canonical} is stored twice", file=parts[0].file, tensor=name))
        elif kind != "weight":
            found[canonical] = replace(parts[0], name=canonical)
        elif (made := _whole(canonical, parts, row, sizes)) is not None:
            found[canonical] = made
        else:
            whole = " x ".join(str(sizes.get(size, f"({size})")) for size in row.shape)
            problems.append(InputError(f"its shape does not fit {PARAMS}", file=parts[0].file, tensor=name,
                                       expected=f"{whole}{f', or one of {count} equal pieces' if count > 1 else ''}",
                                       found=list(parts[0].shape)))
    raise_all(problems)
    notes.extend(f"{printable(what)}: {n} tensors of the vision part are left out" for what, n in left_out.items())
    return found


def drop_tied_head(tensors: Shard) -> bool:
    """Whether the head holds the very bytes of the embedding, as Meta stores a tied one; it is taken out then."""
    embedding, head = (tensors.get(f"{name}.weight") for name in ("model.embed_tokens", "lm_head"))
    if embedding is None or head is None or (embedding.type, embedding.shape) != (head.type, head.shape):
        return False
    ones, others = (t.parts if isinstance(t, JoinedTensor) else (t,) for t in (embedding, head))
    if [p.shape for p in ones] != [p.shape for p in others]:
        return False  # cut along other axes, as only models with a head of their own are
    for one, other in zip(ones, others, strict=True):
        for start in range(0, one.nbytes, _COMPARED):
            size = min(_COMPARED, one.nbytes - start)
            for least in (min(size, 4096), size):  # most differ at once
                if read_bytes(one.file, one.offset + start, least) != read_bytes(other.file, other.offset + start, least):
                    return False
    del tensors["lm_head.weight"]
    return True


def _missing(folder: Path, numbers: list[int]) -> InputError:
    names = ", ".join(f"consolidated.{n:02d}.pth" for n in numbers[:5]) + (", ..." if len(numbers) > 5 else "")
    return InputError(f"shards are missing: {names}", file=folder, hint="The download is not complete.")


def _whole(name: str, parts: list[StoredTensor], row: Row, sizes: Sizes) -> StoredTensor | None:
    """The weight that the pieces make; None where they make none of these sizes."""
    ops = (RopePermute(sizes["head"], undo=True),) if row.rotary else ()
    first, count = parts[0], len(parts)
    axes = [None] if count == 1 or len(row.shape) == 1 else [0, 1]
    for axis in axes:
        shape = tuple(n * (count if a == axis else 1) for a, n in enumerate(first.shape))
        if len(shape) != len(row.shape) or any(sizes.get(size, n) != n for size, n in zip(row.shape, shape, strict=True)):
            continue
        if row.rotary and axis == 0 and first.shape[0] % sizes["head"]:
            continue  # ranks hold whole heads
        sizes.update(zip(row.shape, shape, strict=True))
        if axis is None and not ops:
            return replace(first, name=name)
        kept = tuple(parts) if axis is not None else (first,)
        return JoinedTensor(name, first.type, shape, first.file, first.offset, sum(p.nbytes for p in kept), parts=kept,
                            axis=axis, ops=ops)
    return None
