"""Stored forms with floats of 4 bits: NVFP4, MXFP4, NF4 and FP4 of bitsandbytes; of 6 bits, MXFP6."""

from __future__ import annotations

import math

from ...errors import InputError
from ...io.json_file import parse_object
from ...ops import Grid
from .tensor import PackedTensor, Parts

FP4 = Grid("E2M1", 4)


def nvfp4(parts: Parts) -> PackedTensor:
    """NVFP4: two codes to a byte, the first in the low half; 16 share a scale of 8 bits, all one more, which multiplies them
    (ModelOpt, torchao) or divides them (compressed-tensors); without it, it is 1."""
    rows, half = _matrix(parts)
    if parts.shape("scales") != (rows, half // 8) or half % 8 or parts.stored["scales"].type not in ("F8_E4M3", "U8"):
        raise parts.unfit("scales", f"F8_E4M3 {[rows, half // 8]}")
    more: list[tuple[str, Grid, tuple[int, ...]]] = []
    for whole in ("factor", "divisor"):
        if whole in parts.stored:
            if math.prod(parts.shape(whole)) != 1:
                raise parts.unfit(whole, "one number")
            more.append((whole, Grid(), (1,)))
    return parts.made("NVFP4", (rows, 2 * half), (1, 16), ("codes", FP4), ("scales", Grid("F8_E4M3")), *more)


def mxfp4(parts: Parts) -> PackedTensor:
    """MXFP4: the same codes; 32 share a power of two. MXFP6: four codes to three bytes."""
    rows, half = _matrix(parts)
    if parts.shape("scales") == (rows, half // 24) and half % 24 == 0 and parts.stored["scales"].type in ("F8_E8M0", "U8"):
        return parts.made("MXFP6", (rows, half // 3 * 4), (1, 32), ("codes", Grid("E2M3", 6)), ("scales", Grid("F8_E8M0")))
    if parts.shape("scales") != (rows, half // 16) or half % 16 or parts.stored["scales"].type not in ("F8_E8M0", "U8"):
        raise parts.unfit("scales", f"U8 {[rows, half // 16]}")
    return parts.made("MXFP4", (rows, 2 * half), (1, 32), ("codes", FP4), ("scales", Grid("F8_E8M0")))


def mlx(parts: Parts) -> PackedTensor:
    """MLX's modes mxfp4, mxfp8 and nvfp4 (without a scale of all): words of codes, scales of 8 bits."""
    rows, words = _matrix(parts)
    mode = parts.module_settings().get("mode")
    bits, group, exponents = {"mxfp4": (4, 32, "F8_E8M0"), "mxfp8": (8, 32, "F8_E8M0"), "nvfp4": (4, 16, "F8_E4M3")}.get(
        str(mode), (0, 1, ""))
    if not bits:
        raise InputError("quantization: a mode that is not known", file="config.json", tensor=parts.name,
                         expected="affine, mxfp4, mxfp8 or nvfp4", found=mode)
    cols = words * 32 // bits
    if parts.shape("scales") != (rows, cols // group) or cols % group:
        raise parts.unfit("scales", [rows, cols // group])
    codes = FP4 if bits == 4 else Grid("F8_E4M3", 8)
    return parts.made(str(mode).upper(), (rows, cols), (1, group), ("codes", codes), ("scales", Grid(exponents)))


def bitsandbytes(parts: Parts) -> PackedTensor:
    """NF4 and FP4: two codes to a byte, the first in the high half; blocks run over the rows' ends."""
    state = parse_object(parts.values("state"), parts.stored["state"].file)
    shape, block = state.get("shape"), state.get("blocksize")
    if (not isinstance(shape, list) or not 2 <= len(shape) <= 3 or not all(type(n) is int and 0 < n < 1 << 40 for n in shape)
            or type(block) is not int or not 0 < block <= 1 << 16):
        raise parts.unfit("state", "shape and blocksize of a matrix")
    count = math.prod(shape)
    width = math.gcd(count, block)
    blocks = -(-count // block)
    if width % 2 or parts.codes.nbytes * 2 != count or math.prod(parts.stored["scales"].shape) != blocks:
        raise parts.unfit("codes", f"{count} codes in {blocks} blocks")
    rows, cols = math.prod(shape[:-1]), shape[-1]
    more = [("values", Grid(), (16,))]
    nested = 0
    if "scale_values" in parts.stored:
        nested = state.get("nested_blocksize", 256)
        offset = state.get("nested_offset")
        if type(nested) is not int or nested <= 0 or not isinstance(offset, float):
            raise parts.unfit("state", "nested_blocksize and nested_offset")
        more += [("scale_values", Grid(), (256,)), ("scale_scales", Grid(), (-(-blocks // nested),))]
        scales = Grid("U")
    else:
        scales, offset = Grid(), 0.0
    form = f"bitsandbytes {str(state.get('quant_type', ''))[:3].upper()}"
    kind = {"float16": "F16"}.get(str(state.get("dtype")), "BF16")
    codes = ("codes", Grid("E2M1", 4, order=(1, 0)), (count // width, width // 2))
    return parts.bytes_of("codes").made(
        form, (rows, cols), (block // width, width), codes, ("scales", scales, (blocks, 1)), *more, width=width, nested=nested,
        offset=offset, kind=kind, flat=shape[0] if len(shape) == 3 else None)


def _matrix(parts: Parts) -> tuple[int, int]:
    shape = parts.shape("codes")
    if len(shape) != 2:
        raise parts.unfit("codes", "a matrix, or a stack of matrices")
    return shape[0], shape[1]
