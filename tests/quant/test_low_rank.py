"""The product of low-rank factors: torch's bits up to rank 192, and the same whatever the shape is cut into."""

import numpy as np
import pytest
import torch
from ggufx.quant.cpu.low_rank import add_squares, product, row_norms


def factors(rows: int, rank: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rank)
    return rng.standard_normal((rows, rank)).astype(np.float32), rng.standard_normal((rank, cols)).astype(np.float32)


@pytest.mark.parametrize("rank", [1, 2, 3, 4, 5, 8, 16, 31, 64, 192])
@pytest.mark.parametrize(("rows", "cols"), [(48, 33), (7, 300), (8, 1024)])
def test_the_bits_of_torch(rank, rows, cols):
    """Of fewer than four rows, or twelve columns, MKL sums in an order that goes by the processor: those are not compared."""
    b, a = factors(rows, rank, cols)
    out = np.empty((rows, cols), np.float32)
    product(b, a, np.float32(0.37), out)
    expected = (torch.from_numpy(b) @ torch.from_numpy(a)) * 0.37
    assert np.array_equal(out.view(np.int32), expected.numpy().view(np.int32))


def test_a_chain_of_fused_steps():
    """Each step is rounded once: what a float64 product and sum, rounded to float32, gives."""
    b, a = factors(5, 6, 7)
    out = np.empty((5, 7), np.float32)
    product(b, a, np.float32(1), out)
    for i in range(5):
        for j in range(7):
            total = np.float32(0)
            for k in range(6):
                total = np.float32(np.float64(b[i, k]) * np.float64(a[k, j]) + np.float64(total))
            assert out[i, j] == pytest.approx(total, rel=1e-7)


def test_norms():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    rows, sums = np.empty(3, np.float32), np.zeros(4)
    row_norms(x, rows)
    add_squares(x, sums)
    assert np.array_equal(rows, np.linalg.norm(x.astype(np.float64), axis=1).astype(np.float32))
    assert np.array_equal(sums, (x.astype(np.float64) ** 2).sum(0))
