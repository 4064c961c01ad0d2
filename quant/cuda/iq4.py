"""IQ4_NL and IQ4_XS: blocks of 32 whose codes stand for sixteen unevenly spaced values.

IQ4_NL has a float16 scale per block; IQ4_XS has super-blocks of eight with signed scales of 6 bits below one float16.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ..reference import IQ4_VALUES
from .arithmetic import load_byte, load_half, nearest_whole, reciprocal, store_byte, store_half
from .decode import decoder
from .lanes import load_lanes, spread, squares, stacked, sum_of_squares, sums_of_squares, weights_of
from .launch import launch_lanes, launch_tiles
from .search import TINY, extreme

VALUES = tl.constexpr(tuple(float(v) for v in IQ4_VALUES))
# Half way between two values the higher one wins. The differences to both are exact there, so this is the whole of
# best_index_int8(): the code is the number of these that a number reaches, and 15 for NaN.
BORDERS = tl.constexpr(tuple(float(v) for v in (IQ4_VALUES[1:] + IQ4_VALUES[:-1]) / 2))


@triton.jit
def _nearest_value(v):
    value = tl.full(v.shape, VALUES[0], tl.float32)
    for k in tl.static_range(15):
        value = tl.where(v < BORDERS[k], value, VALUES[k + 1])
    return value


@triton.jit
def _nearest_code(v):
    code = tl.zeros(v.shape, tl.int32)
    for k in tl.static_range(15):
        code += tl.where(v < BORDERS[k], 0, 1)
    return code


@triton.jit
def _sums(xs, ws, factor):
    """With the codes that x * factor gives: sum w * q * x and sum w * q * q."""
    sum_qx, sum_qq = tl.zeros_like(factor), tl.zeros_like(factor)
    for i in tl.static_range(32):
        q = _nearest_value(factor * xs[i])
        wq = ws[i] * q
        sum_qx += wq * xs[i]
        sum_qq += wq * q
    return sum_qx, sum_qq


@triton.jit
def _fit_scale(xs, ws):
    """The search of quantize_row_iq4_nl_impl with ntry = 7."""
    peak, most = extreme(xs)
    sum_qx, sum_qq = _sums(xs, ws, tl.div_rn(1.0, tl.div_rn(-peak, VALUES[0])))
    scale = tl.where(sum_qq > 0, tl.div_rn(sum_qx, sum_qq), 0.0)
    best = scale * sum_qx
    for step in range(15):
        sum_qx, sum_qq = _sums(xs, ws, tl.div_rn((tl.cast(step, tl.float32) - 7.0) + VALUES[0], peak))
        better = (sum_qq > 0) & (sum_qx * sum_qx > best * sum_qq)
        scale = tl.where(better, tl.div_rn(sum_qx, sum_qq), scale)
        best = tl.where(better, scale * sum_qx, best)
    return tl.where(most < TINY, 0.0, scale)


@triton.jit(do_not_specialize=("per_row", "count"))
def _search_nl(x, weights, scales, per_row, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = tl.minimum(row, count - 1)
    xs = load_lanes(x + here * 32, 32)
    ws = squares(xs) if weights is None else spread(weights_of(weights, here, 32, per_row), xs, sum_of_squares(xs) * 0.0625)
    tl.store(scales + row, _fit_scale(xs, ws), mask=row < count)


@triton.jit(do_not_specialize=("per_row", "count"))
def _search_xs(x, weights, sums, scales, per_row, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here = tl.minimum(row, count - 1)
    xs = load_lanes(x + here * 32, 32)
    if weights is None:
        ws = squares(xs)
    else:
        ws = spread(weights_of(weights, here, 32, per_row), xs, tl.load(sums + (here >> 3)) * 0.0078125)
    tl.store(scales + row, _fit_scale(xs, ws), mask=row < count)


@triton.jit
def _store_codes(x, row, j, factor, to, live):
    """The codes of the blocks of 32 `row`; factor [ROWS, 1]."""
    at = x + row[:, None] * 32 + j
    a, b = _nearest_code(factor * tl.load(at)), _nearest_code(factor * tl.load(at + 16))
    store_byte(to[:, None] + j, a | b << 4, live[:, None])


@triton.jit(do_not_specialize=("count",))
def _codes_nl(x, scales, out, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    d, to = tl.load(scales + here), out + row * 18
    store_half(to, d, live)
    _store_codes(x, here, tl.arange(0, 16)[None, :], reciprocal(d)[:, None], to + 2, live)


@triton.jit(do_not_specialize=("count",))
def _scales_xs(scales, factors, out, count, ROWS: tl.constexpr):
    """The stored scales of super-blocks, and the factors by which their sub-blocks' numbers become codes."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    values = load_lanes(scales + tl.minimum(row, count - 1) * 8, 8)
    peak, _ = extreme(values)
    d = tl.div_rn(peak, -32.0)  # -0 of 0
    factor = reciprocal(d)
    low, high = tl.zeros((ROWS,), tl.int32), tl.zeros((ROWS,), tl.int32)
    found = ()
    for j in tl.static_range(8):
        level = tl.minimum(tl.maximum(nearest_whole(factor * values[j]), -32), 31)
        low |= (level + 32 & 15) << 4 * j
        high |= (level + 32 >> 4) << 2 * j
        found += (reciprocal(d * level.to(tl.float32)),)
    to = out + row * 136
    store_half(to, d, live)
    store_byte(to[:, None] + 2 + tl.arange(0, 2)[None, :], stacked((high, high >> 8)), live[:, None])
    store_byte(to[:, None] + 4 + tl.arange(0, 4)[None, :], stacked((low, low >> 8, low >> 16, low >> 24)), live[:, None])
    tl.store(factors + row[:, None] * 8 + tl.arange(0, 8)[None, :], stacked(found), mask=live[:, None])


