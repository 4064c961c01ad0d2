"""Kernels that decode what quantized checkpoints store: compiled ahead by `warmup`, and once for each kind of array."""

from __future__ import annotations

import numpy as np
import pytest
from ggufx.converters.ops import Grid
from ggufx.converters.ops.code_values import values_of
from ggufx.converters.ops.least_codes import spans
from ggufx.quant.cpu import stored

KERNELS = (stored.unpack, stored.unpack_shuffled, stored.unpack_rows, stored.turn, stored.scale_codes, stored.scale_columns,
           stored.scale_and_shift, stored.scale_once, stored.spans)


def test_warmup_compiles_what_conversions_call():
    stored.warmup()
    before = {kernel.__name__: list(kernel.signatures) for kernel in KERNELS}
    from ggufx.converters.ops import Unpack

    codes, scales = ("codes", Grid("U", 4)), ("scales", Grid())
    words, floats = np.zeros((8, 4), np.uint32), np.ones((8, 1), np.float32)
    for op, arrays in (
        (Unpack((8, 32), (codes, scales), (1, 32)), [words, floats]),
        (Unpack((8, 32), (codes, scales, ("biases", Grid())), (1, 32)), [words, floats, floats]),
        (Unpack((8, 32), (codes, scales, ("zeros", Grid())), (1, 32), once=True), [words, floats, floats]),
        (Unpack((8, 32), (codes, scales, ("groups", Grid())), (1, 32)), [words, floats, np.zeros(32, np.uint32)]),
        (Unpack((4, 64), (("codes", Grid("U", 4, axis=0, turned=True)), ("scales", Grid(turned=True))), (1, 64)),
         [np.zeros((8, 4), np.uint32), np.ones((1, 4), np.float32)]),
        (Unpack((8, 32), (("codes", Grid("U", 4, turned=True)), scales), (1, 32)), [np.zeros((32, 1), np.uint32), floats]),
        (Unpack((8, 32), (("codes", Grid("I", 4, axis=0, word=8)), scales), (1, 32)), [np.zeros((4, 32), np.uint8), floats]),
        (Unpack((8, 32), (("codes", Grid("U", 4, order=tuple(range(64)), lanes=4, word=16)), scales), (1, 32)),
         [np.zeros((2, 32), np.uint16), floats]),
    ):
        op.forward(arrays)
    for kind in (np.uint8, np.int16):
        spans(iter([np.zeros((8, 32), kind)[:5], np.zeros((3, 32), kind)]), (1, 20), 32)
    assert {kernel.__name__: list(kernel.signatures) for kernel in KERNELS} == before


@pytest.mark.parametrize("block", [(1, 32), (1, 24), (5, 100), (3, 7), (11, 1)])
def test_spans_of_groups(block: tuple[int, int]):
    """Groups at the ends are smaller; rows come in runs that know nothing of groups."""
    numbers = np.random.default_rng(1).integers(-40, 40, (11, 100)).astype(np.int16)
    tops, sides = range(0, 11, block[0]), range(0, 100, block[1])
    groups = [[numbers[r : r + block[0], c : c + block[1]] for c in sides] for r in tops]
    for kind, shift in ((np.int16, 0), (np.uint8, 40)):
        runs = np.split((numbers + shift).astype(kind), (4, 7))
        least, greatest = spans(iter(runs), block, 100)
        assert (least - shift).tolist() == [[int(group.min()) for group in row] for row in groups]
        assert (greatest - shift).tolist() == [[int(group.max()) for group in row] for row in groups]


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("size", [1, 3, 8, 13, 56])
def test_codes_follow_each_other(bits: int, size: int):
    rows = np.random.default_rng(bits).integers(0, 256, (3, size)).astype(np.uint8)
    count = 8 * size // bits
    each = np.unpackbits(rows, axis=1, bitorder="little")[:, : count * bits].reshape(3, count, bits)
    out = np.empty((3, count), np.uint8)
    stored.unpack(rows, bits, False, out)
    assert np.array_equal(out, (each << np.arange(bits, dtype=np.uint8)).sum(-1))


def test_the_first_code_in_the_high_half():
    rows, out = np.arange(0, 250, 3).astype(np.uint8)[None], np.empty((1, 168), np.uint8)
    stored.unpack(rows, 4, True, out)
    assert np.array_equal(out[0], np.stack([rows[0] >> 4, rows[0] & 15], -1).reshape(-1))


TABLES = {"whole": values_of("U", 0), "less half": values_of("U-", 4), "signed": values_of("I", 0), "signed, 4 bits":
          values_of("I", 4), "less one": values_of("T", 2), "one more": values_of("U+1", 4), "FP8": values_of("F8_E4M3", 0),
          "FP8, infinities": values_of("F8_E5M2", 0), "FP4": values_of("E2M1", 4),
          "-0, and then whole": np.append(np.float32(-0.0), np.arange(1, 256, dtype=np.float32)),
          "far": np.arange(256, dtype=np.float32) - 300}  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("zeros", [False, True])
