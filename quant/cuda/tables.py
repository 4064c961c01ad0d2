"""Constant tables as tensors on the device, made once per device.

The grids of the IQ formats and the points near them are those of the CPU kernels (cpu/iq_grid.py, which is numpy alone).
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from ..cpu.iq_grid import decoded
from ..reference import IQ4_VALUES


def _rounded_up() -> np.ndarray:
    """int32 [278]: from so many steps of 2^-24 below 2^k on (k = -149..128), glibc's log2f, rounded, is k already."""
    k = np.arange(-149, 129)
    octave = np.where(k > 0, np.ceil(np.log2(np.maximum(k, 1))) - 1, np.floor(np.log2(np.maximum(-k, 1))))
    return np.floor(2.0**octave / np.log2(np.e)).astype(np.int32)


def _table(name: str) -> np.ndarray:
    if name == "rounded_up":
        return _rounded_up()
    if name == "iq4":
        return IQ4_VALUES
    return decoded(name)


@functools.cache
def on_device(name: str, device: torch.device) -> torch.Tensor:
    """A table by name: "rounded_up" (above), "iq4" (float32 [16]: the values of codes), or that of a format's grid:

    int8 [points * (8 or 4)], the points as decoding multiplies them.
    """
    return torch.from_numpy(_table(name)).to(device)
