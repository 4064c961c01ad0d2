"""Runs a CPU kernel over the rows of a matrix: checks, tiles of widened input, threads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ... import system
from ..dispatch import SOURCES, cols_of
from ..formats import ELEMENT_TYPES, QuantFormat
from .floats import dequantize_bf16, dequantize_f16

TYPES = {ELEMENT_TYPES[kind].torch: kind for kind in SOURCES}  # numpy has no bfloat16; who adds it calls it that
TILE = 1 << 16  # elements that are widened at a time: 256 KiB of float32, which stays in the second-level cache


def quantize(
    kernel: Callable[..., None],
    format: QuantFormat,
    x: np.ndarray,
    source: str | None,
    weights: np.ndarray | None,
    index: None,
    threads: int | None,
    out: np.ndarray | None,
) -> np.ndarray:
    """See dispatch.quantize()."""
    source = _source(x, source)
    _check("x", x, x.dtype, (None, None))
    rows, cols = x.shape
    row_bytes = format.row_bytes(cols)
    if weights is not None:
        _check("weights", weights, np.float32, (cols,))
        weights = _writeable(weights)
    out = _output(out, np.uint8, (rows, row_bytes))
    result = out
    if weights is None:  # blocks are independent: any cut will do, also within one long row
        x = x.reshape(-1, format.block_size)
        out = out.reshape(-1, format.block_bytes)

    def work(start: int, stop: int) -> None:
        if source == "F32":
            kernel(_writeable(x[start:stop]), weights, out[start:stop])
            return
        step = max(1, TILE // x.shape[1])
        tile = np.empty((min(step, stop - start), x.shape[1]), np.float32)
        for at in range(start, stop, step):
            part = x[at : min(at + step, stop)]
            wide = tile[: len(part)]
            _widen(part, source, wide)
            kernel(wide, weights, out[at : at + len(part)])

    _spread(work, *x.shape, threads, TILE)
    return result


def dequantize(
    kernel: Callable[..., None],
    format: QuantFormat,
    blocks: np.ndarray,
    index: None,
    threads: int | None,
    out: np.ndarray | None,
) -> np.ndarray:
    """See dispatch.dequantize()."""
    _check("blocks", blocks, np.uint8, (None, None))
    rows, row_bytes = blocks.shape
    cols = cols_of(format, row_bytes)
    out = _output(out, np.float32, (rows, cols))
    blocks = blocks.reshape(-1, format.block_bytes)
    values = out.reshape(-1, format.block_size)

    def work(start: int, stop: int) -> None:
        kernel(_writeable(blocks[start:stop]), values[start:stop])

    _spread(work, *values.shape, threads, 8 * TILE)
    return out


def _source(x: np.ndarray, source: str | None) -> str:
    """The storage format of x's elements: F32, F16 or BF16."""
    if not isinstance(x, np.ndarray):
        raise ValueError(f"x must be a numpy array, not {type(x).__name__}")
    found = TYPES.get(x.dtype.name)
    if found is None and x.dtype == np.uint16 and source == "BF16":
        found = "BF16"
    if found is None or source not in (None, found):
        raise ValueError(
            f"x has dtype {x.dtype}{f' and source={source!r}' if source else ''}; "
            'float32, float16, or uint16 with source="BF16" is expected'
        )
    return found


def _widen(x: np.ndarray, source: str, out: np.ndarray) -> None:
    decode = dequantize_f16 if source == "F16" else dequantize_bf16
    decode(x.view(np.uint8), out)


def _check(name: str, array: np.ndarray, dtype: np.dtype | type, shape: tuple[int | None, ...]) -> None:
    if (
        isinstance(array, np.ndarray)
        and array.dtype == dtype
        and array.ndim == len(shape)
        and all(n is None or n == found for n, found in zip(shape, array.shape, strict=True))
        and array.flags.c_contiguous
    ):
        return
    sizes = ", ".join("*" if n is None else str(n) for n in shape)
    found = type(array).__name__
    if isinstance(array, np.ndarray):
        found = f"{array.dtype} {list(array.shape)}{'' if array.flags.c_contiguous else ', not C-contiguous'}"
    raise ValueError(f"{name} must be a C-contiguous {np.dtype(dtype).name} array of shape [{sizes}]; it is {found}")


def _output(out: np.ndarray | None, dtype: type, shape: tuple[int, int]) -> np.ndarray:
    if out is None:
        return np.empty(shape, dtype)
    _check("out", out, dtype, shape)
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    return out


def _writeable(array: np.ndarray) -> np.ndarray:
    """The same memory as a writeable array: Numba takes read-only for another type, and would compile once more."""
    if array.flags.writeable or array.size == 0:
        return array
    import ctypes

    memory = (ctypes.c_byte * array.nbytes).from_address(array.ctypes.data)
    view = np.frombuffer(memory, array.dtype).reshape(array.shape)
    memory.keep = array  # the view lives no longer than what it looks at
    return view


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "ggufx-quant")


system.after_fork(_pool.cache_clear)  # a child has none of its parent's threads


def _spread(work: Callable[[int, int], None], rows: int, cols: int, threads: int | None, least: int) -> None:
    """Call work(start, stop) over all rows, shared by `threads` threads in pieces of `least` elements or more."""
    if threads is None:
        threads = system.cpu_count()
    if threads < 1:
        raise ValueError(f"threads must be 1 or more, not {threads}")
    if not rows or not cols:
        return
    step = max(1, least // cols, -(-rows // (4 * threads)))  # a few per thread: a slow thread shall not hold up the rest
    if threads == 1 or step >= rows:
        work(0, rows)
        return
    pieces = [(start, min(start + step, rows)) for start in range(0, rows, step)]
    for _ in _pool(threads).map(work, *zip(*pieces, strict=True)):
        pass
