"""TQ1_0 and TQ2_0: super-blocks of 256 numbers -1, 0, 1 times a float16 scale, the greatest magnitude.

TQ1_0 has five base-3 digits to a byte, as the fraction byte / 256 rounded up; TQ2_0 has four 2-bit codes to a byte.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .arithmetic import load_byte, load_half, reciprocal, round_away, store_byte, store_half
from .decode import decoder
from .launch import launch_tiles


@triton.jit
def _factor(at, to, live):
    """Store the scale of the super-blocks at `at`; returns its reciprocal [ROWS, 1]."""
    d = tl.max(tl.abs(tl.load(at[:, None] + tl.arange(0, 256)[None, :])), axis=1)
    store_half(to, d, live)
    return reciprocal(d)[:, None]


@triton.jit
def _trits(at, factor):
    return round_away(tl.load(at) * factor) + 1


@triton.jit
def _digits(at, factor, APART: tl.constexpr, COUNT: tl.constexpr):
    """COUNT digits, of numbers APART from each other."""
    digits = _trits(at, factor) & 0xFF
    for n in tl.static_range(1, COUNT):
        digits = digits * 3 + (_trits(at + APART * n, factor) & 0xFF)
    return digits & 0xFF


@triton.jit
def _fraction(digits):
    """ceil(digits * 256 / 243) for 0..242: the division by 243 as a product, exact in this range."""
    return digits + ((digits * 13 + 242) * 4316 >> 20)


@triton.jit(do_not_specialize=("count",))
def _quantize_tq1_0(x, out, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    at, to = x + tl.minimum(row, count - 1) * 256, out + row * 54
    factor = _factor(at, to + 52, live)
    live, at, to = live[:, None], at[:, None], to[:, None]
    i, j, k = tl.arange(0, 32)[None, :], tl.arange(0, 16)[None, :], tl.arange(0, 4)[None, :]
    store_byte(to + i, _fraction(_digits(at + i, factor, 32, 5)), live)
    store_byte(to + 32 + j, _fraction(_digits(at + 160 + j, factor, 16, 5)), live)
    # four digits with a zero behind them
    store_byte(to + 48 + k, _fraction(_digits(at + 240 + k, factor, 4, 4) * 3 & 0xFF), live)


@triton.jit(do_not_specialize=("count",))
def _quantize_tq2_0(x, out, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    at, to = x + tl.minimum(row, count - 1) * 256, out + row * 66
    factor = _factor(at, to + 64, live)
    i = tl.arange(0, 32)[None, :]
    for half in tl.static_range(2):
        packed = tl.zeros((ROWS, 32), tl.int32)
        for n in tl.static_range(4):
            packed |= (_trits(at[:, None] + 128 * half + 32 * n + i, factor) & 3) << 2 * n
        store_byte(to[:, None] + 32 * half + i, packed, live[:, None])


def quantize_tq1_0(x: torch.Tensor, weights: None, out: torch.Tensor) -> None:
    launch_tiles(_quantize_tq1_0, x.numel() // 256, 256, x, out)


def quantize_tq2_0(x: torch.Tensor, weights: None, out: torch.Tensor) -> None:
    launch_tiles(_quantize_tq2_0, x.numel() // 256, 256, x, out)


@triton.jit
def _tq1_0(blocks, row, i):
    """The digits of three runs of bytes: 32 apart up to number 159, 16 apart up to 239, then 4 apart."""
    at = blocks + row * 54
    byte = tl.where(i < 160, i & 31, tl.where(i < 240, 32 + (i & 15), 48 + (i & 3)))
    place = tl.where(i < 160, i >> 5, tl.where(i < 240, i - 160 >> 4, i - 240 >> 2))
    power = tl.where(place == 0, 1, tl.where(place == 1, 3, tl.where(place == 2, 9, tl.where(place == 3, 27, 81))))
    rest = load_byte(at[:, None] + byte[None, :]) * power[None, :] & 0xFF
    return ((rest * 3 >> 8) - 1).to(tl.float32) * load_half(at + 52)[:, None]


@triton.jit
def _tq2_0(blocks, row, i):
    at = blocks + row * 66
    packed = load_byte(at[:, None] + (i >> 7 << 5 | i & 31)[None, :])
    return ((packed >> (i >> 5 << 1 & 6)[None, :] & 3) - 1).to(tl.float32) * load_half(at + 64)[:, None]


dequantize_tq1_0 = decoder(_tq1_0, 256)
dequantize_tq2_0 = decoder(_tq2_0, 256)
