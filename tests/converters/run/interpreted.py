"""What test_engine_cuda.py does in Triton's interpreter (see ../interpreter.py)."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from ggufx.converters.planners.hf_to_gguf import GgufOptions, GgufPlanner
from ggufx.converters.planners.many_outputs import plan_outputs
from ggufx.converters.run.engines import cuda, decode_packed
from ggufx.converters.run.execute import execute
from ggufx.quant import dispatch
from ggufx.quant.cuda import proof, stored_sample
from ggufx.quant.cuda.stored import Variant
from ggufx.quant.cuda.stored_sample import VARIANTS
from zoo.packed import Files

import ggufx

cuda.LEAST = 1 << 12  # the models are tiny
TILE = 1 << 20


class Small(cuda.CudaThreads):
    """Several tiles of each matrix."""

    def tile_bytes(self, max_memory, job):
        return TILE


def plan(folder: Path, outfile: Path, outtypes: str):
    return plan_outputs(GgufPlanner(folder, outfile, GgufOptions()), outtypes)[0]


def told(result) -> tuple[list[str], tuple[str, ...], tuple[str, ...]]:
    """Digests of the files, devices, notes."""
    return [f.sha256 for f in result.files], result.devices, result.notes


def forward(folder, outfile, outtypes):
    """Also how many tiles the GPU's stream got."""
    with patch.object(cuda.Cuda, "current", autospec=True, side_effect=cuda.Cuda.current) as entered:
        result = told(execute(plan(folder, outfile, outtypes), device="cuda", threads=2, force=True))
    return *result, entered.call_count


def back(file, folder, dtype):
    result = ggufx.gguf_to_hf(file, folder, device="cuda:0", dtype=dtype)
    return told(result)


def failing(folder, outfile, outtypes, *, error=RuntimeError, calls=(), rows=None, gpus=("a",)):
    """With an error at some calls of the quantizer, or wherever it gets more than so many rows.

    Also which GPU each call was for.
    """
    real, seen = cuda.Cuda.quantize, []

    def quantize(self, x, target, weights):
        seen.append(self.index)
        if len(seen) in calls or (rows is not None and len(x) > rows):
            raise error("out of luck\nand more")
        return real(self, x, target, weights)

    engine = Small(dict(enumerate(gpus)), 2)
    with patch.object(cuda.Cuda, "quantize", quantize):
        result = execute(plan(folder, outfile, outtypes), engine=engine, force=True, max_memory=16 << 20)
    return *told(result), seen


def without_streams(folder, outfile, outtypes):
    """No GPU has a stream to give."""
    with patch.object(cuda.Cuda, "__init__", side_effect=RuntimeError("busy or unavailable")):
        return told(execute(plan(folder, outfile, outtypes), engine=Small({0: "a", 1: "b"}, 2), force=True))


def out_of_memory(folder, outfile, outtypes, rows):
    return failing(folder, outfile, outtypes, error=torch.OutOfMemoryError, rows=rows)


def packed(folder, outfile, outtypes, rows=None, error=None):
    """Of a packed checkpoint, with an error wherever the decoder gets more than so many rows. Also how many matrices it made,
    scales and zeros too, and the bytes that were sent to the GPU."""
    real, send, calls, sent = decode_packed.decode, cuda.Cuda.send, [], []

    def decode(places, *arguments, **more):
        if rows is not None and places.rows.shape[1] > rows:
            raise (error or torch.OutOfMemoryError)("out of luck")
        calls.append(places.bits)
        return real(places, *arguments, **more)

    def counted(self, data):
        sent.append(data.nbytes)
        return send(self, data)

    with patch.object(decode_packed, "decode", decode), patch.object(cuda.Cuda, "send", counted):
        result = execute(plan(folder, outfile, outtypes), engine=Small({0: "a"}, 2), force=True, max_memory=16 << 20)
    return *told(result), len(calls), sum(sent)


def packed_unproven(folder, outfile, outtypes, error=None):
    """Where the decoder makes other values than it must, or cannot be compiled."""
    def differences(variant, device):
        if error is not None:
            raise error
        return 1

    with patch.object(stored_sample, "differences", differences):
        return packed(folder, outfile, outtypes)


def unproven(folder, outfile, outtypes, wrong=(), broken=()):
    """Where the proofs of some formats fail, or their kernels cannot be compiled. Also what the GPU quantized."""
    real, done = proof.digest, []

    def digest(format, trial, device):
        if format in broken:
            raise RuntimeError("no such instruction")
        return "0" if format in wrong else real(format, trial, device)

    def quantize(x, format, *arguments):
        done.append(format)
        return dispatch.quantize(x, format, *arguments)

    with ExitStack() as stack:
        stack.enter_context(patch.object(proof, "digest", digest))
        stack.enter_context(patch.object(cuda, "quantize", quantize))
        return *told(execute(plan(folder, outfile, outtypes), engine=Small({0: "a"}, 2), force=True)), set(done)


def error_of(folder, outfile, outtypes):
    try:
        execute(plan(folder, outfile, outtypes), device="cuda", force=True)
    except ggufx.GgufxError as error:
        return type(error).__name__, str(error)


def interrupted(folder, outfile, outtypes):
    """Stopped after some tiles; what is left is for --resume."""

    class Stopping(Small):
        def run(self, conversion):
            for i, receipt in enumerate(super().run(conversion)):
                if i == 8:
                    raise KeyboardInterrupt
                yield receipt

    try:
        execute(plan(folder, outfile, outtypes), engine=Stopping({0: "a"}, 1), resume=True)
    except KeyboardInterrupt:
        return True


def unpacked(sources, paths):
    """What a GPU makes of packed sources: uint32 arrays, the variants of the kernel that it asked for and used, those that no
    check of all kernels knows, and notes."""
    notes, used, asked = [], set(), set()
    gpu = cuda.Cuda(0, cuda.Proofs(notes.append))

    def decode(places, stored, table, divided=False, **more):
        given = {name: more.get(name) is not None for name in ("zeros", "scales", "biases", "columns", "after")}
        used.add(Variant(places.bits, 8 * stored.element_size(), places.step > 0, divided=divided, **given))
        return real(places, stored, table, divided=divided, **more)

    def hold(proofs, variant, *trial):
        asked.add(variant)
        return holds(proofs, variant, *trial)

    real, holds = decode_packed.decode, cuda.Proofs.hold
    with patch.object(decode_packed, "decode", decode), patch.object(cuda.Proofs, "hold", hold):
        made = [gpu.read(Files(paths), source).numpy().view(np.uint32) for source in sources]
    asked = {variant for variant in asked if isinstance(variant, Variant)}
    return made, asked, used, asked - set(VARIANTS.values()), notes


def proven(trials):
    """Of pairs of format and trial, those that fail."""
    return [pair for pair in trials if proof.verdict(*pair, "cuda")]
