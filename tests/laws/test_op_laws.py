"""The laws of the ops, over every op of every table row and over ops that no table may have yet."""

import base64

import numpy as np
import pytest
from ggufx.converters.arch import SPECS, projectors
from ggufx.converters.ops import (
    OPS,
    Add,
    AddAxis,
    Arrange,
    Axes,
    BatchNorm,
    Channels,
    Crop,
    Each,
    EmaMean,
    Factors,
    FromPosition,
    Grid,
    HeadAxes,
    Lora,
    LoraRefused,
    MlaKv,
    Narrow,
    NegExp,
    Op,
    Pack,
    PackMxfp4,
    Pad,
    Product,
    Resample,
    Reshape,
    Restore,
    RopePermute,
    RowsBehind,
    RowsInFront,
    Same,
    Scale,
    Snake,
    Softplus,
    Split,
    SumFrames,
    Ternary,
    Transpose,
    UnitNorm,
    Unpack,
    Unstack,
    op_from_json,
)  # fmt: skip
from ggufx.converters.ops.pack import determined
from hypothesis import given, settings
from hypothesis import strategies as st


class Sizes(dict):
    """Small consistent numbers for whatever hyperparameter a table names."""

    def __missing__(self, name):
        return 4


SIZES = Sizes({"ssm.group_count": 2, "ssm.time_step_rank": 4, "attention.head_count": 2, "values_per_key": 2,
               "query_key_value_rows": 48, "group_length": 2, "attention.head_count_kv": 1, "expert_rows": 16,
               "vocab_size": 24, "per_layer_rows": 16, "img_break": 2, "img_break_end": 3, "pairs": 1, "head_rows": 12,
               "third": 2})
# What no table may use yet, or not in this form: grouped, ragged and joined splits, runs of factors, copies.
OTHERS = (
    (Split((2, 1, 1), groups=3),), (Split((4, 1, 1), groups=2, join=True),), (Split(3, groups=4, columns=True),),
    (Split((1, 2), groups=2, join=True, start=12),), (Split((1, 1), vector=True),), (RopePermute(8),), (RopePermute(8, 4),),
    (RopePermute(8, turned=4),), (Transpose(),),
    (Reshape((48, 24), (24, 48)),), (Reshape((48, 1, 4), (48, 4)),), (Same(3),), (Pad(60, 48),), (Product(),), (BatchNorm(),),
    (RowsBehind(),), (RowsBehind(1),), (RowsInFront(48),),
    (Scale(0.5),),
    (Scale(0.3, divide=True),), (UnitNorm(),), (UnitNorm(columns=True, more=1e-7),), (UnitNorm(0),), (Ternary(),),
    (Scale((2.0, 0.5, 4.0), runs=(12, 12, 24)),), (Add(1.0),), (NegExp(),), (MlaKv(2, 16, 8),), (PackMxfp4(),),
    (Crop(start=2, rows=48),), (Split((2, 1, 1)), Each((RopePermute(4), RopePermute(4), Op()))),
    (Unstack(3),), (Unstack(20, axis=1),), (AddAxis(0),), (AddAxis(1),), (AddAxis(-1),), (Axes((1, 0, 2)),), (Axes((2, 0, 1)),),
    (Channels(3, columns=True),), (Channels(3),), (Softplus(),),
    (Reshape((48, 24), (48, 2, 12)), Unstack(2, axis=1)),
    (HeadAxes(12, 2, 3, 2),), (HeadAxes(8, 3, 2),), (Resample(side=3),), (SumFrames(frames=3),), (FromPosition(),),
    (Pad(60, 48, front=True),), (Narrow(),),
    (Split(3), Arrange((2, 0, 1))), (Split(3), Arrange((1, 2, 0)), Split(3, undo=True)),
)


FOLDS = (Product, BatchNorm, EmaMean)  # of several arrays, which the result does not tell


def apart(ops):
    """A chain that joins projections as its way back, which takes them apart: every law is of both directions."""
    return tuple(op.inverse for op in reversed(ops)) if getattr(ops[0], "undo", False) else ops


CHAINS = sorted({*OTHERS, *(apart(tuple(op.bind(SIZES) for op in rule.ops))
                            for spec in (*SPECS, *projectors.SPECS) for rule in spec.tensors if rule.ops)}, key=str)
MOVES = [ops for ops in CHAINS if all(op.moves for op in ops)]
CANDIDATES = [(48, 24), (3, 48, 24), (2, 24), (48, 1, 4), (3, 48), (16, 6), (48,), (24, 24), (4, 20), (1, 25, 4), (4, 96),
              (4, 3, 2, 4, 4), (20, 6)]


