"""The CPU kernels: Numba, lane-parallel. One module per family of formats; dispatch.KERNELS says which.

Kernels are compiled when they are first called, which takes a second or so each, and kept on disk: once per machine.
`on_compile` tells whoever waits; `warmup` compiles ahead. Importing this package imports neither Numba nor a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

_listener: Callable[[str], None] | None = None


def on_compile(listener: Callable[[str], None] | None) -> None:
    """Call `listener` with the name of each kernel that is about to be compiled, on the thread that will; None: nobody."""
    global _listener
    _listener = listener


def announce(function: Callable) -> None:
    """Tell the listener that `function` is about to be compiled."""
    if _listener is not None:
        _listener(f"{function.__module__.rpartition('.')[2]}.{function.__name__}")


def warmup(formats: Iterable[str] | None = None, on_compile: Callable[[str], None] | None = None) -> None:
    """Compile all kernels of `formats` (default: of every format, and of what checkpoints store) that are not on disk yet.

    `on_compile` is called with each kernel's name before it is compiled. Raises ValueError for an unknown format.
    """
    import numpy as np

    from ..dispatch import KERNELS, Weights, dequantize, quantize

    global _listener
    before = _listener
    if on_compile is not None:
        _listener = on_compile
    try:
        from .floats import LITTLE

        x, weights = np.ones((LITTLE // 256 + 1, 256), np.float32), np.ones(256, np.float32)
        for format in KERNELS if formats is None else formats:
            blocks = quantize(x, format, weights, threads=1)
            if KERNELS[format].weights is Weights.USED:
                quantize(x, format, threads=1)
            dequantize(blocks, format, threads=1)
        if formats is None:
            from .stored import warmup as compile_stored

            compile_stored()
    finally:
        _listener = before
