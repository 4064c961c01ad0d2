"""Grids and their near points, against a plain statement of what they are."""

from __future__ import annotations

import numpy as np
import pytest
from ggufx.quant.cpu.iq_grid import SHELLS, grid, levels


def unpack(code: int, size: int) -> list[int]:
    bits = 2 if size == 8 else 3
    return [code >> bits * i & (1 << bits) - 1 for i in range(size)]


@pytest.mark.parametrize("name", SHELLS)
def test_near_points(name):
    table, points = grid(name), levels(name).astype(int)
    size = points.shape[1]
    assert [unpack(int(code), size) for code in table.codes] == points.tolist()
    assert (table.places[table.codes] == np.arange(len(points))).all()
    assert (table.places >= 0).sum() == len(points)
    rng = np.random.default_rng(5)
    some = [points[0], points[-1], *rng.integers(0, 3 if size == 8 else 8, (60, size))]
    lists = table.near.reshape(-1, 2, 8)
    for point in some:
        code = sum(int(level) << (2 if size == 8 else 3) * i for i, level in enumerate(point))
        distance = ((points - point) ** 2).sum(1)
        shells = 1 if distance.min() == 0 else SHELLS[name]
        reach = np.unique(distance)[:shells].max()
        order = sorted((d, at) for at, d in enumerate(distance) if d <= reach)
        first, chunks = table.entries[code] >> 6, table.entries[code] & 63
        assert chunks == -(-len(order) // 8)
        found = lists[first : first + chunks]
        expected = [table.codes[at] for _, at in order]
        assert found[:, 1].ravel().tolist() == expected + [expected[0]] * (8 * chunks - len(expected))
        for spread, near in zip(found[:, 0].ravel(), found[:, 1].ravel(), strict=True):
            nibbles = [int(spread) >> 4 * i & 15 for i in range(size)]
            assert [nibble & (3 if size == 8 else 15) for nibble in nibbles] == unpack(near, size)
            if size == 8:
                assert [nibble >> 2 for nibble in nibbles] == [0, 1] * 4  # the fourth bit stays free
