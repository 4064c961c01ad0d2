"""Sixteen numbers side by side: the vector types that the kernels compute with.

A kernel that quantizes holds one number of each of sixteen blocks in one value of type F32 or I32, and does to all of
them what the reference does to one: the order of a block's own operations stays, so its bytes stay. LLVM makes of a
value one AVX-512 register, two of AVX2 or four of SSE2, whatever the machine has; the results are the same.

F32 knows + - * / and comparisons, F64 + - *, I32 + - * & | ^ << >> (arithmetic) and comparisons; a comparison gives a Mask,
which knows & | ^. A scalar beside a value counts for every lane: it must be float32 for F32 and an integer for I32.
Nothing is contracted or reassociated. Arrays are addressed by a flat index of their first element.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

LANES = 16

_I32 = ir.IntType(32)
_ELEMENT = {"F32": ir.FloatType(), "F64": ir.DoubleType(), "I32": _I32, "Mask": ir.IntType(1)}
_SCALAR = {"F32": types.float32, "F64": types.float64}


class Lanes(types.Type):
    """The Numba type of sixteen float32, float64, int32 or truth values."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(name=f"Lanes({kind})")


F32, F64, I32, Mask = Lanes("F32"), Lanes("F64"), Lanes("I32"), Lanes("Mask")


def _vector(kind: str) -> ir.VectorType:
    return ir.VectorType(_ELEMENT[kind], LANES)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, fe_type) -> None:
        super().__init__(manager, fe_type, _vector(fe_type.kind))


def _splat(builder, scalar):
    vector = ir.VectorType(scalar.type, LANES)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, _I32(0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_I32, LANES), None))


@lower_cast(types.Float, Lanes)
@lower_cast(types.Integer, Lanes)
def _cast_scalar(context, builder, fromty, toty, value):
    return _splat(builder, context.cast(builder, value, fromty, _SCALAR.get(toty.kind, types.int32)))


def _is_scalar(kind: str, ty: types.Type) -> bool:
    return ty == _SCALAR[kind] if kind in _SCALAR else isinstance(ty, types.Integer)


def _binary(op, kinds: tuple[str, ...], emit, result: str | None = None) -> None:
    """Teach Numba `op` for these kinds: emit[kind](builder, a, b) -> value, of the kind `result` or of the same."""

    class Template(AbstractTemplate):
        key = op

        def generic(self, args, kws):
            lanes = next((a for a in args if isinstance(a, Lanes)), None)
            if len(args) != 2 or lanes is None or lanes.kind not in kinds:
                return None
            if all(a == lanes or _is_scalar(lanes.kind, a) for a in args):
                return signature(Lanes(result) if result else lanes, lanes, lanes)
            return None

    infer_global(op)(Template)

    def lower(context, builder, sig, args):
        return emit[sig.args[0].kind](builder, *args)

    lower_builtin(op, Lanes, Lanes)(lower)


def _method(name: str):
    return lambda builder, a, b: getattr(builder, name)(a, b)


def _comparison(sign: str) -> dict:
    def floats(builder, a, b):
        return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, a, b)

    return {"F32": floats, "I32": lambda builder, a, b: builder.icmp_signed(sign, a, b)}


for _operators, _names in {
    (operator.add, operator.iadd): {"F32": "fadd", "F64": "fadd", "I32": "add"},
    (operator.sub, operator.isub): {"F32": "fsub", "F64": "fsub", "I32": "sub"},
    (operator.mul, operator.imul): {"F32": "fmul", "F64": "fmul", "I32": "mul"},
    (operator.truediv, operator.itruediv): {"F32": "fdiv"},
    (operator.and_, operator.iand): {"I32": "and_", "Mask": "and_"},
    (operator.or_, operator.ior): {"I32": "or_", "Mask": "or_"},
    (operator.xor, operator.ixor): {"I32": "xor", "Mask": "xor"},
    (operator.lshift, operator.ilshift): {"I32": "shl"},
    (operator.rshift, operator.irshift): {"I32": "ashr"},
}.items():
    for _op in _operators:
        _binary(_op, tuple(_names), {_kind: _method(_name) for _kind, _name in _names.items()})
for _op, _sign in {
    operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.eq: "==", operator.ne: "!=",
}.items():  # fmt: skip
    _binary(_op, ("F32", "I32"), _comparison(_sign), "Mask")


@infer_global(operator.neg)
class _Negative(AbstractTemplate):
    key = operator.neg

    def generic(self, args, kws):
        return signature(F32, F32) if args == (F32,) else None


@lower_builtin(operator.neg, Lanes)
def _lower_negative(context, builder, sig, args):
    return builder.fneg(args[0])


def _call(context, builder, name: str, *args):
    """Call an LLVM intrinsic whose arguments all have the result's type."""
    vector = args[0].type
    suffix = "v16f32" if isinstance(vector.element, ir.FloatType) else "v16i32"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector, [a.type for a in args]), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, args)


