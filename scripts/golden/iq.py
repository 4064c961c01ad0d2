"""Quantize and decode with ggml itself, and keep digests of the bytes in tests/golden/iq_digests.json.

    GGUFX_LIBGGML=/path/to/libggml-base.so python scripts/golden/iq.py

The cases are made here, from raw random words and arithmetic that rounds the same everywhere.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
from ggufx.quant.formats import FORMATS

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "iq_digests.json"
NAMES = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S")
WEIGHTS = ("none", "random", "zeros")
REQUIRED = ("IQ1_S", "IQ2_XXS", "IQ2_XS")  # ggml_quantize_requires_imatrix
ROWS, COLS = 3, 1280  # five blocks a row: pairs of blocks also straddle rows, and the last has no partner
f32 = np.float32


def uniform(count: int, seed: int) -> np.ndarray:
    """float64 in [-1, 1), from raw words of PCG64."""
    words = np.random.PCG64(seed).random_raw(count)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1


def samples() -> dict[str, np.ndarray]:
    """Data sets: float32 [ROWS, COLS] by name."""
    size = ROWS * COLS
    gauss = sum(uniform(size, seed) for seed in range(12)).astype(f32) * f32(0.01)
    chance = uniform(size, 20)
    tail = uniform(size, 21)
    sets = {
        "gaussian": gauss,
        "heavy tail": (0.02 * tail / (1.0001 - np.abs(tail))).astype(f32),
        "bf16": (gauss.view(np.uint32) & 0xFFFF0000).view(f32),
        "half of the blocks zero": np.where(np.repeat(chance[: size // 32], 32) < 0, f32(0), gauss),
        "half zero": np.where(chance < 0, f32(0), gauss),
        "ties": (np.floor(4 * tail) * 0.25).astype(f32),
        "denormal": gauss * f32(1e-41),
        "tiny": gauss * f32(1e-12),
        "outliers": np.where(chance < -0.98, gauss * f32(1000), gauss),
        "large": gauss * f32(1e8),
        "constant": np.full(size, 0.37, f32),
        "negative constant": np.full(size, -0.37, f32),
        "zero": np.zeros(size, f32),
    }
    return {name: np.ascontiguousarray(values.reshape(ROWS, COLS)) for name, values in sets.items()}


def weights(kind: str) -> np.ndarray | None:
    """Importance weights float32 [COLS]: none, random, or random with a third of zeros."""
    values = ((1 + uniform(COLS, 30)) ** 3).astype(f32)
    return None if kind == "none" else values if kind == "random" else np.where(uniform(COLS, 31) < -0.4, f32(0), values)


def cases() -> list[tuple[str, str, str]]:
    """(format, data set, weights)."""
    return [
        (name, sample, kind)
        for name in NAMES
        for sample in samples()
        for kind in WEIGHTS
        if kind != "none" or name not in REQUIRED
    ]


def random_blocks(name: str) -> np.ndarray:
    """Arbitrary bytes: uint8 [256 blocks, block_bytes]. Some scales come out infinite or NaN."""
    count = 256 * FORMATS[name].block_bytes
    return (np.random.PCG64(40).random_raw(count) >> np.uint64(20)).astype(np.uint8).reshape(256, -1)


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()[:32]


class Ggml:
    """ggml_quantize_chunk and dequantize_row_* of a libggml-base."""

    def __init__(self, library: str):
        self.library = ctypes.CDLL(library)
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self.library.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, number, number, number, pointer]
        self.library.ggml_quantize_chunk.restype = ctypes.c_size_t

    def quantize(self, x: np.ndarray, name: str, weights: np.ndarray | None) -> np.ndarray:
        out = np.zeros((len(x), FORMATS[name].row_bytes(x.shape[1])), np.uint8)
        self.library.ggml_quantize_chunk(
            FORMATS[name].id, x.ctypes.data, out.ctypes.data, 0, *x.shape, None if weights is None else weights.ctypes.data
        )
        return out

    def dequantize(self, blocks: np.ndarray, name: str) -> np.ndarray:
        out = np.empty((len(blocks), blocks.shape[1] // FORMATS[name].block_bytes * FORMATS[name].block_size), f32)
        function = getattr(self.library, f"dequantize_row_{name.lower()}")
        function(ctypes.c_void_p(blocks.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_int64(out.size))
        return out


def main() -> None:
    library = os.environ.get("GGUFX_LIBGGML")
    if not library:
        sys.exit("set GGUFX_LIBGGML to the path of libggml-base.so")
    ggml, data = Ggml(library), samples()
    lines = {f"data / {name}": digest(values) for name, values in data.items()}
    lines |= {f"{n} / {s} / {k}": digest(ggml.quantize(data[s], n, weights(k))) for n, s, k in cases()}
    lines |= {f"{name} / decoded": digest(ggml.dequantize(random_blocks(name), name)) for name in NAMES}
    GOLDEN.write_text(json.dumps(lines, indent=0) + "\n")
    print(f"{len(lines)} digests in {GOLDEN}")


if __name__ == "__main__":
    main()
