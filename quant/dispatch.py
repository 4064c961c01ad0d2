"""quantize() and dequantize(): a table lookup (format, direction, device) -> kernel, then the device runs it.

What a kernel module offers, for each of its formats, in lower case (`quantize_q4_k`, `dequantize_iq2_xxs`):

    quantize_<format>(x, weights, out)
        x        float32 [rows, cols], C-contiguous; cols is a whole number of blocks
        weights  float32 [cols] or None
        out      uint8 [rows, row_bytes], C-contiguous, written completely
    dequantize_<format>(blocks, out)
        blocks   uint8 [rows, row_bytes], C-contiguous
        out      float32 [rows, cols], C-contiguous, written completely

A kernel handles the rows it is given on the calling thread and releases the GIL; it is called from several threads with
different rows. Without weights a block depends on nothing but itself, so the caller may cut a tensor at any block and
pass the pieces as rows. Arrays are writeable and their dtypes exact, so that each kernel is compiled for one signature.
float16 and bfloat16 input has been widened when it arrives here, tile by tile.

A device is a package beside this file (`cpu/`, `cuda/`) with the same module names and with a module `rows` that offers
`quantize(kernel, format, x, source, weights, index, threads, out)` and
`dequantize(kernel, format, blocks, index, threads, out)`: `index` is the 1 of "cuda:1", None where none is named.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import Any

from .formats import FORMATS, QuantFormat


class Weights(Enum):
    """What a format's quantizer does with importance weights (ggml_quantize_requires_imatrix, quantize_*)."""

    IGNORED = "ignored"
    USED = "used"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Kernels:
    """Where the kernels of one format are: `module` within a device's package."""

    module: str
    weights: Weights


_IGNORED, _USED, _REQUIRED = Weights.IGNORED, Weights.USED, Weights.REQUIRED

KERNELS: dict[str, Kernels] = {
    "F32": Kernels("floats", _IGNORED),
    "F16": Kernels("floats", _IGNORED),
    "BF16": Kernels("floats", _IGNORED),
    "Q4_0": Kernels("legacy", _USED),
    "Q4_1": Kernels("legacy", _USED),
    "Q5_0": Kernels("legacy", _USED),
    "Q5_1": Kernels("legacy", _USED),
    "Q8_0": Kernels("simple", _IGNORED),
    "Q2_K": Kernels("q2_k", _USED),
    "Q3_K": Kernels("q3_k", _USED),
    "Q4_K": Kernels("q45_k", _USED),
    "Q5_K": Kernels("q45_k", _USED),
    "Q6_K": Kernels("q6_k", _USED),
    "IQ1_S": Kernels("iq1", _REQUIRED),
    "IQ1_M": Kernels("iq1", _USED),
    "IQ2_XXS": Kernels("iq2", _REQUIRED),
    "IQ2_XS": Kernels("iq2", _REQUIRED),
    "IQ2_S": Kernels("iq2", _USED),
    "IQ3_XXS": Kernels("iq3", _USED),
    "IQ3_S": Kernels("iq3", _USED),
    "IQ4_NL": Kernels("iq4", _USED),
    "IQ4_XS": Kernels("iq4", _USED),
    "TQ1_0": Kernels("ternary", _IGNORED),
    "TQ2_0": Kernels("ternary", _IGNORED),
    "MXFP4": Kernels("fp4", _IGNORED),
    "NVFP4": Kernels("fp4", _IGNORED),
    "Q1_0": Kernels("simple", _IGNORED),
    "Q2_0": Kernels("simple", _IGNORED),
}

DEVICES = ("cpu", "cuda")
SOURCES = ("F32", "F16", "BF16")  # the types whose elements quantize() takes as they are


