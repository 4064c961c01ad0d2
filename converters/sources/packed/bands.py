"""Stored forms whose elements hold codes of rows that lie far apart: HQQ, BitNet."""

from __future__ import annotations

import math
from dataclasses import replace

from ...errors import UnsupportedError
from ...ops import Grid
from .tensor import PackedTensor, Parts

HQQ_SETTINGS = ("nbits", "group_size", "shape", "axis")
HQQ_OTHERS = ("packing", "compute_dtype", "view_as_float", "round_zero", "unpack_view_dtype", "stores_quant_config",
              "channel_wise", "optimize", "offload_meta", "encoded_state_dict", "quant_scale", "quant_zero")  # fmt: skip
BANDS = {8: 1, 4: 2, 3: 10, 2: 4, 1: 8}  # rows of codes to an element


def hqq(parts: Parts) -> PackedTensor:
    """HQQ: (code - zero) * scale in groups of the weight's elements, zero a float; the groups are rows of a matrix, or its
    columns (axis 0), of which an element holds several, far apart."""
    bits, group, axis = (parts.numbers(k, 1)[0] for k in ("nbits", "group_size", "axis"))
    shape = parts.numbers("shape", 2)
    if bits not in BANDS or not all(0 < n < 1 << 40 for n in shape) or group < 1 or math.prod(shape) % group:
        raise parts.unfit("nbits", f"codes of {sorted(BANDS)} bits of a matrix in groups")
    if axis not in (0, 1):
        raise parts.unfit("axis", "0 or 1")
    for role in ("quant_scale", "quant_zero"):
        if role in parts.stored and any(parts.values(role)):
            raise UnsupportedError("HQQ scales that are quantized themselves are not decoded", file=parts.codes.file,
                                   tensor=parts.codes.name)
    runs = math.prod(shape) // group
    rows, cols = (runs, group) if axis else (group, runs)
    packed = -(-rows // BANDS[bits])
    codes = parts.bytes_of("codes") if parts.codes.type not in ("U8", "I32") else parts
    grid = Grid("U", bits if bits < 8 else 0, bands=BANDS[bits] if bits < 8 else 0, high=True)
    each = (runs, 1) if axis else (1, runs)
    return codes.made(f"HQQ int{bits}", (shape[0], shape[1]), (1, group) if axis else (group, 1),
                      ("codes", grid, (packed, cols)), ("scales", Grid(), each), ("zeros", Grid(), each), width=cols, once=True)


def bitnet(parts: Parts) -> PackedTensor:
    """BitNet: codes of 2 bits, less one, of rows a quarter of the matrix apart; one scale, which divides (bitlinear) or
    multiplies (autobitlinear)."""
    shape = parts.shape("codes")
    if len(shape) != 2 or math.prod(parts.shape("scales")) != 1:
        raise parts.unfit("codes", "a matrix, with one scale")
    size = (4 * shape[0], shape[1])
    role = "factor" if parts.declared.get("linear_class") == "autobitlinear" else "divisor"
    named = replace(parts, stored={"codes": parts.codes, role: parts.stored["scales"]})
    return named.made("BitNet", size, size, ("codes", Grid("T", 2, bands=4)), (role, Grid(), (1,)))