def test_numbers_are_those_of_float32_whether_computed_or_looked_up(table: str, zeros: bool):
    """Bits, -0 and NaN too: groups whose last one is short, rows that begin within a block, scales of either sign."""
    rng = np.random.default_rng(1)
    codes, height, width, first = np.tile(np.arange(256, dtype=np.uint8), (7, 1))[:, :250].copy(), 3, 48, 2
    scales = rng.standard_normal((3, 6)).astype(np.float32)
    zero = rng.integers(-200, 200, (3, 6)).astype(np.float32) if zeros else np.empty((0, 0), np.float32)
    bands, groups = (first + np.arange(7)) // height, np.arange(250) // width
    value, s = TABLES[table][codes], scales[bands][:, groups]
    less = value - zero[bands][:, groups] if zeros else value
    out = np.empty((7, 250), np.float32)
    with np.errstate(invalid="ignore"):
        stored.scale_codes(codes, TABLES[table], scales, zero, first, height, width, out)
        assert np.array_equal(out.view(np.uint32), (less * s).view(np.uint32))
        bias = rng.standard_normal((7, 6)).astype(np.float32)
        stored.scale_and_shift(codes, TABLES[table], scales[bands], bias, width, out)
        assert np.array_equal(out.view(np.uint32), (value * s + bias[:, groups]).view(np.uint32))
        of = rng.permutation(250).astype(np.int32) % 5
        each = zero[bands] if zeros else np.zeros((7, 6), np.float32)
        stored.scale_columns(codes, TABLES[table], scales[bands], each, of, out)
        assert np.array_equal(out.view(np.uint32), ((value - each[:, of]) * scales[bands][:, of]).view(np.uint32))
        fine = rng.standard_normal((3, 6)).astype(np.float32)
        stored.scale_once(codes, TABLES[table], scales, fine, first, height, width, out)
        exact = ((value.astype(np.float64) - fine[bands][:, groups]) * s).astype(np.float32)
        assert np.array_equal(out.view(np.uint32), exact.view(np.uint32))


def test_turning_is_transposing():
    for kind in (np.uint8, np.uint32):
        for n, m in ((70, 130), (64, 64), (1, 3), (129, 1)):
            x = np.arange(n * m).astype(kind).reshape(n, m)
            out = np.empty((m, n), kind)
            stored.turn(x, out)
            assert np.array_equal(out, x.T)


@pytest.mark.parametrize(("bits", "kind"), [(4, np.uint32), (4, np.uint8), (2, np.uint8), (3, np.uint32), (8, np.uint32)])
def test_codes_of_rows_that_lie_apart(bits: int, kind: type):
    words = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (5, 9), kind)
    count = 10 if bits == 3 else words.itemsize * 8 // bits
    places = np.random.default_rng(1).permutation(count)
    each = words[:, None] >> (bits * np.arange(count, dtype=kind))[:, None] & kind((1 << bits) - 1)
    below, bands = np.empty((5 * count, 9), np.uint8), np.empty((5 * count, 9), np.uint8)
    stored.unpack_rows(words, bits, count, places, below)
    assert np.array_equal(below.reshape(5, count, 9)[:, places], each)
    stored.unpack_rows(words, bits, 1, 5 * places, bands)
    assert np.array_equal(bands.reshape(count, 5, 9)[places].swapaxes(0, 1), each)


@pytest.mark.parametrize("lanes", [1, 4])
def test_codes_in_an_order_of_their_own(lanes: int):
    order = np.random.default_rng(2).permutation(16)
    rows, out = np.random.default_rng(0).integers(0, 256, (3, 24)).astype(np.uint8), np.empty((3, lanes, 48 // lanes), np.uint8)
    stored.unpack_shuffled(rows, order, out)
    nibbles = np.stack([rows & 15, rows >> 4], -1).reshape(3, 3, 16)
    runs = out.reshape(3, lanes, 3, 16 // lanes).swapaxes(1, 2).reshape(3, 3, 16)
    assert np.array_equal(runs[:, :, order], nibbles)


def test_runs_of_codes_that_do_not_fit_a_row():
    """What a stranger's file says of an order must not reach beyond the array."""
    for grid in (Grid("U", 4, order=tuple(range(6))), Grid("U", 4, order=tuple(range(8)), lanes=3)):
        with pytest.raises(ValueError, match="where runs of"):
            grid.codes(np.zeros((2, 1), np.uint32), 8)