def inputs(ops, seed=0):
    """Arrays that the chain takes; every row of every table must have some."""
    rng = np.random.default_rng(seed)
    if isinstance(ops[0], PackMxfp4):
        return [rng.integers(0, 256, (3, 8, 2, 16), np.uint8), rng.integers(0, 256, (3, 8, 2), np.uint8)]
    if isinstance(ops[0], Product):
        return [rng.standard_normal(shape).astype(np.float32) for shape in ((24,), (1, 24))]
    if isinstance(ops[0], BatchNorm):
        return [rng.uniform(0.25, 2, 24).astype(np.float32) for _ in range(4)]
    if isinstance(ops[0], EmaMean):
        return [rng.standard_normal((48, 24)).astype(np.float32), rng.uniform(0, 9, 48).astype(np.float32)]
    if isinstance(ops[0], Snake):
        return [rng.standard_normal(24).astype(np.float32) for _ in range(2)]
    if isinstance(ops[0], RowsBehind):
        shapes = ((48, 24), *[(1, 1, 24)] * ops[0].vectors, (8,), (24, 8))
        return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    if isinstance(ops[0], RowsInFront):
        shapes = ((ops[0].rows, 24), (5, 6), (6, 6), (6,), (24, 6), (24,))
        return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    if isinstance(ops[0], FromPosition):
        return [rng.integers(-99, 99, 48)]
    if isinstance(ops[0], Narrow):
        return [rng.integers(-(2**31), 2**31, (48, 6))]
    if isinstance(ops[0], Split) and ops[0].undo:  # several arrays, which the rest of the chain takes as one
        return ops[0].inverse.forward(inputs(ops[1:], seed))
    stated = [op.hf if isinstance(op, Reshape) else (sum(op.runs), 24) for op in ops if isinstance(op, (Reshape, Scale))]
    for shape in (*CANDIDATES, *stated):
        try:
            shapes = [shape]
            for op in ops:
                shapes = op.shape(shapes)
            return [rng.standard_normal(shape).astype(np.float32)]
        except ValueError:
            continue
    raise AssertionError(f"no candidate shape fits {ops}")


def forward(ops, xs):
    for op in ops:
        xs = op.forward(xs)
    return xs


def inverse(ops, ys):
    for op in reversed(ops):
        ys = op.inverse.forward(ys)
    return ys


@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_inverse_returns_the_bits(ops):
    xs = inputs(ops)
    if any(isinstance(op, Crop) for op in ops):
        crop = next(op for op in ops if isinstance(op, Crop))
        (kept,) = crop.index(xs[0].shape[0])
        assert np.array_equal(inverse(ops, forward(ops, xs))[0][kept], xs[0][kept])
        return
    if isinstance(ops[0], (RowsBehind, RowsInFront)):  # what it is told of comes back, and nothing else
        back = inverse(ops, forward(ops, xs))
        assert len(back) == len(ops[0].told)
        assert all(np.array_equal(a, b) for a, b in zip(back, xs, strict=False))
        return
    if isinstance(ops[0], FOLDS):  # what comes back is others that make the same
        ys = forward(ops, xs)
        assert all(np.array_equal(again, y) for again, y in zip(forward(ops, inverse(ops, ys)), ys, strict=True))
        return
    if any(op.loses for op in ops):  # there is no way back, and what is there is as it was made
        made = forward(ops, xs)
        np.testing.assert_allclose(forward(ops, inverse(ops, made))[0], made[0], rtol=1e-6)
        return
    if not all(op.exact for op in ops):  # exact for values that the float32 arithmetic keeps: quarters
        xs = [np.round(x * 4) / 4 for x in xs]
        back = inverse(ops, forward(ops, xs))
        np.testing.assert_allclose(back[0], xs[0], rtol=1e-6, atol=1e-6)
        return
    for x, back in zip(xs, inverse(ops, forward(ops, xs)), strict=True):
        assert back.shape == x.shape
        assert np.array_equal(back.view(np.uint8), x.view(np.uint8))


