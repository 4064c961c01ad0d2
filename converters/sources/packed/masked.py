"""Stored forms without the zeros of a weight: compressed-tensors, sparse-bitmask and sparse-24-bitmask, floats or codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...errors import InputError
from ...ops import Grid, Masked, Reshape
from ...ops.grid import FLOATS
from ...ops.masked import BITS
from .eight_bits import fp8, whole
from .tensor import PackedTensor, Parts

RUN = 1 << 20  # numbers of the weight in rows whose place among the stored ones is looked up together
MAX_OFFSETS = 1 << 24  # bytes


def masked(parts: Parts) -> PackedTensor:
    """The numbers that are not zero, one after another, with a mask of bits and the place of each row's first; or two of each
    four (2:4), half a matrix. A vector is a matrix of one row."""
    bits = parts.shape("mask")
    if parts.stored["mask"].type != "U8" or len(bits) not in (1, 2):
        raise parts.unfit("mask", "U8 of a vector or matrix")
    rows, cols = (1, *parts.numbers("shape", 1)) if len(bits) == 1 else parts.numbers("shape", 2)
    if rows < 1 or cols < 1 or bits[-1] != -(-cols // 8) or (len(bits) == 2 and bits[0] != rows):
        raise parts.unfit("mask", [rows, -(-cols // 8)])
    every = max(1, RUN // cols)
    starts = _starts(parts, rows, cols, every) if "offsets" in parts.stored else ()
    if not starts and (cols % 4 or parts.shape("codes") != (rows, cols // 2)):
        raise parts.unfit("codes", f"two of each four of {[rows, cols]}")
    made = _dense(replace(parts, stored={**parts.stored, "codes": replace(parts.codes, shape=(rows, cols))}))
    op = Masked(made.op.size, (*made.op.parts, ("mask", BITS)), made.op.block, starts=starts, every=every if starts else 1)
    mask = replace(parts.stored["mask"], shape=(rows, bits[-1]))
    one = replace(made, form=f"sparse {made.form}", parts=(parts.codes, *made.parts[1:], mask), op=parts.ops.setdefault(op, op),
                  stored=tuple(parts.stored.items()), returns=False)
    return one if len(bits) == 2 else replace(one, shape=(cols,), ops=(Reshape((1, cols), (cols,)),))


def _dense(parts: Parts) -> PackedTensor:
    """The weight, were all its numbers stored."""
    if parts.codes.type not in FLOATS:
        if "scales" not in parts.stored:
            raise InputError("codes without a scale", file=parts.codes.file, tensor=parts.codes.name)
        return (whole if parts.codes.type == "I8" else fp8)(parts)
    rows, cols = parts.codes.shape
    named = replace(parts, stored={**parts.stored, "floats": parts.codes})
    return named.made("floats", (rows, cols), (1, 1), ("floats", Grid(parts.codes.type)), kind=parts.codes.type)


def _starts(parts: Parts, rows: int, cols: int, every: int) -> tuple[int, ...]:
    """Where each run of `every` rows begins among the stored numbers, and how many these are."""
    offsets, count = parts.stored["offsets"], parts.codes.shape
    if offsets.type != "I64" or offsets.shape not in ((rows,), () if rows == 1 else (rows,)) or offsets.nbytes > MAX_OFFSETS:
        raise parts.unfit("offsets", f"I64 {[rows]} of at most {MAX_OFFSETS} bytes")
    found = np.frombuffer(parts.read(offsets.file, offsets.offset, offsets.nbytes), "<i8")
    ends = np.append(found, count[0] if len(count) == 1 else -1)
    if ends[0] or ends.min() < 0 or (ends[1:] < ends[:-1]).any() or np.diff(ends).max() > cols:
        raise parts.unfit("offsets", f"where each row of {cols} begins among {list(count)} numbers")
    return tuple(int(n) for n in (*found[::every], ends[-1]))
