"""A weight that is cut over the files of several ranks, or whose rows are in another order than Hugging Face's."""

from __future__ import annotations

from dataclasses import dataclass

from ...io.tensors import StoredTensor
from ...ops import Op


@dataclass(frozen=True, slots=True)
class JoinedTensor(StoredTensor):
    """A weight under its canonical name and in its whole shape; `file` and `offset` are those of the first part.

    `parts`: equal pieces, in the order of their ranks, of axis `axis`; None: one part, the whole. `ops`: what makes
    Hugging Face's array of the joined one, head by head.
    """

    parts: tuple[StoredTensor, ...]
    axis: int | None = None
    ops: tuple[Op, ...] = ()
