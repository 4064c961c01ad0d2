"""Zeros that blocks do not hold, out of the numbers in them.

A block holds codes less the zero of their group. The least number of a group with the zero added is its least code, and
quantizers stretch a group over the range of codes: where its numbers span all of that, the least code is the first, and the
zero is known. Where they span less by some `slack`, the least code is one of the first 1 + slack: that is kept, in as few bits
as the slack takes. No compression: how many bits there are is told by the blocks.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

WIDTHS = np.array([slack.bit_length() for slack in range(256)], np.uint8)  # bits of a least code


def spans(rows: Iterable[np.ndarray], block: tuple[int, int], columns: int) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest number of each group, int16 [bands, groups] each. `rows`: int16 or uint8 [n, columns], runs of
    the matrix' rows in order; `block`: rows and columns of a group."""
    from ...quant.cpu.stored import spans as spans_of_rows

    least, greatest = [], []
    for run in rows:
        low, high = np.empty((2, len(run), -(-columns // block[1])), np.int16)
        spans_of_rows(run, block[1], low, high)
        least.append(low)
        greatest.append(high)
    bands = np.arange(0, sum(map(len, least)), block[0])
    return (np.minimum.reduceat(np.concatenate(least), bands), np.maximum.reduceat(np.concatenate(greatest), bands))


def encoded(least: np.ndarray, slack: np.ndarray) -> bytes:
    """What must be kept of least codes, which are at most `slack`; both int16 of one shape."""
    some = slack > 0
    bits = np.unpackbits(least[some].astype(np.uint8)[:, None], axis=1, bitorder="little")
    return np.packbits(bits[_used(slack[some])], bitorder="little").tobytes()


def decoded(content: bytes, slack: np.ndarray) -> tuple[np.ndarray, bytes]:
    """Least codes, int16 of the shape of `slack`, and what lies behind those bytes. ValueError where they are too few, or a
    code is beyond its slack."""
    if slack.size and not 0 <= slack.min() <= slack.max() < len(WIDTHS):
        raise ValueError("a group of numbers that spans more than its codes can")
    some = slack > 0
    used = _used(slack[some])
    count = int(used.sum())
    size = -(-count // 8)
    if len(content) < size:
        raise ValueError(f"{len(content)} bytes of least codes, where {size} are needed")
    bits = np.zeros(used.shape, np.uint8)
    bits[used] = np.unpackbits(np.frombuffer(content, np.uint8, size), count=count, bitorder="little")
    least = np.zeros(slack.shape, np.int16)
    least[some] = np.packbits(bits, axis=1, bitorder="little")[:, 0]
    if (least > slack).any():
        raise ValueError("least codes that are not those of these numbers")
    return least, content[size:]


def _used(slack: np.ndarray) -> np.ndarray:
    """bool [n, 8]: the bits of each least code that are kept."""
    return np.arange(8) < WIDTHS[slack][:, None]
