"""Q4_0, Q4_1, Q5_0 and Q5_1: blocks of 32 with a float16 scale, and a float16 minimum in Q4_1 and Q5_1.

Without weights the scale follows from the block's extremes, which a tile finds. With weights it is searched for, a block
per lane, and the weights are spread by the mean square of the whole row.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from .arithmetic import load_byte, load_half, reciprocal, store_byte, store_half, to_i32
from .decode import decoder
from .lanes import load_lanes, load_record, spread, store_record, sums_of_squares, weights_of
from .launch import launch_lanes, launch_tiles
from .search import fit_scale, fit_scale_and_minimum, offset_code, signed_code


@triton.jit
def _store_tile(a, b, to, j, live, FIVE: tl.constexpr):
    """The codes of the blocks' halves [ROWS, 16]; fifth bits go before the others."""
    if FIVE:
        for half in tl.static_range(2):
            bits = tl.reshape((b if half else a) >> 4 & 1, (a.shape[0], 2, 8)) << tl.arange(0, 8)[None, None, :]
            store_byte(to[:, None] + 2 * half + tl.arange(0, 2)[None, :], tl.sum(bits, axis=2), live[:, None])
        to += 4
    store_byte(to[:, None] + j[None, :], a & 15 | (b & 15) << 4, live[:, None])


@triton.jit
def _as_int8(v):
    return (to_i32(v) << 24) >> 24


@triton.jit
def _first(in_a, in_b, j):
    """Where in its block [ROWS] something is true first; 32 if nowhere."""
    return tl.min(tl.where(in_a, j[None, :], tl.where(in_b, j[None, :] + 16, 32)), axis=1)


@triton.jit(do_not_specialize=("count",))
def _quantize_around_zero(x, out, count, FIVE: tl.constexpr, ROWS: tl.constexpr):
    top: tl.constexpr = 16.0 if FIVE else 8.0
    limit: tl.constexpr = 31 if FIVE else 15
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    j = tl.arange(0, 16)
    at = x + tl.minimum(row, count - 1)[:, None] * 32 + j[None, :]
    a, b = tl.load(at), tl.load(at + 16)
    most = tl.max(tl.maximum(tl.abs(a), tl.abs(b)), axis=1)
    above = _first(a == most[:, None], b == most[:, None], j)
    below = _first(a == -most[:, None], b == -most[:, None], j)
    d = tl.div_rn(tl.where(below < above, -most, most), -top)
    factor = reciprocal(d)[:, None]
    to = out + row * (22 if FIVE else 18)
    store_half(to, d, live)
    p = tl.minimum(_as_int8(a * factor + (top + 0.5)), limit)
    q = tl.minimum(_as_int8(b * factor + (top + 0.5)), limit)
    _store_tile(p, q, to + 2, j, live, FIVE)


@triton.jit(do_not_specialize=("count",))
def _quantize_from_minimum(x, out, count, FIVE: tl.constexpr, ROWS: tl.constexpr):
    limit: tl.constexpr = 31 if FIVE else 15
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    j = tl.arange(0, 16)
    at = x + tl.minimum(row, count - 1)[:, None] * 32 + j[None, :]
    a, b = tl.load(at), tl.load(at + 16)
    low = tl.min(tl.minimum(a, b), axis=1)
    high = tl.max(tl.maximum(a, b), axis=1)
    d = tl.where(high != low, tl.div_rn(high - low, limit * 1.0), 0.0)  # not -0, if the block holds both zeros
    # Which zero comes first decides the sign of a minimum of zero; tl.min does not tell them apart.
    sign_a, sign_b = a.to(tl.int32, bitcast=True) < 0, b.to(tl.int32, bitcast=True) < 0
    plus = _first((a == 0) & ~sign_a, (b == 0) & ~sign_b, j)
    minus = _first((a == 0) & sign_a, (b == 0) & sign_b, j)
    zero = tl.where(minus < plus, -2147483648, 0).to(tl.float32, bitcast=True)
    low = tl.where(low == 0, zero, low)
    factor = reciprocal(d)[:, None]
    to = out + row * (24 if FIVE else 20)
    store_half(to, d, live)
    store_half(to + 2, low, live)
    p = tl.minimum(_as_int8((a - low[:, None]) * factor + 0.5), limit)
    q = tl.minimum(_as_int8((b - low[:, None]) * factor + 0.5), limit)
    _store_tile(p, q, to + 4, j, live, FIVE)


