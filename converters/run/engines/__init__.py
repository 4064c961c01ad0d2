"""Engines: how the tiles of a conversion are spread over threads, GPUs, machines. One way is one file."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from ..conversion import Conversion
from ..journal import Receipt


class Engine(Protocol):
    """Carries out a conversion in any order, in any place.

    `devices`: what it converts on, for people. `notes`: what they should know of how it went.
    """

    devices: tuple[str, ...]
    notes: list[str]

    def run(self, conversion: Conversion) -> Generator[Receipt, None, None]:
        """The receipts of all work, as it is done; the engine cuts tiles to the size that suits it.

        The memory of all work in flight stays within the conversion's `max_memory`, but for a single tile that alone
        exceeds it. The first error is raised to the caller. When the iterator ends or is closed, nothing runs any more.
        """
