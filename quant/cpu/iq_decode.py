"""Decoding of IQ1, IQ2 and IQ3: rows of a grid, sixteen numbers at a time.

A number is (scale * grid value), its sign bit turned where a sign is stored, which is what compilers make of ggml's product
with -1 (dequantize_row_iq2_xxs and its kin); it shows in NaN only.
"""

from __future__ import annotations

import numpy as np

from .compile import inline, kernel
from .half import from_half, load_half
from .iq_grid import decoded
from .lanes import bits, from_bits, load, splat, store, to_f32, where
from .lookup import four_rows, two_rows

f32 = np.float32
BIT = np.int32(1) << np.arange(16, dtype=np.int32)
# Seven stored signs; the eighth makes their number even.
EVEN = np.array([s | (s.bit_count() & 1) << 7 for s in range(128)], np.uint8)
HALF, QUARTER, DELTA = f32(0.5), f32(0.25), f32(0.125)
SIGN = np.int32(-(1 << 31))


@inline
def word16(blocks, at):
    return np.int64(blocks[at]) | np.int64(blocks[at + 1]) << 8


@inline
def word32(blocks, at):
    return word16(blocks, at) | word16(blocks, at + 2) << 16


@inline
def signed(scale, values, signs):
    """scale * values, negated where the bit of their lane is set in `signs`."""
    turned = where((splat(np.int32(signs)) & load(BIT, 0)) != 0, splat(SIGN), splat(0))
    return from_bits(bits(scale * to_f32(values)) ^ turned)


@inline
def even_pair(signs):
    """Sixteen signs from two times seven bits."""
    return np.int64(EVEN[signs & 127]) | np.int64(EVEN[signs >> 7 & 127]) << 8


