"""`Unpack` on a GPU: what a quantized checkpoint stores crosses the bus as it is stored, and becomes float32 there.

How a form lies in its arrays becomes tables of places (`places`), and its parts become calls of one kernel (quant.cuda.stored):
scales and zeros that are codes themselves are decoded by it too. `variants` says of what forms; the CPU decodes the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from math import prod

import numpy as np
import torch

from ....quant import ELEMENT_TYPES, KERNELS
from ....quant.cuda.stored import MOST, Places, Variant, decode
from ....quant.formats import FLOATS
from ...ops import Grid, Shape, Unpack
from ...ops.code_values import values_of

SHARED = ("scales", "zeros", "biases")
MATRICES = ("codes", *SHARED)  # sent as they are stored; the other parts are few numbers
KNOWN = {*MATRICES, "groups", "values", "columns", "factor", "divisor", "scale_values", "scale_scales"}
# What is understood of these ops here. One that says more, by a field that is newer, is the CPU's.
UNPACK = {"size", "parts", "block", "first", "width", "after", "nested", "offset", "symmetric", "used", "anew"}
GRID = {"kind", "bits", "axis", "turned", "dense", "order", "bands", "high", "lanes", "word"}
Send = Callable[[np.ndarray], torch.Tensor]


def variants(op: Unpack, types: Sequence[str]) -> list[Variant] | None:
    """What `unpack` needs of the kernel; None for a form that it does not know. `types`: of its parts.

    Not known: what is repacked (`into`: it moves, and is as little when it has), what is computed in float64 (`once`: HQQ),
    sparse weights (where a number lies is a sum over all bits before it), GPTQ's `planes` of bits, floats that only lie
    elsewhere, and whatever an op says by a field that is not listed above.
    """
    grids, kinds = dict(op.parts), dict(zip((role for role, _ in op.parts), types, strict=True))
    if type(op) is not Unpack or "codes" not in grids or not grids.keys() <= KNOWN:
        return None
    if _more(op, UNPACK) or any(_more(grid, GRID) for grid in grids.values()):
        return None
    if any(kind in FLOATS and kind not in KERNELS for kind in types):
        return None
    if ("groups" in grids or "biases" in grids) and op.block[0] != 1:
        return None
    if "biases" in grids and {"groups", "zeros"} & grids.keys():
        return None
    words = {role: 8 * ELEMENT_TYPES[kinds[role]].width for role in MATRICES
             if role in grids and grids[role].kind not in FLOATS}
    nested, factor, divisor = (role in grids for role in ("scale_values", "factor", "divisor"))
    if "codes" not in words or not set(words.values()) <= {8, 16, 32} or nested + factor + divisor > 1:
        return None
    if nested + factor + divisor and "scales" in grids and "scales" not in words:
        return None
    found = []
    for role, word in words.items():
        grid = grids[role]
        code = Variant(grid.bits or word, word, straddles(grid, word), scales=False)
        if role == "codes":
            code = code._replace(**{name: name in grids for name in ("zeros", "biases", "columns")}, after=op.after != 1,
                                 scales="scales" in grids or factor or divisor)
        elif role == "scales":
            code = code._replace(scales=nested or factor or divisor, divided=divisor, biases=nested)
        found.append(code)
    return found


def _more(op: Unpack | Grid, known: set[str]) -> bool:
    """Whether a field that is not known has something to say."""
    return any(getattr(op, field.name) != field.default for field in fields(op) if field.name not in known)


def straddles(grid: Grid, word: int) -> bool:
    """Whether codes lie in two elements of `word` bits."""
    return bool(grid.bits) and not grid.bands and grid.dense and word % grid.bits > 0


def unpack(op: Unpack, parts: Mapping[str, torch.Tensor | np.ndarray], send: Send) -> torch.Tensor | None:
    """float32 [rows, cols], of a form that has `variants`; None where the arrays are not what it needs: the CPU says why.

    parts   by role the windows of `op`: MATRICES on the device, floats as float32; the others here
    send    a copy on the device
    """
    start, stop, cols, skip = op.coded
    grids = dict(op.parts)
    above, below = op.band(start), op.band(stop - 1) + 1
    groups = -(-cols // op.block[1])
    group: np.ndarray = np.arange(cols) // op.block[1]
    if "groups" in parts:
        group = parts["groups"].view(np.int32).reshape(-1)
        if len(group) != cols or group.min() < 0 or group.max() >= groups:
            return None
    shared: dict[str, torch.Tensor] = {}
    for role in SHARED:
        if role in grids:
            window = grids[role].before(above), below - above, groups
            more = _scale_of_scales(op, parts, above, below) if role == "scales" else {}
            found = _numbers(grids[role], parts[role], window, send, **more)
            if found is None:
                return None
            shared[role] = found
    if "scales" not in grids and ("factor" in parts or "divisor" in parts):
        one = np.ones(1, np.float32)
        shared["scales"] = send(one * parts["factor"] if "factor" in parts else one / parts["divisor"])
    made = _numbers(grids["codes"], parts["codes"], (grids["codes"].before(start), stop - start, cols), send,
                    table=np.resize(parts["values"], 256) if "values" in parts else None,
                    of_rows=(op.band(np.arange(start, stop)) - above) * groups, of_columns=group, **shared,
                    columns=parts.get("columns"), after=None if op.after == 1 else op.after)
    return None if made is None else made.reshape(-1)[skip : skip + prod(op.size)].reshape(op.size)


def _scale_of_scales(op: Unpack, parts: Mapping[str, np.ndarray], above: int, below: int) -> dict:
    """What scales that are codes are scaled by: arguments of `_numbers`."""
    if "scale_values" in parts:
        scales = parts["scale_scales"].reshape(-1)
        return {"table": parts["scale_values"].reshape(-1), "scales": scales, "biases": np.full_like(scales, op.offset),
                "of_rows": np.arange(above, below) // op.nested}
    role = next((role for role in ("factor", "divisor") if role in parts), None)
    return {} if role is None else {"scales": parts[role].reshape(-1), "divided": role == "divisor"}


def _numbers(grid: Grid, stored: torch.Tensor, window: tuple[int, int, int], send: Send, *, table: np.ndarray | None = None,
             of_rows: np.ndarray | int = 0, of_columns: np.ndarray | int = 0, divided: bool = False,
             after: float | None = None, **parts: np.ndarray | torch.Tensor | None) -> torch.Tensor | None:
    """float32 of a window (rows before it, rows, columns) on a grid. `of_rows`, `of_columns`: the number of a scale is their
    sum; the other arguments are those of `decode`."""
    before, height, width = window
    if grid.kind in FLOATS:
        found = (stored.t() if grid.turned else stored)[before : before + height, :width]
        return found.contiguous() if found.shape == (height, width) else None
    where = places(grid, tuple(stored.shape), 8 * stored.element_size(), window)
    if where is None:
        return None
    where.rows[2], where.columns[2] = of_rows, of_columns
    there = {name: send(x.reshape(-1)) if isinstance(x, np.ndarray) else x for name, x in parts.items()}
    known = send(values_of(grid.kind, grid.bits) if table is None else table)
    least = int(where.rows[2].max(initial=0)) + int(where.columns[2].max(initial=0)) + 1
    if len(known) < 256 or any(x is not None and x.numel() < (width if name == "columns" else least)
                               for name, x in there.items()):
        return None
    rows, columns = (torch.stack([_sent(x, send, stored.device) for x in table]) for table in (where.rows, where.columns))
    return decode(replace(where, rows=rows, columns=columns), stored, known, divided=divided, after=after, **there)


def _sent(x: np.ndarray, send: Send, device: torch.device) -> torch.Tensor:
    """int32 [n] on the device. What rises evenly is counted there: where rows are short, as those of bitsandbytes are, it is as
    much as the codes."""
    step = int(x[1] - x[0]) if len(x) > 1 else 0
    if (np.diff(x) != step).any():
        return send(x)
    return torch.arange(len(x), dtype=torch.int32, device=device) * step + int(x[:1].sum())


def places(grid: Grid, shape: Shape, word: int, window: tuple[int, int, int]) -> Places | None:
    """Where the codes of a window lie in an array of this shape, whose elements have `word` bits: rows before the first one,
    rows, columns. None where the array does not hold them."""
    before, height, width = window
    bits = grid.bits or word
    index = [np.arange(before, before + height), np.arange(width)]  # of the matrix' rows and columns, then of elements
    axes = (1, 0) if grid.turned else (0, 1)  # along which of the array these lie
    shift, lanes = [0 * index[0], 0 * index[1]], 0 * index[0]
    packed = axes.index(grid.axis)
    if grid.bands:
        band, index[0] = np.divmod(index[0], max(shape[0], 1))
        if (band >= grid.bands).any():
            return None
        shift[0] = bits * (grid.bands - 1 - band if grid.high else band)
    elif grid.bits:
        place = index[packed]
        if grid.order:
            each, inverse = len(grid.order) // grid.lanes, np.argsort(grid.order)
            lane_words, rest = divmod(each * bits, word)
            if rest or (inverse.reshape(grid.lanes, each) != inverse[:each] + each * np.arange(grid.lanes)[:, None]).any():
                return None  # where a column lies depends on its row
            place = place // each * len(grid.order) + inverse[place % each]
            if grid.lanes > 1:
                index[0], lanes = np.divmod(index[0], grid.lanes)
                lanes *= lane_words
        if grid.dense or word % bits == 0:
            index[packed], shift[packed] = np.divmod(place * bits, word)
        else:
            index[packed], shift[packed] = place // (word // bits), place % (word // bits) * bits
    last = [int(x.max(initial=0)) for x in index]
    last[packed] += int(lanes.max(initial=0)) + int(shift[packed][-1:].sum() + bits > word)
    if max(prod(shape), height * width) >= MOST or any(n >= shape[axis] for n, axis in zip(last, axes, strict=True)):
        return None
    stride = [shape[1] if axis == 0 else 1 for axis in axes]
    index = [index[0] * stride[0] + lanes, index[1] * stride[1]]
    rows, columns = (np.stack([at, by, 0 * at]).astype(np.int32) for at, by in zip(index, shift, strict=True))
    return Places(rows, columns, bits, stride[packed] if straddles(grid, word) else 0)
