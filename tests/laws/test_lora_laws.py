"""The laws of `Lora`, over the op chains of every table row and every way in which peft stores a pair."""

import tracemalloc

import numpy as np
import pytest
from ggufx.converters.ops import Crop, LoraBack, LoraRefused, MlaKv, RopePermute, Scale, Split, Transpose, op_from_json
from ggufx.converters.ops.lora import EMBEDDING, FUSED, MATRIX, Lora
from laws.test_op_laws import CHAINS, inputs

RANK, EXPERTS = 3, 4
# (kind, experts, ranks of the pairs)
KINDS = [(MATRIX, 0, (RANK,)), (EMBEDDING, 0, (RANK,)), (FUSED, EXPERTS, (RANK,)), (MATRIX, EXPERTS, (1, RANK))]


def pairs(ops, kind: str, experts: int, ranks: tuple[int, ...]) -> list[np.ndarray] | None:
    """Factors of a weight that the chain takes, as peft stores them; None where that weight has none of this kind."""
    shape, *more = (x.shape for x in inputs(ops))
    if more or len(shape) != 2 + (kind == FUSED):
        return None
    inner, out = shape[-2:] if kind == EMBEDDING or getattr(ops[0], "conv1d", False) else shape[:-3:-1]
    each = shape[0] if kind == FUSED else 1
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s).astype(np.float32) for r in ranks for s in ((r * each, inner), (out, r * each))]


@pytest.mark.parametrize(("kind", "experts", "ranks"), KINDS, ids=["matrix", "embedding", "fused", "experts"])
@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_shape_is_the_shape_of_the_result(ops, kind, experts, ranks):
    xs = pairs(ops, kind, experts, ranks)
    if xs is None or any(getattr(op, "vector", False) for op in ops):
        return  # no matrix
    if kind == FUSED:
        experts = inputs(ops)[0].shape[0]
    op = Lora(ops, kind, (0.5,) * len(ranks), RANK, experts, (1, 3) if len(ranks) > 1 else ())
    try:
        made = op.forward(xs)
    except LoraRefused:
        with pytest.raises(LoraRefused):
            op.shape([x.shape for x in xs])
        return
    assert op.shape([x.shape for x in xs]) == [y.shape for y in made]
    assert op_from_json(op.to_json()) == op


def test_shapes_take_no_memory():
    """A stack of 64 experts of 8192 x 8192 holds half a gigabyte of factors; its shape is known without one of them."""
    op = Lora((RopePermute(128), Transpose()), MATRIX, (1.0,) * 64, 128, 64, tuple(range(64)))
    tracemalloc.start()
    try:
        shapes = op.shape([(128, 8192), (8192, 128)] * 64)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert shapes == [(64, 128, 8192), (64, 8192, 128)]
    assert peak < 1 << 20


def test_factors_that_do_not_fit():
    with pytest.raises(ValueError, match="no elements"):
        Lora((), MATRIX, (1.0,), 1).shape([(0, 8), (8, 0)])
    with pytest.raises(ValueError, match="differ"):
        Lora((), MATRIX, (1.0, 1.0), 1, 2, (0, 1)).shape([(1, 8), (8, 1), (1, 16), (8, 1)])


@pytest.mark.parametrize(("kind", "experts", "ranks"), KINDS, ids=["matrix", "embedding", "fused", "experts"])
@pytest.mark.parametrize("ops", CHAINS, ids=str)
def test_the_way_back_is_the_inverse(ops, kind, experts, ranks):
    """Every bit of what peft stores, whatever the rank that it is padded to and the power of two that is folded in."""
    xs = pairs(ops, kind, experts, ranks)
    if xs is None or any(getattr(op, "vector", False) for op in ops):
        return
    if kind == FUSED:
        experts = inputs(ops)[0].shape[0]
    index = (1, 3) if len(ranks) > 1 else ()
    try:
        made = Lora(ops, kind, (0.5,) * len(ranks), RANK, experts, index).forward(xs)
    except LoraRefused:
        return
    if any(isinstance(op, Crop) for op in ops):
        return  # rows outside of the crop are not there
    back = LoraBack(ops, kind, (0.5,) * len(ranks), ranks, experts, index, (0,) * (len(made) // 2))
    if any(isinstance(op, MlaKv) or (len(made) > 2 and getattr(op, "columns", False)) for op in ops):  # no row has such updates
        with pytest.raises(LoraRefused):
            back.forward(made)
        return
    returned = back.forward(made)
    assert back.shape([x.shape for x in made]) == [x.shape for x in returned] == [x.shape for x in xs]
    exact = not any(isinstance(op, Scale) for op in ops)
    for x, y in zip(xs, returned, strict=True):
        assert np.array_equal(x, y) if exact else np.allclose(x, y, rtol=1e-6)
    assert op_from_json(back.to_json()) == back


def test_updates_with_an_a_each_stand_below_each_other():
    """Two projections that are one weight in HF: its update is both of theirs, at the sum of the ranks."""
    rng = np.random.default_rng(0)
    a, b, c, d = (rng.standard_normal(s).astype(np.float32) for s in ((2, 6), (4, 2), (3, 6), (4, 3)))
    back = LoraBack((Split((1, 1)),), MATRIX, (1.0,), (5,), absent=(0, 0), own=(1.0, 0.5))
    whole_a, whole_b = back.forward([a, b, c, d])
    assert back.shape([x.shape for x in (a, b, c, d)]) == [whole_a.shape, whole_b.shape] == [(5, 6), (8, 5)]
    np.testing.assert_allclose(whole_b @ whole_a, np.concatenate([b @ a, 0.5 * d @ c]), rtol=1e-5, atol=1e-5)
    alone = LoraBack((Split((1, 1)),), MATRIX, (1.0,), (2,), absent=(0, 4))
    np.testing.assert_array_equal(alone.forward([a, b])[1], np.concatenate([b, np.zeros((4, 2), np.float32)]))
    with pytest.raises(LoraRefused):
        _ = back.inverse
