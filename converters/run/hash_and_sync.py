"""Background SHA-256 and fsync of outputs, close behind the writers.

SHA-256 goes through a file in order, on one core, no faster than a disk writes; a copy takes less. So hashing begins with the
first byte, the disk writes meanwhile, and a conversion that runs away waits: at the end little is left to hash and to sync.
"""

from __future__ import annotations

import hashlib
import heapq
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ... import system
from .open_files import OpenFiles, storage_error

HASH_AT_ONCE = 8 << 20
HASH_PIECE = 4 << 20  # at each one a thread waits for the interpreter, which the writers have
FLUSH_AT_ONCE = 32 << 20
MAX_AHEAD = 128 << 20  # bytes that wait to be hashed: a tenth of a second's work, in the page cache
SYNC_INTERVAL = 5.0  # seconds of work that a power failure may cost


class Frontier:
    """How far a file is written without a hole; how far of that it is hashed, and flushed: on its way to the disk."""

    def __init__(self) -> None:
        self._beyond: list[tuple[int, int]] = []
        self.written = 0
        self.hashed = 0
        self.flushed = 0
        self.taken = False  # by a thread that hashes it
        self.sha256 = hashlib.sha256()

    @property
    def behind(self) -> int:
        """Bytes that could be hashed."""
        return self.written - self.hashed

    def add(self, start: int, stop: int) -> None:
        heapq.heappush(self._beyond, (start, stop))
        while self._beyond and self._beyond[0][0] <= self.written:
            self.written = max(self.written, heapq.heappop(self._beyond)[1])


class Trail:
    """Follows the writers of `outputs` (descriptor, path): up to `threads` threads hash, a file each, and one syncs.
    `journal_sync` is called after each sync of the data.

    A context manager: at the end of it, its threads are gone.
    """

    def __init__(self, files: OpenFiles, outputs: Sequence[tuple[int, Path]], checksums: bool,
                 journal_sync: Callable[[], None], threads: int) -> None:
        self._files = files
        self._outputs = outputs
        self._frontiers = [Frontier() for _ in outputs]
        self._checksums = checksums
        self._journal_sync = journal_sync
        self._max_threads = threads
        self._ahead = 0  # bytes that were converted and are not hashed, but for those of former runs that are
        self._limit = MAX_AHEAD
        self._stop = False
        self._failure: BaseException | None = None
        self._lock = threading.Lock()
        self._hashable, self._flushable, self._hashed = (threading.Condition(self._lock) for _ in range(3))
        tasks = (self._sync_behind, *(self._hash_behind,) * (min(threads, len(outputs)) if checksums else 0))
        self._threads = [threading.Thread(target=self._follow, args=(task,), name="ggufx-trail", daemon=True) for task in tasks]

    def __enter__(self) -> Trail:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt()

    def written(self, file: int, start: int, stop: int) -> None:
        """A range of an output has its final bytes. Raises what went wrong behind the writers."""
        with self._lock:
            frontier = self._frontiers[file]
            frontier.add(start, stop)
            if frontier.behind >= HASH_AT_ONCE:
                self._hashable.notify()
            if frontier.written - frontier.flushed >= FLUSH_AT_ONCE:
                self._flushable.notify()
        if self._failure:
            raise self._failure

    def keep_pace(self, nbytes: int) -> None:
        """So many bytes more were converted: wait for hashing, if it is far behind, until it has done as many.

        Never for what it cannot reach yet, or for what was far ahead of it already.
        """
        if not self._checksums:
            return
        with self._lock:
            self._ahead += nbytes
            if self._ahead > self._limit:
                self._hashable.notify_all()
                self._hashed.wait_for(lambda: self._ahead <= self._limit or self._idle() or self._stop)
                self._limit = max(MAX_AHEAD, self._ahead)

    def _idle(self) -> bool:
        """Nothing can be hashed, or is."""
        return not any(f.behind for f in self._frontiers)

    def finish(self) -> list[str | None]:
        """Hash and sync what is left; the SHA-256 of each output as hex digits, None without checksums."""
        self._halt()
        if self._failure:
            raise self._failure
        with ThreadPoolExecutor(2 * self._max_threads) as pool:
            synced = [pool.submit(self._sync, i) for i in range(len(self._outputs))]
            hashed = [pool.submit(self._hash, f, i, f.behind) for i, f in enumerate(self._frontiers) if self._checksums]
            for future in (*synced, *hashed):
                future.result()
        return [f.sha256.hexdigest() if self._checksums else None for f in self._frontiers]

    def _halt(self) -> None:
        with self._lock:
            self._stop = True
            self._hashable.notify_all()
            self._flushable.notify_all()
        for thread in self._threads:
            thread.join()

    def _follow(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # raised to the caller by the next call
            with self._lock:
                self._failure, self._stop = error, True
                for condition in (self._hashable, self._flushable, self._hashed):
                    condition.notify_all()

    def _hash_behind(self) -> None:
        """What a thread that hashes does."""
        while True:
            with self._lock:
                self._hashable.wait_for(lambda: self._stop or self._furthest_behind() is not None)
                file = self._furthest_behind()
                if self._stop or file is None:
                    return
                frontier = self._frontiers[file]
                frontier.taken, count = True, min(frontier.behind, HASH_AT_ONCE)
            self._hash(frontier, file, count)
            with self._lock:
                frontier.taken = False
                self._ahead -= count
                self._hashed.notify()

    def _furthest_behind(self) -> int | None:
        """A file that is worth hashing on, and that no thread is at. All are while somebody waits."""
        free = ((f.behind, i) for i, f in enumerate(self._frontiers) if not f.taken)
        distance, file = max(free, default=(0, 0))
        return file if distance >= (1 if self._ahead > self._limit else HASH_AT_ONCE) else None

    def _hash(self, frontier: Frontier, file: int, count: int) -> None:
        for part in self._files.written(file, frontier.hashed, count, HASH_PIECE):
            frontier.sha256.update(part)
        frontier.hashed += count

    def _sync_behind(self) -> None:
        """What the thread that syncs does."""
        last_sync = time.monotonic()
        while True:
            left = last_sync + SYNC_INTERVAL - time.monotonic()
            with self._lock:
                self._flushable.wait_for(lambda: self._stop or self._unflushed() is not None, left)
                if self._stop:
                    return
                file = self._unflushed()
            if file is not None:
                system.start_sync(self._outputs[file][0], self._frontiers[file].flushed, FLUSH_AT_ONCE)
                self._frontiers[file].flushed += FLUSH_AT_ONCE
            if time.monotonic() - last_sync >= SYNC_INTERVAL:
                for file in range(len(self._outputs)):
                    self._sync(file)
                self._journal_sync()
                last_sync = time.monotonic()

    def _unflushed(self) -> int | None:
        """A file of which enough is worth giving to the disk."""
        return next((i for i, f in enumerate(self._frontiers) if f.written - f.flushed >= FLUSH_AT_ONCE), None)

    def _sync(self, file: int) -> None:
        descriptor, path = self._outputs[file]
        try:
            system.sync_file(descriptor)
        except OSError as error:
            raise storage_error(error, path, "written") from error
