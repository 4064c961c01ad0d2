"""float16 scales inside blocks: conversion by bit operations, the same on every machine (not all have F16C)."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .compile import inline

f32 = np.float32


@intrinsic
def float_bits(typingctx, value):
    """The bits of a float32 as int32."""
    if value != types.float32:
        return None
    return signature(types.int32, value), lambda context, builder, sig, args: builder.bitcast(args[0], ir.IntType(32))


@intrinsic
def bits_float(typingctx, value):
    """An integer's lower 32 bits taken as those of a float32."""
    if not isinstance(value, types.Integer):
        return None

    def codegen(context, builder, sig, args):
        return builder.bitcast(context.cast(builder, args[0], sig.args[0], types.int32), ir.FloatType())

    return signature(types.float32, value), codegen


@intrinsic
def widened(typingctx, value):
    """A float32 as it is; a uint16 as the float32 of the bfloat16 with these bits."""
    if value == types.float32:
        return signature(types.float32, value), lambda context, builder, sig, args: args[0]
    if value != types.uint16:
        return None

    def codegen(context, builder, sig, args):
        whole = builder.shl(builder.zext(args[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(whole, ir.FloatType())

    return signature(types.float32, value), codegen


@inline
def to_half(value):
    """The float16 bits nearest to a float32 (ties to even, subnormals kept, overflow to infinity, NaN to 0x7e00)."""
    whole = np.int64(float_bits(value)) & 0xFFFFFFFF
    a = whole & 0x7FFFFFFF
    if a > 0x7F800000:
        half = 0x7E00
    elif a >= 0x47800000:  # 65536
        half = 0x7C00
    elif a < 0x38800000:  # 2^-14: adding 0.5 leaves the subnormal's bits at the end of the sum
        half = (np.int64(float_bits(bits_float(a) + f32(0.5))) & 0xFFFFFFFF) - 0x3F000000
    else:
        half = (a - 0x38000000 + 0xFFF + (a >> 13 & 1)) >> 13
    return half | whole >> 16 & 0x8000


@inline
def from_half(half):
    """The float32 value of float16 bits; NaN comes out quiet, its payload kept."""
    a = half & 0x7FFF
    if a < 0x400:  # subnormal, as many scales are: by way of an integer, for arithmetic on subnormal floats is slow
        value = np.int64(float_bits(f32(a) * f32(2.0**-24)))
    elif a < 0x7C00:
        value = (a << 13) + 0x38000000
    else:
        value = 0x7F800000 | (a & 0x3FF) << 13 | (0x400000 if a > 0x7C00 else 0)
    return bits_float(value | (half & 0x8000) << 16)


@inline
def load_half(array, index):
    """from_half() of the two bytes at `index`."""
    return from_half(np.int64(array[index]) | np.int64(array[index + 1]) << 8)


@inline
def store_half(array, index, value):
    """Write to_half(value) at `index`; returns the value as it will be read."""
    half = to_half(value)
    array[index] = half & 0xFF
    array[index + 1] = half >> 8
    return from_half(half)
