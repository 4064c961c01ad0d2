"""The CUDA kernels without a GPU: compiled for one, looked through, and run on numpy. Part of scripts/gpu_check.

What Triton compiles is PTX, the assembly of NVIDIA's driver. It is searched for instructions that would change bytes, and
assembled, which tells whether numbers spill out of registers; tests/quant/ptx.py executes it as the hardware would, so that
what Triton made of a kernel is held to ggml's bytes as well, not only the kernel's text in Triton's interpreter.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource

TYPES = {"float32": "*fp32", "uint8": "*u8", "int8": "*i8", "int16": "*i16", "int32": "*i32"}
# Fused or approximate float32 arithmetic, subnormals flushed to zero, anything in double precision
SUSPECT = re.compile(
    r"\b((?:fma|mad)\.[\w.]*f32\w*|div\.full[\w.]*|[\w.]*\.approx[\w.]*|[\w.]*\.ftz[\w.]*|[\w.]*\.f64)\b"
)


class Compiler:
    """Takes the place of launching: compiles each kernel once, and hands it to `then` with the launch's arguments."""

    def __init__(self, capability: int, then: Callable[..., None] | None = None) -> None:
        self.target = GPUTarget("cuda", capability, 32)
        self.then = then
        self.built: dict[str, Any] = {}
        self.rows: list[dict[str, Any]] = []

    def launch(self, function: Any, count: int, most: int, arguments: tuple, constants: dict[str, Any], warps: int) -> None:
        """In place of quant.cuda.launch._launch."""
        values = dict(zip(function.arg_names, arguments, strict=False)) | constants | {"count": count, "ROWS": most}
        signature, fixed, attributes, passed = {}, {}, {}, []
        for place, parameter in enumerate(function.params):
            name, value = parameter.name, values[parameter.name]
            special = isinstance(value, int) and not (parameter.is_constexpr or parameter.do_not_specialize)
            if parameter.is_constexpr or value is None or (special and value == 1):
                signature[name], fixed[name] = "constexpr", value
                continue
            if isinstance(value, torch.Tensor):
                signature[name] = TYPES[str(value.dtype).removeprefix("torch.")]
                assert value.data_ptr() % 16 == 0
            else:
                signature[name] = "fp32" if isinstance(value, float) else "i32"
            if isinstance(value, torch.Tensor) or (special and value % 16 == 0):
                attributes[(place,)] = [["tt.divisibility", 16]]
            passed.append(value)
        label = {name: getattr(value, "__name__", value) for name, value in fixed.items()}
        even = "" if len(attributes) == sum(isinstance(v, torch.Tensor) for v in passed) else " even"
        key = f"{function.__module__.rpartition('.')[2]}.{function.__name__} {label}{even}"
        if key not in self.built:
            start = time.perf_counter()
            source = ASTSource(function, signature, constexprs=fixed, attrs=attributes)
            options = {"num_warps": warps, "enable_fp_fusion": False}
            self.built[key] = triton.compile(source, target=self.target, options=options)
            self._tell(key, self.built[key].asm["ptx"], time.perf_counter() - start)
        if self.then is not None:
            self.then(self.built[key], triton.cdiv(count, most), passed)

    def _tell(self, key: str, ptx: str, seconds: float) -> None:
        row = {"kernel": key, "suspect": sorted(set(SUSPECT.findall(ptx))), **self._resources(ptx)}
        self.rows.append(row)
        spilled = f"spills {row['spilled bytes']}" if row["spilled bytes"] else ""
        print(f"{seconds:6.1f} s  {key}  {' '.join(row['suspect'])} {spilled}", flush=True)

    def _resources(self, ptx: str) -> dict[str, int]:
        """Registers per thread, and bytes of those that did not fit and went to memory."""
        with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
            file.write(ptx)
            file.flush()
            target = re.search(r"\.target (\w+)", ptx)[1]
            command = [get_ptxas(self.target.arch).path, "-v", f"--gpu-name={target}", file.name, "-o", "/dev/null"]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", told))
        return {"registers": int(re.search(r"Used (\d+) registers", told)[1]), "spilled bytes": spilled}


