"""Background SHA-256 and fsync of outputs, behind the writers.

Both would cost a second pass over the disk if they waited for the end, and neither may stop a writer.
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
SYNC_INTERVAL = 5.0  # seconds of work that a power failure may cost


class Frontier:
    """How far a file is written without a hole, and how far it is hashed."""

    def __init__(self) -> None:
        self._beyond: list[tuple[int, int]] = []
        self.written = 0
        self.hashed = 0
        self.sha256 = hashlib.sha256()

    def add(self, start: int, stop: int) -> None:
        heapq.heappush(self._beyond, (start, stop))
        while self._beyond and self._beyond[0][0] <= self.written:
            self.written = max(self.written, heapq.heappop(self._beyond)[1])


class Trail:
    """Follows the writers of `outputs` (descriptor, path). `journal_sync` is called after each sync of the data.

    A context manager: at the end of it, its thread is gone.
    """

    def __init__(self, files: OpenFiles, outputs: Sequence[tuple[int, Path]], checksums: bool,
                 journal_sync: Callable[[], None]) -> None:
        self._files = files
        self._outputs = outputs
        self._frontiers = [Frontier() for _ in outputs]
        self._checksums = checksums
        self._journal_sync = journal_sync
        self._stop = False
        self._news = threading.Condition()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, name="ggufx-trail", daemon=True)

    def __enter__(self) -> Trail:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt()

    def written(self, file: int, start: int, stop: int) -> None:
        """A range of an output has its final bytes. Raises what went wrong behind the writers."""
        with self._news:
            frontier = self._frontiers[file]
            frontier.add(start, stop)
            if frontier.written - frontier.hashed >= HASH_AT_ONCE:
                self._news.notify()
        if self._failure:
            raise self._failure

    def finish(self, threads: int) -> list[str | None]:
        """Hash and sync what is left; the SHA-256 of each output as hex digits, None without checksums."""
        self._halt()
        if self._failure:
            raise self._failure
        with ThreadPoolExecutor(2 * threads) as pool:
            synced = [pool.submit(self._sync, i) for i in range(len(self._outputs))]
            hashed = [pool.submit(self._hash, i) for i in range(len(self._outputs)) if self._checksums]
            for future in (*synced, *hashed):
                future.result()
        return [f.sha256.hexdigest() if self._checksums else None for f in self._frontiers]

    def _halt(self) -> None:
        with self._news:
            self._stop = True
            self._news.notify()
        self._thread.join()

    def _follow(self) -> None:
        try:
            last_sync = time.monotonic()
            while True:
                with self._news:
                    behind = self._furthest_behind()
                    if behind is None and not self._stop:
                        self._news.wait(max(0.0, last_sync + SYNC_INTERVAL - time.monotonic()))
                        behind = self._furthest_behind()
                    if self._stop:
                        return
                if behind is not None:
                    self._hash(behind, HASH_AT_ONCE)
                if time.monotonic() - last_sync >= SYNC_INTERVAL:
                    for file in range(len(self._outputs)):
                        self._sync(file)
                    self._journal_sync()
                    last_sync = time.monotonic()
        except BaseException as error:  # raised to the caller by the next call
            self._failure = error

    def _furthest_behind(self) -> int | None:
        if not self._checksums or not self._frontiers:
            return None
        distance, file = max((f.written - f.hashed, i) for i, f in enumerate(self._frontiers))
        return file if distance >= HASH_AT_ONCE else None

    def _hash(self, file: int, limit: int | None = None) -> None:
        frontier = self._frontiers[file]
        stop = frontier.written if limit is None else min(frontier.written, frontier.hashed + limit)
        for part in self._files.written(file, frontier.hashed, stop - frontier.hashed):
            frontier.sha256.update(part)
        frontier.hashed = stop

    def _sync(self, file: int) -> None:
        descriptor, path = self._outputs[file]
        try:
            system.sync_file(descriptor)
        except OSError as error:
            raise storage_error(error, path, "written") from error
