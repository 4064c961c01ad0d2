"""Check the CUDA kernels on a machine with a GPU: every byte, then their speed beside a copy's. Needs torch, Triton, numpy.

    scripts/gpu_check                      everything; writes benchmarks/results/gpu-<name of the GPU>.json
    scripts/gpu_check --only bytes         a part of it: bytes, speed, bulk (see gpu_bulk.py)
    scripts/gpu_check --formats Q4_K,Q6_K  only these formats; `stored`: what decodes packed checkpoints
    scripts/gpu_check --compile 90         without a GPU: compile all kernels for compute capability 9.0 and look for
                                           instructions that would change bytes; 2 to 4 minutes
    scripts/gpu_check --emulate 90         without a GPU: as that, and every byte of what the compiled kernels make when
                                           their PTX is executed on numpy (see gpu_compile.py)
    scripts/gpu_check --emulate 90 --tiny  as that, with a little data; a minute, once all is compiled
    scripts/gpu_check --emulate 90 --formats stored --merge    renew some formats in the report that is there
    TRITON_INTERPRET=1 scripts/gpu_check --tiny    without a GPU: a little data, interpreted; no speed
    GGUFX_LIBGGML=/path/to/libggml-base.so scripts/gpu_check --record    write the digests anew, with ggml itself

The digests (tests/golden/gpu_digests.json) are those of ggml's own bytes and values, on random and on hostile data. ggufx
need not be installed: it is taken from this checkout. Numba is used where it is there (the speed of the CPU kernels), and
gguf is not needed: its grids are recorded too (tests/golden/iq_grids.json). What decodes packed checkpoints is held to numpy
(quant/cuda/stored_sample.py). Exits with 1 if a byte differs.
"""

from __future__ import annotations

import argparse
import base64
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"
SHAPES = {"full": (67, 2816), "tiny": (1, 512)}  # rows and columns of each set of data
GRIDS = ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_S", "IQ3_XXS", "IQ3_S")
SEED = 7
STORED = "stored"  # in the place of a format: the kernel of quant/cuda/stored.py


def _load(name: str, path: Path, **more: Any) -> Any:
    spec = importlib.util.spec_from_file_location(name, path, **more)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def mount() -> None:
    """Make `ggufx` importable from this checkout, whatever is installed."""
    folder = ROOT / "src" / "ggufx"
    _load("ggufx", folder / "__init__.py", submodule_search_locations=[str(folder), str(ROOT)])


def recorded_grids() -> None:
    """Where the gguf package is absent, put in its place what `quant` takes from it: the grids of the IQ formats."""
    if importlib.util.find_spec("gguf") is not None:
        return
    gguf, quants = types.ModuleType("gguf"), types.ModuleType("gguf.quants")
    for name, stored in json.loads((GOLDEN / "iq_grids.json").read_text()).items():
        codes = np.frombuffer(base64.b85decode(stored["codes"]), "<u2").astype(np.int64)
        levels = codes[:, None] >> stored["bits"] * np.arange(stored["size"]) & (1 << stored["bits"]) - 1
        points = np.array(stored["values"], np.float32)[levels][None, None]
        setattr(quants, name, type(name, (), {"grid": points, "init_grid": staticmethod(lambda: None)}))
    gguf.quants = quants
    sys.modules |= {"gguf": gguf, "gguf.quants": quants}


