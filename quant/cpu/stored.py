"""Weights as quantized checkpoints store them: packed codes into numbers, numbers with scales into float32.

Arithmetic is float32, one operation after another, as the formats' libraries do it; only where a library rounds twice is
it float64, rounded once. Threads and machines have no say in it.
"""

from __future__ import annotations

import numpy as np

from .compile import kernel


@kernel
def unpack(rows, bits, order, out):
    """Codes of `bits` (1 to 8), the first in the lowest bits and without a gap: uint8 [n, bytes] -> uint8 [n, codes].

    `order`, of codes of 4 bits: in each run of as many codes, the place of each; empty for the order in which they lie."""
    n, count = out.shape
    last = rows.shape[1] - 1
    mask = (1 << bits) - 1
    if order.size:
        run = order.size
        for r in range(n):
            for j in range(0, count, run):
                for k in range(0, run, 2):
                    byte = rows[r, (j + k) >> 1]
                    out[r, j + order[k]] = byte & 15
                    out[r, j + order[k + 1]] = byte >> 4
        return
    if bits == 4:
        for r in range(n):
            for j in range(count >> 1):
                byte = rows[r, j]
                out[r, 2 * j] = byte & 15
                out[r, 2 * j + 1] = byte >> 4
            if count & 1:
                out[r, count - 1] = rows[r, count >> 1] & 15
        return
    for r in range(n):
        for j in range(count):
            at = j * bits
            byte = at >> 3
            word = np.int64(rows[r, byte])
            if byte < last:
                word |= np.int64(rows[r, byte + 1]) << 8
            out[r, j] = word >> (at & 7) & mask


@kernel
def unpack_below(words, order, out):
    """Codes of 4 bits, eight rows of them to a word, `order[k]` that of the k-th lowest: uint32 [n, m] -> uint8 [8 n, m]."""
    n, m = words.shape
    for r in range(n):
        for k in range(8):
            row, shift = 8 * r + order[k], np.uint32(4 * k)
            for c in range(m):
                out[row, c] = words[r, c] >> shift & np.uint32(15)


@kernel
def turn(x, out):
    """uint8 or uint32 [n, m] -> [m, n], in squares that are turned where they do not push each other out of the cache, as rows
    whose distance is a power of two do."""
    n, m = x.shape
    square = np.empty((64, 64), x.dtype)
    for i in range(0, n, 64):
        high = min(64, n - i)
        for j in range(0, m, 64):
            wide = min(64, m - j)
            for a in range(high):
                for b in range(wide):
                    square[b, a] = x[i + a, j + b]
            for b in range(wide):
                for a in range(high):
                    out[j + b, i + a] = square[b, a]


@kernel
def unmask(mask, kept, named, out):
    """Numbers where bits of a mask name a place, the first column's the lowest, and 0 elsewhere: mask uint8 [rows, bytes], kept
    uint8 or uint32 [n] -> out [rows, cols], and int64 [rows], how many places each row has; beyond n the last again."""
    rows, cols = out.shape
    held = kept if kept.size else np.zeros(1, kept.dtype)
    at, last = 0, held.size - 1
    for r in range(rows):
        before = at
        for c in range(cols):
            bit = np.int64(mask[r, c >> 3]) >> (c & 7) & 1
            out[r, c] = held[min(at, last)] * bit  # no branch, which would be taken at random
            at += bit
        named[r] = at - before


@kernel
def scale_codes(codes, table, scales, zeros, first, height, width, out):
    """(table[code] - zero) * scale. Numbers of `height` rows and `width` columns share a scale; `first` counts the rows
    before the first one that its scale has too. `zeros`: as `scales`, or [0, 0] for none."""
    rows, cols = codes.shape
    offset = zeros.shape[0] > 0
    for r in range(rows):
        band = (first + r) // height
        for group in range(scales.shape[1]):
            start, stop = group * width, min(group * width + width, cols)
            scale = scales[band, group]
            if offset:
                zero = zeros[band, group]
                for c in range(start, stop):
                    out[r, c] = (table[codes[r, c]] - zero) * scale
            else:
                for c in range(start, stop):
                    out[r, c] = table[codes[r, c]] * scale


@kernel
def scale_columns(codes, table, scales, zeros, groups, out):
    """(table[code] - zero) * scale, column c with those of group groups[c]."""
    rows, cols = codes.shape
    for r in range(rows):
        for c in range(cols):
            group = groups[c]
            out[r, c] = (table[codes[r, c]] - zeros[r, group]) * scales[r, group]


@kernel
def scale_and_shift(codes, table, scales, biases, width, out):
    """table[code] * scale + bias."""
    rows, cols = codes.shape
    for r in range(rows):
        for group in range(scales.shape[1]):
            scale, bias = scales[r, group], biases[r, group]
            for c in range(group * width, min(group * width + width, cols)):
                product = table[codes[r, c]] * scale
                out[r, c] = product + bias


@kernel
def scale_once(codes, table, scales, zeros, first, height, width, out):
    """As `scale_codes`, of zeros that are no whole numbers: computed in float64, rounded once."""
    rows, cols = codes.shape
    for r in range(rows):
        band = (first + r) // height
        for group in range(scales.shape[1]):
            scale, zero = np.float64(scales[band, group]), np.float64(zeros[band, group])
            for c in range(group * width, min(group * width + width, cols)):
                out[r, c] = np.float32((np.float64(table[codes[r, c]]) - zero) * scale)


def warmup() -> None:
    """Compile them all, for the types that they are called with."""
    bytes_, floats = np.zeros((1, 4), np.uint8), np.zeros((1, 4), np.float32)
    table, none, out = np.zeros(256, np.float32), np.zeros((0, 0), np.float32), np.zeros((1, 4), np.float32)
    for kind in (np.uint8, np.uint32, np.float32):
        turn(np.zeros((1, 4), kind), np.zeros((4, 1), kind))
    for kind in (np.uint8, np.uint32):
        unmask(np.zeros((1, 1), np.uint8), np.zeros(4, kind), np.zeros(1, np.int64), np.zeros((1, 4), kind))
    unpack_below(np.zeros((1, 4), np.uint32), np.arange(8), np.zeros((8, 4), np.uint8))
    unpack(bytes_, 4, np.zeros(0, np.int64), np.zeros((1, 8), np.uint8))
    scale_codes(bytes_, table, floats, none, 0, 1, 1, out)
    scale_columns(bytes_, table, floats, floats, np.zeros(4, np.int32), out)
    scale_and_shift(bytes_, table, floats, floats, 1, out)
    scale_once(bytes_, table, floats, floats, 0, 1, 1, out)
