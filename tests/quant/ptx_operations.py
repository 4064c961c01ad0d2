"""What PTX's instructions compute, on arrays of bits: unsigned integers as wide as the registers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

U = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
WIDTHS = {"8": 1, "16": 2, "32": 4, "64": 8}
NAN = np.uint32(0x7FFFFFFF)


class Fault(Exception):
    """The kernel does what a GPU would not do, or what is not known here."""


def _signed(x):
    return x.view(f"i{x.itemsize}")


def _f(x):
    return x.view(np.float32)


def _bits(x) -> np.ndarray:
    """float32 as a result of arithmetic: its NaN is the GPU's."""
    x = np.asarray(x, np.float32)
    return np.where(np.isnan(x), NAN, x.view(np.uint32))


def _shifted(x, count, function: Callable, beyond):
    """The count of a shift is not taken modulo the width."""
    limit = 8 * x.itemsize
    count = np.asarray(count).astype(x.dtype)
    return np.where(count < limit, function(x, np.minimum(count, limit - 1)), beyond)


def _extreme(a, b, smaller: bool):
    """min or max of float32: of a number and NaN the number; -0 is less than +0."""
    x, y = _f(a), _f(b)
    by_sign = a | b if smaller else a & b  # of zeros
    chosen = np.where(x == y, by_sign, np.where((x < y) == smaller, a, b))
    return np.where(np.isnan(x), np.where(np.isnan(y), NAN, b), np.where(np.isnan(y), a, chosen))


def _permuted(a, b, c):
    pool = np.asarray(a, np.uint64) | np.asarray(b, np.uint64) << np.uint64(32)
    out = np.uint64(0)
    for i in range(4):
        pick = np.asarray(c, np.uint64) >> np.uint64(4 * i) & np.uint64(15)
        byte = pool >> (pick & np.uint64(7)) * np.uint64(8) & np.uint64(255)
        byte = np.where(pick & np.uint64(8), np.where(byte & np.uint64(128), np.uint64(255), np.uint64(0)), byte)
        out = out | byte << np.uint64(8 * i)
    return out.astype(np.uint32)


def _field(a, position, length, signed: bool):
    wide = (_signed(a) if signed else a).astype(np.int64)
    position, length = np.asarray(position).astype(np.int64), np.asarray(length).astype(np.int64)
    field = wide >> position & (1 << length) - 1
    return np.where(signed & (length > 0) & (field >> np.maximum(length - 1, 0) & 1 == 1), field - (1 << length), field)


def _inserted(a, b, position, length):
    mask = ((1 << np.asarray(length).astype(np.int64)) - 1) << np.asarray(position).astype(np.int64)
    return (b.astype(np.int64) & ~mask | a.astype(np.int64) << np.asarray(position).astype(np.int64) & mask).astype(np.uint32)