@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_shape_is_the_shape_of_the_result(ops):
    xs = inputs(ops)
    for op in ops:
        ys = op.forward(xs)
        if isinstance(op, PackMxfp4):  # elements, while the array holds block bytes
            assert op.shape([x.shape for x in xs]) == [(*y.shape[:-1], y.shape[-1] // 17 * 32) for y in ys]
        else:
            assert op.shape([x.shape for x in xs]) == [y.shape for y in ys]
        xs = ys


@pytest.mark.parametrize("ops", CHAINS, ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_pieces_of_the_sources_are_pieces_of_the_results(ops, axis):
    """A cut says which runs of the sources, converted on their own, are which runs of the whole results."""
    xs = inputs(ops)
    for op in ops:
        ys = op.forward(xs)
        cut = op.cut([x.shape for x in xs], axis) if all(a.ndim > axis for a in [*xs, *ys]) else None
        if cut is not None:
            assert all(x.shape[cut.axis] % cut.runs == 0 for x in xs), op
            assert all(y.shape[axis] % cut.runs == 0 for y in ys), op
            for i in range(cut.runs):
                parts = op.forward([np.split(x, cut.runs, cut.axis)[i] for x in xs])
                for whole, part in zip(ys, parts, strict=True):
                    assert np.array_equal(np.split(whole, cut.runs, axis)[i], part), (op, i)
        xs = ys


def test_what_can_be_cut_is_cut():
    """Cuts that conversions of large models stand on; a law alone would hold for ops that refuse them all."""
    assert Split((1, 1)).cut([(8, 48, 24)]) == (0, 8)
    assert RopePermute(8).cut([(48, 24)]) == (0, 6)
    assert Split(3, groups=4, columns=True).cut([(48, 24)]) == (0, 48)
    assert Transpose().cut([(48, 24)]) == (1, 24)
    assert Transpose().cut([(48, 24)], 1) == (0, 48)
    assert Scale((2.0, 0.5), runs=(24, 24)).cut([(48, 24)]) == (0, 1)
    assert Op().cut([(48, 24), (48, 12)]) == (0, 48)
    assert Each((RopePermute(4), Op())).cut([(24, 24), (12, 24)]) == (0, 6)


def test_ops_of_each_only_move_elements():
    for ops in CHAINS:
        assert all(part.moves and part.exact for op in ops if isinstance(op, Each) for part in op.ops)


@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_lora_factors_pass_as_the_update_does(ops):
    xs = inputs(ops)
    if isinstance(ops[0], (PackMxfp4, RowsBehind, RowsInFront, Narrow, *FOLDS)):
        with pytest.raises(LoraRefused):
            ops[0].lora([])
        return
    if any(getattr(op, "vector", False) for op in ops) or xs[0].ndim == 1:
        return  # biases take no update
    if len(xs) > 1:  # several projections that become one
        with pytest.raises(LoraRefused, match="do not join"):
            ops[0].lora([Factors(x, x) for x in xs])
        return
    stored = xs[0].shape
    turned = any(getattr(op, "conv1d", False) for op in ops)
    out, inner = (stored[-1], stored[-2]) if turned else stored[-2:]
    rng = np.random.default_rng(1)
    a = rng.integers(-3, 4, (*stored[:-2], 2, inner)).astype(np.float32)
    b = rng.integers(-3, 4, (*stored[:-2], out, 2)).astype(np.float32)
    factors = [Factors(a, b)]
    delta = factors[0].delta.swapaxes(-1, -2) if turned else factors[0].delta
    try:
        for op in ops:
            factors = op.lora(factors)
    except LoraRefused:
        return
    expected = [y - z for y, z in zip(forward(ops, [delta]), forward(ops, [np.zeros_like(delta)]), strict=True)]
    for f, e in zip(factors, expected, strict=True):
        np.testing.assert_allclose(f.delta, e, atol=1e-5)


@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_json_returns_the_op(ops):
    for op in ops:
        assert op_from_json(op.to_json()) == op
        assert op_from_json(op.inverse.to_json()) == op.inverse


def test_every_op_is_under_the_laws():
    """The identity needs none; `Lora` and its way back, `Unpack`, `Masked` and `Pack` with their grids, `Restore`, `Merge`
    have their own."""
    own = {"Op", "Lora", "LoraBack", "Grid", "Unpack", "Masked", "Pack", "Restore", "Merge", "LowRank", "Shift", "Instead",
           "NewRows", "Within"}
    assert {type(op).__name__ for ops in CHAINS for op in ops} == set(OPS) - own


def test_restored_values_are_in_their_places():
    values = np.array([1, 5], "<u4").tobytes() + np.array([0.5, -2.0], "<f4").tobytes()
    op = Restore((base64.b64encode(values).decode(), ""))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = op.forward([x, x])
    assert made[0].tolist() == [[0, 0.5, 2], [3, 4, -2]]
    assert np.array_equal(made[1], x)
    assert op.shape([x.shape] * 2) == [x.shape] * 2
    assert op_from_json(op.to_json()) == op


def test_lora_is_the_ops_on_factors():
    """What `Lora` makes of a pair is the update that the ops make of the weight's, scaled; its shape and JSON are its own;
    and it has no way back, since a GGUF adapter does not tell what was folded."""
    op = Lora((Split((1, 1)),), "matrix", (0.5,), 4)
    a, b = (np.arange(12, dtype=np.float32).reshape(2, 6), np.arange(16, dtype=np.float32).reshape(8, 2))
    made = op.forward([a, b])
    assert op.shape([a.shape, b.shape]) == [x.shape for x in made] == [(4, 6), (4, 4)] * 2
    upper, lower = np.split(0.5 * (b @ a), 2)
    assert np.array_equal(made[1] @ made[0], upper)
    assert np.array_equal(made[3] @ made[2], lower)
    assert op_from_json(op.to_json()) == op
    assert not op.exact
    assert op.cut([a.shape, b.shape]) is None
    with pytest.raises(LoraRefused, match="way back"):
        _ = op.inverse


WORDS, HALVES, BYTES, F32 = np.uint32, np.uint16, np.uint8, np.float32
CODES, SCALE = ("codes", Grid("U", 4)), ("scales", Grid())
PACKED = (  # an op of 64 rows and 96 columns, and what it takes: (element type, shape), ranges of values
    (Unpack((64, 96), (("codes", Grid("F8_E4M3")), SCALE), (24, 40)), ((BYTES, (64, 96)), (F32, (3, 3)))),
    (Unpack((64, 96), (CODES, SCALE, ("zeros", Grid("U", 4, axis=0))), (1, 32)),
     ((WORDS, (64, 12)), (F32, (64, 3)), (WORDS, (8, 3)))),
    (Unpack((64, 96), (("codes", Grid("U", 3, axis=0, turned=True)), ("scales", Grid(turned=True)),
                       ("zeros", Grid("U+1", 3, turned=True))), (1, 32)), ((WORDS, (9, 64)), (F32, (3, 64)), (WORDS, (3, 6)))),
    (Unpack((64, 96), (("codes", Grid("U-", 3, dense=False)), SCALE), (1, 32)), ((WORDS, (64, 10)), (F32, (64, 3)))),
    (Unpack((64, 96), (("codes", Grid("U", 4, turned=True, order=(0, 2, 4, 6, 1, 3, 5, 7))), ("scales", Grid(turned=True)),
                       ("zeros", Grid("U", 4, turned=True, order=(0, 2, 4, 6, 1, 3, 5, 7)))), (1, 32)),
     ((WORDS, (96, 8)), (F32, (3, 64)), (WORDS, (3, 8)))),
    (Unpack((64, 96), (("codes", Grid("E2M1", 4, order=(1, 0))), SCALE), (2, 32), width=32),
     ((BYTES, (192, 16)), (F32, (96, 1)))),
    (Unpack((64, 96), (("codes", Grid("U", 2, bands=4, high=True)), SCALE, ("zeros", Grid())), (1, 64), width=64, once=True),
     ((BYTES, (24, 64)), (F32, (96, 1)), (F32, (96, 1)))),
    (Unpack((64, 96), (CODES, SCALE, ("biases", Grid())), (1, 32)),
     ((WORDS, (64, 12)), (F32, (64, 3)), (F32, (64, 3)))),
    (Unpack((64, 96), (("codes", Grid("I")), ("scales", Grid()), ("factor", Grid())), (64, 96), after=0.5),
     ((BYTES, (64, 96)), (F32, (1, 1)), (F32, (1,)))),
    (Unpack((64, 96), (("codes", Grid("U", 2, bands=4, high=True)), SCALE, ("zeros", Grid())), (32, 1), width=192, once=True),
     ((BYTES, (8, 192)), (F32, (1, 192)), (F32, (1, 192)))),
    (Unpack((64, 96), (("codes", Grid("U", 4, order=tuple(range(128))[::-1], lanes=4, word=16)), SCALE), (1, 32)),
     ((HALVES, (16, 96)), (F32, (64, 3)))),
    (Unpack((64, 96), (("codes", Grid("U", 7, axis=0, turned=True, planes=(4, 2, 1))), ("scales", Grid(turned=True)),
                       ("zeros", Grid("U", 7, turned=True, planes=(4, 2, 1)))), (1, 32)),
     ((WORDS, (21, 64)), (F32, (3, 64)), (WORDS, (3, 14)))),
    (Unpack((64, 96), (("codes", Grid("I", 4, axis=0, word=8)), SCALE), (1, 32)), ((BYTES, (32, 96)), (F32, (64, 3)))),
    (Unpack((64, 96), (("codes", Grid("I")), SCALE, ("columns", Grid())), (1, 96)),
     ((BYTES, (64, 96)), (F32, (64, 1)), (F32, (96,)))),
    (Unpack((64, 96), (("floats", Grid(turned=True)),), (1, 1)), ((F32, (96, 64)),)),
)


@pytest.mark.parametrize(("op", "arrays"), PACKED, ids=str)
@settings(max_examples=20, deadline=None)
@given(start=st.integers(0, 63), rows=st.integers(1, 64))
def test_rows_of_a_packed_weight_need_windows_of_its_parts(op, arrays, start, rows):
    """What `windows` say of some rows makes those rows, whatever the packing; shape and JSON are the op's own."""
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal(shape).astype(kind) if kind is F32 else
          rng.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True) for kind, shape in arrays]
    (whole,) = op.forward(xs)
    assert op.shape([x.shape for x in xs]) == [whole.shape]
    assert op_from_json(op.to_json()) == op
    stop = min(start + rows, 64)
    part = op.rows(start, stop)
    pieces = [x if w is None else x.take(np.arange(w.start, w.stop), w.axis)
              for x, w in zip(xs, part.windows([x.shape for x in xs]), strict=True)]
    (made,) = part.forward(pieces)
    assert np.array_equal(made.view(np.uint32), whole[start:stop].view(np.uint32))
    with pytest.raises(LoraRefused):
        op.lora([])


BLOCKS = (  # ops of 64 rows and 256 columns whose numbers blocks hold, and what they take
    (Unpack((64, 256), (("codes", Grid("U-", 4)), SCALE), (1, 64)), ((WORDS, (64, 32)), (F32, (64, 4)))),
    (Unpack((64, 256), (("codes", Grid("I")), SCALE), (16, 256)), ((BYTES, (64, 256)), (F32, (4, 1)))),
    (Unpack((64, 256), (("codes", Grid("U-", 3)), SCALE), (1, 32)), ((WORDS, (64, 24)), (F32, (64, 8)))),
    (Unpack((64, 256), (("codes", Grid("U", 5)), SCALE, ("biases", Grid())), (1, 32)),
     ((WORDS, (64, 40)), (F32, (64, 8)), (F32, (64, 8)))),
    (Unpack((64, 256), (("codes", Grid("U-", 4, axis=0, turned=True)), ("scales", Grid(turned=True))), (1, 128)),
     ((WORDS, (32, 64)), (F32, (2, 64)))),
    (Unpack((64, 256), (("codes", Grid("I", 4, turned=True, order=(0, 2, 4, 6, 1, 3, 5, 7))), ("scales", Grid(turned=True))),
            (1, 32)), ((WORDS, (256, 8)), (F32, (8, 64)))),
    (Unpack((64, 256), (("codes", Grid("U-", 6, axis=0, turned=True, planes=(4, 2))), ("scales", Grid(turned=True))), (1, 128)),
     ((WORDS, (48, 64)), (F32, (2, 64)))),
    (Unpack((64, 256), (("codes", Grid("T", 2, bands=4)),), (64, 256)), ((BYTES, (16, 256)),)),
    (Unpack((64, 256), (("codes", Grid("E2M1", 4)), ("scales", Grid("F8_E8M0"))), (1, 32)),
     ((BYTES, (64, 128)), (BYTES, (64, 8)))),
    (Unpack((64, 256), (("codes", Grid("E2M1", 4)), ("scales", Grid("F8_E4M3"))), (1, 16)),
     ((BYTES, (64, 128)), (BYTES, (64, 16)))),
)


@pytest.mark.parametrize(("op", "arrays"), BLOCKS, ids=str)
def test_blocks_give_the_stored_arrays_back(op, arrays):
    """Bit for bit, by pieces too; of stacks as of one; the shapes are those of the bytes."""
    rng = np.random.default_rng(0)
    limit = 81 if dict(op.parts)["codes"].kind == "T" else 120  # each code of BitNet's is less than 3
    xs = [rng.integers(-128, 128, shape).astype(kind) / F32(64) if kind is F32 else
          rng.integers(0, limit if kind is BYTES else 1 << 32, shape, kind) for kind, shape in arrays]
    if limit == 81:
        xs = [sum((x // 3**k % 3) << 2 * k for k in range(4)).astype(np.uint8) for x in xs]
    blocks = op.repacked
    (made,) = blocks.forward(xs)
    kinds = {role: {WORDS: "I32", BYTES: "U8", F32: "F32"}[kind] for (role, _), (kind, _) in zip(op.parts, arrays, strict=True)}
    back = Pack(blocks, determined(blocks, kinds), tuple(kinds.values()))
    assert back.roles == tuple(kinds)
    ys = back.forward([made])
    for x, y, shape in zip(xs, ys, back.shape([op.size]), strict=True):
        assert y.shape == shape
        assert np.array_equal(y, np.ascontiguousarray(x).view(np.uint8).reshape(len(x), -1))
    for y, stack in zip(ys, back.forward([np.stack([made, made])]), strict=True):
        assert np.array_equal(stack, np.stack([y, y]))
    if cut := back.cut([op.size]):
        first = back.forward([np.split(made, cut.runs)[0]])
        assert all(np.array_equal(np.split(y, cut.runs)[0], part) for y, part in zip(ys, first, strict=True))
    assert back.cut([(2, *op.size)]) == (0, 2)
    assert op_from_json(back.to_json()) == back
    for way in (lambda: back.inverse, lambda: back.lora([])):
        with pytest.raises(LoraRefused):
            way()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MOVES), st.integers(0, 2**31))
def test_moves_keep_any_bits(ops, seed):
    """Ops that move elements do so for raw bits of any type, NaN patterns included."""
    xs = inputs(ops, seed)
    if isinstance(ops[0], (PackMxfp4, Same, Narrow)) or any(isinstance(op, Crop) for op in ops):
        return
    rng = np.random.default_rng(seed)
    bits = [rng.integers(0, 2**16, x.shape, np.uint16) for x in xs]
    for back, given_bits in zip(inverse(ops, forward(ops, bits)), bits, strict=True):
        assert np.array_equal(back, given_bits)


@pytest.mark.parametrize("ops", MOVES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 4])
def test_moves_are_the_same_on_tensors(ops, width):
    """Raw bits of any width, as numpy's arrays and as torch's tensors: forward and back."""
    import torch

    xs = inputs(ops)
    if not isinstance(ops[0], (PackMxfp4, Narrow)):
        rng = np.random.default_rng(width)
        bits = [rng.integers(0, 256, (*x.shape, width), np.uint8) for x in xs]
        xs = [b.view(f"i{width}" if width > 1 else np.uint8)[..., 0] for b in bits]
    ys = forward(ops, xs)
    tensors = forward(ops, [torch.from_numpy(x) for x in xs])
    for y, tensor in zip(ys, tensors, strict=True):
        assert np.array_equal(tensor.numpy(), y)
        assert tensor.is_contiguous() or not y.flags.c_contiguous
    for x, tensor in zip(inverse(ops, ys), inverse(ops, tensors), strict=True):
        assert np.array_equal(tensor.numpy(), x)


def test_reshape_takes_what_ggml_leaves_of_axes_of_one():
    """llama-quantize rewrites [1, 48, 1, 4] as [48, 1, 4]."""
    op = Reshape((48, 4), (1, 48, 1, 4))
    x = np.arange(192, dtype=np.float32).reshape(48, 4)
    (whole,) = op.forward([x])
    assert whole.shape == (1, 48, 1, 4)
    for stored in (whole, whole[0]):
        assert op.inverse.shape([stored.shape]) == [x.shape]
        np.testing.assert_array_equal(op.inverse.forward([stored])[0], x)
    with pytest.raises(ValueError, match="is not"):
        op.inverse.shape([(4, 48)])


def test_narrow_takes_numbers_of_32_bits_as_they_are_and_none_beyond():
    import torch

    small = np.array([[-(2**31), 2**31 - 1]], np.int32)
    assert np.array_equal(Narrow().forward([small])[0], small)
    wide = small.astype(np.int64)
    for x in (wide, torch.from_numpy(wide)):
        (made,) = Narrow().forward([x])
        assert np.array_equal(np.asarray(made), small)
        assert np.array_equal(np.asarray(Narrow().inverse.forward([made])[0]), wide)
        for number in (2**31, -(2**31) - 1, 2**32):
            with pytest.raises(ValueError, match="beyond 32 bits"):
                Narrow().forward([x * 0 + number])
