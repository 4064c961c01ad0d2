"""The part of scripts/arm64 that runs on the emulated machine, and on this one to compare: digests on stdout, a line of JSON
for each kernel or model.

    python scripts/arm64_worker.py kernels HOME OUTPUTS FORMATS
    python scripts/arm64_worker.py conversions HOME OUTPUTS MODELS OUTTYPES

Needs ggufx, numpy, numba and tokenizers alone; no torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"


def module(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


CASES = module("cases", ROOT / "tests" / "quant" / "cases.py")
IQ = module("iq", ROOT / "scripts" / "golden" / "iq.py")
Digests = dict[str, str]


def kernel_names() -> list[str]:
    """The formats that have a kernel, and the data that the IQ formats are tried on."""
    from ggufx.quant import KERNELS

    return ["samples", *(format for format in KERNELS if format != "F32")]


def recorded_digests() -> dict[str, Digests]:
    """What the golden files hold, by format."""
    recorded: dict[str, Digests] = {}
    for kind in ("blocks", "values"):
        for format, its in json.loads((GOLDEN / f"quant_{kind}.json").read_text())["digests"].items():
            of_format = recorded.setdefault(format, {})
            of_format |= its if kind == "blocks" else {"decoded": its}
    for name, digest in json.loads(IQ.GOLDEN.read_text()).items():
        format, _, case = name.partition(" / ")
        # Which NaN arbitrary blocks decode to differs between processors: quant_values.json counts all as one.
        if case != "decoded":
            recorded.setdefault("samples" if format == "data" else format, {})[case] = digest
    return recorded


def kernel(format: str) -> tuple[Digests, list[str]]:
    """Digests of all golden cases of a format, both directions; names of those that no conversion makes."""
    from ggufx.quant import dequantize, quantize
    from ggufx.quant.limits import least_unfit

    data = IQ.samples()
    if format == "samples":
        return {name: IQ.digest(x) for name, x in data.items()}, []
    found, refused = {}, []
    if format in CASES.QUANTIZED:
        for name, x, weights in CASES.cases(format):
            if float(abs(x).max()) >= least_unfit(format):
                refused.append(name)  # as too large for the format; what the quantizer makes of it is NaN, which has signs
            else:
                found[name] = CASES.digest(quantize(x, format, weights, threads=1))
    for its, sample, kind in IQ.cases():
        if its == format:
            found[f"{sample} / {kind}"] = IQ.digest(quantize(data[sample], format, IQ.weights(kind), threads=1))
    return found | {"decoded": CASES.digest(dequantize(CASES.blocks(format), format, threads=1))}, refused


def made_of(folder: Path, adapter: Path | None, out: Path, outtypes: list[str]) -> Iterator[Path]:
    """Every file that ggufx makes of a checkpoint, there and back."""
    import ggufx

    name = folder.name
    run = {"threads": 1, "device": "cpu"}
    for outtype in outtypes:
        path = out / f"{name}-{outtype}.gguf"
        ggufx.hf_to_gguf(folder, path, outtype=outtype, **run)
        yield path
    for outtype in ({"auto", "q4_k_m"} & {*outtypes}):
        back = out / f"{name}-{outtype}"
        ggufx.gguf_to_hf(out / f"{name}-{outtype}.gguf", back, **run)
        yield from sorted(p for p in back.rglob("*") if p.is_file())
    if "q4_k_m" in outtypes:
        ggufx.quantize(out / f"{name}-f32.gguf", out / f"{name}-q5_k_m.gguf", "q5_k_m", **run)
        yield out / f"{name}-q5_k_m.gguf"
    if adapter is not None:
        ggufx.lora_to_gguf(adapter, base=folder, outfile=out / f"{name}-adapter.gguf")
        yield out / f"{name}-adapter.gguf"
        ggufx.merge_lora(adapter, out / f"{name}-merged", base=folder)
        yield from sorted(p for p in (out / f"{name}-merged").rglob("*") if p.is_file())


def conversion(name: str, home: Path, out: Path, outtypes: str) -> tuple[Digests, list[str]]:
    """Digests of every file that is made of a model of the zoo."""
    adapter = home / "adapter" if name == "llama-llama3" else None
    made = made_of(home / "models" / name, adapter, out, outtypes.split(","))
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in made}, []


def main() -> None:
    import numba
    import numpy

    part, home, out, names, *more = sys.argv[1:]
    about = {"machine": platform.machine(), "versions": {"python": platform.python_version(), "numpy": numpy.__version__,
                                                         "numba": numba.__version__}}
    for name in names.split(","):
        begun = time.monotonic()
        with contextlib.redirect_stdout(sys.stderr):
            made, refused = kernel(name) if part == "kernels" else conversion(name, Path(home), Path(out), *more)
        line = about | {"name": name, "seconds": round(time.monotonic() - begun), "refused": refused, "digests": made}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
