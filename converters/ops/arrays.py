"""What ops need of arrays beyond their methods, for numpy's arrays and torch's tensors alike.

An op that moves elements runs where its arrays are: in this machine's memory or on a GPU. Torch is not imported here;
whoever has a tensor has it.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray, or torch.Tensor


def namespace(x: Array) -> Any:
    """The module whose functions take the array: numpy or torch."""
    return np if isinstance(x, np.ndarray) else sys.modules["torch"]


def take(x: Array, index: np.ndarray, axis: int) -> Array:
    """The positions `index` (int64) of an axis."""
    if isinstance(x, np.ndarray):
        return np.take(x, index, axis)
    return x.index_select(axis, namespace(x).as_tensor(index, device=x.device))


def zeros(shape: tuple[int, ...], like: Array) -> Array:
    """A new array of the element type of another, where that one is."""
    return np.zeros(shape, like.dtype) if isinstance(like, np.ndarray) else like.new_zeros(shape)


def contiguous(x: Array) -> Array:
    """The array in C order, copied only where it is not."""
    return np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x.contiguous()
