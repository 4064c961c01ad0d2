"""The models that whole-file quantization is judged on, and their importance matrices."""

import math
import struct
from pathlib import Path

import numpy as np
from ggufx.converters.io.gguf import read_gguf

from .fill import even

GOLDEN = Path(__file__).parents[1] / "golden" / "quantize_files.json"
MODELS = ("llama-256", "qwen3moe", "gemma2")  # rows of whole blocks; experts, and rows that fall back; tied, GELU


def importance(gguf: Path) -> dict[str, np.ndarray]:
    """Made-up importance weights float32 [experts, cols] for each matrix in a block of the model."""
    found = {}
    for name, tensor in read_gguf(gguf).tensors.items():
        if name.startswith("blk.") and len(tensor.shape) > 1 and not name.endswith("_inp.weight"):
            experts = math.prod(tensor.shape[:-2])
            found[name] = even(name, (experts, tensor.shape[-1]), 0.01, 2.0).astype(np.float32)
    return found


def write_legacy(path: Path, matrix: dict[str, np.ndarray], dataset: str = "") -> None:
    """The matrix as a legacy .dat file: each entry seen once, in one chunk of `dataset`."""
    parts = [struct.pack("<i", len(matrix))]
    for name, values in matrix.items():
        raw = name.encode()
        parts += [struct.pack("<i", len(raw)), raw, struct.pack("<ii", 1, values.size), values.tobytes()]
    parts += [struct.pack("<ii", 1, len(dataset.encode())), dataset.encode()] if dataset else []
    path.write_bytes(b"".join(parts))