class Data:
    """The numbers, weights and bytes that digests are made of, of one shape."""

    def __init__(self, shape: str) -> None:
        self.rows, self.cols = SHAPES[shape]
        self.cases = _load("quant_cases", ROOT / "tests" / "quant" / "cases.py")
        self.iq = _load("golden_iq", ROOT / "scripts" / "golden" / "iq.py")
        self.iq.ROWS, self.iq.COLS = self.rows, self.cols
        self.sets = self.cases.data(self.rows, self.cols, SEED)
        self.iq_sets = self.iq.samples()

    def matrices(self, format: str) -> tuple[list[str], np.ndarray]:
        """Names of data sets, and these one below the other: a kernel gets all of them at once."""
        sets = self.iq_sets if format in self.iq.NAMES else self.sets
        return list(sets), np.concatenate(list(sets.values()))

    def weights(self, format: str) -> Iterator[tuple[str, np.ndarray | None]]:
        """None where that will do; random ones, some of them zero, where the format has a use for them."""
        from ggufx.quant.cuda.proof import PLAIN, WEIGHTED, trials

        if PLAIN in trials(format):
            yield PLAIN, None
        if WEIGHTED in trials(format):
            yield WEIGHTED, self.cases.weights(self.cols, SEED)["holes"]

    def blocks(self, format: str) -> np.ndarray:
        return self.cases.blocks(format, 16 * self.rows, self.cols, SEED)

    def digests(self, format: str, quantize: Callable[..., np.ndarray], dequantize: Callable[..., np.ndarray]) -> dict:
        """Of a format's blocks per kind of weights and set of data, and of the values of arbitrary bytes."""
        names, x = self.matrices(format)
        found = {}
        for kind, weights in self.weights(format):
            parts = np.split(quantize(x, format, weights), len(names))
            found |= {f"{kind}, {name}": self.cases.digest(part) for name, part in zip(names, parts, strict=True)}
        return found | {"values": self.cases.digest(dequantize(self.blocks(format), format))}

    def own_digests(self) -> dict[str, str]:
        """Of the numbers themselves: where they differ, nothing else can be equal."""
        sets = self.sets | {f"iq {name}": x for name, x in self.iq_sets.items()}
        return {name: self.cases.digest(x) for name, x in sets.items()}


def on_cuda() -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    from ggufx.quant import dequantize, quantize

    return (
        lambda x, format, weights: quantize(x, format, weights, "cuda"),
        lambda blocks, format: dequantize(blocks, format, "cuda"),
    )


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    return [name for name in expected if found.get(name) != expected[name]]


def record() -> None:
    """Write the digests and the grids."""
    if not os.environ.get("GGUFX_LIBGGML"):
        sys.exit("GGUFX_LIBGGML must name libggml-base.so")
    ggml = _load("quant_ggml", ROOT / "tests" / "quant" / "ggml.py").Ggml(os.environ["GGUFX_LIBGGML"])
    digests: dict[str, Any] = {"made from": {"ggml": ggml.version, "shapes": SHAPES}}
    for shape in SHAPES:
        data = Data(shape)
        digests[shape] = {name: data.digests(name, ggml.quantize, ggml.dequantize) for name in kernels() if name != "F32"}
        digests[shape]["data"] = data.own_digests()
    (GOLDEN / "gpu_digests.json").write_text(json.dumps(digests, indent=1) + "\n")
    from ggufx.quant.cpu.iq_grid import grid, levels, values_of

    grids = {
        name: {
            "values": np.unique(values_of(name)).astype(int).tolist(),
            "size": levels(name).shape[1],
            "bits": 2 if levels(name).shape[1] == 8 else 3,
            "codes": base64.b85encode(grid(name).codes.astype("<u2").tobytes()).decode(),
        }
        for name in GRIDS
    }
    (GOLDEN / "iq_grids.json").write_text(json.dumps(grids, indent=1) + "\n")


def kernels() -> list[str]:
    from ggufx.quant import KERNELS

    return list(KERNELS)


def variants(shape: str) -> dict[str, Any]:
    """By name what the kernel that decodes packed checkpoints is compiled for; some of it where the data is little."""
    from ggufx.quant.cuda.stored_sample import VARIANTS

    return dict(list(VARIANTS.items())[:: 1 if shape == "full" else 7])


# Speed


def _seconds(call: Callable[[], Any], runs: int = 5) -> float:
    """The best of some runs, by the GPU's clock, after one that compiles."""
    import torch

    call()
    best = float("inf")
    for _ in range(runs):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end) / 1000)
    return best


