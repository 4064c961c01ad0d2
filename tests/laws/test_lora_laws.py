"""The laws of `Lora`, over the op chains of every table row and every way in which peft stores a pair."""

import tracemalloc

import numpy as np
import pytest
from ggufx.converters.ops import LoraRefused, RopePermute, Transpose, op_from_json
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
