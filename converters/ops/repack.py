"""Codes and scales of quantized checkpoints in GGUF's blocks, and out of them, without loss: codes move, scales become float16
or stay bytes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...quant.formats import FORMATS

BLOCK = {"Q4_0": 32, "Q4_1": 32, "Q5_0": 32, "Q5_1": 32, "Q8_0": 32, "TQ2_0": 256, "MXFP4": 32, "NVFP4": 64}
DECODE = "without --keep-quantized it is decoded to floats"
# The code of zero, and how many codes there are.
_MIDDLE = {"Q4_0": (8, 16), "Q5_0": (16, 32), "Q8_0": (128, 256), "TQ2_0": (1, 4), "Q4_1": (0, 16), "Q5_1": (0, 32)}


def blocks(kind: str, numbers: np.ndarray, found: Mapping[str, np.ndarray]) -> np.ndarray:
    """uint8 [rows, row_bytes]: whole numbers int16 [rows, cols] (of MXFP4 and NVFP4 codes) with `scales` (and `biases`), a
    number each per block.

    ValueError where a number or a scale has no place in the blocks.
    """
    rows, cols = numbers.shape
    size = BLOCK[kind]
    if kind in ("MXFP4", "NVFP4"):
        codes = numbers.astype(np.uint8).reshape(rows, -1, size)
        scales = found["scales"].reshape(rows, cols // size, -1)
        if (scales >= (255 if kind == "MXFP4" else 127)).any():
            raise ValueError(f"a scale that is NaN{' or negative' * (kind == 'NVFP4')}")
        parts = [scales, _halves(codes, 16 if kind == "MXFP4" else 8)]
    else:
        zero, count = _MIDDLE[kind]
        shifted = numbers + zero
        if numbers.size and (shifted.min() < 0 or shifted.max() >= count):
            raise ValueError(f"a whole number beyond those of {kind}: {numbers.min()} to {numbers.max()}; {DECODE}")
        codes = shifted.astype(np.uint8).reshape(rows, -1, size)
        d = _float16(found["scales"], rows)
        if kind == "Q8_0":
            parts = [d, codes ^ 128]
        elif kind == "TQ2_0":
            each = codes.reshape(rows, -1, 2, 4, 32)
            parts = [(each << 2 * np.arange(4, dtype=np.uint8)[:, None]).sum(3, dtype=np.uint8).reshape(rows, -1, 64), d]
        else:
            parts = [d, *([_float16(found["biases"], rows)] if kind.endswith("_1") else [])]
            if kind.startswith("Q5"):
                parts.append(np.packbits(codes >> 4, axis=2, bitorder="little"))
            parts.append(_halves(codes & 15, 16))
    return np.concatenate(parts, 2).reshape(rows, -1)


def numbers_of(kind: str, rows: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What `blocks` made uint8 [rows, row_bytes] of: int16 [rows, cols], and float16 [rows, blocks] `scales` (and `biases`); of
    MXFP4 and NVFP4 the codes, and the bytes of their scales."""
    n, size = len(rows), BLOCK[kind]
    if kind in ("MXFP4", "NVFP4"):
        count = size // 32 if kind == "MXFP4" else size // 16
        each = rows.reshape(n, -1, count + size // 2)
        codes = _whole(each[..., count:], 16 if kind == "MXFP4" else 8)
        return codes.reshape(n, -1), {"scales": each[..., :count].reshape(n, -1)}
    zero, _ = _MIDDLE[kind]
    each = rows.reshape(n, -1, FORMATS[kind].block_bytes)
    if kind == "TQ2_0":
        found = {"scales": _halves_at(each, 64)}
        runs = each[..., :64].reshape(n, -1, 2, 1, 32) >> 2 * np.arange(4, dtype=np.uint8)[:, None] & 3
        return runs.reshape(n, -1).astype(np.int16) - zero, found
    found = {"scales": _halves_at(each, 0)}
    if kind == "Q8_0":
        return each[..., 2:].view(np.int8).reshape(n, -1).astype(np.int16), found
    at = 2
    if kind.endswith("_1"):
        found["biases"] = _halves_at(each, 2)
        at = 4
    codes = _whole(each[..., -16:], 16)
    if kind.startswith("Q5"):
        codes = codes | np.unpackbits(each[..., at : at + 4], axis=2, bitorder="little") << 4
    return codes.reshape(n, -1).astype(np.int16) - zero, found


def _halves_at(each: np.ndarray, at: int) -> np.ndarray:
    """float16 [rows, blocks] from byte `at` of each block."""
    return np.ascontiguousarray(each[..., at : at + 2]).view("<f2")[..., 0]


def _whole(bytes_: np.ndarray, half: int) -> np.ndarray:
    """The nibbles that `_halves` put together: of each run of `half` bytes the low ones, then the high ones."""
    runs = bytes_.reshape(*bytes_.shape[:-1], -1, half)
    return np.concatenate([runs & 15, runs >> 4], -1).reshape(*bytes_.shape[:-1], -1)


def _halves(codes: np.ndarray, half: int) -> np.ndarray:
    """Nibbles in bytes: of each run of 2 * `half`, number j with number j + `half`."""
    runs = codes.reshape(*codes.shape[:-1], -1, 2, half)
    return (runs[..., 0, :] | runs[..., 1, :] << 4).reshape(*codes.shape[:-1], -1)


def _float16(values: np.ndarray, rows: int) -> np.ndarray:
    """Float32 as bytes of float16, which must hold them."""
    with np.errstate(over="ignore"):
        halves = values.astype("<f2")
    wrong = halves.astype(np.float32) != values
    if wrong.any() or not np.isfinite(values).all():
        value = values[wrong | ~np.isfinite(values)][0]
        raise ValueError(f"the scale {value:.9g} has no place in float16, which blocks of GGUF have; {DECODE}")
    return np.ascontiguousarray(halves).view(np.uint8).reshape(rows, -1, 2)