def on_numpy(cost: Any = None) -> Callable[..., None]:
    """A `then` that executes the PTX on the tensors' memory, and adds to `cost` (ptx.Cost) what it took."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "quant"))
    from ptx import Kernel, Run

    kernels: dict[str, Kernel] = {}

    def run(built: Any, programs: int, passed: list[Any]) -> None:
        ptx = built.asm["ptx"]
        if ptx not in kernels:
            kernels[ptx] = Kernel(ptx)
        kernel = kernels[ptx]
        arguments = [v.contiguous().view(-1).view(torch.uint8).numpy() if isinstance(v, torch.Tensor) else v for v in passed]
        scratch = [None] * (len(kernel.parameters) - len(arguments))  # pointers of Triton's own, for what these do not use
        Run(kernel, programs, [*arguments, *scratch], built.metadata.shared, cost)()

    return run


def compile_all(formats: list[str], capability: int) -> list[dict[str, Any]]:
    """Compile what the kernels of `formats` launch; a row per compiled kernel."""
    from ggufx.quant import FORMATS
    from ggufx.quant.cuda import launch
    from ggufx.quant.cuda.proof import PLAIN, WEIGHTED, trials
    from ggufx.quant.cuda.stored import decode
    from ggufx.quant.cuda.stored_sample import VARIANTS, matrix
    from ggufx.quant.dispatch import kernel

    compiler = Compiler(capability)
    launch._launch = compiler.launch
    for name in formats:
        if name not in FORMATS:  # what decodes packed checkpoints
            for variant in VARIANTS.values():
                arguments, parts = matrix(variant, 4, 1024, "cpu")
                decode(*arguments, **parts)
            continue
        format = FORMATS[name]
        x, blocks = torch.zeros(4, 1024), torch.zeros(4, FORMATS[name].row_bytes(1024), dtype=torch.uint8)
        if PLAIN in trials(name):
            apart = x.reshape(-1, format.block_size), None, blocks.reshape(-1, format.block_bytes)
            kernel(name, "quantize", "cuda")(*apart)
        if WEIGHTED in trials(name):
            kernel(name, "quantize", "cuda")(x, torch.zeros(1024), blocks)
        kernel(name, "dequantize", "cuda")(blocks, x)
    return compiler.rows


def costs(formats: list[str], compiler: Compiler, numbers: int = 1 << 17) -> list[dict[str, Any]]:
    """What a number costs, on bell-shaped data: instructions, and bytes loaded and stored, in whole sectors.

    That bounds speed: an H200 starts about 33e12 instructions of threads a second. A sector that is loaded again soon comes
    from a cache; one that is stored in parts is sent several times.
    """
    from ggufx.quant import FORMATS, dequantize, quantize
    from ggufx.quant.cuda.proof import VALUES, WEIGHTED, trials
    from ggufx.quant.cuda.stored import decode
    from ggufx.quant.cuda.stored_sample import VARIANTS, matrix
    from ptx import Cost

    rng = torch.Generator().manual_seed(0)
    cols = 4096
    x, weights = torch.randn(numbers // cols, cols, generator=rng) * 0.02, torch.rand(cols, generator=rng)
    found: list[dict[str, Any]] = []

    def told(name: str, what: str, call: Callable[[], Any]) -> None:
        compiler.then = on_numpy(cost := Cost())
        call()
        row = {"format": name, "direction": what, "instructions": round(cost.instructions / x.numel(), 1),
               "loaded": round(32 * cost.loaded / x.numel(), 1), "stored": round(32 * cost.stored / x.numel(), 1)}
        found.append(row)
        print(f"{name:8} {what:22}" + "".join(f"  {row[key]:8} {key}" for key in list(row)[2:]), flush=True)

    for name in (name for name in formats if name in FORMATS):
        blocks = torch.zeros(len(x), FORMATS[name].row_bytes(cols), dtype=torch.uint8)
        for trial in trials(name):
            if trial == VALUES:
                told(name, "dequantize", partial(dequantize, blocks, name, "cuda"))
            else:
                w = weights if trial == WEIGHTED else None
                told(name, "quantize with weights" if trial == WEIGHTED else "quantize",
                     partial(quantize, x, name, w, "cuda", out=blocks))
    if any(name not in FORMATS for name in formats):
        for name, variant in VARIANTS.items():
            arguments, parts = matrix(variant, *x.shape, "cpu")
            told(name, "dequantize", partial(decode, *arguments, **parts))
    return found


def emulated(capability: int) -> Compiler:
    """From now on `quantize` and `dequantize` on "cuda" compile the kernels and execute their PTX on numpy."""
    from ggufx.quant.cuda import launch, rows

    compiler = Compiler(capability, on_numpy())
    launch._launch = compiler.launch
    rows.INTERPRETED = True  # tensors stay in this machine's memory
    return compiler