@functools.cache
def kernel(format: str, direction: str, device: str) -> Callable[..., None]:
    """The kernel function of `format` ("Q4_K") in `direction` ("quantize", "dequantize") on `device` ("cpu", "cuda").

    Raises ValueError where there is none.
    """
    if format not in FORMATS:
        raise ValueError(f"{format!r} is not a tensor type; known are {', '.join(FORMATS)}")
    if format not in KERNELS:
        raise ValueError(f"{format} holds no quantized weights: it cannot be {direction}d")
    package = f"{__package__}.{device}"
    module = f"{package}.{KERNELS[format].module}"
    name = f"{direction}_{format.lower()}"
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name not in (package, module):
            raise
    except AttributeError:
        pass
    raise ValueError(f"there is no kernel that can {direction} {format} on {device}")


def quantize(
    x: Any,
    format: str,
    weights: Any = None,
    device: str = "cpu",
    threads: int | None = None,
    out: Any = None,
    *,
    source: str | None = None,
) -> Any:
    """The blocks of `x` in `format`: the bytes of ggml's `ggml_quantize_chunk` on x86-64 (strict float32, no FMA).

    x        [rows, cols], C-contiguous, cols a whole number of blocks: float32, float16, or bfloat16 as uint16 bits
             with source="BF16". Narrow input is widened tile by tile, never as a whole copy.
    weights  float32 [cols]: importance of each column. Needed for IQ2_XXS, IQ2_XS and IQ1_S; formats that have no use
             for weights ignore them (KERNELS says which).
    threads  how many threads share the rows (default: all available CPUs). No byte depends on it.
    out      uint8 [rows, row_bytes], C-contiguous, to be written; allocated when absent.

    Returns uint8 [rows, row_bytes]. Raises ValueError for a shape, dtype, format or device that does not fit. NaN and
    infinity in `x` are not looked for: refuse them before, they make no sensible block.
    """
    kind, index = _device(device)
    function = kernel(format, "quantize", kind)
    if weights is None and KERNELS[format].weights is Weights.REQUIRED:
        raise ValueError(f"{format} cannot be quantized without importance weights")
    if KERNELS[format].weights is Weights.IGNORED:
        weights = None
    return _rows(kind).quantize(function, FORMATS[format], x, source, weights, index, threads, out)


def dequantize(blocks: Any, format: str, device: str = "cpu", threads: int | None = None, out: Any = None) -> Any:
    """The values of `blocks` in `format`: the bits of ggml's `dequantize_row_*`.

    blocks   uint8 [rows, row_bytes], C-contiguous
    threads  how many threads share the rows (default: all available CPUs)
    out      float32 [rows, cols], C-contiguous, to be written; allocated when absent

    Returns float32 [rows, cols]. Any bytes are accepted: each is some value, infinities and NaN included (which NaN is
    not defined: where two meet in a sum, it depends on the order in which a compiler adds them). Raises ValueError for a
    shape, dtype, format or device that does not fit.
    """
    kind, index = _device(device)
    function = kernel(format, "dequantize", kind)
    return _rows(kind).dequantize(function, FORMATS[format], blocks, index, threads, out)


def _device(name: str) -> tuple[str, int | None]:
    """("cuda", 1) of "cuda:1". Raises ValueError for what is no device."""
    kind, colon, index = name.partition(":")
    if kind not in DEVICES or (colon and (kind == "cpu" or not index.isdecimal())):
        raise ValueError(f"{name!r} is not a device; known are {', '.join(DEVICES)}, and numbered ones such as cuda:0")
    return kind, int(index) if colon else None


def _rows(kind: str) -> Any:
    return import_module(f"{__package__}.{kind}.rows")


def cols_of(format: QuantFormat, row_bytes: int) -> int:
    """Elements in a row of `row_bytes`. Raises ValueError where that is no whole number of blocks."""
    if row_bytes % format.block_bytes:
        raise ValueError(
            f"{format.name} stores blocks of {format.block_bytes} bytes; a row of {row_bytes} is not a multiple of it"
        )
    return row_bytes // format.block_bytes * format.block_size
