"""Q8_0, Q1_0 and Q2_0: blocks with one float16 scale, found without a search.

A greatest magnitude is the same in any order, so a tile finds it; Q1_0's scale is a sum, so its blocks are lanes.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .arithmetic import load_byte, load_half, negative, reciprocal, round_away, store_byte, store_half
from .decode import decoder
from .lanes import load_lanes, stacked
from .launch import launch_lanes, launch_tiles


@triton.jit(do_not_specialize=("count",))
def _quantize_q8_0(x, out, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    i = tl.arange(0, 32)
    v = tl.load(x + tl.minimum(row, count - 1)[:, None] * 32 + i[None, :])
    d = tl.div_rn(tl.max(tl.abs(v), axis=1), 127.0)
    to = out + row * 34
    store_half(to, d, live)
    store_byte(to[:, None] + 2 + i[None, :], round_away(v * reciprocal(d)[:, None]), live[:, None])


@triton.jit
def _q8_0(blocks, row, i):
    at = blocks + row * 34
    codes = tl.load((at[:, None] + 2 + i[None, :]).to(tl.pointer_type(tl.int8)))
    return codes.to(tl.float32) * load_half(at)[:, None]


@triton.jit(do_not_specialize=("count",))
def _quantize_q1_0(x, out, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    at, to = x + tl.minimum(row, count - 1) * 128, out + row * 18
    total = tl.zeros((ROWS,), tl.float32)
    for part in range(8):
        packed = ()
        for j in tl.static_range(2):
            xs = load_lanes(at + part * 16 + 8 * j, 8)
            signs = tl.zeros((ROWS,), tl.int32)
            for k in tl.static_range(8):
                total += tl.abs(xs[k])
                signs |= tl.where(xs[k] >= 0, 1 << k, 0)
            packed += (signs,)
        store_byte((to + 2 + part * 2)[:, None] + tl.arange(0, 2)[None, :], stacked(packed), live[:, None])
    store_half(to, tl.div_rn(total, 128.0), live)


@triton.jit
def _q1_0(blocks, row, i):
    at = blocks + row * 18
    d = load_half(at)[:, None]
    signs = load_byte(at[:, None] + 2 + (i >> 3)[None, :])
    return tl.where((signs >> (i & 7)[None, :] & 1) != 0, d, negative(d))


@triton.jit(do_not_specialize=("count",))
def _quantize_q2_0(x, out, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    to = out + row * 18
    v = tl.load(x + tl.minimum(row, count - 1)[:, None] * 64 + tl.arange(0, 64)[None, :])
    d = tl.max(tl.abs(v), axis=1)
    store_half(to, d, live)
    factor = tl.where(d > 0, tl.div_rn(1.0, d), 0.0)[:, None]
    code = tl.minimum(tl.maximum(round_away(v * factor) + 1, 0), 3)
    parts = tl.reshape(code, (ROWS, 16, 4)) << (2 * tl.arange(0, 4))[None, None, :]
    packed = tl.sum(parts, axis=2)  # of bits that nothing shares
    store_byte(to[:, None] + 2 + tl.arange(0, 16)[None, :], packed, live[:, None])


@triton.jit
def _q2_0(blocks, row, i):
    at = blocks + row * 18
    code = load_byte(at[:, None] + 2 + (i >> 2)[None, :]) >> (2 * (i & 3))[None, :] & 3
    return (code - 1).to(tl.float32) * load_half(at)[:, None]


def quantize_q8_0(x: torch.Tensor, weights: None, out: torch.Tensor) -> None:
    launch_tiles(_quantize_q8_0, x.numel() // 32, 32, x, out)


def quantize_q1_0(x: torch.Tensor, weights: None, out: torch.Tensor) -> None:
    launch_lanes(_quantize_q1_0, x.numel() // 128, x, out)


def quantize_q2_0(x: torch.Tensor, weights: None, out: torch.Tensor) -> None:
    launch_tiles(_quantize_q2_0, x.numel() // 64, 64, x, out)


dequantize_q8_0 = decoder(_q8_0, 32)
dequantize_q1_0 = decoder(_q1_0, 128)
dequantize_q2_0 = decoder(_q2_0, 64)
