"""The type of each GGUF tensor before any quantization recipe: llama.cpp's converter's rule.

Vectors and norms are always F32: the runtime computes with them in F32 only. So are routers, convolutions and position
tables, whose rows say so (`type="F32"`).
Source: llama.cpp `conversion/base.py` (prepare_tensors) and `ggml` operator type support.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ...quant.formats import FLOATS, FORMATS
from ..ops import Shape

OUTTYPES = {"f32": "F32", "f16": "F16", "bf16": "BF16", "q8_0": "Q8_0"}
HELD_BY = {"F64": ("F64",), "F32": ("F32", "F64"), "F16": ("F16", "F32", "F64"), "BF16": ("BF16", "F32", "F64")}
QUANTIZATION_VERSION = 2  # general.quantization_version of current ggml
FILE_TYPE_NUMBERS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "BF16": 32, "TQ2_0": 37,
                     "MXFP4": 38, "NVFP4": 39}


def target_type(name: str, shape: Shape, outtype: str) -> tuple[str, str | None]:
    """The type of a tensor at this outtype, and the type wanted where a row did not fit into blocks (then F16)."""
    if len(shape) <= 1 or name.endswith("_norm.weight") or not name.endswith((".weight", ".lora_a", ".lora_b")):
        return "F32", None
    if shape[-1] % FORMATS[outtype].block_size:
        return "F16", outtype
    return outtype, None


def own_type(types: dict[str, tuple[str, Shape]]) -> str:
    """`auto`: the type of the first matrix of the checkpoint that holds floats; F32 for F64, which no runtime computes with.

    llama.cpp makes F16 of an F32 checkpoint here, which loses precision and overflows beyond 65504; F32 stays F32.
    """
    for kind, shape in types.values():
        if len(shape) >= 2 and kind in FLOATS:
            return "F32" if kind == "F64" else kind
    return "BF16"


def rounded(tensors: Iterable[tuple[str, str]], keep: str) -> list[str]:
    """Notes of (stored type, type to be) where the latter does not hold all values. `keep`: an option that does."""
    found = Counter((was, will) for was, will in tensors if will in FLOATS and will not in HELD_BY.get(was, ("F32",)))
    return [f"{n} {was} {'tensor is' if n == 1 else 'tensors are'} rounded to {will}"
            + (f"; {keep} keeps the values" if was != "F64" else "") for (was, will), n in found.items()]
