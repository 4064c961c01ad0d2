"""The data on which every quantizer is compared: made from integers by exact float operations, the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

# 63 super-blocks: three full groups of sixteen and one of fifteen, with rows that begin within groups; 21 rows likewise.
ROWS, COLS = 21, 768

# IQ1, IQ2 and IQ3 have data of their own (scripts/golden/iq.py): on some of these cases ggml aborts.
QUANTIZED = (
    "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
    "TQ1_0", "TQ2_0", "MXFP4", "NVFP4", "Q1_0", "Q2_0",
)  # fmt: skip


def words(count: int, seed: int) -> np.ndarray:
    """Random uint64, by the mixing function of splitmix64."""
    with np.errstate(over="ignore"):
        z = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        return z ^ z >> np.uint64(31)


def uniform(count: int, seed: int) -> np.ndarray:
    """float32 in [0, 1), multiples of 2^-24."""
    return (words(count, seed) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def bell(count: int, seed: int) -> np.ndarray:
    """float32, roughly normal: four uniform numbers of 16 bits, summed exactly, as many deviations from their mean."""
    parts = words(count, seed)[:, None] >> np.arange(0, 64, 16, dtype=np.uint64) & np.uint64(0xFFFF)
    return (parts.sum(1).astype(np.int64) - 2 * 0xFFFF).astype(np.float32) / np.float32(37837)


def to_bfloat16(x: np.ndarray) -> np.ndarray:
    """The values with the lower half of their bits cut off."""
    return (x.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def _holes(cols: int, seed: int) -> np.ndarray:
    """Columns without weight, in which outliers are: what the search does not see makes it go astray."""
    return words(cols, seed + 21) % np.uint64(10) < 3


def data(rows: int = ROWS, cols: int = COLS, seed: int = 1) -> dict[str, np.ndarray]:
    """Matrices float32 [rows, cols], by name."""
    n = rows * cols
    plain = bell(n, seed) * np.float32(0.02)
    signs = np.where(words(n, seed + 1) & np.uint64(1), np.float32(1), np.float32(-1))
    powers = np.ldexp(np.float32(1), (words(n, seed + 2) % np.uint64(120)).astype(np.int32) - 60)
    blocks_powers = np.ldexp(np.float32(1), (words(n // 32, seed + 3) % np.uint64(200)).astype(np.int32) - 130)
    sparse = plain.copy()
    sparse.reshape(-1, 32)[::2] = 0
    sparse.reshape(-1, 256)[::5] = 0
    sparse[-300:] = -0.0
    constant = np.repeat(bell(n // 32, seed + 4), 32)
    constant[: n // 3] = np.abs(constant[: n // 3])
    outliers = plain.reshape(rows, cols) * np.where(_holes(cols, seed), np.float32(50), np.float32(1))
    found = {
        "gaussian": plain,
        "heavy tails": plain / (uniform(n, seed + 5) + np.float32(0.003)),
        "bfloat16": to_bfloat16(plain),
        "half zero": sparse,
        "ties": ((words(n, seed + 6) % np.uint64(9)).astype(np.float32) - 4) * np.float32(0.25),
        "few values": np.where(words(n, seed + 7) % np.uint64(3) == 0, np.float32(0), signs),
        "subnormal": bell(n, seed + 8) * np.float32(1e-40),
        "least": bell(n, seed + 9) * np.float32(3e-44),
        "constant": constant,
        "one sign": np.abs(plain) + np.float32(0.01),
        "large": plain * np.float32(1e9),
        "huge": bell(n, seed + 10) * np.float32(2e37),
        "outliers": outliers,
        "more outliers": outliers * np.where(np.arange(cols) % 2 == 0, np.float32(20), np.float32(1)),
        "many scales": signs * powers,
        "scales by block": bell(n, seed + 11) * np.repeat(blocks_powers, 32),
    }
    return {name: np.ascontiguousarray(x.reshape(rows, cols)) for name, x in found.items()}


def weights(cols: int = COLS, seed: int = 1) -> dict[str, np.ndarray | None]:
    """Importance weights float32 [cols], by name; None: without."""
    random = uniform(cols, seed + 20)
    holes = random * random
    holes[_holes(cols, seed)] = 0
    half = np.ones(cols, np.float32)
    half[: cols // 2] = 0
    return {"none": None, "random": random, "holes": holes, "half zero": half, "zero": np.zeros(cols, np.float32)}


Case = tuple[str, np.ndarray, "np.ndarray | None"]


def cases(format: str, rows: int = ROWS, cols: int = COLS, seed: int = 1) -> Iterator[Case]:
    """Name, matrix and weights: all data without weights, and with each kind where the format has a use for them."""
    from ggufx.quant import KERNELS, Weights

    matrices = data(rows, cols, seed)
    for weights_name, w in weights(cols, seed).items():
        if w is not None and KERNELS[format].weights is Weights.IGNORED:
            continue
        for data_name, x in matrices.items():
            yield f"{data_name}, weights: {weights_name}", x, w


def blocks(format: str, rows: int = ROWS, cols: int = COLS, seed: int = 1) -> np.ndarray:
    """Arbitrary bytes, as blocks of `format`: uint8 [rows, row_bytes]."""
    from ggufx.quant import FORMATS

    size = rows * FORMATS[format].row_bytes(cols)
    return words(-(-size // 8), seed + 30).view(np.uint8)[:size].reshape(rows, -1)


def digest(array: np.ndarray) -> str:
    """Sixteen hexadecimal digits; every NaN counts as the same."""
    if array.dtype == np.float32:
        array = np.where(np.isnan(array), np.float32(np.nan), array)
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
