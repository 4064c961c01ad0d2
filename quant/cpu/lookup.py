"""Table look-ups inside registers, and which of eight numbers is the least: what a search over grid points needs.

`pick` is one instruction where the machine has AVX-512, two where it has AVX2, and loads from a small table elsewhere;
the results are the same. Arrays are addressed by a flat index of their first element, as in `lanes`.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
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


def _features(context) -> list[str]:
    return context.codegen().magic_tuple()[2].split(",")


@intrinsic
def has_pick(typingctx):
    """Whether pick() is an instruction or two here: a constant, so that what hangs on it is compiled or left out."""

    def codegen(context, builder, sig, args):
        return ir.IntType(1)(bool({"+avx512f", "+avx2"} & set(_features(context))))

    return types.boolean(), codegen


@intrinsic
def pick(typingctx, table, index):
    """Lane by lane table[index & 7] in the lower eight lanes, table[8 + (index & 7)] in the upper eight.

    In the upper lanes, bit 3 of the index must be set; in the lower ones it must not.
    """
    if table != F32 or index != I32:
        return None

    def codegen(context, builder, sig, args):
        vector, whole = args[0].type, args[1].type
        features = _features(context)
        if "+avx512f" in features:
            function = _declared(builder, "llvm.x86.avx512.permvar.sf.512", vector, [vector, whole])
            return builder.call(function, args)
        if "+avx2" in features:
            half = ir.VectorType(ir.FloatType(), 8)
            function = _declared(builder, "llvm.x86.avx2.permps", half, [half, ir.VectorType(_I32, 8)])
            halves = [
                [builder.shuffle_vector(arg, _undefined(arg.type), _indices(range(at, at + 8))) for arg in args]
                for at in (0, 8)
            ]
            parts = [builder.call(function, half) for half in halves]
            return builder.shuffle_vector(*parts, _indices(range(LANES)))
        result = _undefined(vector)
        for lane in range(LANES):
            at = builder.and_(builder.extract_element(args[1], _I32(lane)), _I32(7))
            value = builder.extract_element(args[0], builder.add(at, _I32(lane & 8)))
            result = builder.insert_element(result, value, _I32(lane))
        return result

    return signature(F32, table, index), codegen


@intrinsic
def item(typingctx, array, index):
    """array[index] of an int32 or float32 array, as int64 or float32, without a look at the sign of the index."""
    if not _is_array(array, types.int32, types.float32):
        return None
    result = types.int64 if array.dtype == types.int32 else types.float32

    def codegen(context, builder, sig, args):
        data = cgutils.create_struct_proxy(sig.args[0])(context, builder, args[0]).data
        value = builder.load(builder.gep(data, [context.cast(builder, args[1], sig.args[1], types.intp)]))
        return builder.sext(value, ir.IntType(64)) if result == types.int64 else value

    return signature(result, array, index), codegen


def _load_two(context, builder, sig, args, element, count):
    """`count` neighbours of an array at the index args[1], and as many at args[2], side by side."""
    few = ir.VectorType(element, count)
    parts = []
    for at, ty in zip(args[1:], sig.args[1:], strict=True):
        index = context.cast(builder, at, ty, types.intp)
        parts.append(builder.load(_pointer(context, builder, sig.args[0], args[0], index, few), align=4))
    return builder.shuffle_vector(*parts, _indices(range(2 * count)))


def _repeating(times: int, element, array_type, result):
    """Numbers of an array from two places, each in `times` lanes."""

    @intrinsic
    def repeat(typingctx, array, a, b):
        if not _is_array(array, array_type):
            return None

        def codegen(context, builder, sig, args):
            both = _load_two(context, builder, sig, args, element, LANES // times // 2)
            return builder.shuffle_vector(both, _undefined(both.type), _indices(lane // times for lane in range(LANES)))

        return signature(result, array, a, b), codegen

    return repeat


repeat4 = _repeating(4, ir.FloatType(), types.float32, F32)  # two neighbours from `a` and two from `b`, in four lanes each
repeat8 = _repeating(8, ir.FloatType(), types.float32, F32)  # one number at `a` and one at `b`, in eight lanes each
two_eights = _repeating(1, _I32, types.int32, I32)  # eight neighbours from `a` and eight from `b`


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


def _least(builder, value, less):
    """The least of either eight lanes, in all of them."""
    for width in (4, 2, 1):
        other = builder.shuffle_vector(value, _undefined(value.type), _indices(i ^ width for i in range(LANES)))
        value = builder.select(less(value, other), value, other)
    return value


@intrinsic
def first_least_lanes(typingctx, value):
    """In the lower and in the upper eight lanes of an F32: the first that holds the least number, as two int64 0..7.

    Where NaN leaves no least number, some lane.
    """
    if value != F32:
        return None

    def codegen(context, builder, sig, args):
        word = ir.IntType(64)
        least = _least(builder, args[0], lambda a, b: builder.fcmp_ordered("<", a, b))
        wins = builder.bitcast(builder.fcmp_ordered("==", args[0], least), ir.IntType(LANES))
        wins = builder.or_(builder.zext(wins, word), word(1 << 7 | 1 << 15))
        function = _declared(builder, "llvm.cttz.i64", word, [word, ir.IntType(1)])
        lanes = [builder.call(function, [part, ir.IntType(1)(1)]) for part in (wins, builder.lshr(wins, word(8)))]
        return context.make_tuple(builder, sig.return_type, lanes)

    return signature(types.UniTuple(types.int64, 2), value), codegen


@intrinsic
def first_least(typingctx, value, position):
    """The same, but of the lanes with the least number the least `position` (I32, 0..2^20 - 1), as two int64."""
    if value != F32 or position != I32:
        return None

    def codegen(context, builder, sig, args):
        value, position = args
        least = _least(builder, value, lambda a, b: builder.fcmp_ordered("<", a, b))
        loses = builder.zext(builder.fcmp_unordered("!=", value, least), position.type)
        mark = ir.Constant(position.type, [_I32(20)] * LANES)
        position = builder.or_(position, builder.shl(loses, mark))
        position = _least(builder, position, lambda a, b: builder.icmp_signed("<", a, b))
        places = [builder.and_(builder.extract_element(position, _I32(at)), _I32((1 << 20) - 1)) for at in (0, 8)]
        return context.make_tuple(builder, sig.return_type, [builder.zext(at, ir.IntType(64)) for at in places])

    return signature(types.UniTuple(types.int64, 2), value, position), codegen
