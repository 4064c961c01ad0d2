"""The laws of `Merge`: any run of rows is made as in the whole, as data and back it is the same, and it does what it says."""

from dataclasses import replace

import numpy as np
import pytest
from ggufx.converters.ops import Instead, LowRank, Merge, NewRows, RopePermute, Shift, Split, Transpose, Within, op_from_json
from ggufx.converters.ops.lora import EMBEDDING, FUSED, MATRIX
from ggufx.converters.ops.merge import TABLE, bits, floats

ROWS, COLS, EXPERTS, RANK = 12, 8, 4, 3
MATRICES, STACK = (ROWS, COLS), (EXPERTS, ROWS, COLS)
# size of the weight, updates, shapes of their parts
CASES = {
    "matrix": (MATRICES, (LowRank(0.7),), ((RANK, COLS), (ROWS, RANK))),
    "rounded": (MATRICES, (LowRank(0.7, rounded=True),), ((RANK, COLS), (ROWS, RANK))),
    "embedding": (MATRICES, (LowRank(0.7, EMBEDDING),), ((RANK, ROWS), (COLS, RANK))),
    "turned": (MATRICES, (LowRank(0.7, ops=(Transpose(),)),), ((RANK, ROWS), (COLS, RANK))),
    "dora": (MATRICES, (LowRank(0.7, dora=True),), ((RANK, COLS), (ROWS, RANK), (ROWS,))),
    "dora-of-columns": (MATRICES, (LowRank(0.7, EMBEDDING, dora=True, norms=tuple(range(1, COLS + 1))),),
                        ((RANK, ROWS), (COLS, RANK), (COLS,))),
    "part": (MATRICES, (LowRank(0.7, ops=(Split(2),), output=1),), ((RANK, COLS), (2 * ROWS, RANK))),
    "stack": (STACK, (LowRank(0.7, FUSED, EXPERTS),), ((RANK * EXPERTS, COLS), (ROWS, RANK * EXPERTS))),
    "turned-stack": (STACK, (LowRank(0.7, FUSED, EXPERTS, ops=(Transpose(),)),),
                     ((RANK * EXPERTS, ROWS), (COLS, RANK * EXPERTS))),
    "part-of-a-stack": (STACK, (LowRank(0.7, FUSED, EXPERTS, ops=(Split(2),)),),
                        ((RANK * EXPERTS, COLS), (2 * ROWS, RANK * EXPERTS))),
    "one-of-a-stack": (MATRICES, (LowRank(0.7, FUSED, EXPERTS, expert=2),), ((RANK * EXPERTS, COLS), (ROWS, RANK * EXPERTS))),
    "stored-stack": (STACK, (LowRank(0.7),), ((EXPERTS, RANK, COLS), (EXPERTS, ROWS, RANK))),
    "one-in-a-stack": (STACK, (Within(LowRank(0.7), only=2), Within(LowRank(0.3), only=0)), ((RANK, COLS), (ROWS, RANK)) * 2),
    "rows-in-a-stack": (STACK, (Within(LowRank(0.7), 2, 7, only=2),), ((RANK, COLS), (5, RANK))),
    "some-rows": (MATRICES, (Within(LowRank(0.7), 2, 7), Within(LowRank(0.3, dora=True), 6, 11)),
                  ((RANK, COLS), (5, RANK), (RANK, COLS), (5, RANK), (5,))),
    "some-of-a-bias": ((ROWS,), (Within(Shift(0.7), 3, 8),), ((5,),)),
    "some-rows-instead": (MATRICES, (Within(Instead(), 4, 9),), ((5, COLS),)),
    "table": (MATRICES, (LowRank(0.7, TABLE),), ((ROWS, RANK), (COLS, RANK))),
    "permuted": (MATRICES, (LowRank(0.7, ops=(RopePermute(4),)),), ((RANK, COLS), (ROWS, RANK))),
    "permuted-dora": (MATRICES, (LowRank(0.7, ops=(RopePermute(4),), dora=True),), ((RANK, COLS), (ROWS, RANK), (ROWS,))),
    "permuted-bias": ((ROWS,), (Shift(0.7, (RopePermute(4),)),), ((ROWS,),)),
    "bias": ((ROWS,), (Shift(0.7),), ((ROWS,),)),
    "instead": (MATRICES, (Instead(),), (MATRICES,)),
    "permuted-instead": (MATRICES, (Instead((RopePermute(4),)), LowRank(0.7)), (MATRICES, (RANK, COLS), (ROWS, RANK))),
    "rows": (MATRICES, (NewRows((3, 11)),), ((2, COLS),)),
    "several": (MATRICES, (LowRank(0.7), NewRows((0,)), LowRank(-2.0, EMBEDDING)),
                ((RANK, COLS), (ROWS, RANK), (1, COLS), (RANK, ROWS), (COLS, RANK))),
    "none": (MATRICES, (), ()),
}


def made(op: Merge, weight: np.ndarray, parts: list[np.ndarray]) -> np.ndarray:
    """What the op makes of its windows."""
    windows = op.windows([p.shape for p in parts])
    taken = [p if w is None else p[(slice(None),) * w.axis + (slice(w.start, w.stop),)]
             for p, w in zip(parts, windows, strict=True)]
    (out,) = op.forward([weight, *taken])
    return out


@pytest.mark.parametrize("kind", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("case", CASES)
def test_pieces_are_pieces_of_the_whole(case, kind):
    size, steps, shapes = CASES[case]
    rng = np.random.default_rng(0)
    weight = floats(bits(rng.standard_normal(size).astype(np.float32), kind), kind)
    parts = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    op = Merge(size, kind, steps)
    whole = made(op, weight, parts)
    assert whole.shape == size == op.shape([])[0]
    assert op_from_json(op.to_json()) == op
    for cut in range(1, size[0]):
        pieces = [made(op.rows(start, stop), weight[start:stop], parts) for start, stop in ((0, cut), (cut, size[0]))]
        np.testing.assert_array_equal(np.concatenate(pieces), whole)
    for number in range(size[0]) if size == STACK else ():
        one = op.rows(1, 4).item(number - 1) if number else op.item(0)
        np.testing.assert_array_equal(made(one, weight[number], parts), whole[number])


@pytest.mark.parametrize("case", ["matrix", "dora", "bias"])
def test_behind_a_permutation(case):
    """The weight's own op on the merged weight is the merge of its op."""
    size, (step,), shapes = CASES[case]
    rng = np.random.default_rng(2)
    weight, *parts = (rng.standard_normal(s).astype(np.float32) for s in (size, *shapes))
    op = RopePermute(4)
    (expected,) = op.forward([made(Merge(size, "BF16", (step,)), weight, parts)])
    found = made(Merge(size, "BF16", (replace(step, ops=(op,)),)), *op.forward([weight]), parts)
    np.testing.assert_array_equal(found, expected)


def test_what_is_added():
    rng = np.random.default_rng(1)
    weight, a, b = (rng.standard_normal(s).astype(np.float32) for s in (MATRICES, (RANK, COLS), (ROWS, RANK)))
    out = made(Merge(MATRICES, "F32", (LowRank(0.5, MATRIX),)), weight, [a, b]).view(np.float32)
    np.testing.assert_allclose(out, weight + 0.5 * (b.astype(np.float64) @ a), rtol=1e-5)
    m = np.abs(rng.standard_normal(ROWS)).astype(np.float32)
    out = made(Merge(MATRICES, "F32", (LowRank(0.5, dora=True),)), weight, [a, b, m]).view(np.float32)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), m, rtol=1e-5)
