"""The part of scripts/arm64 that runs on the emulated machine, and on this one to compare: digests as JSON on stdout.

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
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"


def module(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def kernels(formats: set[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Digests of all golden cases, or those of some formats: found, recorded."""
    from ggufx.quant import KERNELS, dequantize, quantize
    from ggufx.quant.limits import least_unfit

    cases = module("cases", ROOT / "tests" / "quant" / "cases.py")
    iq = module("iq", ROOT / "scripts" / "golden" / "iq.py")
    blocks, values = (json.loads((GOLDEN / f"quant_{kind}.json").read_text())["digests"] for kind in ("blocks", "values"))
    expected = {f"{format}, {name}": digest for format, its in blocks.items() for name, digest in its.items()}
    expected |= {f"{format}, decoded": digest for format, digest in values.items()}
    # Which NaN arbitrary blocks decode to differs between processors: quant_values.json counts all as one.
    expected |= {name: digest for name, digest in json.loads(iq.GOLDEN.read_text()).items() if "decoded" not in name}
    found = {}
    for format in KERNELS:
        if formats and format not in formats:
            continue
        if format in cases.QUANTIZED:
            for name, x, weights in cases.cases(format):
                if float(abs(x).max()) >= least_unfit(format):
                    del expected[f"{format}, {name}"]  # no conversion makes these blocks: they are refused, as NaN has signs
                    continue
                found[f"{format}, {name}"] = cases.digest(quantize(x, format, weights, threads=1))
        if format != "F32":
            found[f"{format}, decoded"] = cases.digest(dequantize(cases.blocks(format), format, threads=1))
        print(format, file=sys.stderr, flush=True)
    data = iq.samples()
    found |= {f"data / {name}": iq.digest(x) for name, x in data.items()}
    for name, sample, kind in iq.cases():
        if formats and name not in formats:
            continue
        found[f"{name} / {sample} / {kind}"] = iq.digest(quantize(data[sample], name, iq.weights(kind), threads=1))
    if formats:
        asked = {*formats, "data"}
        expected = {name: digest for name, digest in expected.items() if name.split(",")[0].split(" / ")[0] in asked}
    return found, expected


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


def conversions(home: Path, out: Path, models: str, outtypes: str) -> dict[str, str]:
    found = {}
    for number, folder in enumerate(sorted((home / "models").iterdir())):
        if models and folder.name not in models.split(","):
            continue
        adapter = home / "adapter" if folder.name == "llama-llama3" else None
        for path in made_of(folder, adapter, out, outtypes.split(",")):
            found[str(path.relative_to(out))] = hashlib.sha256(path.read_bytes()).hexdigest()
        print(number, folder.name, len(found), file=sys.stderr, flush=True)
    return found


def main() -> None:
    import numba
    import numpy

    part, home, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    report: dict = {"machine": platform.machine(), "versions": {"python": platform.python_version(), "numpy": numpy.__version__,
                                                                 "numba": numba.__version__}}
    with contextlib.redirect_stdout(sys.stderr):
        if part == "kernels":
            report["digests"], report["expected"] = kernels(set(filter(None, sys.argv[4].split(","))))
        else:
            report["digests"] = conversions(home, out, *sys.argv[4:6])
    print(json.dumps(report))


if __name__ == "__main__":
    main()
