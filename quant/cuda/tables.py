"""Constant tables as tensors on the device, made once per device.

The grids of the IQ formats and the points near them are those of the CPU kernels (cpu/iq_grid.py, which is numpy alone).
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from ..cpu.iq_grid import decoded, grid
from ..reference import IQ4_VALUES


def _rounded_up() -> np.ndarray:
    """int32 [278]: from so many steps of 2^-24 below 2^k on (k = -149..128), glibc's log2f, rounded, is k already."""
    k = np.arange(-149, 129)
    octave = np.frexp(np.maximum(np.where(k > 0, k - 1, -k), 1).astype(np.float32))[1] - 1  # whole, by exact steps
    return np.floor(np.ldexp(1.0, octave) / 1.4426950408889634).astype(np.int32)


@functools.cache
def on_device(name: str, device: torch.device) -> torch.Tensor:
    """A table by name: "rounded_up" (above), "iq4" (float32 [16]: the values of codes), or that of a format's grid:

    int8 [points * (8 or 4)], the points as decoding multiplies them.
    """
    table = _rounded_up() if name == "rounded_up" else IQ4_VALUES if name == "iq4" else decoded(name)
    return torch.from_numpy(table).to(device)


@functools.cache
def grid_on_device(format: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a search for grid points takes: places, entries and near points, as in cpu/iq_grid.Grid."""
    return tuple(torch.from_numpy(part).to(device) for part in grid(format).search)
