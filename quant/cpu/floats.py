"""F32, F16 and BF16. Little is done in plain numpy, sooner than Numba is imported; much by compiled kernels.

F16 rounds to nearest even with subnormals; NaN becomes 0x7e00 with its sign (GGML_FP32_TO_FP16).
BF16 rounds to nearest even without flushing subnormals; NaN keeps its upper half and is made quiet
(ggml_compute_fp32_to_bf16). Decoding is exact; signalling float16 NaNs come out quiet, as the reference's arithmetic
makes them.
"""

from __future__ import annotations

import numpy as np

TILE = 1 << 15  # elements that pass through the steps below together: they stay in the second-level cache
LITTLE = 1 << 15  # elements that numpy has done before Numba is there


def quantize_f32(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    out.reshape(-1)[:] = x.reshape(-1).view(np.uint8)


def dequantize_f32(blocks: np.ndarray, out: np.ndarray) -> None:
    out.reshape(-1).view(np.uint8)[:] = blocks.reshape(-1)


def quantize_f16(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    x, halves = x.reshape(-1), out.reshape(-1).view(np.float16)
    if x.size > LITTLE:
        from .float_kernels import to_f16

        to_f16(x, halves.view(np.uint16))
        return
    with np.errstate(over="ignore", invalid="ignore"):
        for at in range(0, x.size, TILE):
            part, half = x[at : at + TILE], halves[at : at + TILE]
            half[:] = part
            if np.isnan(part.max()):
                nan = np.isnan(part)
                bits = half.view(np.uint16)
                bits[nan] = bits[nan] & 0x8000 | 0x7E00


def dequantize_f16(blocks: np.ndarray, out: np.ndarray) -> None:
    values, halves = out.reshape(-1), blocks.reshape(-1).view(np.float16)
    if values.size > LITTLE:
        from .float_kernels import from_f16

        from_f16(halves.view(np.uint16), values)
        return
    with np.errstate(invalid="ignore"):
        for at in range(0, values.size, TILE):
            part = values[at : at + TILE]
            part[:] = halves[at : at + TILE]
            part *= np.float32(1)  # makes NaN quiet where the conversion did not


def quantize_bf16(x: np.ndarray, weights: None, out: np.ndarray) -> None:
    bits, halves = x.reshape(-1).view(np.uint32), out.reshape(-1).view(np.uint16)
    if bits.size > LITTLE:
        from .float_kernels import to_bf16

        to_bf16(bits.view(np.float32), halves)
        return
    scratch = np.empty(min(TILE, bits.size), np.uint32)
    for at in range(0, bits.size, TILE):
        part, half = bits[at : at + TILE], halves[at : at + TILE]
        odd = scratch[: part.size]
        np.right_shift(part, 16, out=odd)
        np.bitwise_and(odd, 1, out=odd)
        odd += part
        odd += 0x7FFF
        np.right_shift(odd, 16, out=odd)
        np.copyto(half, odd, casting="unsafe")
        values = part.view(np.float32)
        if np.isnan(values.max()):
            nan = np.isnan(values)
            half[nan] = (part[nan] >> 16 | 64).astype(np.uint16)


def dequantize_bf16(blocks: np.ndarray, out: np.ndarray) -> None:
    bits, halves = out.reshape(-1).view(np.uint32), blocks.reshape(-1).view(np.uint16)
    if bits.size > LITTLE:
        from .float_kernels import from_bf16

        from_bf16(halves, bits.view(np.float32))
        return
    for at in range(0, bits.size, TILE):
        np.left_shift(halves[at : at + TILE], 16, out=bits[at : at + TILE], dtype=np.uint32)
