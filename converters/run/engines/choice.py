"""The choice of an engine: what `--device` means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod

from ....quant import SOURCES
from ....quant.cuda.present import driver, gpus
from ...errors import UnsupportedError, UsageError
from ...plan.plan import TensorJob
from ...plan.tiles import native_kind
from . import Engine
from .threads import Threads

NAME = re.compile(r"auto|cpu|cuda(?::(\d{1,4}))?")
WORTH = 1 << 30  # below, threads are done before a GPU's kernels are loaded
NEEDS = ("--device cpu writes the same bytes. A GPU needs NVIDIA's driver, torch with CUDA, and triton "
         "(pip install 'ggufx[cuda]').")
GRIDS = ("IQ1", "IQ2", "IQ3")  # a number costs about eight times a K-quant's (benchmarks/results/quantize.json)


def on_cluster(engine: object) -> bool:
    """Whether an engine is Ray, and none of this machine. UsageError for the name of none, UnsupportedError where Ray is
    absent."""
    if engine == "ray":
        from .ray import library

        library()
    elif isinstance(engine, str) and engine != "threads":
        raise UsageError(f"{engine!r} is not an engine", hint="Choose threads, or ray.")
    return engine == "ray"


def choose(device: str, jobs: Sequence[TensorJob], threads: int | None) -> Engine:
    """The engine for `device`: cpu, cuda (all GPUs), cuda:N, or auto.

    Raises UsageError for what is no device, UnsupportedError with the reason where it is not there.
    """
    gpu_number(device)
    if device == "cpu" or (device == "auto" and (not driver() or effort(jobs) < WORTH)):
        return Threads(threads)
    try:
        chosen = named_gpus("cuda" if device == "auto" else device)
    except UnsupportedError:
        if device == "auto":
            return Threads(threads)
        raise
    from .cuda import CudaThreads

    return CudaThreads(chosen, threads)


def named_gpus(device: str) -> dict[int, str]:
    """Names of the GPUs of "cuda" or "cuda:1", by index. UnsupportedError where they are not there, with the reason."""
    try:
        names = gpus()
    except ValueError as error:
        raise UnsupportedError(f"{device} cannot be used: {error}", hint=NEEDS) from error
    number = gpu_number(device)
    chosen = {i: name for i, name in enumerate(names) if number in (None, str(i))}
    if not chosen:
        raise UnsupportedError(f"there is no {device}", found=", ".join(f"cuda:{i} ({n})" for i, n in enumerate(names)))
    return chosen


def gpu_number(device: str) -> str | None:
    """N of cuda:N. UsageError for what is no device."""
    match = NAME.fullmatch(device)
    if match is None:
        raise UsageError(f"{device!r} is not a device", hint="Choose auto, cpu, cuda, or one GPU such as cuda:0.")
    return match[1]


def effort(jobs: Sequence[TensorJob]) -> int:
    """Numbers to be quantized, over all outputs; those of formats with a grid count eightfold."""
    return sum(prod(r.shape) * (8 if r.type.startswith(GRIDS) else 1)
               for job in jobs for r in job.outputs if r.type not in SOURCES and r.type != native_kind(job))
