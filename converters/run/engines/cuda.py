"""The CUDA engine: threads that have a stream of a GPU each, so that files, bus and kernels are busy at the same time.

A thread reads a tile into pinned memory, has it copied, converted and copied back on its own stream, and writes it. While
one waits for its file, another's tile is on the bus, in either direction, or computed; no thread waits for another. What
gains nothing from a GPU is done by the same threads as without one: copies, vectors, ops that compute.
The bytes are the same in any case, so whatever fails on a GPU is done again here, and said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import cycle, islice
from math import prod

import numpy as np
import torch
from triton.errors import TritonError

from .... import system
from ....quant import ELEMENT_TYPES, KERNELS, SOURCES, dequantize, quantize
from ....quant.cuda import proof
from ....quant.cuda.launch import INTERPRETED
from ....quant.cuda.stored import Variant
from ...plan.plan import Packed, Region, Source, TensorJob
from ...plan.tiles import RAW, Tile, native_kind
from ..conversion import Conversion, Convert, Work
from ..device import Cpu, Device, Files, read_columns, read_window
from ..journal import Receipt
from .decode_packed import MATRICES, unpack, variants
from .threads import Threads

MAX_TILE = 64 << 20  # a few million numbers: enough lanes for a large GPU
LEAST = 1 << 18  # numbers of a job or tile; fewer are done before a GPU is told of them
HALVES = {kind: getattr(torch, str(ELEMENT_TYPES[kind].torch)) for kind in ("F16", "BF16")}


class Proofs:
    """Which kernels of which GPU made the bytes that they must; each is tried when it is first needed."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._found: dict[tuple[str | Variant, str, int], bool] = {}
        self._lock = threading.Lock()

    def hold(self, format: str | Variant, trial: str, index: int) -> bool:
        """Whether a kernel may be used. Says of one that may not why the CPU's takes its place."""
        key = (format, trial, index)
        with self._lock:  # who comes second needs the same kernel, compiled
            if key not in self._found:
                self._found[key] = self._holds(*key)
            return self._found[key]

    def _holds(self, format: str | Variant, trial: str, index: int) -> bool:
        why = proof.verdict(format, trial, f"cuda:{index}")
        if why is not None:
            self._say(f"{format} was {'decoded' if trial == proof.VALUES else 'quantized'} by the CPU; cuda:{index}: {why}")
        return why is None


