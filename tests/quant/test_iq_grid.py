"""Grids and their near points, against a plain statement of what they are."""

from __future__ import annotations

import numpy as np
import pytest
from ggufx.quant.cpu.iq_grid import SHELLS, grid, levels


def unpack(code: int, size: int) -> np.ndarray:
    bits = 2 if size == 8 else 3
    return np.array([code >> bits * i & (1 << bits) - 1 for i in range(size)])


@pytest.mark.parametrize("name", SHELLS)
def test_entries(name):
    table, points = grid(name), levels(name).astype(int)
    size = points.shape[1]
    assert [unpack(code, size).tolist() for code in table.codes] == points.tolist()
    assert (table.entries[table.codes] == np.arange(len(points))).all()
    rng = np.random.default_rng(5)
    seen = 0
    while seen < 60:
        point = rng.integers(0, 3 if size == 8 else 8, size)
        code = sum(int(level) << (2 if size == 8 else 3) * i for i, level in enumerate(point))
        entry = int(table.entries[code])
        if entry >= 0:
            assert points[entry].tolist() == point.tolist()
            continue
        seen += 1
        distance = ((points - point) ** 2).sum(1)
        reach = np.unique(distance)[: SHELLS[name]].max()
        order = sorted((d, at) for at, d in enumerate(distance) if d <= reach)
        first, chunks = (-1 - entry) >> 5, (-1 - entry) & 31
        assert chunks == -(-len(order) // 16)
        near = table.nearby[16 * first : 16 * (first + chunks)]
        expected = [table.codes[at] for _, at in order]
        assert near.tolist() == expected + [expected[0]] * (16 * chunks - len(expected))
        for code, spread in zip(near, table.near[16 * first : 16 * (first + chunks)], strict=True):
            nibbles = [int(spread) >> 4 * i & 15 for i in range(size)]
            if size == 8:
                assert [n & 3 for n in nibbles] == unpack(code, 8).tolist()
                assert [n >> 2 for n in nibbles] == [0, 1, 2, 3] * 2
            else:
                assert [n & 7 for n in nibbles] == unpack(code, 4).tolist()
                assert [n >> 3 for n in nibbles] == [0, 1] * 2
