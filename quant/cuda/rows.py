"""Runs a CUDA kernel over the rows of a matrix: checks, tiles, copies where the matrix is not on the device.

Tensors on the device are read and written where they are, on torch's current stream, and nothing waits for the result.
Host arrays (numpy, or torch on the CPU) are copied tile by tile; then the call returns when the result is there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from ..dispatch import SOURCES, cols_of
from ..formats import ELEMENT_TYPES, QuantFormat
from .launch import INTERPRETED

TILE = 1 << 26  # numbers at a time: every offset within a tile fits an int32, scratch space is bounded
TYPES = {getattr(torch, ELEMENT_TYPES[kind].torch): kind for kind in SOURCES}


def quantize(
    kernel: Callable[..., None],
    format: QuantFormat,
    x: Any,
    source: str | None,
    weights: Any,
    index: int | None,
    threads: int | None,
    out: Any,
) -> Any:
    """See dispatch.quantize(). x: torch tensor (also bfloat16) or numpy array; the result is of the same kind and place.

    weights and out may be of either kind; `threads` has no meaning here.
    """
    values = _values(x, source)
    device = _device(index, values)
    _check("x", values, values.dtype, (None, None))
    rows, cols = values.shape
    row_bytes = format.row_bytes(cols)
    if weights is not None:
        weights = _tensor("weights", weights)
        _check("weights", weights, torch.float32, (cols,))
        weights = weights.to(device)
    result, blocks = _output(out, x, values.device, torch.uint8, (rows, row_bytes))
    if weights is None:  # blocks are independent: any cut will do, also within one long row
        values, blocks = values.reshape(-1, format.block_size), blocks.reshape(-1, format.block_bytes)
    _tiles(lambda x, out: kernel(x.to(torch.float32), weights, out), values, blocks, values.shape[1], device)
    return result


def dequantize(
    kernel: Callable[..., None], format: QuantFormat, blocks: Any, index: int | None, threads: int | None, out: Any
) -> Any:
    """See dispatch.dequantize(), and quantize() above for the kinds of arrays."""
    stored = _tensor("blocks", blocks)
    device = _device(index, stored)
    _check("blocks", stored, torch.uint8, (None, None))
    rows, row_bytes = stored.shape
    result, values = _output(out, blocks, stored.device, torch.float32, (rows, cols_of(format, row_bytes)))
    stored, values = stored.reshape(-1, format.block_bytes), values.reshape(-1, format.block_size)
    _tiles(kernel, stored, values, format.block_size, device)
    return result


def _tiles(
    work: Callable[[torch.Tensor, torch.Tensor], None],
    source: torch.Tensor,
    target: torch.Tensor,
    cols: int,
    device: torch.device,
) -> None:
    """Call work(source, target) for tiles of rows on the device; a tile holds TILE numbers or one row."""
    if not source.numel() or not cols:
        return
    step = max(16, TILE // cols // 16 * 16)  # sixteen rows keep the alignment that a kernel was compiled for
    with on(device):
        for start in range(0, len(source), step):
            here, there = source[start : start + step], target[start : start + step]
            near = here.to(device)
            if near.data_ptr() % 16:
                near = near.clone()
            if there.device == device and there.data_ptr() % 16 == 0:
                work(near, there)
            else:
                result = torch.empty(there.shape, dtype=there.dtype, device=device)
                work(near, result)
                there.copy_(result)


def _device(index: int | None, tensor: torch.Tensor) -> torch.device:
    """Where to compute: the tensor's device, or the one that is named."""
    if INTERPRETED:
        return torch.device("cpu")
    if tensor.device.type == "cuda":
        if index not in (None, tensor.device.index):
            raise ValueError(f"the data is on {tensor.device}, not on cuda:{index}")
        return tensor.device
    if not torch.cuda.is_available():
        raise ValueError("there is no CUDA device here")
    if index is None:
        index = torch.cuda.current_device()
    if index >= torch.cuda.device_count():
        raise ValueError(f"there is no cuda:{index}; {torch.cuda.device_count()} CUDA devices are here")
    return torch.device("cuda", index)


def on(device: torch.device) -> AbstractContextManager:
    """Triton launches on torch's current device, whatever device the tensors are on."""
    return nullcontext() if INTERPRETED else torch.cuda.device(device)


def _tensor(name: str, array: Any) -> torch.Tensor:
    """The same memory as a tensor; a copy where torch would warn that it cannot be written."""
    if isinstance(array, torch.Tensor):
        return array
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} must be a torch tensor or a numpy array, not {type(array).__name__}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous")
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _values(x: Any, source: str | None) -> torch.Tensor:
    """x as float32, float16 or bfloat16."""
    if isinstance(x, np.ndarray) and x.dtype.name == "bfloat16":  # a dtype of other packages
        x, source = x.view(np.uint16), source or "BF16"
    try:
        tensor = _tensor("x", x)
    except TypeError:  # a dtype that torch does not have
        tensor = None
    if tensor is not None and tensor.dtype == torch.uint16 and source == "BF16":
        tensor = tensor.view(torch.bfloat16)
    found = None if tensor is None else TYPES.get(tensor.dtype)
    if found is None or source not in (None, found):
        raise ValueError(
            f"x has dtype {x.dtype}{f' and source={source!r}' if source else ''}; "
            'float32, float16, bfloat16, or uint16 with source="BF16" is expected'
        )
    return tensor


def _check(name: str, tensor: torch.Tensor, dtype: torch.dtype, shape: tuple[int | None, ...]) -> None:
    if (
        tensor.dtype == dtype
        and tensor.ndim == len(shape)
        and all(n is None or n == found for n, found in zip(shape, tensor.shape, strict=True))
        and tensor.is_contiguous()
    ):
        return
    sizes = ", ".join("*" if n is None else str(n) for n in shape)
    found = f"{_name(tensor.dtype)} {list(tensor.shape)}{'' if tensor.is_contiguous() else ', not C-contiguous'}"
    raise ValueError(f"{name} must be a C-contiguous {_name(dtype)} array of shape [{sizes}]; it is {found}")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _output(
    out: Any, like: Any, device: torch.device, dtype: torch.dtype, shape: tuple[int, int]
) -> tuple[Any, torch.Tensor]:
    """What is returned, and the tensor to write: `out`, or something new of the kind and in the place of `like`."""
    if out is None:
        tensor = torch.empty(shape, dtype=dtype, device=device)
        return (tensor.numpy() if isinstance(like, np.ndarray) else tensor), tensor
    if isinstance(out, np.ndarray) and not out.flags.writeable:
        raise ValueError("out is read-only")
    tensor = _tensor("out", out)
    _check("out", tensor, dtype, shape)
    return out, tensor