class Cuda:
    """A `Device`: one stream of a GPU. Nothing waits but `wait`, and what looks at values."""

    def __init__(self, index: int, proofs: Proofs) -> None:
        self.index, self._proofs = index, proofs
        self._device = torch.device("cpu") if INTERPRETED else torch.device("cuda", index)
        self._stream = None if INTERPRETED else torch.cuda.Stream(self._device)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Within it, what the calling thread asks of torch and Triton happens on this stream."""
        with ExitStack() as stack:
            if self._stream is not None:
                stack.enter_context(torch.cuda.device(self._device))
                stack.enter_context(torch.cuda.stream(self._stream))
            yield

    def _pinned(self, shape: Iterable[int], dtype: torch.dtype) -> torch.Tensor:
        """Memory that the GPU copies from and to by itself; torch keeps it for the next tile."""
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=not INTERPRETED)

    def read(self, files: Files, source: Source) -> torch.Tensor:
        if isinstance(source, Packed) and (made := self._unpacked(files, source)) is not None:
            return made
        if not isinstance(source, Region):  # made here: what is sent is more
            made = Cpu().read(files, source)
            return self._there(made.view(f"i{made.itemsize}") if made.itemsize > 1 else made)
        data = self._pinned((source.nbytes,), torch.uint8)
        files.read(source.file, source.offset, data.numpy())
        x = self.send(data)
        if source.type in RAW:
            return x.view(_whole(ELEMENT_TYPES[source.type].width)).reshape(source.shape or (1,))
        return x.reshape(*source.shape[:-1], -1)

    def columns(self, files: Files, region: Region, start: int, stop: int) -> torch.Tensor:
        data = self._pinned((region.shape[0], stop - start), _whole(ELEMENT_TYPES[region.type].width))
        read_columns(files, region, start, data.numpy())
        return self.send(data)

    def _unpacked(self, files: Files, packed: Packed) -> torch.Tensor | None:
        """What stored arrays make, made on the GPU: the bits. None where the CPU has to."""
        kernels = variants(packed.op, [part.type for part in packed.parts])
        if kernels is None or not all(self._proofs.hold(kernel, proof.VALUES, self.index) for kernel in kernels):
            return None
        if packed.count is not None and not packed.flat:
            stack = torch.empty(packed.shape, dtype=torch.int32, device=self._device)
            for e in range(packed.count):
                made = self._unpacked(files, packed.item(e))
                if made is None:
                    return None
                stack[e] = made
            return stack
        windows = packed.op.windows([part.shape for part in packed.parts])
        parts = {role: read_window(self if role in MATRICES else Cpu(), files, part, window)
                 for (role, _), part, window in zip(packed.op.parts, packed.parts, windows, strict=True)}
        made = unpack(packed.op, parts, self._there)
        return None if made is None else made.view(torch.int32).reshape(packed.shape)

    def _there(self, x: np.ndarray) -> torch.Tensor:
        """A copy on the GPU, through pinned memory."""
        data = self._pinned(x.shape, getattr(torch, x.dtype.name))
        data.numpy()[...] = x
        return self.send(data)

    def send(self, data: torch.Tensor) -> torch.Tensor:
        """A copy of pinned memory on the GPU."""
        return data.to(self._device, non_blocking=True)

    def floats(self, x: torch.Tensor, kind: str) -> torch.Tensor:
        if kind == "F32":
            return x.view(torch.float32)
        rows = x.contiguous().reshape(-1, x.shape[-1])
        if self._proofs.hold(kind, proof.VALUES, self.index):
            values = dequantize(rows.view(torch.uint8), kind, device="cuda")
        else:
            values = torch.from_numpy(Cpu().floats(self._here(rows), kind)).to(self._device)
        return values.reshape(*x.shape[:-1], -1)

    def rows(self, x: torch.Tensor, kind: str) -> torch.Tensor:
        values = x if kind in HALVES else self.floats(x, kind)
        return values.contiguous().reshape(-1, values.shape[-1]).view(HALVES.get(kind, torch.float32))

    def bits(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.view(_whole(rows.element_size()))

    def peak(self, rows: torch.Tensor) -> int:
        bits = self.bits(rows)
        return int((bits & torch.iinfo(bits.dtype).max).amax()) if bits.numel() else 0

    def quantize(self, rows: torch.Tensor, target: str, weights: np.ndarray | None) -> torch.Tensor | np.ndarray:
        weighted = weights is not None and proof.WEIGHTED in proof.trials(target)
        if self._proofs.hold(target, proof.WEIGHTED if weighted else proof.PLAIN, self.index):
            return quantize(rows, target, weights, "cuda")
        bits = self._here(self.bits(rows))
        here = bits.view({torch.float16: np.float16, torch.bfloat16: np.uint16}.get(rows.dtype, np.float32))
        return Cpu().quantize(here, target, weights)

    def fetch(self, x: torch.Tensor | np.ndarray) -> np.ndarray:
        if isinstance(x, np.ndarray):  # the CPU's kernel made it
            return x
        return self._pinned(x.shape, x.dtype).copy_(x, non_blocking=True).numpy()

    def wait(self) -> None:
        if self._stream is not None:
            self._stream.synchronize()

    def _here(self, x: torch.Tensor) -> np.ndarray:
        data = self.fetch(x)
        self.wait()
        return data


class CudaThreads:
    """An `Engine` of threads that share `gpus` (index -> name). `threads`: at least one per GPU [all CPUs]."""

    def __init__(self, gpus: Mapping[int, str], threads: int | None = None) -> None:
        self._threads = Threads(max(threads or system.cpu_count(), len(gpus)))
        self.devices = tuple(f"cuda:{index} ({name})" for index, name in gpus.items())
        self.notes: list[str] = []
        self._proofs = Proofs(self._say)
        self._dealt = cycle(gpus)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._alone = threading.RLock()  # held by the thread that cuts a tile, also while it cuts it once more
        self._lost: set[int] = set()

    def tile_bytes(self, max_memory: int, job: TensorJob) -> int:
        """The size of tiles of a job, as `Work.memory`."""
        if not gains(job):
            return self._threads.tile_bytes(max_memory, job)
        return min(MAX_TILE, max_memory // (2 * self._threads.threads))

    def run(self, conversion: Conversion) -> Generator[Receipt, None, None]:
        work = conversion.work(partial(self.tile_bytes, conversion.max_memory))
        with conversion.open() as convert:
            def converted(item: Work, cpu: Device) -> list[Receipt]:
                return self._converted(item, convert, cpu) if gains(item.job) else [convert(item, cpu)]

            with closing(self._threads.spread(work, converted, conversion.max_memory)) as results:
                for receipts in results:
                    yield from receipts

    def _converted(self, item: Work, convert: Convert, cpu: Device) -> list[Receipt]:
        """A receipt, or one of each piece where the tile had to be cut once more."""
        gpu = self._gpu()
        if gpu is None:
            return [convert(item, cpu)]
        try:
            with gpu.current():
                return [convert(item, gpu)]
        except torch.OutOfMemoryError:
            pass  # what was allocated is freed when the exception is
        except (RuntimeError, TritonError) as error:
            self._lose(gpu.index, error)
            return [convert(item, cpu)]
        return self._with_less(item, convert, cpu)

    def _with_less(self, item: Work, convert: Convert, cpu: Device) -> list[Receipt]:
        """Half a tile after the other; what is little goes to the CPU. One thread at a time asks for memory again."""
        self._say("the GPU's memory was not enough for all tiles: some were cut smaller")
        tile, middle = item.tile, (item.tile.start + item.tile.stop) // 2
        if middle == tile.start or _numbers(tile.of(r) for r in item.job.sources) < 2 * LEAST:
            return [convert(item, cpu)]
        halves = [Work(item.index, item.job, Tile(start, stop, tile.count), item.memory // 2)
                  for start, stop in ((tile.start, middle), (middle, tile.stop))]
        with self._alone:
            if not INTERPRETED:
                torch.cuda.empty_cache()
            return [result for half in halves for result in self._converted(half, convert, cpu)]

    def _gpu(self) -> Cuda | None:
        """The calling thread's, None where all are lost; GPUs are dealt to threads in turn."""
        gpu = getattr(self._own, "gpu", None)
        while gpu is None or gpu.index in self._lost:
            with self._lock:
                left = (i for i in islice(self._dealt, len(self.devices)) if i not in self._lost)
                index = next(left, None)
            if index is None:
                return None
            try:
                gpu = self._own.gpu = Cuda(index, self._proofs)
            except RuntimeError as error:
                self._lose(index, error)
        return gpu

    def _lose(self, index: int, error: Exception) -> None:
        with self._lock:
            self._lost.add(index)
        self._say(f"cuda:{index} failed and was left alone: {proof.first_line(error)}")

    def _say(self, text: str) -> None:
        with self._lock:
            if text not in self.notes:
                self.notes.append(text)


def _whole(width: int) -> torch.dtype:
    """Whole numbers of so many bytes: signed, as torch computes with no others."""
    return getattr(torch, f"int{8 * width}")


def gains(job: TensorJob) -> bool:
    """Whether a GPU helps: something is encoded or decoded, ops only move elements, and it is not little."""
    kind, source = native_kind(job), job.sources[0].type
    known = all(r.type in KERNELS for r in (*job.sources, *job.outputs)) and kind in KERNELS
    computes = any(r.type != kind for r in job.outputs) or (kind != source and source not in SOURCES)
    moves = all(op.moves for op in job.ops)
    return known and computes and moves and _numbers(job.sources) >= LEAST


def _numbers(regions: Iterable[Source]) -> int:
    return sum(prod(r.shape) for r in regions)
