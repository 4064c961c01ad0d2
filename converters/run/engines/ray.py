"""Tasks on a Ray cluster: the one that runs (RAY_ADDRESS, or the last that was started here), else one on this machine.

A task gets what it is to do by numbers, never tensors, and writes to files that all nodes see; one whose node is lost is given
to another. It may thus be done twice, also at once: so tasks are such that this does no harm.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from .... import __version__
from ...errors import GgufxError, StorageError, UnsupportedError, UsageError

RETRIES = 5  # of a task whose node is lost, or that the storage fails
CANCELLED = 30.0  # seconds, at most, that tasks take to be gone
CPUS = 8  # of a task, where nothing is said; fewer where no node has so many


def library() -> Any:
    """The package. UnsupportedError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a converter reports to nobody
    try:
        import ray
    except ImportError as error:
        raise UnsupportedError("--engine ray needs Ray, which is not installed", hint="pip install 'ggufx[ray]'") from error
    return ray


class RayTasks:
    """A context: connected to the cluster. Each task has `threads` CPUs, `max_memory` bytes, and for "cuda" one GPU; `device`
    is what it then runs on, which for "auto" is the CPU: GPUs belong to tasks that asked for them.

    UsageError for one GPU by number, which Ray itself gives out.
    """

    def __init__(self, threads: int | None, max_memory: int, device: str) -> None:
        if ":" in device:
            raise UsageError(f"{device} of which machine?", hint="--engine ray takes --device cpu, or cuda: a GPU a task.")
        self._ray = library()
        self._max_memory = max_memory
        self._gpus = int(device == "cuda")
        self.device = "cuda" if self._gpus else "cpu"
        self._threads = threads

    def __enter__(self) -> RayTasks:
        self._own = not self._ray.is_initialized()
        if self._own:
            self._ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
        try:
            self._plan()
        except GgufxError:
            self._leave()
            raise
        return self

    def _plan(self) -> None:
        """How many tasks of which size. Refuses what no node has, for which Ray would wait without end."""
        has = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        nodes = [node for node in has if node.get("CPU", 0) >= 1 and node.get("GPU", 0) >= self._gpus]
        if not nodes:
            raise UnsupportedError(f"the Ray cluster has no node with a {'GPU' if self._gpus else 'CPU'}",
                                   hint="`ray status` shows what it has.")
        if max(node.get("memory", 0) for node in nodes) < self._max_memory:
            raise UsageError("no node of the Ray cluster has so much memory", found=f"--max-memory {self._max_memory}")
        nodes = [node for node in nodes if node.get("memory", 0) >= self._max_memory]
        self.nodes = len(nodes)
        self.threads = self._threads or min(CPUS, *(int(node["CPU"]) for node in nodes))
        self.at_once = sum(min(int(node["CPU"]) // self.threads, int(node.get("GPU", 0)) if self._gpus else 1 << 16)
                           for node in nodes)
        if not self.at_once:
            raise UsageError("no node of the Ray cluster has so many CPUs", found=f"--threads {self.threads}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._own:
            self._ray.shutdown()

    @property
    def devices(self) -> tuple[str, ...]:
        return (f"ray ({self.nodes} {'node' if self.nodes == 1 else 'nodes'})",)

    def share(self, value: Any) -> Any:
        """A value that all tasks get, sent to each node once: to be among their arguments."""
        return self._ray.put(value)

    def each(self, function: Callable[..., Any], calls: Sequence[Sequence[Any]]) -> Iterator[tuple[int, Any]]:
        """The number of each call and what it gave, as they come. The first error is raised; then no task runs any more."""
        task = self._ray.remote(_told).options(
            num_cpus=self.threads, num_gpus=self._gpus, memory=self._max_memory, max_retries=RETRIES,
            retry_exceptions=[StorageError], scheduling_strategy="SPREAD")
        waiting = {task.remote(__version__, function, *arguments): number for number, arguments in enumerate(calls)}
        try:
            while waiting:
                (done,), _ = self._ray.wait(list(waiting), num_returns=1)
                number = waiting.pop(done)
                try:
                    yield number, self._ray.get(done)
                except self._ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, GgufxError) else error from None
                except self._ray.exceptions.RayError as error:
                    raise StorageError(f"the Ray cluster gave up a task ({type(error).__name__})",
                                       hint="`ray status` shows its nodes. The same call with --resume goes on.") from error
        finally:
            for left in waiting:
                self._ray.cancel(left, force=True)
            if waiting:  # until then one may begin, and make anew what the caller clears away
                self._ray.wait(list(waiting), num_returns=len(waiting), timeout=CANCELLED)


def _told(version: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a node does. UnsupportedError where it would not write the same bytes."""
    if version != __version__:
        raise UnsupportedError("a node of the Ray cluster has another version of ggufx", expected=version, found=__version__)
    return function(*arguments)
