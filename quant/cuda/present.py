"""Whether there are GPUs that the kernels can run on, and if not, why. Torch is imported only where a driver is."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import warnings

from ... import system


@functools.cache
def driver() -> bool:
    """Whether NVIDIA's driver is installed: cheap, for those who only want a GPU if there happens to be one."""
    try:
        ctypes.CDLL(system.CUDA_DRIVER)
    except OSError:
        return False
    return True


def gpus() -> list[str]:
    """The names of the GPUs that torch sees, by index; Triton's interpreter counts as one.

    ValueError says why there are none.
    """
    for package in ("torch", "triton"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"{package} is not installed")
    import torch

    from .launch import INTERPRETED

    if INTERPRETED:
        return ["Triton's interpreter"]
    if torch.version.cuda is None:
        raise ValueError(f"torch {torch.__version__} is built without CUDA")
    with warnings.catch_warnings(record=True) as told:  # what torch says of a driver that does not fit
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        raise ValueError(str(told[0].message).strip() if told else "torch sees no CUDA device")
    return [torch.cuda.get_device_name(i) for i in range(count)]
