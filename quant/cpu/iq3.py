"""IQ3_XXS and IQ3_S: groups of 4 numbers from a grid, with signs apart."""

from __future__ import annotations

import numpy as np

from .compile import inline, kernel
from .half import store_half
from .iq_batch import batch_of, greatest, scale_codes
from .iq_decode import dequantize_iq3_s as dequantize_iq3_s
from .iq_decode import dequantize_iq3_xxs as dequantize_iq3_xxs
from .iq_grid import grid
from .iq_search import any_off, refit, scratch_for, search, settle, split_signs, spread
from .lanes import load, splat, sqrt, store, where

f32 = np.float32
STEP, TOP = f32(0.2), f32(31)


@inline
def _write_xxs(out, at, first, levels, codes, signs, places):
    """Grid points; then four times seven signs and a scale to a word. `first`: the block's first lane."""
    for sub in range(8):
        lane = first + sub
        word = np.int64(levels[lane]) << 28
        for group in range(8):
            out[at + 2 + 8 * sub + group] = places[codes[16 * group + lane]]
        for group in range(4):
            word |= signs[16 * group + lane] << 7 * group
        for i in range(4):
            out[at + 66 + 4 * sub + i] = word >> 8 * i & 255


@inline
def _write_s(out, at, first, levels, codes, signs, used, places):
    """Eight bits of grid points, their ninth bits, signs, two scales to a byte.

    The reference does not step over a sub-block of zeros: the grid points and signs of the sub-blocks after it move up
    by one, while their ninth bits and scales stay. Such a block decodes to other numbers, there as here.
    """
    place = 0
    for sub in range(8):
        lane = first + sub
        high = 0
        for group in range(8):
            point = places[codes[16 * group + lane]]
            out[at + 2 + 8 * place + group] = point & 255
            high |= (point >> 8) << group
        for group in range(4):
            out[at + 74 + 4 * place + group] = signs[16 * group + lane]
        out[at + 66 + sub] = high
        place += used[lane]
    for sub in range(8 * place, 64):
        out[at + 2 + sub] = 0
    for sub in range(4 * place, 32):
        out[at + 74 + sub] = 0
    for sub in range(0, 8, 2):
        out[at + 106 + sub // 2] = levels[first + sub] | levels[first + sub + 1] << 4


@kernel
def _quantize(x, weights, weighted, row, small, places, entries, near, out):
    """IQ3_XXS (`small`: an even number of signs is stored) and IQ3_S: eight sub-blocks of 32 per block."""
    n = 32
    values, w, wx, magnitudes = np.empty(512, f32), np.empty(512, f32), np.empty(512, f32), np.empty(512, f32)
    codes, off, signs = np.empty(128, np.int32), np.empty(128, np.int32), np.empty(64, np.int32)
    scales, levels, used = np.empty(16, f32), np.empty(16, np.int32), np.empty(16, np.int32)
    sums, tile = np.empty(16, f32), np.empty(512, f32)
    scratch, tables = scratch_for(n, 3), (places, entries, near)
    steps, otherwise_off = (15, 0) if small else (9, 1)
    zero = splat(f32(0))
    blocks = x.size // 256
    for block in range(0, blocks, 2):
        total = batch_of(x, weights, weighted, row, block, n, sums, tile, values, w)
        sigma2 = (total + total) / splat(f32(256))
        for i in range(n):
            v = load(values, 16 * i)
            store(w, 16 * i, load(w, 16 * i) * sqrt(sigma2 + v * v) if weighted else v * v)
        high = split_signs(values, w, n, small, magnitudes, wx, signs)
        live = high >= splat(f32(1e-8)) if small else high != zero
        spread(magnitudes, w, n, 3, True, scratch[3], tile)
        start = high / splat(f32(15))
        scale = search(magnitudes, w, wx, n, 3, live, high, start, steps, STEP, otherwise_off, codes, off, scratch, tables)
        redo = live & any_off(off, 8) & (scale > zero)
        scale = refit(magnitudes, w, wx, n, 3, scale, redo, small, codes, off, scratch, tables)
        scale = settle(scale, live, signs, 4, 127 if small else 255)
        store(scales, 0, scale)
        store(used, 0, where(live, splat(1), splat(0)))
        for which in range(min(2, blocks - block)):
            at = (98 if small else 110) * (block + which)
            top = greatest(scales, 8 * which, 8)
            d = top / TOP
            store_half(out, at, d * (f32(1.0125) if small else f32(1.033)))
            store(levels, 0, scale_codes(scale, f32(1) / d, 15) if top != f32(0) else splat(0))
            if not small:
                _write_s(out, at, 8 * which, levels, codes, signs, used, places)
            elif top != f32(0):
                _write_xxs(out, at, 8 * which, levels, codes, signs, places)
            else:
                out[at + 2 : at + 98] = 0


def _run(format: str, x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    weighted = weights is not None
    weights = weights if weighted else np.empty(0, f32)
    small = format == "IQ3_XXS"
    _quantize(x.reshape(-1), weights, weighted, x.shape[1], small, *grid(format).search, out.reshape(-1))


def quantize_iq3_xxs(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _run("IQ3_XXS", x, weights, out)


def quantize_iq3_s(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    _run("IQ3_S", x, weights, out)
