"""IQ2_XXS, IQ2_XS and IQ2_S: groups of 8 numbers from a grid, with signs apart."""

from __future__ import annotations

import numpy as np

from .compile import inline, kernel
from .half import store_half
from .iq_batch import batch_of, greatest, scale_codes
from .iq_decode import dequantize_iq2_s as dequantize_iq2_s
from .iq_decode import dequantize_iq2_xs as dequantize_iq2_xs
from .iq_decode import dequantize_iq2_xxs as dequantize_iq2_xxs
from .iq_grid import grid
from .iq_search import any_off, refit, scratch_for, search, settle, split_signs, spread
from .lanes import load, splat, sqrt, store
from .search import fit_positive_scale

f32 = np.float32
STEP, TOP = f32(0.1), f32(31)


@inline
def _write_xs(out, at, levels, codes, signs, places):
    """Nine bits of grid, seven of signs; then two scales to a byte."""
    for sub in range(16):
        for group in range(2):
            point = places[codes[16 * group + sub]] | signs[16 * group + sub] << 9
            out[at + 2 + 4 * sub + 2 * group] = point & 255
            out[at + 3 + 4 * sub + 2 * group] = point >> 8
    for sub in range(0, 16, 2):
        out[at + 66 + sub // 2] = levels[sub] | levels[sub + 1] << 4


@inline
def _write_s(out, at, levels, codes, signs, places):
    """Eight bits of grid, eight signs, two more bits of grid; then two scales to a byte."""
    for sub in range(0, 16, 2):
        high = 0
        for i in range(4):
            place = 16 * (i & 1) + sub + i // 2
            point = places[codes[place]]
            out[at + 2 + 2 * sub + i] = point & 255
            out[at + 34 + 2 * sub + i] = signs[place]
            high |= (point >> 8) << 2 * i
        out[at + 66 + sub // 2] = high
        out[at + 74 + sub // 2] = levels[sub] | levels[sub + 1] << 4


@kernel
def _quantize_xs_s(x, weights, weighted, row, even, places, entries, near, out):
    """IQ2_XS (`even`: an even number of signs is stored) and IQ2_S: sixteen sub-blocks of 16 per block."""
    n = 16
    values, w, wx, magnitudes = np.empty(256, f32), np.empty(256, f32), np.empty(256, f32), np.empty(256, f32)
    codes, off, signs = np.empty(32, np.int32), np.empty(32, np.int32), np.empty(32, np.int32)
    scales, levels = np.empty(16, f32), np.empty(16, np.int32)
    sums, tile = np.empty(16, f32), np.empty(512, f32)
    scratch, tables = scratch_for(n, 2), (places, entries, near)
    zero = splat(f32(0))
    for block in range(x.size // 256):
        total = batch_of(x, weights, weighted, row, block, n, sums, tile, values, w)
        sigma2 = (total if even else total + total) / splat(f32(256))
        for i in range(n):
            v = load(values, 16 * i)
            if weighted:
                store(w, 16 * i, load(w, 16 * i) * sqrt(sigma2 + v * v))
            else:
                store(w, 16 * i, splat(f32(0.25)) * sigma2 + v * v)
        high = split_signs(values, w, n, even, magnitudes, wx, signs)
        live = high >= splat(f32(1e-15) if even else f32(1e-8))
        spread(magnitudes, w, n, 2, True, scratch[3], tile)
        start = high / splat(f32(5))
        scale = search(magnitudes, w, wx, n, 2, live, high, start, 9, STEP, 0, codes, off, scratch, tables)
        redo = live & any_off(off, 2) & (scale > zero)
        scale = refit(magnitudes, w, wx, n, 2, scale, redo, True, codes, off, scratch, tables)
        scale = settle(scale, live, signs, 2, 127 if even else 255)
        store(scales, 0, scale)
        top = greatest(scales, 0, 16)
        at = (74 if even else 82) * block
        d = top / TOP
        store_half(out, at, d if even else d * f32(0.9875))
        store(levels, 0, scale_codes(scale, f32(1) / d, 15) if top != f32(0) else splat(0))
        if not even:
            _write_s(out, at, levels, codes, signs, places)
        elif top != f32(0):
            _write_xs(out, at, levels, codes, signs, places)
        else:
            out[at + 2 : at + 74] = 0


@kernel
def _quantize_xxs(x, weights, row, places, entries, near, out):
    """IQ2_XXS: eight sub-blocks of 32 per block. The scales tried surround that of a search without a grid."""
    n = 32
    values, w, wx, magnitudes = np.empty(512, f32), np.empty(512, f32), np.empty(512, f32), np.empty(512, f32)
    codes, off, signs = np.empty(64, np.int32), np.empty(64, np.int32), np.empty(64, np.int32)
    scales, levels = np.empty(16, f32), np.empty(16, np.int32)
    sums, tile = np.empty(16, f32), np.empty(512, f32)
    scratch, tables = scratch_for(n, 2), (places, entries, near)
    zero = splat(f32(0))
    blocks = x.size // 256
    for block in range(0, blocks, 2):
        sigma2 = batch_of(x, weights, True, row, block, n, sums, tile, values, w) / splat(f32(256))
        for i in range(n):
            v = load(values, 16 * i)
            store(w, 16 * i, load(w, 16 * i) * sqrt(sigma2 + v * v))
        high = split_signs(values, w, n, True, magnitudes, wx, signs)
        spread(magnitudes, w, n, 2, True, scratch[3], tile)
        start = fit_positive_scale(magnitudes, w, n, f32(4), values)
        reference = start * splat(f32(3))
        live = (high >= splat(f32(1e-15))) & (reference > zero)
        scale = search(magnitudes, w, wx, n, 2, live, reference, start, 6, STEP, 0, codes, off, scratch, tables)
        scale = refit(magnitudes, w, wx, n, 2, scale, live & (scale > zero), False, codes, off, scratch, tables)
        scale = settle(scale, live, signs, 4, 127)
        store(scales, 0, scale)
        for which in range(min(2, blocks - block)):
            at = 66 * (block + which)
            top = greatest(scales, 8 * which, 8)
            d = top / TOP
            store_half(out, at, d)
            if top == f32(0):
                out[at + 2 : at + 66] = 0
                continue
            store(levels, 0, scale_codes(scale, f32(1) / d, 15))
            for sub in range(8):
                lane = 8 * which + sub
                word = np.int64(levels[lane]) << 28
                for group in range(4):
                    out[at + 2 + 8 * sub + group] = places[codes[16 * group + lane]]
                    word |= signs[16 * group + lane] << 7 * group
                for i in range(4):
                    out[at + 6 + 8 * sub + i] = word >> 8 * i & 255


def quantize_iq2_xxs(x: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    _quantize_xxs(x.reshape(-1), weights, x.shape[1], *grid("IQ2_XXS").search, out.reshape(-1))


def quantize_iq2_xs(x: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    _quantize_xs_s(x.reshape(-1), weights, True, x.shape[1], True, *grid("IQ2_XS").search, out.reshape(-1))


def quantize_iq2_s(x: np.ndarray, weights: np.ndarray | None, out: np.ndarray) -> None:
    weighted = weights is not None
    weights = weights if weighted else np.empty(0, f32)
    _quantize_xs_s(x.reshape(-1), weights, weighted, x.shape[1], False, *grid("IQ2_S").search, out.reshape(-1))