@kernel
def _iq2_xxs(blocks, grid, out):
    for block in range(out.size // 256):
        at, to = 66 * block, 256 * block
        d = load_half(blocks, at)
        for sub in range(8):
            here = at + 2 + 8 * sub
            word = word32(blocks, here + 4)
            scale = splat(d * (HALF + f32(word >> 28)) * QUARTER)
            for pair in range(2):
                q = two_rows(grid, 8 * blocks[here + 2 * pair], 8 * blocks[here + 2 * pair + 1])
                store(out, to + 32 * sub + 16 * pair, signed(scale, q, even_pair(word >> 14 * pair)))


@kernel
def _iq2_xs(blocks, grid, out):
    for block in range(out.size // 256):
        at, to = 74 * block, 256 * block
        d = load_half(blocks, at)
        for sub in range(16):
            level = blocks[at + 66 + sub // 2] >> 4 * (sub & 1) & 15
            scale = splat(d * (HALF + f32(level)) * QUARTER)
            a, b = word16(blocks, at + 2 + 4 * sub), word16(blocks, at + 4 + 4 * sub)
            q = two_rows(grid, 8 * (a & 511), 8 * (b & 511))
            store(out, to + 16 * sub, signed(scale, q, even_pair(a >> 9 | b >> 9 << 7)))


@kernel
def _iq2_s(blocks, grid, out):
    for block in range(out.size // 256):
        at, to = 82 * block, 256 * block
        d = load_half(blocks, at)
        for sub in range(16):
            level = blocks[at + 74 + sub // 2] >> 4 * (sub & 1) & 15
            scale = splat(d * (HALF + f32(level)) * QUARTER)
            high = np.int64(blocks[at + 66 + sub // 2]) >> 4 * (sub & 1)
            a = blocks[at + 2 + 2 * sub] | (high & 3) << 8
            b = blocks[at + 3 + 2 * sub] | (high & 12) << 6
            store(out, to + 16 * sub, signed(scale, two_rows(grid, 8 * a, 8 * b), word16(blocks, at + 34 + 2 * sub)))


@kernel
def _iq3_xxs(blocks, grid, out):
    for block in range(out.size // 256):
        at, to = 98 * block, 256 * block
        d = load_half(blocks, at)
        for sub in range(8):
            word = word32(blocks, at + 66 + 4 * sub)
            scale = splat(d * (HALF + f32(word >> 28)) * HALF)
            for pair in range(2):
                here = at + 2 + 8 * sub + 4 * pair
                q = four_rows(grid, 4 * blocks[here], 4 * blocks[here + 1], 4 * blocks[here + 2], 4 * blocks[here + 3])
                store(out, to + 32 * sub + 16 * pair, signed(scale, q, even_pair(word >> 14 * pair)))


@kernel
def _iq3_s(blocks, grid, out):
    for block in range(out.size // 256):
        at, to = 110 * block, 256 * block
        d = load_half(blocks, at)
        for sub in range(8):
            level = blocks[at + 106 + sub // 2] >> 4 * (sub & 1) & 15
            scale = splat(d * f32(1 + 2 * level))
            for pair in range(2):
                here = at + 2 + 8 * sub + 4 * pair
                high = np.int64(blocks[at + 66 + sub]) << 8 >> 4 * pair
                q = four_rows(
                    grid,
                    4 * (blocks[here] | high & 256),
                    4 * (blocks[here + 1] | high >> 1 & 256),
                    4 * (blocks[here + 2] | high >> 2 & 256),
                    4 * (blocks[here + 3] | high >> 3 & 256),
                )
                signs = word16(blocks, at + 74 + 4 * sub + 2 * pair)
                store(out, to + 32 * sub + 16 * pair, signed(scale, q, signs))


@kernel
def _iq1_s(blocks, grid, out):
    for block in range(out.size // 256):
        at, to = 50 * block, 256 * block
        d = load_half(blocks, at)
        for sub in range(8):
            word = word16(blocks, at + 34 + 2 * sub)
            scale = splat(d * f32(2 * (word >> 12 & 7) + 1))
            shift = splat(-DELTA if word & 0x8000 else DELTA)
            for pair in range(2):
                here, high = at + 2 + 4 * sub + 2 * pair, word >> 6 * pair
                q = two_rows(grid, 8 * (blocks[here] | (high & 7) << 8), 8 * (blocks[here + 1] | (high & 56) << 5))
                store(out, to + 32 * sub + 16 * pair, scale * (to_f32(q) + shift))


@kernel
def _iq1_m(blocks, grid, out):
    for block in range(out.size // 256):
        at, to = 56 * block, 256 * block
        half = 0
        for part in range(4):
            half |= (word16(blocks, at + 48 + 2 * part) >> 12) << 4 * part
        d = from_half(half)
        for sub in range(16):
            level = word16(blocks, at + 48 + 2 * (sub // 4)) >> 3 * (sub & 3) & 7
            scale = splat(d * f32(2 * level + 1))
            high = np.int64(blocks[at + 32 + sub])
            # Bit 3 shifts the first eight down, bit 7 the others.
            down = splat(np.int32((high >> 3 & 1) * 0xFF | (high >> 7) * 0xFF00))
            shift = where((down & load(BIT, 0)) != 0, splat(-DELTA), splat(DELTA))
            a, b = blocks[at + 2 * sub] | (high & 7) << 8, blocks[at + 2 * sub + 1] | (high & 0x70) << 4
            store(out, to + 16 * sub, scale * (to_f32(two_rows(grid, 8 * a, 8 * b)) + shift))


def _decoder(function, format: str):
    def dequantize(blocks: np.ndarray, out: np.ndarray) -> None:
        function(blocks.reshape(-1), decoded(format), out.reshape(-1))

    return dequantize


dequantize_iq2_xxs = _decoder(_iq2_xxs, "IQ2_XXS")
dequantize_iq2_xs = _decoder(_iq2_xs, "IQ2_XS")
dequantize_iq2_s = _decoder(_iq2_s, "IQ2_S")
dequantize_iq3_xxs = _decoder(_iq3_xxs, "IQ3_XXS")
dequantize_iq3_s = _decoder(_iq3_s, "IQ3_S")
dequantize_iq1_s = _decoder(_iq1_s, "IQ1_S")
dequantize_iq1_m = _decoder(_iq1_m, "IQ1_S")  # the same grid
