"""Writes tests/golden/quant_*.json: digests of the cases of tests/quant and of what ggml makes of them.

Usage: GGUFX_LIBGGML=/path/to/libggml-base.so python scripts/golden/quant.py
The library must be built for x86-64 without FMA, as by default: elsewhere its bytes differ.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    cases, ggml = (_load(ROOT / "tests" / "quant" / name) for name in ("cases.py", "ggml.py"))
    from ggufx.quant import KERNELS

    path = os.environ.get("GGUFX_LIBGGML")
    if not path:
        sys.exit("GGUFX_LIBGGML must name libggml-base.so")
    library = ggml.Ggml(path)
    made = {"ggml": library.version, "rows": cases.ROWS, "cols": cases.COLS}
    digests = {
        "quant_blocks": {
            name: {case: cases.digest(library.quantize(x, name, w)) for case, x, w in cases.cases(name)}
            for name in cases.QUANTIZED
        },
        "quant_values": {
            name: cases.digest(library.dequantize(cases.blocks(name), name)) for name in KERNELS if name != "F32"
        },
        "quant_data": {name: cases.digest(x) for name, x in cases.data().items()},
    }
    for name, found in digests.items():
        text = json.dumps({"made from": made, "digests": found}, indent=1)
        (ROOT / "tests" / "golden" / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
