"""A process in which Triton interprets the CUDA kernels: it must be told so before Triton is imported, once for all.

Reads pickled (name, arguments) from its input, calls the function of that name below, and writes pickled results.
"""

from __future__ import annotations

import os
import pickle
import sys

os.environ["TRITON_INTERPRET"] = "1"
results, sys.stdout = sys.stdout.buffer, sys.stderr

import torch  # noqa: E402
from ggufx.quant import dequantize, quantize  # noqa: E402
from ggufx.quant.cuda import launch  # noqa: E402
from triton.runtime import interpreter  # noqa: E402

_patched = set()


def _call(self, *arguments, **keywords):
    """As Triton's own, which looks for what there is to patch at each call of a function: half of all the time."""
    if id(self.fn.__globals__) not in _patched:
        interpreter._patch_lang(self.fn)
        _patched.add(id(self.fn.__globals__))
    return self.rewrite()(*arguments, **keywords)


interpreter.InterpretedFunction.__call__ = _call


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


def main() -> None:
    while True:
        try:
            name, arguments, keywords = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = True, globals()[name](*arguments, **keywords)
        except Exception as error:
            answer = False, error
        pickle.dump(answer, results)
        results.flush()


if __name__ == "__main__":
    main()
