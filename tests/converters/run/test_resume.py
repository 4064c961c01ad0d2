"""Which receipts of an interrupted run are kept, when every checksum agrees."""

from __future__ import annotations

import pytest
from ggufx.converters.plan.plan import Region, TensorJob
from ggufx.converters.plan.tiles import Tile
from ggufx.converters.run.journal import Receipt
from ggufx.converters.run.resume import confirmed

ROWS = Region(0, 0, "F32", (96, 8))
JOBS = [TensorJob("computed", (ROWS,), (), (Region(0, 0, "F16", (96, 8)),)), TensorJob("copied", (ROWS,), (), (ROWS,))]


class Agreeing:
    """Files whose every range has the checksum 7 and equals its source."""

    def checksum(self, file, offset, nbytes):
        return 7

    def same(self, source, target, nbytes):
        return True


def receipt(job, start, stop, count=96, checksums=(7,)):
    return Receipt(job, Tile(start, stop, count), checksums)


FIRST = receipt(0, 0, 10)


@pytest.mark.parametrize(("receipts", "kept"), [
    ([FIRST, receipt(0, 10, 20)], [FIRST, receipt(0, 10, 20)]),
    ([receipt(0, 10, 20), FIRST], [FIRST, receipt(0, 10, 20)]),
    ([FIRST, FIRST], [FIRST]),
    ([FIRST, receipt(0, 9, 20)], [FIRST]),
    ([FIRST, receipt(0, 2, 4)], [FIRST]),
    ([receipt(0, 0, 5), FIRST], [receipt(0, 0, 5)]),
    ([receipt(0, 24, 48, 48)], []),
    ([receipt(0, 0, 1, 1)], []),
    ([receipt(2, 0, 10)], []),
    ([receipt(0, 0, 10, checksums=())], []),
    ([receipt(0, 0, 10, checksums=(7, 7))], []),
    ([receipt(0, 0, 10, checksums=(8,))], []),
    ([receipt(1, 0, 10, checksums=())], [receipt(1, 0, 10, checksums=())]),
    ([receipt(1, 0, 10)], []),
])
def test_kept(receipts, kept):
    seen = []
    assert confirmed(receipts, JOBS, Agreeing(), 2, seen.append) == kept
    assert seen == kept
