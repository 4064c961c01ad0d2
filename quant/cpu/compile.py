"""How the CPU kernels are compiled and where the result is kept: once per machine, with a word to whoever waits.

`@kernel` marks a function that Python calls; its machine code is cached on disk. `@inline` marks a function that only
kernels call; it becomes part of them. Both are strict about floats: no fused multiply-add, no reassociation, so that
every machine writes the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
from numba.core.caching import FunctionCache, IndexDataCacheFile

STRICT = {"fastmath": False, "error_model": "numpy", "nogil": True, "boundscheck": False}
NO_WEIGHTS = np.empty(0, np.float32)  # what a kernel that may have weights is called with when there are none

_listener: Callable[[str], None] | None = None


def on_compile(listener: Callable[[str], None] | None) -> None:
    """Call `listener` with a kernel's name whenever one is about to be compiled, which takes seconds; None: nobody."""
    global _listener
    _listener = listener


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
def _sources_digest() -> str:
    """Numba looks at one source file to see if its cached code is stale, but our kernels are made from several."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _tell(name: str) -> None:
    if _listener is not None:
        _listener(name)


class _Cache(FunctionCache):
    """Numba's cache on disk, fresh only while all sources of this package are the same, and never a reason to fail."""

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, _sources_digest())

    def load_overload(self, sig, target_context):
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # a damaged cache is no cache
            found = None
        if found is None:
            _tell(self._py_func.__name__)
        return found

    def save_overload(self, sig, data) -> None:
        with contextlib.suppress(OSError):  # a full disk costs the next process its time, not this one its result
            super().save_overload(sig, data)


class _NoCache(numba.core.caching.NullCache):
    def __init__(self, function: Callable) -> None:
        self._name = function.__name__

    def load_overload(self, sig, target_context) -> None:
        _tell(self._name)
