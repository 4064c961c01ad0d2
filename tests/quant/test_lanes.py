"""The vector types, the float16 conversions and the rounding that all kernels stand on."""

from __future__ import annotations

import numpy as np
import pytest
import quant_cases as cases
from ggufx.quant.cpu import half, lanes, search, simple
from ggufx.quant.cpu.compile import kernel

f32 = np.float32


@kernel
def _arithmetic(x, y, out):
    a, b = lanes.load(x, 0), lanes.load(y, 0)
    lanes.store(out, 0, a + b)
    lanes.store(out, 16, a - b)
    lanes.store(out, 32, a * b)
    lanes.store(out, 48, a / b)
    lanes.store(out, 64, lanes.sqrt(lanes.magnitude(a)))
    lanes.store(out, 80, -a * f32(3) + f32(0.1))  # a product and a sum, each rounded
    lanes.store(out, 96, lanes.where((a < b) | (a == f32(0)), a, f32(7)))
    c = a
    c += b
    c *= a
    lanes.store(out, 112, c)


@kernel
def _transposed(x, at, stride, out):
    lanes.transpose(x, at, stride, out, 0)


@kernel
def _converted(x, whole, lost):
    for at in range(0, x.size, 16):
        v = lanes.load(x, at)
        lanes.store(whole, at, lanes.to_i32(v))
        lanes.store(lost, at, lanes.bits(lanes.to_f32(lanes.to_i32(v))))


@kernel
def _rounded(x, wrapped, floats, away):
    for at in range(0, x.size, 16):
        v = lanes.load(x, at)
        lanes.store(wrapped, at, search.nearest_whole(v))
        lanes.store(floats, at, search.nearest(v))
        lanes.store(away, at, simple.round_away(v))


@kernel
def _masks(x, out):
    v = lanes.load(x, 0)
    mask = v > f32(2)
    out[0], out[1], out[2] = lanes.mask_bits(mask), lanes.first_lane(lanes.mask_bits(mask)), lanes.any_lane(mask)
    out[3], out[4] = lanes.any_lane(v > f32(100)), lanes.first_lane(lanes.mask_bits(v > f32(100)))
    out[5] = np.int64(lanes.highest(v))


@kernel
def _integers(a, b, out):
    p, q = lanes.load(a, 0), lanes.load(b, 0)
    lanes.store(out, 0, p & q)
    lanes.store(out, 16, p | q)
    lanes.store(out, 32, p ^ q)
    lanes.store(out, 48, p << 3)
    lanes.store(out, 64, p >> 3)
    lanes.store(out, 80, lanes.shift_right(p, 3))
    lanes.store(out, 96, p * q - p + q)
    lanes.store(out, 112, lanes.where(p != q, lanes.lane_numbers(), -1))


@kernel
def _bytes(blocks, signed, out, low):
    lanes.store(out, 0, lanes.load(blocks, 1))
    lanes.store(out, 16, lanes.load(signed, 1))
    lanes.store(low, 0, lanes.load(out, 0))


@kernel
def _halves(x, there, back):
    for i in range(x.size):
        there[i] = half.to_half(x[i])
        back[i] = half.from_half(there[i])


@kernel
def _doubles(x, words, out):
    a, b = lanes.to_f64(lanes.load(x, 0)), lanes.to_f64(lanes.load(words, 0))
    lanes.store(out, 0, a + b * lanes.splat(3.0))
    lanes.store(out, 16, a * b - a)


def test_float64_and_bfloat16():
    x, words = cases.bell(16, 1), (cases.bell(16, 2).view(np.uint32) >> 16).astype(np.uint16)
    a, b = x.astype(np.float64), (words.astype(np.uint32) << 16).view(f32).astype(np.float64)
    out = np.empty((2, 16), np.float64)
    _doubles(x, words, out.reshape(-1))
    assert np.array_equal(out, [a + b * 3, a * b - a])


def test_arithmetic_is_rounded_once_per_operation():
    x, y = cases.bell(16, 1), cases.bell(16, 2)
    x[3] = 0
    out = np.empty((8, 16), f32)
    _arithmetic(x, y, out.reshape(-1))
    expected = [x + y, x - y, x * y, x / y, np.sqrt(np.abs(x)), -x * f32(3) + f32(0.1)]
    expected += [np.where((x < y) | (x == 0), x, f32(7)), (x + y) * x]
    assert np.array_equal(out.view(np.uint32), np.array(expected).view(np.uint32))


