"""Kernels that decode what quantized checkpoints store: compiled ahead by `warmup`, and once for each kind of array."""

from __future__ import annotations

import numpy as np
from ggufx.quant.cpu import stored

KERNELS = (stored.unpack, stored.turn, stored.scale_codes, stored.scale_columns, stored.scale_and_shift, stored.scale_once)


def test_warmup_compiles_what_conversions_call():
    stored.warmup()
    before = {kernel.__name__: list(kernel.signatures) for kernel in KERNELS}
    from ggufx.converters.ops import Grid, Unpack

    codes, scales = ("codes", Grid("U", 4)), ("scales", Grid())
    words, floats = np.zeros((8, 4), np.uint32), np.ones((8, 1), np.float32)
    for op, arrays in (
        (Unpack((8, 32), (codes, scales), (1, 32)), [words, floats]),
        (Unpack((8, 32), (codes, scales, ("biases", Grid())), (1, 32)), [words, floats, floats]),
        (Unpack((8, 32), (codes, scales, ("zeros", Grid())), (1, 32), once=True), [words, floats, floats]),
        (Unpack((8, 32), (codes, scales, ("groups", Grid())), (1, 32)), [words, floats, np.zeros(32, np.uint32)]),
        (Unpack((4, 64), (("codes", Grid("U", 4, axis=0, turned=True)), ("scales", Grid(turned=True))), (1, 64)),
         [np.zeros((8, 4), np.uint32), np.ones((1, 4), np.float32)]),
    ):
        op.forward(arrays)
    assert {kernel.__name__: list(kernel.signatures) for kernel in KERNELS} == before


def test_codes_that_straddle_bytes():
    out = np.empty((1, 10), np.uint8)
    stored.unpack(np.array([[0b11_010_001, 0b1_110_101_1, 0b01_000_11, 0b1]], np.uint8), 3, np.zeros(0, np.int64), out)
    assert out[0, :5].tolist() == [1, 2, 7, 5, 6]


def test_turning_is_transposing():
    for kind in (np.uint8, np.uint32):
        for n, m in ((70, 130), (64, 64), (1, 3), (129, 1)):
            x = np.arange(n * m).astype(kind).reshape(n, m)
            out = np.empty((m, n), kind)
            stored.turn(x, out)
            assert np.array_equal(out, x.T)


def test_codes_in_the_order_of_awq():
    order = np.array([0, 2, 4, 6, 1, 3, 5, 7])
    rows, out = np.random.default_rng(0).integers(0, 256, (3, 8)).astype(np.uint8), np.empty((3, 16), np.uint8)
    stored.unpack(rows, 4, order, out)
    nibbles = np.stack([rows & 15, rows >> 4], -1).reshape(3, 2, 8)
    assert np.array_equal(out.reshape(3, 2, 8)[:, :, order], nibbles)
