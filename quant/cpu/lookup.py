"""Table look-ups inside registers, and which of sixteen numbers is the least: what a search over grid points needs.

`pick` is one instruction where the machine has AVX-512, two where it has AVX2, and loads from a small table elsewhere;
the results are the same. Arrays are addressed by a flat index of their first element, as in `lanes`.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import signature
from numba.extending import intrinsic

from .lanes import F32, I32, LANES, _is_array, _pointer, _vector

_I32 = ir.IntType(32)


def _indices(values) -> ir.Constant:
    values = [_I32(v) for v in values]
    return ir.Constant(ir.VectorType(_I32, len(values)), values)


def _undefined(type_):
    return ir.Constant(type_, ir.Undefined)


def _declared(builder, name: str, result, arguments):
    found = builder.module.globals.get(name)
    return found or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def _pick(offset: int):
    @intrinsic
    def pick(typingctx, table, index):
        if table != F32 or index != I32:
            return None

        def codegen(context, builder, sig, args):
            vector, whole = args[0].type, args[1].type
            features = context.codegen().magic_tuple()[2].split(",")
            if "+avx512f" in features:
                function = _declared(builder, "llvm.x86.avx512.permvar.sf.512", vector, [vector, whole])
                return builder.call(function, args)
            if "+avx2" in features:
                half = ir.VectorType(ir.FloatType(), 8)
                function = _declared(builder, "llvm.x86.avx2.permps", half, [half, ir.VectorType(_I32, 8)])
                entries = builder.shuffle_vector(args[0], _undefined(vector), _indices(range(offset, offset + 8)))
                parts = [
                    builder.call(function, [entries, builder.shuffle_vector(args[1], _undefined(whole), lanes)])
                    for lanes in (_indices(range(8)), _indices(range(8, LANES)))
                ]
                return builder.shuffle_vector(*parts, _indices(range(LANES)))
            result = _undefined(vector)
            for lane in range(LANES):
                at = builder.and_(builder.extract_element(args[1], _I32(lane)), _I32(7))
                value = builder.extract_element(args[0], builder.add(at, _I32(offset)))
                result = builder.insert_element(result, value, _I32(lane))
            return result

        return signature(F32, table, index), codegen

    return pick


# Lane by lane table[index & 7], and table[8 + (index & 7)]. Bit 3 of the index must be 0 for the low half and 1 for the
# high half, or not matter, which is so when both halves of the table are the same.
pick_low = _pick(0)
pick_high = _pick(8)


def _repeating(times: int):
    @intrinsic
    def repeat(typingctx, array, index):
        if not _is_array(array, types.float32) or not isinstance(index, types.Integer):
            return None

        def codegen(context, builder, sig, args):
            index = context.cast(builder, args[1], sig.args[1], types.intp)
            few = ir.VectorType(ir.FloatType(), LANES // times)
            loaded = builder.load(_pointer(context, builder, array, args[0], index, few), align=4)
            return builder.shuffle_vector(loaded, _undefined(few), _indices(lane // times for lane in range(LANES)))

        return signature(F32, array, index), codegen

    return repeat


repeat4 = _repeating(4)  # F32: four neighbours of a float32 array, each in four lanes
repeat8 = _repeating(8)  # F32: two neighbours, each in eight lanes


def _rows(builder, context, sig, args, count):
    """`count` runs of neighbouring int8 at the indices args[1:], side by side as I32."""
    few = ir.VectorType(ir.IntType(8), LANES // count)
    parts = []
    for at, ty in zip(args[1:], sig.args[1:], strict=True):
        index = context.cast(builder, at, ty, types.intp)
        parts.append(builder.load(_pointer(context, builder, sig.args[0], args[0], index, few), align=1))
    while len(parts) > 1:
        wide = _indices(range(2 * parts[0].type.count))
        parts = [builder.shuffle_vector(a, b, wide) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return builder.sext(parts[0], _vector("I32"))


@intrinsic
def two_rows(typingctx, array, a, b):
    """I32 of eight neighbours of an int8 array from `a` and eight from `b`."""
    if not _is_array(array, types.int8):
        return None
    return signature(I32, array, a, b), lambda context, builder, sig, args: _rows(builder, context, sig, args, 2)


@intrinsic
def four_rows(typingctx, array, a, b, c, d):
    """I32 of four neighbours of an int8 array from each of `a`, `b`, `c` and `d`."""
    if not _is_array(array, types.int8):
        return None
    return signature(I32, array, a, b, c, d), lambda context, builder, sig, args: _rows(builder, context, sig, args, 4)


def _lowest(builder, value, smaller):
    """The least lane in every lane; `smaller(a, b)` selects lane by lane."""
    for width in (8, 4, 2, 1):
        other = builder.shuffle_vector(value, _undefined(value.type), _indices(i ^ width for i in range(LANES)))
        value = smaller(value, other)
    return value


@intrinsic
def first_least(typingctx, value, position):
    """Of the lanes of an F32 that hold its least number, the least `position` (I32, 0..2^20 - 1), as int64.

    Where NaN leaves no least number, the position of some lane.
    """
    if value != F32 or position != I32:
        return None

    def codegen(context, builder, sig, args):
        value, position = args
        least = _lowest(builder, value, lambda a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))
        loses = builder.zext(builder.fcmp_ordered("!=", value, least), position.type)
        mark = ir.Constant(position.type, [_I32(20)] * LANES)
        position = builder.or_(position, builder.shl(loses, mark))
        place = _lowest(builder, position, lambda a, b: builder.select(builder.icmp_signed("<", a, b), a, b))
        return builder.zext(builder.and_(builder.extract_element(place, _I32(0)), _I32((1 << 20) - 1)), ir.IntType(64))

    return signature(types.int64, value, position), codegen


@intrinsic
def first_least_lane(typingctx, value):
    """The first lane of an F32 that holds its least number, as int64. Where NaN leaves no least number, some lane."""
    if value != F32:
        return None

    def codegen(context, builder, sig, args):
        word = ir.IntType(LANES)
        least = _lowest(builder, args[0], lambda a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))
        wins = builder.bitcast(builder.fcmp_ordered("==", args[0], least), word)
        function = _declared(builder, f"llvm.cttz.i{LANES}", word, [word, ir.IntType(1)])
        lane = builder.call(function, [builder.or_(wins, word(1 << LANES - 1)), ir.IntType(1)(1)])
        return builder.zext(lane, ir.IntType(64))

    return signature(types.int64, value), codegen
