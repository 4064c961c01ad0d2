"""F32, F16 and BF16. F16 rounds to nearest even with subnormals; NaN becomes 0x7e00 with its sign. BF16 likewise, but NaN
keeps its upper half and is made quiet. Decoding is exact but for which NaN a NaN becomes.

Here `count` is specialized (Triton compiles once more where 16 divides it): then the masks allow loads of several numbers.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .launch import launch_tiles


@triton.jit
def _to_f16(x, out, count, ROWS: tl.constexpr):
    at = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    v = tl.load(x + at, mask=at < count)
    sign = v.to(tl.int32, bitcast=True) >> 16 & 0x8000
    half = tl.where(v == v, v.to(tl.float16).to(tl.int16, bitcast=True).to(tl.int32), sign | 0x7E00)
    tl.store(out + at, half.to(tl.int16), mask=at < count)


@triton.jit
def _to_bf16(x, out, count, ROWS: tl.constexpr):
    at = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    v = tl.load(x + at, mask=at < count)
    bits = v.to(tl.int32, bitcast=True)
    rounded = bits + 0x7FFF + (bits >> 16 & 1)
    tl.store(out + at, tl.where(v == v, rounded >> 16, bits >> 16 | 64).to(tl.int16), mask=at < count)


@triton.jit
def _from_f16(halves, out, count, ROWS: tl.constexpr):
    at = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    half = tl.load(halves + at, mask=at < count).to(tl.float16, bitcast=True)
    tl.store(out + at, half.to(tl.float32), mask=at < count)


@triton.jit
def _from_bf16(halves, out, count, ROWS: tl.constexpr):
    at = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    bits = tl.load(halves + at, mask=at < count).to(tl.int32) << 16
    tl.store(out + at, bits.to(tl.float32, bitcast=True), mask=at < count)


def quantize_f32(x: torch.Tensor, weights: None, out: torch.Tensor) -> None:
    out.view(torch.float32).copy_(x)


def dequantize_f32(blocks: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(blocks.view(torch.float32))


def quantize_f16(x: torch.Tensor, weights: None, out: torch.Tensor) -> None:
    launch_tiles(_to_f16, x.numel(), 1, x, out.view(torch.int16))


def dequantize_f16(blocks: torch.Tensor, out: torch.Tensor) -> None:
    launch_tiles(_from_f16, out.numel(), 1, blocks.view(torch.int16), out)


def quantize_bf16(x: torch.Tensor, weights: None, out: torch.Tensor) -> None:
    launch_tiles(_to_bf16, x.numel(), 1, x, out.view(torch.int16))


def dequantize_bf16(blocks: torch.Tensor, out: torch.Tensor) -> None:
    launch_tiles(_from_bf16, out.numel(), 1, blocks.view(torch.int16), out)