@triton.jit
def _load(x, weights, squares, row, per_row, count, cols):
    """A block's numbers and their weights, spread by the mean square of its row."""
    row = tl.minimum(row, count - 1)
    xs = load_lanes(x + row * 32, 32)
    sigma2 = tl.div_rn(tl.load(squares + row // per_row), cols)
    return xs, spread(weights_of(weights, row, 32, per_row), xs, sigma2)


@triton.jit(do_not_specialize=("per_row", "cols", "count"))
def _search_around_zero(x, weights, squares, found, per_row, cols, count, FIVE: tl.constexpr, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    xs, ws = _load(x, weights, squares, row, per_row, count, cols)
    scale, factor, bias = fit_scale(xs, ws, 16.0 if FIVE else 8.0)
    store_record(found, row, row < count, scale, factor, bias, bias)


@triton.jit(do_not_specialize=("count",))
def _codes_around_zero(x, found, out, count, FIVE: tl.constexpr, ROWS: tl.constexpr):
    top: tl.constexpr = 16.0 if FIVE else 8.0
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    j = tl.arange(0, 16)
    here = tl.minimum(row, count - 1)
    at = x + here[:, None] * 32 + j[None, :]
    scale, factor, bias, _ = load_record(found, here)
    to = out + row * (22 if FIVE else 18)
    store_half(to, scale, live)
    p = signed_code(tl.load(at), factor[:, None], top) + bias[:, None]
    q = signed_code(tl.load(at + 16), factor[:, None], top) + bias[:, None]
    _store_tile(p.to(tl.int32), q.to(tl.int32), to + 2, j, live, FIVE)


@triton.jit(do_not_specialize=("per_row", "cols", "count"))
def _search_from_minimum(x, weights, squares, found, per_row, cols, count, FIVE: tl.constexpr, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    xs, ws = _load(x, weights, squares, row, per_row, count, cols)
    scale, low, _, factor, search_low = fit_scale_and_minimum(xs, ws, 31.0 if FIVE else 15.0, -0.9, 0.05, 36, False)
    store_record(found, row, row < count, scale, low, factor, search_low)


@triton.jit(do_not_specialize=("count",))
def _codes_from_minimum(x, found, out, count, FIVE: tl.constexpr, ROWS: tl.constexpr):
    top: tl.constexpr = 31.0 if FIVE else 15.0
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    j = tl.arange(0, 16)
    here = tl.minimum(row, count - 1)
    at = x + here[:, None] * 32 + j[None, :]
    scale, low, factor, search_low = load_record(found, here)
    to = out + row * (24 if FIVE else 20)
    store_half(to, scale, live)
    store_half(to + 2, low, live)
    p = offset_code(tl.load(at), factor[:, None], search_low[:, None], top)
    q = offset_code(tl.load(at + 16), factor[:, None], search_low[:, None], top)
    _store_tile(p.to(tl.int32), q.to(tl.int32), to + 4, j, live, FIVE)


def _around_zero(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor, five: bool) -> None:
    if weights is None:
        launch_tiles(_quantize_around_zero, x.numel() // 32, 32, x, out, FIVE=five)
    else:
        _weighted(_search_around_zero, _codes_around_zero, x, weights, out, five)


def _from_minimum(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor, five: bool) -> None:
    if weights is None:
        launch_tiles(_quantize_from_minimum, x.numel() // 32, 32, x, out, FIVE=five)
    else:
        _weighted(_search_from_minimum, _codes_from_minimum, x, weights, out, five)


def _weighted(search: Any, codes: Any, x: torch.Tensor, weights: torch.Tensor, out: torch.Tensor, five: bool) -> None:
    blocks, cols = x.numel() // 32, len(weights)
    found = x.new_empty(blocks, 4)
    squares = sums_of_squares(x, cols)
    launch_lanes(search, blocks, x, weights, squares, found, cols // 32, float(cols), FIVE=five)
    launch_tiles(codes, blocks, 32, x, found, out, FIVE=five)


def quantize_q4_0(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    _around_zero(x, weights, out, five=False)


def quantize_q4_1(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    _from_minimum(x, weights, out, five=False)


def quantize_q5_0(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    _around_zero(x, weights, out, five=True)


def quantize_q5_1(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    _from_minimum(x, weights, out, five=True)


@triton.jit
def _packed(at, i, FIVE: tl.constexpr):
    """The codes of a block's 32 numbers; `at`: where the fifth bits, or the others, begin."""
    low = at + 4 if FIVE else at
    code = load_byte(low[:, None] + (i & 15)[None, :]) >> (i >> 4 << 2)[None, :] & 15
    if FIVE:
        code |= (load_byte(at[:, None] + (i >> 3)[None, :]) >> (i & 7)[None, :] & 1) << 4
    return code


@triton.jit
def _q4_0(blocks, row, i):
    at = blocks + row * 18
    return (_packed(at + 2, i, False) - 8).to(tl.float32) * load_half(at)[:, None]


@triton.jit
def _q4_1(blocks, row, i):
    at = blocks + row * 20
    return _packed(at + 4, i, False).to(tl.float32) * load_half(at)[:, None] + load_half(at + 2)[:, None]


@triton.jit
def _q5_0(blocks, row, i):
    at = blocks + row * 22
    return (_packed(at + 2, i, True) - 16).to(tl.float32) * load_half(at)[:, None]


@triton.jit
def _q5_1(blocks, row, i):
    at = blocks + row * 24
    return _packed(at + 4, i, True).to(tl.float32) * load_half(at)[:, None] + load_half(at + 2)[:, None]


dequantize_q4_0 = decoder(_q4_0, 32)
dequantize_q4_1 = decoder(_q4_1, 32)
dequantize_q5_0 = decoder(_q5_0, 32)
dequantize_q5_1 = decoder(_q5_1, 32)
