"""How the CPU kernels are compiled and where the result is kept: once per machine, with a word to whoever waits.

`@kernel` marks a function that Python calls; its machine code is cached on disk. `@inline` marks a function that only
kernels call; it becomes part of them. Both are strict about floats: no fused multiply-add, no reassociation, so that
every machine writes the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import re
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache

from . import announce

STRICT = {"fastmath": False, "error_model": "numpy", "nogil": True, "boundscheck": False}
NO_WEIGHTS = np.empty(0, np.float32)  # what a kernel that may have weights is called with when there are none

def kernel(function: Callable) -> Callable:
    """Compile on the first call, and keep the machine code on disk where a folder for it can be written."""
    compiled = numba.njit(**STRICT)(function)
    try:
        compiled._cache = _Cache(function)
    except (RuntimeError, OSError):  # no folder can be written: compiled anew by each process
        compiled._cache = _NoCache(function)
    return compiled


def inline(function: Callable) -> Callable:
    """Compiled into each kernel that calls it."""
    return numba.njit(forceinline=True, **STRICT)(function)


@functools.cache
def sources_digest(path: Path) -> str:
    """Digest of a kernel module and the modules beside it that it is made from: Numba itself looks at one file only."""
    sources, waiting = {}, [path]
    while waiting:
        path = waiting.pop()
        sources[path.name] = path.read_bytes()
        for name in re.findall(r"(?m)^from \.(\w+) import", sources[path.name].decode()):
            other = path.with_name(f"{name}.py")
            if other.name not in sources and other.exists():
                waiting.append(other)
    return hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()


class _Cache(FunctionCache):
    """Numba's cache on disk, fresh only while all of a kernel's sources are the same, and never a reason to fail."""

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        digest = sources_digest(Path(inspect.getfile(function)))
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, digest)

    def load_overload(self, sig, target_context):
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # a damaged cache is no cache
            found = None
            with contextlib.suppress(OSError):
                self.flush()
        if found is None:
            announce(self._py_func)
        return found

    def save_overload(self, sig, data) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the next process its time, not this one its result
            super().save_overload(sig, data)


class _NoCache(NullCache):
    def __init__(self, function: Callable) -> None:
        self._py_func = function

    def load_overload(self, sig, target_context) -> None:
        announce(self._py_func)
