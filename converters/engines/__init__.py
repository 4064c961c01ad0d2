"""How the tiles of a plan are spread: over threads, a GPU, machines. One way is one file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ..job import Tile
from ..plan import TensorJob

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Work:
    """A tile of a job (`index`: its position in the list of jobs), and the bytes it takes while it is converted."""

    index: int
    job: TensorJob
    tile: Tile
    memory: int


class Engine(Protocol):
    """Carries out work in any order, on any thread; what it calls is thread-safe."""

    def tile_bytes(self, max_memory: int) -> int:
        """The size of tiles that suits it, as `Work.memory`."""

    def run(self, work: Iterable[Work], convert: Callable[[Work, int, str], T], max_memory: int) -> Iterator[T]:
        """The results of `convert(work, threads, device)`, as they come.

        The memory of all work in flight stays within `max_memory`, but for a single tile that alone exceeds it. The
        first error is raised to the caller. When the iterator ends or is closed, nothing runs any more.
        """