@pytest.mark.parametrize(("at", "stride"), [(0, 16), (3, 40)])
def test_transpose(at, stride):
    x, out = cases.bell(1000, 3), np.empty((16, 16), f32)
    _transposed(x, at, stride, out.reshape(-1))
    assert np.array_equal(out, np.lib.stride_tricks.as_strided(x[at:], (16, 16), (4 * stride, 4)).T)


def test_masks():
    x = np.arange(16, dtype=f32)[::-1].copy() - f32(5)
    out = np.empty(6, np.int64)
    _masks(x, out)
    assert out.tolist() == [0xFF, 0, 1, 0, 64, 10]


def test_integers():
    a, b = (cases.words(8, seed).view(np.int32) for seed in (1, 2))
    b[4] = a[4]
    out = np.empty((8, 16), np.int32)
    _integers(a, b, out.reshape(-1))
    with np.errstate(over="ignore"):
        expected = [a & b, a | b, a ^ b, a << 3, a >> 3, (a.view(np.uint32) >> 3).view(np.int32), a * b - a + b]
    expected.append(np.where(a != b, np.arange(16), -1))
    assert np.array_equal(out, np.array(expected))
    stored, low = np.empty(32, np.int32), np.empty(16, np.uint8)
    raw = cases.words(3, 4).view(np.uint8)
    _bytes(raw, raw.view(np.int8), stored, low)
    assert stored.tolist() == [*raw[1:17].tolist(), *raw[1:17].view(np.int8).tolist()]
    assert np.array_equal(low, raw[1:17])


def test_conversion_to_integers_is_that_of_x86():
    x = np.concatenate([cases.words(1 << 10, 5).view(f32), f32([np.inf, -np.inf, np.nan, 2.0**31, -(2.0**31), 2147483520])])
    x = np.concatenate([x, np.zeros(-len(x) % 16, f32)])
    whole, lost = np.empty(len(x), np.int32), np.empty(len(x), np.int32)
    _converted(x, whole, lost)
    wide = np.where(np.abs(x) < 2.0**31, np.nan_to_num(x, posinf=0, neginf=0), 0).astype(np.float64)
    expected = np.where(np.abs(x) < 2.0**31, np.trunc(wide), -(2.0**31)).astype(np.int64)
    assert np.array_equal(whole, expected)
    assert np.array_equal(lost.view(f32), expected.astype(f32))


def test_rounding():
    ties = [0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, -0.49999997, 0, -0.0, 3]
    beyond = [8388609.0, 4194303.5, 1e9, np.inf, -np.inf, np.nan]
    x = np.concatenate([f32(ties + beyond), cases.bell(1 << 10, 6) * f32(9), cases.words(1 << 10, 7).view(f32)])
    wrapped, floats, away = np.empty(len(x), np.int32), np.empty(len(x), f32), np.empty(len(x), np.int32)
    _rounded(x, wrapped, floats, away)
    with np.errstate(invalid="ignore", over="ignore"):
        reference = ((x + f32(12582912)).view(np.int32) & 0x7FFFFF) - 0x400000
    assert np.array_equal(wrapped, reference)
    assert np.array_equal(floats, reference.astype(f32))
    fine = np.abs(x) <= 4194303
    assert np.array_equal(wrapped[fine], np.rint(x[fine].astype(np.float64)).astype(np.int32))
    exact = x[fine].astype(np.float64)
    assert np.array_equal(away[fine], (np.sign(exact) * np.floor(np.abs(exact) + 0.5)).astype(np.int32))


def test_halves():
    bits = np.arange(1 << 16, dtype=np.uint16)
    wide = bits.view(np.float16).astype(f32)
    finite = np.concatenate([wide[:0x7C00], wide[0x8000:0xFC00]])
    between = (finite[1:] + finite[:-1]) / 2  # exactly half way from one to the next
    around = [np.nextafter(between, f32(end)) for end in (np.inf, -np.inf)]
    x = np.concatenate([wide, between, *around, cases.words(1 << 12, 8).view(f32)])
    there, back = np.empty(len(x), np.int64), np.empty(len(x), f32)
    _halves(x, there, back)
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16)
    nan = np.isnan(x)
    assert np.array_equal(there[~nan].astype(np.uint16), expected.view(np.uint16)[~nan])
    assert set(there[nan].tolist()) == {0x7E00, 0xFE00}
    assert np.array_equal(back[~nan], expected.astype(f32)[~nan])
    assert np.isnan(back[nan]).all()
