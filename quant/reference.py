"""How each format is decoded, in numpy: slow, short, and the document of the formats that the kernels are tested against.

A block's fields are those of formats.FORMATS, in their order. Every decoder below gets them as uint8 [blocks, bytes] and
returns float32 [blocks, block_size]; the arithmetic is float32 in the order of ggml's dequantize_row_* functions, so all
results but the payload of NaNs are equal bit for bit. Fields of several bytes are little-endian.

The grids of the IQ formats are those of the `gguf` package.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .formats import FORMATS

F32 = np.float32
IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], F32)
FP4_VALUES = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], F32)  # twice those of E2M1
IQ1_DELTA = F32(0.125)


def dequantize(blocks: np.ndarray, format: str) -> np.ndarray:
    """Decode uint8 [rows, row_bytes] to float32 [rows, cols]. Raises ValueError for a format that has no decoder."""
    if format not in DECODERS:
        raise ValueError(f"{format} has no decoder")
    row = FORMATS[format]
    whole = np.ascontiguousarray(blocks).reshape(-1, row.block_bytes)
    ends = np.cumsum([size for _, size in row.fields])[:-1]
    fields = np.split(whole, ends, axis=1) if row.fields else [whole]
    with np.errstate(all="ignore"):
        values = DECODERS[format](*fields)
    return values.astype(F32, copy=False).reshape(len(blocks), -1)


def _half(field: np.ndarray) -> np.ndarray:
    """float16 as float32 [blocks, numbers]."""
    return np.ascontiguousarray(field).view("<f2").astype(F32)


def _words(field: np.ndarray, dtype: str) -> np.ndarray:
    return np.ascontiguousarray(field).view(dtype).astype(np.int64)


def _planes(field: np.ndarray, width: int) -> np.ndarray:
    """[..., bytes] -> int64 [..., 8 // width, bytes]: first the lowest `width` bits of all bytes, then the next ones."""
    shifts = np.arange(0, 8, width)[:, None]
    return field[..., None, :].astype(np.int64) >> shifts & (1 << width) - 1


def _parts(field: np.ndarray, width: int) -> np.ndarray:
    """[..., words] -> int64 [..., words, 8 // width]: the values of each byte beside each other, the lowest first."""
    return field[..., None].astype(np.int64) >> np.arange(0, 8, width) & (1 << width) - 1


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def _spread(per_group: np.ndarray, size: int) -> np.ndarray:
    """One number per group of `size` elements -> one per element."""
    return np.repeat(_flat(per_group), size, axis=1)


def _signs(bits: np.ndarray) -> np.ndarray:
    """Bytes -> [..., 8] of 1 and -1; bit 0 belongs to the first."""
    return 1 - 2 * _parts(bits, 1).astype(F32)


def _even_signs(seven: np.ndarray) -> np.ndarray:
    """Seven sign bits; the eighth makes the number of negative signs even."""
    parity = _parts(seven, 1).sum(-1) & 1
    return _signs(seven | parity << 7)


def grid(format: str) -> np.ndarray:
    """The points of an IQ grid: float32 [points, 4 or 8]."""
    from gguf import quants

    table = getattr(quants, format)
    table.init_grid()
    return np.ascontiguousarray(table.grid[0, 0], F32)


# Blocks of 32, 64 and 128


def _f32(x):
    return np.ascontiguousarray(x).view("<f4")


def _f16(x):
    return _half(x)


def _bf16(x):
    return (_words(x, "<u2") << 16).astype(np.uint32).view(F32)


def _q4_0(d, qs):
    return _half(d) * (_flat(_planes(qs, 4)) - 8).astype(F32)


def _q4_1(d, m, qs):
    return _half(d) * _flat(_planes(qs, 4)).astype(F32) + _half(m)


def _fifth(qh):
    return _flat(_parts(qh, 1)) << 4


def _q5_0(d, qh, qs):
    return _half(d) * ((_flat(_planes(qs, 4)) | _fifth(qh)) - 16).astype(F32)


def _q5_1(d, m, qh, qs):
    return _half(d) * (_flat(_planes(qs, 4)) | _fifth(qh)).astype(F32) + _half(m)


def _q8_0(d, qs):
    return _half(d) * qs.view(np.int8).astype(F32)


def _q1_0(d, qs):
    return np.where(_flat(_parts(qs, 1)) == 1, _half(d), -_half(d))


def _q2_0(d, qs):
    return _half(d) * (_flat(_parts(qs, 2)) - 1).astype(F32)


def _mxfp4(e, qs):
    return np.ldexp(F32(1), e.astype(np.int32) - 128) * FP4_VALUES[_flat(_planes(qs, 4))]


def _nvfp4(d, qs):
    power, fraction = d.astype(np.int32) >> 3 & 15, (d & 7).astype(F32)
    scale = np.where(power == 0, np.ldexp(fraction, -10), np.ldexp(1 + fraction / 8, power - 8))
    scale = np.where(d == 0x7F, F32(0), scale)
    return _spread(scale, 16) * FP4_VALUES[_flat(_planes(qs.reshape(-1, 4, 8), 4))]


# Super-blocks of 256: K-quants


def _crumbs(qs):
    """The 2-bit codes of Q2_K, Q3_K, Q6_K and TQ2_0: 32 bytes to each half, a byte's codes 32 elements apart."""
    return _flat(_planes(qs.reshape(-1, 2, 32), 2))


def _q2_k(scales, qs, d, dmin):
    scale, low = _half(d) * (scales & 15).astype(F32), _half(dmin) * (scales >> 4).astype(F32)
    return _spread(scale, 16) * _crumbs(qs).astype(F32) - _spread(low, 16)


def _q3_k(hmask, qs, scales, d):
    level = _flat(_planes(scales[:, :8], 4)) | _flat(_planes(scales[:, 8:], 2)) << 4
    codes = _crumbs(qs) | _flat(_planes(hmask, 1)) << 2
    return _spread(_half(d) * (level - 32).astype(F32), 16) * (codes - 4).astype(F32)


def _six_bits(scales):
    """Eight scales and eight minimums of 6 bits in 12 bytes."""
    a, b, c = (scales[:, k : k + 4].astype(np.int64) for k in (0, 4, 8))
    return np.hstack([a & 63, c & 15 | a >> 6 << 4]), np.hstack([b & 63, c >> 4 | b >> 6 << 4])


def _q4_k(d, dmin, scales, qs):
    level, low_level = _six_bits(scales)
    scale, low = _half(d) * level.astype(F32), _half(dmin) * low_level.astype(F32)
    return _spread(scale, 32) * _flat(_planes(qs.reshape(-1, 4, 32), 4)).astype(F32) - _spread(low, 32)


def _q5_k(d, dmin, scales, qh, qs):
    level, low_level = _six_bits(scales)
    scale, low = _half(d) * level.astype(F32), _half(dmin) * low_level.astype(F32)
    codes = _flat(_planes(qs.reshape(-1, 4, 32), 4)) | _flat(_planes(qh, 1)) << 4
    return _spread(scale, 32) * codes.astype(F32) - _spread(low, 32)


def _q6_k(ql, qh, scales, d):
    codes = _flat(_planes(ql.reshape(-1, 2, 64), 4)) | _crumbs(qh) << 4
    return _spread(_half(d) * scales.view(np.int8).astype(F32), 16) * (codes - 32).astype(F32)


# Super-blocks of 256: ternary


def _digits(field: np.ndarray, count: int) -> np.ndarray:
    """Base-3 digits of byte / 256, the first one of all bytes, then the next."""
    shifted = field[:, None, :].astype(np.int64) * 3 ** np.arange(count)[:, None] & 0xFF
    return _flat(shifted * 3 >> 8)


def _tq1_0(qs, qh, d):
    digits = np.hstack([_digits(qs[:, :32], 5), _digits(qs[:, 32:], 5), _digits(qh, 4)])
    return _half(d) * (digits - 1).astype(F32)


def _tq2_0(qs, d):
    return _half(d) * (_crumbs(qs) - 1).astype(F32)


# Super-blocks of 256: IQ


def _iq4_nl(d, qs):
    return _half(d) * IQ4_VALUES[_flat(_planes(qs, 4))]


def _iq4_xs(d, scales_h, scales_l, qs):
    level = _flat(_parts(scales_l, 4)) | _flat(_parts(scales_h, 2)) << 4
    return _spread(_half(d) * (level - 32).astype(F32), 32) * IQ4_VALUES[_flat(_planes(qs.reshape(-1, 8, 16), 4))]


def _iq2_xxs(d, qs):
    words = _words(qs, "<u4").reshape(-1, 8, 2)
    points = grid("IQ2_XXS")[qs.reshape(-1, 8, 8)[:, :, :4]]
    signs = _even_signs(words[:, :, 1:] >> np.arange(0, 28, 7) & 127)
    scale = _half(d) * (F32(0.5) + (words[:, :, 1] >> 28).astype(F32)) * F32(0.25)
    return _spread(scale, 32) * _flat(points) * _flat(signs)


def _iq2_xs(d, qs, scales):
    words = _words(qs, "<u2")
    scale = _half(d) * (F32(0.5) + _flat(_parts(scales, 4)).astype(F32)) * F32(0.25)
    return _spread(scale, 16) * _flat(grid("IQ2_XS")[words & 511]) * _flat(_even_signs(words >> 9))


def _iq2_s(d, qs, signs, qh, scales):
    scale = _half(d) * (F32(0.5) + _flat(_parts(scales, 4)).astype(F32)) * F32(0.25)
    return _spread(scale, 16) * _flat(grid("IQ2_S")[qs | _flat(_parts(qh, 2)) << 8]) * _flat(_signs(signs))


def _iq3_xxs(d, qs, signs):
    words = _words(signs, "<u4")
    scale = _half(d) * (F32(0.5) + (words >> 28).astype(F32)) * F32(0.5)
    flips = _even_signs(words[:, :, None] >> np.arange(0, 28, 7) & 127)
    return _spread(scale, 32) * _flat(grid("IQ3_XXS")[qs]) * _flat(flips)


def _iq3_s(d, qs, qh, signs, scales):
    scale = _half(d) * (1 + 2 * _flat(_parts(scales, 4))).astype(F32)
    return _spread(scale, 32) * _flat(grid("IQ3_S")[qs | _flat(_parts(qh, 1)) << 8]) * _flat(_signs(signs))


def _iq1_s(d, qs, qh):
    words = _words(qh, "<u2")
    scale = _half(d) * (2 * (words >> 12 & 7) + 1).astype(F32)
    delta = np.where(words & 0x8000, -IQ1_DELTA, IQ1_DELTA)
    index = qs | _flat(words[:, :, None] >> np.arange(0, 12, 3) & 7) << 8
    return _spread(scale, 32) * (_flat(grid("IQ1_S")[index]) + _spread(delta, 32))


def _iq1_m(qs, qh, scales):
    words = _words(scales, "<u2")  # twelve bits of scales each; above them four bits of the float16
    d = (words >> 12 << np.arange(0, 16, 4)).sum(1).astype(np.uint16).view(np.uint8).reshape(-1, 2)
    scale = _half(d) * (2 * _flat(words[:, :, None] >> np.arange(0, 12, 3) & 7) + 1).astype(F32)
    high = _flat(_parts(qh, 4))
    delta = np.where(high & 8, -IQ1_DELTA, IQ1_DELTA)
    return _spread(scale, 16) * (_flat(grid("IQ1_S")[qs | (high & 7) << 8]) + _spread(delta, 8))


DECODERS: dict[str, Callable[..., np.ndarray]] = {
    "F32": _f32,
    "F16": _f16,
    "BF16": _bf16,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
    "IQ1_S": _iq1_s,
    "IQ1_M": _iq1_m,
    "IQ2_XXS": _iq2_xxs,
    "IQ2_XS": _iq2_xs,
    "IQ2_S": _iq2_s,
    "IQ3_XXS": _iq3_xxs,
    "IQ3_S": _iq3_s,
    "IQ4_NL": _iq4_nl,
    "IQ4_XS": _iq4_xs,
    "TQ1_0": _tq1_0,
    "TQ2_0": _tq2_0,
    "MXFP4": _mxfp4,
    "NVFP4": _nvfp4,
    "Q1_0": _q1_0,
    "Q2_0": _q2_0,
}