def copy_speed() -> float:
    """GB/s that a copy on the device moves, read and written bytes together."""
    import torch

    source = torch.empty(1 << 28, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / _seconds(lambda: target.copy_(source)) / 1e9


def speeds(format: str, data: Data, copy: float, numbers: int) -> Iterator[dict[str, Any]]:
    """A row per direction and kind of weights. GB/s: of float32; "of copy": of all bytes moved, beside a copy's."""
    import torch
    from ggufx.quant import dequantize, quantize

    cols = 4096
    x = torch.randn(numbers // cols, cols, device="cuda") * 0.02
    few = x[:256].cpu().numpy()
    numba = importlib.util.find_spec("numba") is not None
    for kind, weights in data.weights(format):
        if weights is not None:
            weights = data.cases.weights(cols)["random"]
        on_device = None if weights is None else torch.from_numpy(weights).cuda()
        blocks = quantize(x, format, on_device, "cuda")
        took = _seconds(lambda w=on_device, out=blocks: quantize(x, format, w, "cuda", out=out))
        cpu = _cpu_seconds(lambda w=weights: quantize(few, format, w)) if numba else None
        yield _row(format, "quantize", kind, x.nbytes, blocks.nbytes, took, copy, few.nbytes, cpu)
    values = torch.empty_like(x)
    took = _seconds(lambda: dequantize(blocks, format, "cuda", out=values))
    few_blocks = blocks[:256].cpu().numpy()
    cpu = _cpu_seconds(lambda: dequantize(few_blocks, format)) if numba else None
    yield _row(format, "dequantize", "plain", x.nbytes, blocks.nbytes, took, copy, few.nbytes, cpu)


def stored_speeds(copy: float, numbers: int) -> Iterator[dict[str, Any]]:
    """As `speeds`, of matrices in the forms that packed checkpoints have."""
    from ggufx.quant.cuda.stored import decode
    from ggufx.quant.cuda.stored_sample import VARIANTS, matrix

    for name, variant in VARIANTS.items():
        arguments, parts = matrix(variant, numbers // 4096, 4096, "cuda")
        took = _seconds(lambda arguments=arguments, parts=parts: decode(*arguments, **parts))
        yield _row(name, "dequantize", "plain", 4 * numbers, arguments[1].nbytes, took, copy, 0, None)


def all_speeds(formats: list[str], copy: float, numbers: int) -> list[dict[str, Any]]:
    data, rows = Data("tiny"), []
    print(f"copy: {copy} GB/s moved\n{'':28} {'GB/s':>8} {'of copy':>8} {'CPU GB/s':>9}")
    for name in formats:
        for row in stored_speeds(copy, numbers) if name == STORED else speeds(name, data, copy, numbers):
            rows.append(row)
            what = f"{row['format']:8} {row['direction']} {'weights' if row['weights'] else ''}"
            print(f"{what:28} {row['GB/s']:8.1f} {row['of copy']:8.1%} {row.get('CPU GB/s', '-'):>9}", flush=True)
    return rows


def _row(format, direction, kind, wide, narrow, took, copy, few, cpu) -> dict[str, Any]:
    row = {"format": format, "direction": direction, "weights": kind == "weights", "GB/s": round(wide / took / 1e9, 2)}
    row["of copy"] = round((wide + narrow) / took / 1e9 / copy, 3)
    if cpu is not None:
        row["CPU GB/s"] = round(few / cpu / 1e9, 3)
    return row


def _cpu_seconds(call: Callable[[], Any]) -> float:
    call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# The whole


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import torch
    import triton

    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        commit = done.stdout.strip() or "unknown"
    except OSError:  # no git
        commit = "unknown"
    versions = {"torch": torch.__version__, "triton": triton.__version__, "numpy": np.__version__}
    if importlib.util.find_spec("numba") is not None:
        versions["numba"] = importlib.metadata.version("numba")
    gpu = None
    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        gpu = {"name": found.name, "memory": found.total_memory, "capability": f"{found.major}.{found.minor}"}
    return {"gpu": gpu, "cpus": os.cpu_count(), "versions": versions, "commit": commit}


def check(formats: list[str], shape: str) -> dict[str, list[str]]:
    """Per format what differs from the recorded digests."""
    expected = json.loads((GOLDEN / "gpu_digests.json").read_text())[shape]
    from ggufx.quant.cuda.stored_sample import differences as unequal

    data, wrong = Data(shape), {}
    wrong["data"] = differences(data.own_digests(), expected["data"])
    for name in formats:
        start = time.perf_counter()
        if name == STORED:
            wrong[name] = [what for what, variant in variants(shape).items() if unequal(variant, "cuda:0")]
        elif name in expected:  # not F32
            wrong[name] = differences(data.digests(name, *on_cuda()), expected[name])
        else:
            continue
        took = time.perf_counter() - start
        print(f"{name:8} {'equal' if not wrong[name] else f'DIFFERS: {wrong[name]}'}  ({took:.1f} s)", flush=True)
    return wrong


def merged(old: dict[str, Any], new: dict[str, Any], formats: list[str]) -> dict[str, Any]:
    """The old report with what the new one found of some formats; `renewed` says by which commit and versions."""
    named = {(row["format"], row["direction"]) for row in new["costs"]}
    compiled = {row["kernel"] for row in new["compiled"]}
    return old | {
        "renewed": old.get("renewed", {}) | {name: {"commit": new["commit"], **new["versions"]} for name in formats},
        "different": old["different"] | {name: new["different"][name] for name in formats},
        "compiled": [row for row in old["compiled"] if row["kernel"] not in compiled] + new["compiled"],
        "costs": [row for row in old.get("costs", []) if (row["format"], row["direction"]) not in named] + new["costs"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--formats", help="comma-separated; default: all")
    parser.add_argument("--only", default="bytes,speed,bulk", help="comma-separated parts; default: all")
    parser.add_argument("--work", type=Path, help="folder for the files of the bulk conversion; default: a temporary one")
    parser.add_argument("--layers", type=int, default=28, help="of its model: 28 make 2 B parameters")
    parser.add_argument("--tiny", action="store_true", help="a little data, and no speed")
    parser.add_argument("--compile", type=int, metavar="CAPABILITY", help="compile only, for 80, 90, 100 ...; needs no GPU")
    parser.add_argument("--emulate", type=int, metavar="CAPABILITY", help="as --compile, and run what was compiled on numpy")
    parser.add_argument("--record", action="store_true", help="write the digests with ggml (GGUFX_LIBGGML)")
    parser.add_argument("--numbers", type=int, default=1 << 26, help="how many a kernel gets when its speed is measured")
    parser.add_argument("--merge", action="store_true", help="with --emulate and --formats: into the report that is there")
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/gpu-<name of the GPU>.json")
    options = parser.parse_args()
    mount()
    recorded_grids()
    formats = options.formats.split(",") if options.formats else [*kernels(), STORED]
    if options.record:
        record()
        return 0
    report: dict[str, Any] = machine()
    shape = "tiny" if options.tiny else "full"
    if options.compile:
        from gpu_compile import compile_all

        report["compiled"] = compile_all(formats, options.compile)
        failed = any(row["suspect"] for row in report["compiled"])
    elif options.emulate:
        from gpu_compile import costs, emulated

        compiler = emulated(options.emulate)
        report |= {"emulated": f"sm_{options.emulate}", "different": check(formats, shape), "compiled": compiler.rows}
        failed = any(report["different"].values()) or any(row["suspect"] for row in compiler.rows)
        if not options.tiny:
            report["costs"] = costs(formats, compiler)
    else:
        failed = False
        parts = options.only.split(",")
        if "bytes" in parts:
            report["different"] = check(formats, shape)
            failed |= any(report["different"].values())
        if "speed" in parts and report["gpu"] and not options.tiny:
            report |= {"unit": "GB/s of float32", "copy GB/s": round(copy_speed(), 1)}
            report["speeds"] = all_speeds(formats, report["copy GB/s"], options.numbers)
        if "bulk" in parts:
            from gpu_bulk import bulk

            report["bulk"] = bulk(0 if options.tiny else options.layers, options.work)
            failed |= report["bulk"]["same bytes"] is False or bool(report["bulk"]["notes"])
    output = options.output
    if output is None and options.emulate and (options.merge or not options.formats):
        output = ROOT / "benchmarks" / "results" / f"gpu-emulated-sm{options.emulate}.json"
    if output is None and report["gpu"] and not options.compile:
        name = re.sub(r"[^a-z0-9]+", "-", report["gpu"]["name"].lower()).strip("-")
        output = ROOT / "benchmarks" / "results" / f"gpu-{name}.json"
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        if options.merge:
            report = merged(json.loads(output.read_text()), report, formats)
        output.write_text(json.dumps(report, indent=1) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
