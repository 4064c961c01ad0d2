"""Q8_0, Q1_0 and Q2_0: blocks with one float16 scale, found without a search.

A greatest magnitude is the same in any order, so here a block is spread over the lanes. Q1_0's scale is a sum, though.
"""

from __future__ import annotations

import numpy as np

from .compile import inline, kernel
from .half import load_half, store_half
from .lanes import (
    bits,
    from_bits,
    highest,
    lane_numbers,
    load,
    magnitude,
    mask_bits,
    shift_right,
    splat,
    store,
    to_f32,
    to_i32,
    transpose,
    where,
)
from .search import greater
from .superblocks import window

f32 = np.float32
BELOW_HALF = f32(0.49999997)  # adding one half itself would lift 0.49999997 to 1


@inline
def round_away(v):
    """roundf: ties away from zero."""
    return to_i32(v + from_bits(bits(splat(BELOW_HALF)) | bits(v) & -0x80000000))


@kernel
def _quantize_q8_0(x, out):
    for block in range(x.size // 32):
        at, to = block * 32, block * 34
        a, b = load(x, at), load(x, at + 16)
        d = highest(greater(magnitude(a), magnitude(b))) / f32(127)
        factor = splat(f32(1) / d if d != f32(0) else f32(0))
        store_half(out, to, d)
        store(out, to + 2, round_away(a * factor))
        store(out, to + 18, round_away(b * factor))


@kernel
def _dequantize_q8_0(blocks, out):
    codes = blocks.view(np.int8)
    for block in range(out.size // 32):
        at, to = block * 34, block * 32
        d = splat(load_half(blocks, at))
        store(out, to, to_f32(load(codes, at + 2)) * d)
        store(out, to + 16, to_f32(load(codes, at + 18)) * d)


@kernel
def _quantize_q1_0(x, out):
    pad, scratch, scales = np.empty(2048, np.float32), np.empty(256, np.float32), np.empty(16, np.float32)
    for start in range(0, x.size, 2048):  # sixteen blocks, whose sums run side by side
        source, base = window(x, start, 2048, pad)
        total = splat(f32(0))
        for i in range(0, 128, 16):
            transpose(source, base + i, 128, scratch, 0)
            for k in range(16):
                total += magnitude(load(scratch, 16 * k))
        store(scales, 0, total / splat(f32(128)))
        for block in range(min(16, (x.size - start) // 128)):
            at, to = base + 128 * block, (start // 128 + block) * 18
            store_half(out, to, scales[block])
            for i in range(8):
                signs = mask_bits(load(source, at + 16 * i) >= f32(0))
                out[to + 2 + 2 * i], out[to + 3 + 2 * i] = signs & 0xFF, signs >> 8


@kernel
def _dequantize_q1_0(blocks, out):
    lanes = lane_numbers()
    for block in range(out.size // 128):
        at, to = block * 18, block * 128
        d = splat(load_half(blocks, at))
        for i in range(8):
            signs = np.int64(blocks[at + 2 + 2 * i]) | np.int64(blocks[at + 3 + 2 * i]) << 8
            store(out, to + 16 * i, where((shift_right(splat(signs), lanes) & 1) != 0, d, -d))


@inline
def _apart(bits32):
    """Put a zero before each of 32 bits."""
    bits32 = (bits32 | bits32 << 16) & 0x0000FFFF0000FFFF
    bits32 = (bits32 | bits32 << 8) & 0x00FF00FF00FF00FF
    bits32 = (bits32 | bits32 << 4) & 0x0F0F0F0F0F0F0F0F
    bits32 = (bits32 | bits32 << 2) & 0x3333333333333333
    return (bits32 | bits32 << 1) & 0x5555555555555555


@kernel
def _quantize_q2_0(x, out):
    for block in range(x.size // 64):
        at, to = block * 64, block * 18
        most = splat(f32(0))
        for i in range(0, 64, 16):
            most = greater(magnitude(load(x, at + i)), most)
        d = highest(most)
        factor = splat(f32(1) / d if d > f32(0) else f32(0))
        store_half(out, to, d)
        for half in range(2):  # a code is -1, 0 or 1, plus 1: bit 1 is set for 1, bit 0 for 0
            ones = zeros = np.int64(0)
            for k in range(2):
                q = round_away(load(x, at + 32 * half + 16 * k) * factor)
                ones |= mask_bits(q > 0) << 16 * k
                zeros |= mask_bits(q == 0) << 16 * k
            packed = _apart(zeros) | _apart(ones) << 1
            for i in range(8):
                out[to + 2 + 8 * half + i] = packed >> 8 * i & 0xFF


@kernel
def _dequantize_q2_0(blocks, out):
    shifts = lane_numbers() << 1
    for block in range(out.size // 64):
        at, to = block * 18, block * 64
        d = splat(load_half(blocks, at))
        for i in range(4):
            packed = np.int64(0)
            for k in range(4):
                packed |= np.int64(blocks[at + 2 + 4 * i + k]) << 8 * k
            store(out, to + 16 * i, to_f32((shift_right(splat(packed), shifts) & 3) - 1) * d)


def quantize_q8_0(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    _quantize_q8_0(x.reshape(-1), out.reshape(-1))


def quantize_q1_0(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    _quantize_q1_0(x.reshape(-1), out.reshape(-1))


def quantize_q2_0(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    _quantize_q2_0(x.reshape(-1), out.reshape(-1))


def dequantize_q8_0(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize_q8_0(blocks.reshape(-1), out.reshape(-1))


def dequantize_q1_0(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize_q1_0(blocks.reshape(-1), out.reshape(-1))


def dequantize_q2_0(blocks: np.ndarray, out: np.ndarray) -> None:
    _dequantize_q2_0(blocks.reshape(-1), out.reshape(-1))