def _quotient(a, b):
    x, y = _signed(a).astype(np.int64), _signed(b).astype(np.int64)
    y = np.where(y == 0, 1, y)
    return np.sign(x) * np.sign(y) * (np.abs(x) // np.abs(y))


COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
INTEGER = {
    "add": np.add, "sub": np.subtract, "mul.lo": np.multiply, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "mad.lo": lambda a, b, c: a * b + c,
}  # fmt: skip
FLOAT: dict[str, tuple[Callable, int]] = {
    "add.rn": (lambda a, b: _bits(_f(a) + _f(b)), 2), "sub.rn": (lambda a, b: _bits(_f(a) - _f(b)), 2),
    "mul.rn": (lambda a, b: _bits(_f(a) * _f(b)), 2), "div.rn": (lambda a, b: _bits(_f(a) / _f(b)), 2),
    "sqrt.rn": (lambda a: _bits(np.sqrt(_f(a))), 1), "abs": (lambda a: a & np.uint32(0x7FFFFFFF), 1),
    "neg": (lambda a: a ^ np.uint32(0x80000000), 1), "min": (lambda a, b: _extreme(a, b, True), 2),
    "max": (lambda a, b: _extreme(a, b, False), 2),
    "copysign": (lambda a, b: a & np.uint32(0x80000000) | b & np.uint32(0x7FFFFFFF), 2),
}  # fmt: skip


def operation(name: str, sources: int) -> tuple[Callable, list[int]]:
    """What an instruction computes from the bits of its `sources`, and how many bytes each of these has."""
    head, _, last = name.rpartition(".")
    if name.startswith("cvt."):
        return _conversion(*name.split(".")[1:])
    if name.startswith("setp."):
        return _comparison(head.removeprefix("setp."), last)
    if name in ("min.f32", "max.f32") and sources == 3:
        two = FLOAT[head][0]
        return (lambda a, b, c: two(two(a, b), c)), [4, 4, 4]
    if last == "f32x2" and head in FLOAT:
        function, count = FLOAT[head]
        return (lambda *pairs: _pair(function, pairs)), [8] * count
    if name in ("add.rn.f32.f16", "sub.rn.f32.f16"):  # of a half, widened, and a float
        function = FLOAT[head.removesuffix(".f32")][0]
        return (lambda a, b: function(a.view(np.float16).astype(np.float32), b)), [2, 4]
    if last == "f32" and head in FLOAT:
        function, count = FLOAT[head]
        return function, [4] * count
    if last == "pred":
        return {"not": (np.logical_not, [1])}.get(head) or (INTEGER[head], [1, 1])
    if name == "add.s16x2":
        return (lambda a, b: a + b & np.uint32(0xFFFF) | (a & np.uint32(0xFFFF0000)) + (b & np.uint32(0xFFFF0000))), [4, 4]
    width = WIDTHS.get(last[1:], 0)
    if head in INTEGER:
        return INTEGER[head], [width] * (3 if head.startswith("mad") else 2)
    if head == "selp":
        return (lambda a, b, p: np.where(p, a, b)), [width, width, 1]
    if head in ("mul.wide", "mad.wide"):
        wide, kind = U[2 * width], np.dtype(f"{'i' if last[0] == 's' else 'u'}{2 * width}")

        def extended(x):
            return (_signed(x) if last[0] == "s" else x).astype(kind)

        if head == "mul.wide":
            return (lambda a, b: (extended(a) * extended(b)).view(wide)), [width, width]
        return (lambda a, b, c: (extended(a) * extended(b)).view(wide) + c), [width, width, 2 * width]
    signed = last[0] == "s"
    simple = {
        "shl": (lambda a, n: _shifted(a, n, np.left_shift, a.dtype.type(0)), [width, 4]),
        "shr": (lambda a, n: _right(a, n, signed), [width, 4]),
        "min": (lambda a, b: np.where(_less(a, b, signed), a, b), [width, width]),
        "max": (lambda a, b: np.where(_less(a, b, signed), b, a), [width, width]),
        "neg": (lambda a: (0 - _signed(a)).view(a.dtype), [width]),
        "not": (np.bitwise_not, [width]),
        "popc": (lambda a: np.bitwise_count(a).astype(np.uint32), [width]),
        "bfe": (lambda a, p, n: _field(a, p, n, signed).astype(np.int64), [width, 4, 4]),
        "bfi": (_inserted, [width, width, 4, 4]),
        "prmt": (_permuted, [4, 4, 4]),
        "div": (_quotient, [width, width]),
        "rem": (lambda a, b: _signed(a) - _quotient(a, b) * _signed(b), [width, width]),
    }
    if head not in simple or (head in ("div", "rem") and not signed):
        raise Fault("is not known here")
    return simple[head]


def redux(name: str) -> Callable:
    """How a reduction over a warp combines two values; not sums of floats, whose order matters."""
    what = name.removeprefix("redux.sync.")
    if what not in ("min.s32", "max.s32", "min.u32", "max.u32", "add.s32", "add.u32", "min.f32", "max.f32"):
        raise Fault("is not known here")
    return operation(what, 2)[0]


def _pair(function: Callable, pairs: tuple):
    low, high = (function(*(np.asarray(p >> np.uint64(shift)).astype(np.uint32) for p in pairs)) for shift in (0, 32))
    return low.astype(np.uint64) | high.astype(np.uint64) << np.uint64(32)


def _less(a, b, signed: bool):
    return _signed(a) < _signed(b) if signed else a < b


def _right(a, count, signed: bool):
    if not signed:
        return _shifted(a, count, np.right_shift, a.dtype.type(0))
    x = _signed(a)
    return _shifted(x, count, np.right_shift, x >> 8 * x.itemsize - 1).view(a.dtype)


def _comparison(how: str, kind: str) -> tuple[Callable, list[int]]:
    how, _, combined = how.partition(".")
    width = WIDTHS[kind[1:]]
    if kind[0] != "f":
        def compare(a, b):
            return COMPARE[how](_signed(a), _signed(b)) if kind[0] == "s" else COMPARE[how](a, b)
    else:
        def compare(a, b):
            nan = np.isnan(_f(a)) | np.isnan(_f(b))
            if how in ("num", "nan"):
                return nan == (how == "nan")
            if how in COMPARE:
                return COMPARE[how](_f(a), _f(b)) & ~nan
            return COMPARE[how[:-1]](_f(a), _f(b)) | nan
    if combined:
        return (lambda a, b, p: INTEGER[combined](compare(a, b), p)), [width, width, 1]
    return compare, [width, width]


def _half(a):
    return np.where(np.isnan(_f(a)), np.uint16(0x7FFF), _f(a).astype(np.float16).view(np.uint16))


def _conversion(*parts: str) -> tuple[Callable, list[int]]:
    *rounding, to, source = parts
    width = WIDTHS[source[1:]]
    register = max(width, 2)  # bytes are the low ones of a register
    if (to, source) == ("f16", "f32") and rounding == ["rn"]:
        return _half, [4]
    if (to, source) == ("f16x2", "f32") and rounding == ["rn"]:
        return (lambda a, b: _half(a).astype(np.uint32) << np.uint32(16) | _half(b)), [4, 4]
    if (to, source) == ("f32", "f16"):
        return (lambda a: _bits(a.view(np.float16).astype(np.float32))), [2]
    if source == "f32" and to == "s32" and rounding == ["rzi"]:
        def cut(a):
            x = np.where(np.isnan(_f(a)), np.float32(0), _f(a)).astype(np.float64)
            return np.clip(np.trunc(x), -(2.0**31), 2.0**31 - 1).astype(np.int64)
        return cut, [4]

    def number(a):
        a = np.asarray(a)
        low = a.astype(U[width]) if width < a.itemsize else a
        return _signed(low) if source[0] == "s" else low

    if to == "f32" and source[0] in "su" and rounding == ["rn"]:
        return (lambda a: number(a).astype(np.float32).view(np.uint32)), [register]
    if to[0] in "su" and source[0] in "su" and not rounding:
        return (lambda a: number(a).astype(np.int64 if source[0] == "s" else np.uint64)), [register]
    raise Fault("is not known here")
