"""Roundings and conversions with the results of ggml's C on x86-64, for kernels to call.

On the GPU and not in the interpreter:
- `/` on float32 and `tl.sqrt` are approximations; `tl.div_rn` and `tl.sqrt_rn` round correctly. Subnormal numbers are kept
  by these and by + - *, as long as nobody asks for `ftz`.
- An invalid operation (inf - inf, 0 * inf, 0 / 0) gives the NaN 0x7fffffff; x86 gives 0xffc00000, and so does the
  interpreter on x86. Wherever a NaN's bits would reach the output, it is asked for by name.
- float -> int saturates and makes NaN 0; x86 makes all that does not fit -2^31.
- `-x` is 0 - x, which makes +0 of +0, and the literal -0.0 becomes +0 (both in the interpreter too): see `negative`.
- Integers are 32 bits wide and wrap; a tile of rows is small enough for every offset (rows.TILE).
"""

from __future__ import annotations

import triton
import triton.language as tl

MAGIC = tl.constexpr(12582912.0)  # 1.5 * 2^23: after adding it the fraction is gone, rounded half to even


@triton.jit
def nearest(v):
    """nearest_int as float: halves to even; what exceeds 2^22 wraps and NaN gives 0, bit for bit as there.

    NaN is asked for: its bits here are not those of x86, which happen to give 0.
    """
    bits = (v + MAGIC).to(tl.int32, bitcast=True)
    whole = (bits & 0x7FFFFF | 0x4B000000).to(tl.float32, bitcast=True) - MAGIC
    return tl.where(v == v, whole, 0.0)


@triton.jit
def nearest_whole(v):
    """nearest_int as int32."""
    bits = (v + MAGIC).to(tl.int32, bitcast=True)
    return tl.where(v == v, (bits & 0x7FFFFF) - 0x400000, 0)


@triton.jit
def to_i32(v):
    """float32 cut to whole numbers as x86 does it: what int32 cannot hold, NaN included, gives -2^31."""
    return tl.where(tl.abs(v) < 2147483648.0, v.to(tl.int32), -2147483648)


@triton.jit
def round_away(v):
    """roundf as int32: ties away from zero. Adding one half itself would lift 0.49999997 to 1."""
    sign = v.to(tl.int32, bitcast=True) & -2147483648
    return to_i32(v + (sign | 0x3EFFFFFF).to(tl.float32, bitcast=True))


@triton.jit
def negative(v):
    """The sign bit turned."""
    return (v.to(tl.int32, bitcast=True) ^ -2147483648).to(tl.float32, bitcast=True)


@triton.jit
def quiet(result, a, b):
    """What an operation made of a and b, but where it is NaN, the NaN of x86: a's or b's own, made quiet, else 0xffc00000."""
    own = tl.where(a != a, a, b).to(tl.int32, bitcast=True) | 0x400000
    bits = tl.where((a != a) | (b != b), own, -0x400000)
    return tl.where(result == result, result, bits.to(tl.float32, bitcast=True))


@triton.jit
def reciprocal(v):
    """1 / v, but 0 of 0."""
    return tl.where(v != 0, tl.div_rn(1.0, v), 0.0)


@triton.jit
def load_half(at):
    """The float16 at a pointer to bytes (an even address) as float32."""
    return tl.load(at.to(tl.pointer_type(tl.float16))).to(tl.float32)


@triton.jit
def half_bits(value):
    """The bits of a scale as float16 (int16), to nearest even; NaN as what x86 makes of an invalid operation, 0xfe00."""
    return tl.where(value == value, value.to(tl.float16).to(tl.int16, bitcast=True), -0x200)


@triton.jit
def store_half(at, value, live):
    """Store half_bits() at a pointer to bytes (an even address)."""
    tl.store(at.to(tl.pointer_type(tl.int16)), half_bits(value), mask=live)


@triton.jit
def load_byte(at):
    """uint8 as int32."""
    return tl.load(at).to(tl.int32)


@triton.jit
def store_byte(at, value, live):
    """The lowest eight bits of int32."""
    tl.store(at, value.to(tl.uint8), mask=live)