def _pointer(context, builder, arrayty, array, index, vector):
    data = cgutils.create_struct_proxy(arrayty)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _is_array(ty: types.Type, *dtypes: types.Type) -> bool:
    return isinstance(ty, types.Array) and ty.layout == "C" and ty.dtype in dtypes


@intrinsic
def load(typingctx, array, index):
    """Sixteen neighbours: float32 as F32; int32, uint16, uint8 and int8 as I32."""
    kinds = types.float32, types.int32, types.uint16, types.uint8, types.int8
    if not (_is_array(array, *kinds) and isinstance(index, types.Integer)):
        return None

    def codegen(context, builder, sig, args):
        index = context.cast(builder, args[1], sig.args[1], types.intp)
        stored = ir.VectorType(context.get_data_type(array.dtype), LANES)
        value = builder.load(_pointer(context, builder, array, args[0], index, stored), align=array.dtype.bitwidth // 8)
        if array.dtype in (types.uint8, types.uint16):
            return builder.zext(value, _vector("I32"))
        if array.dtype == types.int8:
            return builder.sext(value, _vector("I32"))
        return value

    return signature(F32 if array.dtype == types.float32 else I32, array, index), codegen


@intrinsic
def store(typingctx, array, index, value):
    """F32 to float32, F64 to float64; I32 to int32, or its low bytes to uint8."""
    targets = {F32: (types.float32,), F64: (types.float64,), I32: (types.int32, types.uint8)}.get(value, ())
    if not (_is_array(array, *targets) and isinstance(index, types.Integer)):
        return None

    def codegen(context, builder, sig, args):
        index = context.cast(builder, args[1], sig.args[1], types.intp)
        stored = ir.VectorType(context.get_data_type(array.dtype), LANES)
        value = builder.trunc(args[2], stored) if array.dtype == types.uint8 else args[2]
        pointer = _pointer(context, builder, array, args[0], index, stored)
        builder.store(value, pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, value), codegen


@intrinsic
def load_halves(typingctx, array, first, second):
    """Eight neighbours of a float32 array in lanes 0 to 7, eight others in lanes 8 to 15."""
    if not (_is_array(array, types.float32) and isinstance(first, types.Integer) and isinstance(second, types.Integer)):
        return None

    def codegen(context, builder, sig, args):
        half = ir.VectorType(ir.FloatType(), LANES // 2)
        parts = [
            builder.load(
                _pointer(context, builder, array, args[0], context.cast(builder, index, ty, types.intp), half), align=4
            )
            for index, ty in zip(args[1:], sig.args[1:], strict=True)
        ]
        return builder.shuffle_vector(*parts, _indices(range(LANES)))

    return signature(F32, array, first, second), codegen


@intrinsic
def store_halves(typingctx, array, first, second, value):
    """The reverse of load_halves()."""
    if not (_is_array(array, types.float32) and isinstance(first, types.Integer) and isinstance(second, types.Integer)):
        return None

    def codegen(context, builder, sig, args):
        half = ir.VectorType(ir.FloatType(), LANES // 2)
        for k in (1, 2):
            index = context.cast(builder, args[k], sig.args[k], types.intp)
            lanes = _indices(range(LANES // 2) if k == 1 else range(LANES // 2, LANES))
            part = builder.shuffle_vector(args[3], ir.Constant(args[3].type, ir.Undefined), lanes)
            builder.store(part, _pointer(context, builder, array, args[0], index, half), align=4)
        return context.get_dummy_value()

    return types.void(array, first, second, value), codegen


@intrinsic
def splat(typingctx, scalar):
    """A float32 in every lane as F32, a float64 as F64, an integer as I32."""
    result = {types.float32: F32, types.float64: F64}.get(scalar, I32 if isinstance(scalar, types.Integer) else None)
    if result is None:
        return None

    def codegen(context, builder, sig, args):
        return _cast_scalar(context, builder, sig.args[0], result, args[0])

    return signature(result, scalar), codegen


@intrinsic
def where(typingctx, mask, a, b):
    """Lane by lane a where the mask holds, else b; one of the two may be a scalar."""
    kind = next((v.kind for v in (a, b) if isinstance(v, Lanes)), None)
    if mask != Mask or kind is None or not all(v == Lanes(kind) or _is_scalar(kind, v) for v in (a, b)):
        return None

    def codegen(context, builder, sig, args):
        return builder.select(*args)

    return signature(Lanes(kind), Mask, Lanes(kind), Lanes(kind)), codegen


@intrinsic
def sqrt(typingctx, value):
    """The correctly rounded root."""
    if value != F32:
        return None
    return signature(F32, F32), lambda context, builder, sig, args: _call(context, builder, "sqrt", args[0])


@intrinsic
def magnitude(typingctx, value):
    """|value| of F32: the sign bit cleared."""
    if value != F32:
        return None
    return signature(F32, F32), lambda context, builder, sig, args: _call(context, builder, "fabs", args[0])


@intrinsic
def bits(typingctx, value):
    """The bits of F32 as I32."""
    if value != F32:
        return None
    return signature(I32, F32), lambda context, builder, sig, args: builder.bitcast(args[0], _vector("I32"))


@intrinsic
def from_bits(typingctx, value):
    """I32 taken as the bits of F32."""
    if value != I32:
        return None
    return signature(F32, I32), lambda context, builder, sig, args: builder.bitcast(args[0], _vector("F32"))


@intrinsic
def to_f32(typingctx, value):
    """I32 as numbers."""
    if value != I32:
        return None
    return signature(F32, I32), lambda context, builder, sig, args: builder.sitofp(args[0], _vector("F32"))


@intrinsic
def to_f64(typingctx, value):
    """F32 as F64, and I32 as that of the bfloat16 numbers whose bits it holds."""
    if value not in (F32, I32):
        return None

    def codegen(context, builder, sig, args):
        narrow = args[0]
        if value == I32:
            narrow = builder.bitcast(builder.shl(narrow, _splat(builder, _I32(16))), _vector("F32"))
        return builder.fpext(narrow, _vector("F64"))

    return signature(F64, value), codegen


@intrinsic
def to_i32(typingctx, value):
    """F32 cut to whole numbers as x86 does it: what int32 cannot hold, NaN included, gives -2^31."""
    if value != F32:
        return None

    def codegen(context, builder, sig, args):
        limit = _splat(builder, ir.Constant(ir.FloatType(), 2147483648.0))
        fits = builder.fcmp_ordered("<", _call(context, builder, "fabs", args[0]), limit)
        lowest = _splat(builder, _I32(-(1 << 31)))
        return builder.select(fits, builder.fptosi(args[0], _vector("I32")), lowest)

    return signature(I32, F32), codegen


@intrinsic
def shift_right(typingctx, value, count):
    """I32 >> count (a constant or an I32), filling with zeros."""
    if value != I32 or not (count == I32 or isinstance(count, types.Integer)):
        return None
    return signature(I32, I32, I32), lambda context, builder, sig, args: builder.lshr(*args)


@intrinsic
def any_lane(typingctx, mask):
    """Whether the mask holds in some lane, as a bool."""
    if mask != Mask:
        return None

    def codegen(context, builder, sig, args):
        whole = ir.IntType(LANES)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], whole), whole(0))

    return signature(types.boolean, Mask), codegen


@intrinsic
def mask_bits(typingctx, mask):
    """The mask as an integer: bit i is lane i."""
    if mask != Mask:
        return None

    def codegen(context, builder, sig, args):
        return builder.zext(builder.bitcast(args[0], ir.IntType(LANES)), ir.IntType(64))

    return signature(types.int64, Mask), codegen


@intrinsic
def first_lane(typingctx, mask):
    """The lowest bit that is set in an integer, such as mask_bits() gives; 64 where there is none."""
    if mask != types.int64:
        return None

    def codegen(context, builder, sig, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return signature(types.int64, mask), codegen


@intrinsic
def lane_numbers(typingctx):
    """0 to 15 as I32."""
    return signature(I32), lambda context, builder, sig, args: _indices(range(LANES))


@intrinsic
def highest(typingctx, value):
    """The greatest lane of an F32 without NaN, as float32."""
    if value != F32:
        return None

    def codegen(context, builder, sig, args):
        value, width = args[0], LANES
        while width > 1:
            width //= 2
            half = ir.VectorType(ir.FloatType(), width)
            low, high = (
                builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), _indices(range(at, at + width)))
                for at in (0, width)
            )
            assert low.type == half
            value = builder.select(builder.fcmp_ordered(">", low, high), low, high)
        return builder.extract_element(value, _I32(0))

    return signature(types.float32, F32), codegen


def _indices(values) -> ir.Constant:
    values = [_I32(v) for v in values]
    return ir.Constant(ir.VectorType(_I32, len(values)), values)


@intrinsic
def transpose(typingctx, source, index, stride, target, at):
    """target[at + 16 * i + lane] = source[index + stride * lane + i] for i and lane in 0..15, float32."""
    if not (_is_array(source, types.float32) and _is_array(target, types.float32)):
        return None

    def codegen(context, builder, sig, args):
        vector = _vector("F32")
        index, stride, at = (context.cast(builder, args[k], sig.args[k], types.intp) for k in (1, 2, 4))
        rows = []
        for lane in range(LANES):
            where = builder.add(index, builder.mul(stride, ir.Constant(stride.type, lane)))
            rows.append(builder.load(_pointer(context, builder, source, args[0], where, vector), align=4))
        for width in (8, 4, 2, 1):  # swap the off-diagonal squares of this width
            low = _indices(i if not i & width else i - width + LANES for i in range(LANES))
            high = _indices(i + width if not i & width else i + LANES for i in range(LANES))
            rows = [
                builder.shuffle_vector(rows[r & ~width], rows[r | width], high if r & width else low)
                for r in range(LANES)
            ]
        for i, row in enumerate(rows):
            where = builder.add(at, ir.Constant(at.type, LANES * i))
            builder.store(row, _pointer(context, builder, target, args[3], where, vector), align=4)
        return context.get_dummy_value()

    return types.void(source, index, stride, target, at), codegen
