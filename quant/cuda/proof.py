"""Whether this machine's GPU makes the bytes that it must: each kernel is tried once before it is trusted.

A compiler or driver that rounds otherwise would change files without a word. So the blocks of a small sample are compared,
by digest, with those that the CPU kernels (and ggml) make of it; `proof.json` holds the digests, made by
scripts/make_cuda_proof.py. The sample is made of integers by exact operations, the same everywhere. What decodes packed
checkpoints (a `Variant`) has a sample of its own (stored_sample.py).
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dispatch import KERNELS, Weights, dequantize, quantize
from ..formats import FORMATS

if TYPE_CHECKING:
    from .stored import Variant

ROWS, COLS = 24, 512
PLAIN, WEIGHTED, VALUES = "plain", "weights", "values"  # quantize without and with importance weights; dequantize
RECORDED = Path(__file__).with_name("proof.json")


def all_kernels() -> list[str | Variant]:
    """All that there is to try: the formats, and what decodes packed checkpoints."""
    from .stored_sample import VARIANTS

    return [*KERNELS, *VARIANTS.values()]


def trials(format: str | Variant) -> tuple[str, ...]:
    """What there is to try of a format."""
    if not isinstance(format, str):
        return (VALUES,)
    weighted = () if KERNELS[format].weights is Weights.IGNORED else (WEIGHTED,)
    return (*(() if KERNELS[format].weights is Weights.REQUIRED else (PLAIN,)), *weighted, VALUES)


def verdict(format: str | Variant, trial: str, device: str) -> str | None:
    """Why a kernel cannot be used on `device` ("cuda:0"): it fails, or makes other bytes than it must. None: it can.

    Raises torch's OutOfMemoryError, which says nothing of the kernel.
    """
    import torch
    from triton.errors import TritonError

    try:
        if isinstance(format, str):
            equal = digest(format, trial, device) == recorded()[format][trial]
        else:
            from .stored_sample import differences

            equal = not differences(format, device)
        if equal:
            return None
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TritonError) as error:
        return first_line(error)
    return "other bytes than it must make; please report it"


def first_line(error: Exception) -> str:
    """The kind of an error, and where its message begins: those of compilers fill pages."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def digest(format: str, trial: str, device: str) -> str:
    """Sixteen hexadecimal digits of what a device makes of the sample."""
    if trial == VALUES:
        made = dequantize(_blocks(format), format, device)
        made[np.isnan(made)] = 0  # which NaN is not defined
    else:
        made = quantize(_sample(), format, _weights() if trial == WEIGHTED else None, device)
    return hashlib.sha256(made.tobytes()).hexdigest()[:16]


@cache
def recorded() -> dict[str, dict[str, Any]]:
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def _words(count: int, seed: int) -> np.ndarray:
    """uint64 [count]: an xorshift of multiples of an odd constant, mixed twice."""
    z = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 40)) * np.uint64(0xD1342543DE82EF95)
    for _ in range(2):
        z = (z ^ z >> np.uint64(32)) * np.uint64(0xDABA0B6EB09322E3)
    return z ^ z >> np.uint64(32)


@cache
def _sample() -> np.ndarray:
    """float32 [ROWS, COLS]: bell-shaped numbers; scales that vary by row and by block, blocks of zeros, ties, one sign."""
    words = _words(ROWS * COLS, 1)
    bell = sum((words >> np.uint64(s) & np.uint64(0xFFFF)).astype(np.int32) for s in (0, 16, 32, 48)) - 2 * 0xFFFF
    x = np.ldexp(bell.astype(np.float32), -20).reshape(ROWS, COLS // 32, 32)
    scales = (_words(ROWS * (COLS // 32), 2) % np.uint64(8)).astype(np.int32).reshape(ROWS, -1, 1)
    x[6:12] = np.ldexp(x[6:12], scales[6:12])
    x[12:15] = np.round(x[12:15] * 32) / 32
    x[15:18] = np.abs(x[15:18])
    x[18:20, ::3] = 0
    x[20:22] = np.ldexp(x[20:22], 60)
    x[22:24] = np.ldexp(x[22:24], -110)
    return np.ascontiguousarray(x.reshape(ROWS, COLS))


@cache
def _weights() -> np.ndarray:
    """float32 [COLS], an eighth of them zero."""
    words = _words(COLS, 3)
    return np.where(words % np.uint64(8) == 0, 0, (words >> np.uint64(44)).astype(np.float32)).astype(np.float32)


def _blocks(format: str) -> np.ndarray:
    """Arbitrary bytes as blocks."""
    size = ROWS * FORMATS[format].row_bytes(COLS)
    return _words(-(-size // 8), 4).astype("<u8").view(np.uint8)[:size].reshape(ROWS, -1).copy()
