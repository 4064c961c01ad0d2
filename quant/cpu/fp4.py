"""MXFP4 and NVFP4: four-bit floats (E2M1) below a scale of eight bits.

MXFP4 has a power of two (E8M0) per block of 32, NVFP4 an unsigned E4M3 per 16 numbers, four to a block. A code's low
bits are the place of its magnitude in MAGNITUDES, which are twice the values of E2M1; bit 3 is the sign.
"""

from __future__ import annotations

import numpy as np

from .compile import inline, kernel
from .half import bits_float, float_bits
from .lanes import (
    highest,
    lane_numbers,
    load,
    load_halves,
    magnitude,
    shift_right,
    splat,
    store,
    store_halves,
    where,
)
from .search import greater

f32 = np.float32
MAGNITUDES = np.array([0, 1, 2, 3, 4, 6, 8, 12], np.float32)

# log2f in glibc is rounded to float32: from so many steps of 2^-24 below 2^k on (k = -149..128) it gives k already.
# By exact steps alone, which are the same everywhere.
_K = np.arange(-149, 129)
LOG2_E = 1.4426950408889634
_OCTAVE = np.frexp(np.maximum(np.where(_K > 0, _K - 1, -_K), 1).astype(np.float32))[1] - 1
ROUNDED_UP = np.floor(np.ldexp(1.0, _OCTAVE) / LOG2_E).astype(np.int32)

# Half the value of each byte of NVFP4's scales: ggml_ue4m3_to_fp32.
_BYTE = np.arange(256)
_FRACTION, _POWER = _BYTE % 8, _BYTE // 8 % 16
E4M3 = np.where(_POWER == 0, _FRACTION * 2.0**-10, (1 + _FRACTION / 8) * np.ldexp(1.0, _POWER - 8)).astype(np.float32)
E4M3[[0, 0x7F]] = 0


@inline
def _power_of_two(e):
    """ggml_e8m0_to_fp32_half: 2^(e - 128)."""
    return bits_float(0x200000 << e if e < 2 else (e - 1) << 23)


@inline
def _nearest(x, d):
    """Codes for x at scale d: the nearest of all sixteen values, the lower code of two equally near.

    That is counting the borders below |x|: in float32 too a border's number is as near to its lower neighbour, and what
    lies above is nearer to the upper one, as long as |x| is no more than some 2^20 d.
    """
    a, lower, d2 = magnitude(x), d + d, d + d
    count = where(a > d * f32(0.5), splat(1), 0)
    count += where(a > d + d * f32(0.5), splat(1), 0)
    count += where(a > lower + d * f32(0.5), splat(1), 0)
    count += where(a > lower + d + d * f32(0.5), splat(1), 0)
    six, eight, twelve = d * f32(6), d * f32(8), d * f32(12)
    count += where(a > six - d, splat(1), 0)
    count += where(a > eight - d, splat(1), 0)  # an infinite value is never the nearest
    count += where(a > twelve - d2, splat(1), 0)
    return where((x < f32(0)) & (count > 0), count + 8, count)


@inline
def _exponent(most):
    """The scale byte of MXFP4 for a greatest magnitude: floor(log2f(most)) + 125, as uint8."""
    if not most > f32(0):
        return 0
    shift = 0
    if most < f32(1.1754943508222875e-38):  # subnormal
        most *= f32(16777216)
        shift = 24
    whole = np.int64(float_bits(most))
    k = (whole >> 23) - 127 - shift
    short = 0x800000 - (whole & 0x7FFFFF)  # steps to the next power of two
    if k < 128 and short <= ROUNDED_UP[k + 150]:  # 128 is infinity
        k += 1
    return (k + 125) & 0xFF


