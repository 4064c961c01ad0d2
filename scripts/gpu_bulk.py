"""A whole conversion on the GPU, and where its time goes: a random bf16 model into six types, in one pass.

Part of scripts/gpu_check. The model is a GGUF file whose query and key matrices are taken as a checkpoint stores them, so
that rows are permuted on the way. The same plan is then carried out by threads alone: the files must be equal.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

TYPES = "q3_k_m,q4_k_m,q5_k_m,q6_k,q8_0,iq4_xs"
HIDDEN, FEED_FORWARD, HEADS, HEADS_KV, VOCAB = 2048, 8192, 16, 4, 32000


def make_model(path: Path, layers: int) -> int:
    """Write a random Llama as GGUF (`layers` 0: one small layer). The number of its parameters."""
    from ggufx.converters.io.gguf import encode_header, layout
    from ggufx.converters.io.values import f32, string, u32

    hidden, wide, vocab = (HIDDEN, FEED_FORWARD, VOCAB) if layers else (256, 512, 1024)
    head = hidden // HEADS
    tensors = [("token_embd.weight", "BF16", (vocab, hidden)), ("output_norm.weight", "F32", (hidden,)),
               ("output.weight", "BF16", (vocab, hidden))]
    for b in range(max(layers, 1)):
        shapes = {"attn_q": (hidden, hidden), "attn_k": (HEADS_KV * head, hidden), "attn_v": (HEADS_KV * head, hidden),
                  "attn_output": (hidden, hidden), "ffn_gate": (wide, hidden), "ffn_up": (wide, hidden),
                  "ffn_down": (hidden, wide)}
        tensors += [(f"blk.{b}.{name}.weight", "BF16", shape) for name, shape in shapes.items()]
        tensors += [(f"blk.{b}.{name}.weight", "F32", (hidden,)) for name in ("attn_norm", "ffn_norm")]
    keys = {"general.architecture": string("llama"), "llama.block_count": u32(max(layers, 1)),
            "llama.embedding_length": u32(hidden), "llama.feed_forward_length": u32(wide),
            "llama.context_length": u32(4096), "llama.attention.head_count": u32(HEADS),
            "llama.attention.head_count_kv": u32(HEADS_KV), "llama.attention.layer_norm_rms_epsilon": f32(1e-5)}
    laid = layout(tensors)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    with open(path, "wb") as file:
        head_bytes = encode_header(keys, laid)
        file.write(head_bytes)
        for tensor in laid:
            values = torch.randn(tensor.shape, device=device) * 0.02
            if tensor.type == "BF16":
                values = values.to(torch.bfloat16).view(torch.int16)
            file.seek(len(head_bytes) + tensor.offset)
            file.write(values.cpu().numpy().tobytes())
        file.truncate(len(head_bytes) + laid[-1].offset + laid[-1].nbytes)
    return sum(int(np.prod(t.shape)) for t in laid)


def plan_of(model: Path, folder: Path) -> Any:
    """All types in one pass, the rows of query and key permuted as for a checkpoint."""
    from ggufx.converters.ops import RopePermute
    from ggufx.converters.planners.many_outputs import plan_outputs
    from ggufx.converters.planners.quantization import Quantization
    from ggufx.converters.planners.quantize import QuantizePlanner

    plan, refused = plan_outputs(QuantizePlanner(model, folder / "{outtype}.gguf", Quantization()), TYPES)
    assert not refused
    return replace(plan, jobs=tuple(
        replace(job, ops=(RopePermute(job.sources[0].shape[1] // HEADS),)) if "attn_q" in job.name or "attn_k" in job.name
        else job for job in plan.jobs))


class Stages:
    """Seconds of each stage, summed over threads: by the clock for what threads do, by events for what a stream does.

    Streams share the GPU, so the sums of theirs can exceed the time that passed.
    """

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self.seconds[stage] += seconds


def timed_classes(stages: Stages) -> tuple[type, type]:
    """`Cuda` and `OpenFiles` that tell how long everything takes."""
    from ggufx.converters.run.engines import cuda
    from ggufx.converters.run.open_files import OpenFiles

    class TimedFiles(OpenFiles):
        def read(self, *arguments):
            with stages.clock("read"):
                super().read(*arguments)

        def write(self, *arguments):
            with stages.clock("write"):
                super().write(*arguments)

    class TimedCuda(cuda.Cuda):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self._events: list[tuple[str, Any, Any]] = []

        def _measured(self, stage, call, *arguments):
            if not torch.cuda.is_available():  # interpreted
                with stages.clock(stage):
                    return call(*arguments)
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            result = call(*arguments)
            end.record()
            self._events.append((stage, start, end))
            return result

        def send(self, data):
            return self._measured("copy in", super().send, data)

        def quantize(self, *arguments):
            return self._measured("compute", super().quantize, *arguments)

        def fetch(self, x):
            return self._measured("copy out", super().fetch, x)

        def wait(self):
            with stages.clock("wait"):
                super().wait()
            for stage, start, end in self._events:
                stages.add(stage, start.elapsed_time(end) / 1000)
            self._events.clear()

    return TimedCuda, TimedFiles


def on_gpu(plan: Any, threads: int | None) -> tuple[Any, dict[str, float]]:
    """The result, and seconds by stage."""
    from ggufx.converters.run import conversion
    from ggufx.converters.run.engines import cuda
    from ggufx.converters.run.execute import execute

    stages = Stages()
    timed_cuda, timed_files = timed_classes(stages)
    with patch.object(cuda, "Cuda", timed_cuda), patch.object(conversion, "OpenFiles", timed_files):
        result = execute(plan, device="cuda", threads=threads, force=True)
    return result, {stage: round(seconds, 3) for stage, seconds in stages.seconds.items()}


def bulk(layers: int, work: Path | None, threads: int | None = None) -> dict[str, Any]:
    """Convert twice on the GPU (the first run compiles and fills caches) and once by threads; a row for the report."""
    from ggufx.converters.run.execute import execute
    from ggufx.quant.cpu import warmup

    if not layers:
        from ggufx.converters.run.engines import cuda

        cuda.LEAST = 1 << 12
    with tempfile.TemporaryDirectory(prefix="ggufx-bulk-", dir=work) as name:
        folder = Path(name)
        parameters = make_model(folder / "model.gguf", layers)
        plan = plan_of(folder / "model.gguf", folder)
        first, _ = on_gpu(plan, threads)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        result, stages = on_gpu(plan, threads)
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
        unchecked = execute(plan, device="cuda", threads=threads, force=True, checksums=False)
        row = {"parameters": parameters, "types": TYPES, "source bytes": (folder / "model.gguf").stat().st_size,
               "written bytes": sum(f.size for f in result.files), "devices": result.devices, "notes": result.notes,
               "first run s": round(first.seconds, 2), "seconds": round(result.seconds, 2),
               "without SHA-256 s": round(unchecked.seconds, 2), "stages, thread seconds": stages,
               "peak GPU memory": peak}
        print(json.dumps(row), flush=True)
        try:
            warmup({r.type for job in plan.jobs for r in job.outputs})
            alone = execute(plan, device="cpu", threads=threads, force=True)
        except ModuleNotFoundError as error:
            print(f"not compared with the CPU: {error}", flush=True)
            return {**row, "same bytes": None}
        same = [f.sha256 for f in alone.files] == [f.sha256 for f in result.files]
        row |= {"CPU s": round(alone.seconds, 2), "times faster than the CPU": round(alone.seconds / result.seconds, 2),
                "same bytes": same}
        print(f"bulk: {row['seconds']} s on {', '.join(result.devices)}, {row['CPU s']} s by threads, "
              f"{'equal' if same else 'DIFFERENT'} bytes", flush=True)
        return row
