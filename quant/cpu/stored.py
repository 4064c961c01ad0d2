"""Weights as quantized checkpoints store them: packed codes into numbers, numbers with scales into float32.

Arithmetic is float32, one operation after another, as the formats' libraries do it; only where a library rounds twice is
it float64, rounded once. Threads and machines have no say in it.
"""

from __future__ import annotations

import numpy as np

from .compile import inline, kernel


@kernel
def unpack(rows, bits, swapped, out):
    """Codes of `bits` (1 to 8), the first in the lowest bits and without a gap: uint8 [n, bytes] -> uint8 [n, codes].

    `swapped`: of codes of 4 bits, the first is in the high half of its byte."""
    n, count = out.shape
    for r in range(n):
        row, codes = rows[r], out[r]
        done = 0
        if bits == 4:
            first = np.uint8(4 if swapped else 0)
            for j in range(count >> 1):
                codes[2 * j] = row[j] >> first & np.uint8(15)
                codes[2 * j + 1] = row[j] >> np.uint8(4) - first & np.uint8(15)
            done = count & ~1
        else:
            mask = np.uint64((1 << bits) - 1)
            for j in range(min(count, 8 * row.size // bits) >> 3):  # eight codes fill bytes
                word = np.uint64(0)
                for k in range(bits):
                    word |= np.uint64(row[j * bits + k]) << np.uint64(8 * k)
                for k in range(8):
                    codes[8 * j + k] = word >> np.uint64(bits * k) & mask
            done = min(count, 8 * row.size // bits) & ~7
        for j in range(done, count):
            at = j * bits
            word = np.int64(row[at >> 3])
            if (at >> 3) < row.size - 1:
                word |= np.int64(row[(at >> 3) + 1]) << 8
            shift = 4 * (at >> 2 & 1 ^ swapped) if bits == 4 else at & 7
            codes[j] = word >> shift & (1 << bits) - 1


@kernel
def unpack_shuffled(rows, order, out):
    """Codes of 4 bits of which as many as `order` has lie together, `order[k]` the place of the k-th lowest in a run of the
    flattened rows of `out`: uint8 [n, bytes] -> uint8 [n, lanes, codes of a lane]; each lane has its share of a run."""
    n, lanes, count = out.shape
    share = order.size // lanes
    place = order // share * count + order % share
    for r in range(n):
        row, codes = rows[r], out[r].reshape(-1)
        for run in range(count // share):
            for k in range(order.size >> 1):
                byte = row[run * (order.size >> 1) + k]
                codes[np.uintp(run * share + place[2 * k])] = byte & np.uint8(15)
                codes[np.uintp(run * share + place[2 * k + 1])] = byte >> np.uint8(4)


@kernel
def unpack_rows(words, bits, step, places, out):
    """Codes of `bits` of rows that lie apart: row r of uint8 or uint32 [n, m] holds rows step * r + places[k] of out, uint8
    [.., m], the lowest bits first."""
    n, m = words.shape
    mask = np.uint32((1 << bits) - 1)
    for r in range(n):
        row = words[r]
        for k in range(places.size):
            shift, codes = np.uint32(bits * k), out[step * r + places[k]]
            for c in range(m):
                codes[c] = np.uint32(row[c]) >> shift & mask


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
                line, row = square[a], x[i + a, j : j + wide]
                for b in range(wide):
                    line[b] = row[b]
            for b in range(wide):
                row = out[j + b, i : i + high]
                for a in range(high):
                    row[a] = square[a, b]


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
            out[r, c] = held[np.uintp(min(at, last))] * bit  # no branch, which would be taken at random
            at += bit
        named[r] = at - before


@inline
def counting(table):
    """`flip` and `shift` of a table [256] whose entries are (code ^ flip) - shift, as those of whole numbers are: these are
    computed many at a time, which nothing is looked up. shift -1: another table."""
    flip = np.argmin(table)
    shift = np.int32(-table[flip]) if -256 <= table[flip] <= 0 else np.int32(-1)
    made = np.empty(256, np.float32)
    for code in range(256):
        made[code] = (code ^ flip) - shift
    same = np.array_equal(made.view(np.uint32), table.view(np.uint32))  # bits: -0 is not computed
    return np.uint8(flip), shift if same else np.int32(-1)


@inline
def scale_run(codes, table, flip, shift, zero, scale, start, stop, out):
    """(table[code] - zero) * scale, of a row from `start` to `stop`; these are not negative, which the compiler must see."""
    if shift >= 0:
        for c in range(np.uintp(start), np.uintp(stop)):
            out[c] = (np.float32(np.int32(codes[c] ^ flip) - shift) - zero) * scale
    else:
        for c in range(np.uintp(start), np.uintp(stop)):
            out[c] = (table[codes[c]] - zero) * scale


@kernel
def scale_codes(codes, table, scales, zeros, first, height, width, out):
    """(table[code] - zero) * scale. Numbers of `height` rows and `width` columns share a scale; `first` counts the rows
    before the first one that its scale has too. `zeros`: as `scales`, or [0, 0] for none."""
    rows, cols = codes.shape
    flip, shift = counting(table)
    for r in range(rows):
        band = (first + r) // height
        for group in range(scales.shape[1]):
            zero = zeros[band, group] if zeros.size else np.float32(0)  # which changes nothing, not even -0
            start = group * width
            scale_run(codes[r], table, flip, shift, zero, scales[band, group], start, min(start + width, cols), out[r])


@kernel
def scale_columns(codes, table, scales, zeros, groups, out):
    """(table[code] - zero) * scale, column c with those of group groups[c]."""
    rows, cols = codes.shape
    begin = np.zeros(scales.shape[1] + 1, np.int64)
    for c in range(cols):
        begin[groups[c] + 1] += 1
    for group in range(scales.shape[1]):
        begin[group + 1] += begin[group]
    columns, at = np.empty(cols, np.uint32), begin.copy()  # of one group after another: scales are not looked up
    for c in range(cols):
        columns[at[groups[c]]] = c
        at[groups[c]] += 1
    for r in range(rows):
        row, line = codes[r], out[r]
        for group in range(scales.shape[1]):
            scale, zero = scales[r, group], zeros[r, group]
            for i in range(np.uintp(begin[group]), np.uintp(begin[group + 1])):
                c = columns[i]
                line[c] = (table[row[c]] - zero) * scale


@kernel
def scale_and_shift(codes, table, scales, biases, width, out):
    """table[code] * scale + bias."""
    rows, cols = codes.shape
    flip, shift = counting(table)
    for r in range(rows):
        line = out[r]
        for group in range(scales.shape[1]):
            start, stop = group * width, min(group * width + width, cols)
            scale_run(codes[r], table, flip, shift, np.float32(0), scales[r, group], start, stop, line)
            bias = biases[r, group]
            for c in range(np.uintp(start), np.uintp(stop)):
                line[c] += bias


@kernel
def scale_once(codes, table, scales, zeros, first, height, width, out):
    """As `scale_codes`, of zeros that are no whole numbers: computed in float64, rounded once."""
    rows, cols = codes.shape
    flip, shift = counting(table)
    for r in range(rows):
        band = (first + r) // height
        line = out[r]
        for group in range(scales.shape[1]):
            scale, zero = np.float64(scales[band, group]), np.float64(zeros[band, group])
            start, stop = group * width, min(group * width + width, cols)
            scale_run(codes[r], table, flip, shift, np.float32(0), np.float32(1), start, stop, line)
            for c in range(np.uintp(start), np.uintp(stop)):
                line[c] = np.float32((np.float64(line[c]) - zero) * scale)


@kernel
def spans(numbers, width, least, greatest):
    """The least and the greatest of every `width` numbers of a row, the last ones fewer: int16 or uint8 [n, m] -> int16
    [n, runs]."""
    rows, cols = numbers.shape
    for r in range(rows):
        row = numbers[r]
        for run in range(least.shape[1]):
            low, high = row[run * width], row[run * width]
            for c in range(np.uintp(run * width), np.uintp(min(run * width + width, cols))):
                low, high = min(low, row[c]), max(high, row[c])
            least[r, run], greatest[r, run] = low, high


def warmup() -> None:
    """Compile them all, for the types that they are called with."""
    bytes_, floats = np.zeros((1, 4), np.uint8), np.zeros((1, 4), np.float32)
    table, none, out = np.zeros(256, np.float32), np.zeros((0, 0), np.float32), np.zeros((1, 4), np.float32)
    for kind in (np.uint8, np.uint32, np.float32):
        turn(np.zeros((1, 4), kind), np.zeros((4, 1), kind))
    for kind in (np.uint8, np.uint32):
        unmask(np.zeros((1, 1), np.uint8), np.zeros(4, kind), np.zeros(1, np.int64), np.zeros((1, 4), kind))
    for kind in (np.uint8, np.uint32):
        unpack_rows(np.zeros((1, 4), kind), 4, 1, np.arange(2), np.zeros((2, 4), np.uint8))
    for kind in (np.uint8, np.int16):
        spans(np.zeros((1, 4), kind), 4, *np.zeros((2, 1, 1), np.int16))
    unpack_shuffled(bytes_, np.arange(8), np.zeros((1, 1, 8), np.uint8))
    unpack(bytes_, 4, False, np.zeros((1, 8), np.uint8))
    scale_codes(bytes_, table, floats, none, 0, 1, 1, out)
    scale_columns(bytes_, table, floats, floats, np.zeros(4, np.int32), out)
    scale_and_shift(bytes_, table, floats, floats, 1, out)
    scale_once(bytes_, table, floats, floats, 0, 1, 1, out)
