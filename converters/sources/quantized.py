"""Whether a checkpoint is quantized, and by which method: what config.json declares, and what the tensors show.

The tensors are the truth: a declaration over plain weights is a leftover of somebody who dequantized them.
Source: transformers 5 `quantizers/auto.py` (the names), the libraries' own files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import GgufxError
from ..io.files import printable
from ..io.json_file import read_json
from ..io.tensors import StoredTensor

# quant_method -> what people call it; what is not here is called as it calls itself
METHODS = {
    "gptq": "GPTQ", "awq": "AWQ", "fp8": "FP8", "fbgemm_fp8": "FP8 (FBGEMM)", "mxfp4": "MXFP4", "mxfp8": "MXFP8",
    "nvfp4": "NVFP4", "aqlm": "AQLM", "vptq": "VPTQ", "hqq": "HQQ", "eetq": "EETQ", "spqr": "SpQR", "higgs": "HIGGS",
    "exl2": "EXL2", "exl3": "EXL3", "modelopt": "ModelOpt", "quark": "Quark", "bitnet": "BitNet", "auto-round": "AutoRound",
    "intel/auto-round": "AutoRound",
}  # fmt: skip
KEYS = ("quantization_config", "compression_config", "quantization")
FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json", "quantization_config.json")
# A name's ending that only this method's tensors have; the first that any tensor has counts.
ENDINGS = (
    (".quant_state.bitsandbytes__nf4", "bitsandbytes, NF4"), (".quant_state.bitsandbytes__fp4", "bitsandbytes, FP4"),
    (".weight.absmax", "bitsandbytes, 4 bits"), (".SCB", "bitsandbytes, 8 bits"), (".weight_packed", "compressed-tensors"),
    (".bitmask", "compressed-tensors"),
    (".g_idx", "GPTQ"), (".qweight", "GPTQ or AWQ"), (".weight_scale_2", "NVFP4 (ModelOpt)"), (".weight_scale_inv", "FP8"),
    (".qscale_weight", "FP8 (Mistral)"), (".W_q", "HQQ"), (".codebooks", "AQLM"), (".Qidxs", "QuIP#"), (".q_weight", "EXL2"),
    (".trellis", "EXL3"), (".dense_weights", "SpQR"), ("._weight_qdata", "torchao"), (".weight._data", "quanto"),
    (".weight_scale", "scales per tensor or channel"), (".biases", "MLX"),
)  # fmt: skip
PLAIN = ("F64", "F32", "F16", "BF16", "I64", "BOOL")  # weights, and the buffers of older checkpoints


def declared(config: Mapping[str, Any], folder: Path) -> str | None:
    """The method that config.json, or a file beside it, declares."""
    inner = config.get("text_config")
    holders = [config, inner if isinstance(inner, Mapping) else {}]
    for name in FILES:
        try:
            holders.append({KEYS[0]: read_json(folder / name)})
        except GgufxError:
            continue  # not there, or not to be read: the tensors tell
    for holder in holders:
        for key in KEYS:
            if isinstance(settings := holder.get(key), Mapping):
                return _named(settings, key)
    return None


def method_of(config: Mapping[str, Any], tensors: Mapping[str, StoredTensor], folder: Path) -> str | None:
    """The method by which the tensors are quantized; None for plain ones, whatever is declared."""
    if all(t.type in PLAIN for t in tensors.values()):
        return None
    telling = [name for name in tensors if name.endswith(tuple(ending for ending, _ in ENDINGS))]
    shown = next((method for ending, method in ENDINGS if any(name.endswith(ending) for name in telling)), None)
    eight = "FP8" if any(t.type.startswith("F8") for t in tensors.values()) else None
    return declared(config, folder) or shown or eight


def without_quantization(config: Mapping[str, Any]) -> dict[str, Any]:
    """config.json for weights that are floats."""
    inner = {k: without_quantization(v) for k, v in config.items() if k == "text_config" and isinstance(v, Mapping)}
    return {k: v for k, v in {**config, **inner}.items() if k not in KEYS}


def _named(settings: Mapping[str, Any], key: str) -> str:
    inner = nested if isinstance(nested := settings.get("quantization"), Mapping) else settings
    method = settings.get("quant_method") or inner.get("quant_algo") or ("MLX" if key == "quantization" else None)
    if method is None and any(settings.get(f"load_in_{bits}bit") for bits in (4, 8)):
        method = "bitsandbytes"
    method = METHODS.get(str(method), str(method or settings.get("version") or "an unnamed method"))
    bits = next((b for b in (settings.get("bits"), settings.get("w_bit"), 4 if settings.get("load_in_4bit") else None,
                             8 if settings.get("load_in_8bit") else None) if isinstance(b, int)), None)
    return printable(f"{method}, {bits} bits" if bits else method)
