"""How the tiles of a plan are spread: over threads, a GPU, machines. One way is one file; `choose` picks one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ...plan.plan import TensorJob
from ...plan.tiles import Tile
from ..device import Device

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Work:
    """A tile of a job (`index`: its position in the list of jobs), and the bytes it takes while it is converted."""

    index: int
    job: TensorJob
    tile: Tile
    memory: int


class Engine(Protocol):
    """Carries out work in any order, on any thread; what it calls is thread-safe.

    `devices`: what it converts on, for people. `notes`: what they should know of how it went.
    """

    devices: tuple[str, ...]
    notes: list[str]

    def tile_bytes(self, max_memory: int, job: TensorJob) -> int:
        """The size of tiles of a job that suits it, as `Work.memory`."""

    def run(self, work: Iterable[Work], convert: Callable[[Work, Device], T], max_memory: int) -> Iterator[T]:
        """The results of `convert(work, device)`, as they come; of a tile that is cut once more, that of each piece.

        The memory of all work in flight stays within `max_memory`, but for a single tile that alone exceeds it. The
        first error is raised to the caller. When the iterator ends or is closed, nothing runs any more.
        """
