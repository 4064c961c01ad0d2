"""What test_cuda_kernels.py does in Triton's interpreter (see ../interpreter.py)."""

from __future__ import annotations

import torch
from ggufx.quant import dequantize, quantize
from ggufx.quant.cuda import launch


def blocks_of(x, format, weights=None, **keywords):
    return quantize(x, format, weights, "cuda", **keywords)


def values_of(blocks, format, **keywords):
    return dequantize(blocks, format, "cuda", **keywords)


def tensors(x, format, dtype):
    """Through tensors of a dtype: what comes back, the kinds of it, and whether `out` was written and returned."""
    x = torch.from_numpy(x).to(getattr(torch, dtype))
    blocks = quantize(x, format, device="cuda")
    values = dequantize(blocks, format, device="cuda:0")
    out, wide = torch.zeros_like(blocks), torch.zeros_like(values)
    returned = quantize(x, format, device="cuda", out=out) is out and dequantize(blocks, format, "cuda", out=wide) is wide
    kinds = [str(found.dtype) for found in (blocks, values)]
    return blocks.numpy(), values.numpy(), kinds, returned and torch.equal(out, blocks) and torch.equal(wide, values)


def small_programs(x, format, weights=None):
    """As on a GPU: many programs, the last of them not full."""
    before = launch.LANES, launch.TILE
    launch.LANES, launch.TILE = 64, 2048
    try:
        blocks = quantize(x, format, weights, "cuda")
        return blocks, dequantize(blocks, format, "cuda")
    finally:
        launch.LANES, launch.TILE = before