@kernel
def _quantize_mxfp4(x, out):
    for block in range(x.size // 32):
        at, to = block * 32, block * 17
        a, b = load(x, at), load(x, at + 16)
        e = _exponent(highest(greater(magnitude(a), magnitude(b))))
        d = splat(_power_of_two(e))
        out[to] = e
        store(out, to + 1, _nearest(a, d) | _nearest(b, d) << 4)


@inline
def _e4m3(v):
    """ggml_fp32_to_ue4m3: halves go up, not to even, and of the values above 240 only 448 is used."""
    if not v > f32(0):
        return 0
    whole = np.int64(float_bits(v))
    power = (whole >> 23) - 120
    if power <= 0:
        return min(int(v * f32(512) + f32(0.5)), 7)
    code = (power << 3 | whole >> 20 & 7) + (whole >> 19 & 1)
    return code if code < 0x78 else 0x7E


@inline
def _nearest_of_all(x, d):
    """_nearest() for one number, by trying: also where x is so great that differences to it are rounded."""
    best, least = 0, abs(x)
    for code in range(1, 16):
        value = d * MAGNITUDES[code & 7]
        error = abs((value if code < 8 else -value) - x)
        if error < least:
            best, least = code, error
    return best


@kernel
def _quantize_nvfp4(x, out):
    lanes = lane_numbers()
    d = np.empty(2, np.float32)
    for pair in range(x.size // 32):  # of sixteen numbers each, with 8 bytes of codes each
        at, to = pair * 32, pair // 2 * 36
        scales, codes = to + pair % 2 * 2, to + 4 + pair % 2 * 16
        ordinary = True
        for k in range(2):
            most = highest(magnitude(load(x, at + 16 * k)))
            e = _e4m3(most / f32(6))
            out[scales + k] = e
            d[k] = E4M3[e]
            ordinary &= most <= d[k] * f32(1 << 20)
        if ordinary:
            d2 = where(lanes < 8, splat(d[0]), splat(d[1]))
            a, b = load_halves(x, at, at + 16), load_halves(x, at + 8, at + 24)
            store(out, codes, _nearest(a, d2) | _nearest(b, d2) << 4)
        else:
            for i in range(16):
                k = i // 8
                first = at + 8 * k + i
                out[codes + i] = _nearest_of_all(x[first], d[k]) | _nearest_of_all(x[first + 8], d[k]) << 4


@inline
def _values(codes):
    """The magnitudes with their signs, bit by bit."""
    odd = (codes & 1) != 0
    low = where((codes & 2) != 0, where(odd, splat(f32(3)), splat(f32(2))), where(odd, splat(f32(1)), splat(f32(0))))
    high = where((codes & 2) != 0, where(odd, splat(f32(12)), splat(f32(8))), where(odd, splat(f32(6)), splat(f32(4))))
    value = where((codes & 4) != 0, high, low)
    return where(codes > 8, -value, value)  # code 8 is 0 as well, not -0


@kernel
def _dequantize_mxfp4(blocks, out):
    for block in range(out.size // 32):
        at, to = block * 17, block * 32
        d, codes = splat(_power_of_two(np.int64(blocks[at]))), load(blocks, at + 1)
        store(out, to, _values(codes & 15) * d)
        store(out, to + 16, _values(shift_right(codes, 4)) * d)


@kernel
def _dequantize_nvfp4(blocks, out):
    lanes = lane_numbers()
    for pair in range(out.size // 32):
        at, to = pair // 2 * 36, pair * 32
        scales = at + pair % 2 * 2
        d = where(lanes < 8, splat(E4M3[blocks[scales]]), splat(E4M3[blocks[scales + 1]]))
        codes = load(blocks, at + 4 + pair % 2 * 16)
        store_halves(out, to, to + 16, _values(codes & 15) * d)
        store_halves(out, to + 8, to + 24, _values(shift_right(codes, 4)) * d)


def quantize_mxfp4(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    _quantize_mxfp4(x.reshape(-1), out.reshape(-1))


def quantize_nvfp4(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    _quantize_nvfp4(x.reshape(-1), out.reshape(-1))


def dequantize_mxfp4(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize_mxfp4(blocks.reshape(-1), out.reshape(-1))


def dequantize_nvfp4(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize_nvfp4(blocks.reshape(-1), out.reshape(-1))
