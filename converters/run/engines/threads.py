"""The CPU engine: tiles over threads. Kernels and file calls release the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from queue import SimpleQueue
from typing import Protocol, TypeVar

from .... import system
from ...plan.plan import TensorJob
from ..conversion import Conversion
from ..device import Cpu, Device
from ..journal import Receipt


class Load(Protocol):
    """Work to be spread. `memory`: bytes that it takes while it is done."""

    @property
    def memory(self) -> int: ...


T = TypeVar("T")
W = TypeVar("W", bound=Load)
MAX_TILE = 8 << 20  # small enough for progress, Ctrl-C and balance; large enough that Python's part does not show


class Threads:
    """An `Engine` of `threads` threads (default: all CPUs)."""

    devices: tuple[str, ...] = ("cpu",)

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or system.cpu_count()
        self.notes: list[str] = []

    def tile_bytes(self, max_memory: int, job: TensorJob | None = None) -> int:
        """The size of tiles of a job, as `Work.memory`."""
        return min(MAX_TILE, max_memory // (4 * self.threads))

    def run(self, conversion: Conversion) -> Generator[Receipt, None, None]:
        work = conversion.work(partial(self.tile_bytes, conversion.max_memory))
        with conversion.open() as convert, closing(self.spread(work, convert, conversion.max_memory)) as receipts:
            yield from receipts

    def spread(self, work: Iterable[W], convert: Callable[[W, Device], T], max_memory: int) -> Generator[T, None, None]:
        """The results of `convert(work, device)`, as they come."""
        finished: SimpleQueue[tuple[W, Future[T]]] = SimpleQueue()
        flying = held = 0

        def finish(item: W, future: Future[T]) -> None:
            finished.put((item, future))

        pool = ThreadPoolExecutor(self.threads, "ggufx")
        try:
            for item in work:
                # Twice as many as threads: nobody waits for the caller to look after what is finished.
                while flying and (flying == 2 * self.threads or held + item.memory > max_memory):
                    done, future = finished.get()
                    flying, held = flying - 1, held - done.memory
                    yield future.result()
                flying, held = flying + 1, held + item.memory
                future = pool.submit(convert, item, Cpu(self._threads_for(item, max_memory)))
                future.add_done_callback(partial(finish, item))
            while flying:
                _, future = finished.get()
                flying -= 1
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _threads_for(self, item: Load, max_memory: int) -> int:
        """Kernels run on one thread, since tiles fill the others; a tile that keeps others out takes their share."""
        return min(self.threads, max(1, self.threads * item.memory // max_memory))
