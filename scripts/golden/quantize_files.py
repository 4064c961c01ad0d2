"""Ask libllama to quantize small models to every file type; keep digests in tests/golden/quantize_files.json.

    GGUFX_LIBGGML=/path/to/libggml-base.so python scripts/golden/quantize_files.py

libllama must stand beside libggml-base. "plain": sha256 of the whole file; "imatrix": sha256 of its tensor data (the
library leaves the imatrix key-values to llama-quantize's own main).
"""

import ctypes
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from ggufx.converters.io.gguf import read_gguf  # noqa: E402
from ggufx.quant.recipes.recipe import FILE_TYPES  # noqa: E402
from recipes import Oracle, _Importance  # noqa: E402
from zoo.build import build  # noqa: E402
from zoo.quantized import GOLDEN, MODELS, importance  # noqa: E402

import ggufx  # noqa: E402


def quantized(oracle: Oracle, source: Path, target: Path, number: int, matrix: dict) -> bool:
    """Whether llama-quantize's function made the file."""
    params = oracle.llama.llama_model_quantize_default_params()
    params.ftype, params.nthread = number, 2
    rows = (_Importance * (len(matrix) + 1))()
    for row, (name, values) in zip(rows, matrix.items(), strict=False):
        row.name, row.size = name.encode(), values.size
        row.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    if matrix:
        params.imatrix = ctypes.addressof(rows)
    return oracle.llama.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) == 0


def main() -> None:
    oracle = Oracle(Path(os.environ["GGUFX_LIBGGML"]))
    found: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as work:
        for model in MODELS:
            source = Path(work) / f"{model}.gguf"
            ggufx.hf_to_gguf(build(model, Path(work) / model), source, plain=True)
            for kind, matrix in (("plain", {}), ("imatrix", importance(source))):
                digests = found.setdefault(model, {}).setdefault(kind, {})
                for name, file_type in FILE_TYPES.items():
                    target = Path(work) / "out.gguf"
                    target.unlink(missing_ok=True)
                    if file_type.number is not None and quantized(oracle, source, target, file_type.number, matrix):
                        data = target.read_bytes()
                        start = read_gguf(target).data_offset if matrix else 0
                        digests[name] = hashlib.sha256(data[start:]).hexdigest()
                    print(model, kind, name, digests.get(name, "refused")[:12], flush=True)
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