@triton.jit(do_not_specialize=("count",))
def _codes_xs(x, factors, out, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live, here = row < count, tl.minimum(row, count - 1)
    to = out + (row >> 3) * 136 + 8 + (row & 7) * 16
    _store_codes(x, here, tl.arange(0, 16)[None, :], tl.load(factors + here)[:, None], to, live)


def quantize_iq4_nl(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    blocks = x.numel() // 32
    scales = x.new_empty(blocks)
    launch_lanes(_search_nl, blocks, x, weights, scales, 0 if weights is None else len(weights) // 32)
    launch_tiles(_codes_nl, blocks, 32, x, scales, out)


def quantize_iq4_xs(x: torch.Tensor, weights: torch.Tensor | None, out: torch.Tensor) -> None:
    parts = x.numel() // 32
    scales, factors = x.new_empty(parts), x.new_empty(parts)
    sums, per_row = (None, 0) if weights is None else (sums_of_squares(x, 256), len(weights) // 32)
    launch_lanes(_search_xs, parts, x, weights, sums, scales, per_row)
    launch_lanes(_scales_xs, parts // 8, scales, factors, out)
    launch_tiles(_codes_xs, parts, 32, x, factors, out)


@triton.jit
def _iq4_nl(blocks, row, i, values):
    at = blocks + row * 18
    packed = load_byte(at[:, None] + 2 + (i & 15)[None, :])
    return load_half(at)[:, None] * tl.load(values + (packed >> (i >> 4 << 2)[None, :] & 15))


@triton.jit
def _iq4_xs(blocks, row, i, values):
    """row: a sub-block of 32."""
    at, j = blocks + (row >> 3) * 136, row & 7
    low = load_byte(at + 4 + (j >> 1)) >> (j << 2 & 4) & 15
    high = load_byte(at + 2 + (j >> 2)) >> (j << 1 & 6) & 3
    d = load_half(at) * ((low | high << 4) - 32).to(tl.float32)
    packed = load_byte((at + 8 + j * 16)[:, None] + (i & 15)[None, :])
    return d[:, None] * tl.load(values + (packed >> (i >> 4 << 2)[None, :] & 15))


dequantize_iq4_nl = decoder(_iq4_nl, 32, "iq4")
dequantize_iq4_xs = decoder(_iq4_xs, 32, "iq4")
