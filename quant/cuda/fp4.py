"""MXFP4 and NVFP4: four-bit floats (E2M1) below a scale of eight bits.

MXFP4 has a power of two (E8M0) per block of 32, NVFP4 an unsigned E4M3 per 16 numbers, four to a block. A code's low
bits are the place of its magnitude among 0, 1, 2, 3, 4, 6, 8, 12, twice the values of E2M1; bit 3 is the sign.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .arithmetic import load_byte, store_byte, to_i32
from .decode import decoder
from .launch import launch_tiles
from .tables import on_device


@triton.jit
def _power_of_two(e):
    """ggml_e8m0_to_fp32_half: 2^(e - 128)."""
    return tl.where(e < 2, 0x200000 << (e & 1), e - 1 << 23).to(tl.float32, bitcast=True)


@triton.jit
def _nearest(x, d):
    """Codes for x at scale d: the nearest of all sixteen values, the lower code of two equally near.

    That is counting the borders below |x|: in float32 too a border's number is as near to its lower neighbour, and what
    lies above is nearer to the upper one, as long as |x| is no more than some 2^20 d.
    """
    a, half, two = tl.abs(x), d * 0.5, d + d
    count = (a > half).to(tl.int32) + (a > d + half).to(tl.int32) + (a > two + half).to(tl.int32)
    count += (a > two + d + half).to(tl.int32) + (a > d * 6.0 - d).to(tl.int32)
    count += (a > d * 8.0 - d).to(tl.int32) + (a > d * 12.0 - two).to(tl.int32)  # an infinite value is never the nearest
    return tl.where((x < 0) & (count > 0), count + 8, count)


@triton.jit
def _exponent(most, rounded_up):
    """The scale byte of MXFP4 for a greatest magnitude: floor(log2f(most)) + 125, as uint8.

    rounded_up: int32 [278], of how many steps below a power of two log2f gives that power already (tables.py).
    """
    subnormal = most < 1.1754943508222875e-38
    bits = tl.where(subnormal, most * 16777216.0, most).to(tl.int32, bitcast=True)
    k = (bits >> 23) - 127 - tl.where(subnormal, 24, 0)
    short = 0x800000 - (bits & 0x7FFFFF)  # steps to the next power of two
    k += ((k < 128) & (short <= tl.load(rounded_up + tl.minimum(tl.maximum(k + 150, 0), 277)))).to(tl.int32)
    return tl.where(most > 0, k + 125 & 0xFF, 0)


@triton.jit(do_not_specialize=("count",))
def _quantize_mxfp4(x, rounded_up, out, count, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    j = tl.arange(0, 16)[None, :]
    at, to = x + tl.minimum(row, count - 1)[:, None] * 32 + j, out + row * 17
    a, b = tl.load(at), tl.load(at + 16)
    e = _exponent(tl.max(tl.maximum(tl.abs(a), tl.abs(b)), axis=1), rounded_up)
    d = _power_of_two(e)[:, None]
    store_byte(to, e, live)
    store_byte(to[:, None] + 1 + j, _nearest(a, d) | _nearest(b, d) << 4, live[:, None])


@triton.jit
def _to_e4m3(v):
    """ggml_fp32_to_ue4m3: halves go up, not to even, and of the values above 240 only 448 is used."""
    bits = v.to(tl.int32, bitcast=True)
    power = (bits >> 23) - 120
    low = tl.minimum(to_i32(v * 512.0 + 0.5), 7)
    code = (power << 3 | bits >> 20 & 7) + (bits >> 19 & 1)
    code = tl.where(power <= 0, low, tl.where(code < 0x78, code, 0x7E))
    return tl.where(v > 0, code, 0)


@triton.jit
def _from_e4m3(code):
    """Half the value of a byte of NVFP4's scales: ggml_ue4m3_to_fp32."""
    power, fraction = code >> 3 & 15, code & 7
    bits = power + 119 << 23 | fraction << 20
    value = tl.where(power == 0, fraction.to(tl.float32) * 0.0009765625, bits.to(tl.float32, bitcast=True))
    return tl.where(code == 0x7F, 0.0, value)


@triton.jit
def _value(code):
    """The number that a code 0..15 stands for; code 8 is 0, not -0."""
    low = code & 7
    magnitude = tl.where(low < 5, low, tl.where(low < 7, 2 * low - 4, 12))
    return tl.where(code > 8, -magnitude, magnitude).to(tl.float32)


@triton.jit
def _nearest_of_all(x, d):
    """_nearest() by trying: also where x is so great that differences to it are rounded."""
    best, least = tl.zeros_like(x).to(tl.int32), tl.abs(x)
    for code in range(1, 16):
        error = tl.abs(d * _value(tl.cast(code, tl.int32)) - x)
        best, least = tl.where(error < least, code, best), tl.where(error < least, error, least)
    return best


@triton.jit(do_not_specialize=("count",))
def _quantize_nvfp4(x, out, count, ROWS: tl.constexpr):
    """row: sixteen numbers; their scale is one of four bytes, their codes are eight of the 32 that follow."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < count
    j = tl.arange(0, 8)[None, :]
    at, to = x + tl.minimum(row, count - 1)[:, None] * 16 + j, out + (row >> 2) * 36
    a, b = tl.load(at), tl.load(at + 8)
    most = tl.max(tl.maximum(tl.abs(a), tl.abs(b)), axis=1)
    e = _to_e4m3(tl.div_rn(most, 6.0))
    d = _from_e4m3(e)
    store_byte(to + (row & 3), e, live)
    great = most > d * 1048576.0
    d, p, q = d[:, None], _nearest(a, d[:, None]), _nearest(b, d[:, None])
    if tl.max(great.to(tl.int32), axis=0) > 0:
        p = tl.where(great[:, None], _nearest_of_all(a, d), p)
        q = tl.where(great[:, None], _nearest_of_all(b, d), q)
    store_byte((to + 4 + (row & 3) * 8)[:, None] + j, p | q << 4, live[:, None])


def quantize_mxfp4(x: torch.Tensor, weights: None, out: torch.Tensor) -> None:
    launch_tiles(_quantize_mxfp4, x.numel() // 32, 32, x, on_device("rounded_up", x.device), out)


def quantize_nvfp4(x: torch.Tensor, weights: None, out: torch.Tensor) -> None:
    launch_tiles(_quantize_nvfp4, x.numel() // 16, 16, x, out)


@triton.jit
def _mxfp4(blocks, row, i):
    at = blocks + row * 17
    code = load_byte(at[:, None] + 1 + (i & 15)[None, :]) >> (i >> 4 << 2)[None, :] & 15
    return _value(code) * _power_of_two(load_byte(at))[:, None]


@triton.jit
def _nvfp4(blocks, row, i):
    """row: sixteen numbers."""
    at, part = blocks + (row >> 2) * 36, row & 3
    code = load_byte((at + 4 + part * 8)[:, None] + (i & 7)[None, :]) >> (i >> 3 << 2)[None, :] & 15
    return _value(code) * _from_e4m3(load_byte(at + part))[:, None]


dequantize_mxfp4 = decoder(_mxfp4, 32)
dequantize_nvfp4 = decoder(_nvfp4, 16)
