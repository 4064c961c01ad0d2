"""Quantized forms that have no plain decoding here, by what declares them or shows them, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...io.files import printable

_CODEBOOKS = "its weights are sums of vectors from learned codebooks"
_ROTATED = "its weights are rotated, and the rotation is part of the runtime"
_TILES = "its weights are laid out for one GPU kernel"
METHODS = {  # quant_method -> what people call it, why not
    "aqlm": ("AQLM", _CODEBOOKS), "vptq": ("VPTQ", _CODEBOOKS), "quip": ("QuIP#", _CODEBOOKS),
    "qtip": ("QTIP", "its weights are a trellis code, rotated on both sides"),
    "exl2": ("EXL2", "its groups of rows have different bits, in the order of one kernel"),
    "exl3": ("EXL3", "its weights are a trellis code, rotated on both sides"),
    "spqr": ("SpQR", "its outliers are a sparse matrix beside scales of two levels"), "higgs": ("HIGGS", _ROTATED),
    "fp_quant": ("FP-Quant", _ROTATED), "fouroversix": ("Four Over Six", _TILES), "paroquant": ("ParoQuant", _ROTATED),
    "spinquant": ("SpinQuant", _ROTATED), "quarot": ("QuaRot", _ROTATED), "qqq": ("QQQ", _TILES), "eetq": ("EETQ", _TILES),
    "marlin": ("Marlin", _TILES), "bitblas": ("BitBLAS", _TILES), "sinq": ("SINQ", "its scales run along both axes"),
    "quanto": ("quanto", "transformers cannot load its files either"),
    "int4tensor": ("torchao Int4Tensor", _TILES),
}  # fmt: skip
DECODED = frozenset((
    "none", "gptq", "awq", "auto-round", "intel/auto-round", "bitsandbytes", "compressed-tensors", "sparseml", "fp8",
    "fbgemm_fp8", "modelopt",
    "modelopt_fp4", "modelopt_mixed", "petit_nvfp4", "nvfp4", "mxfp4", "mxfp8", "metal", "hqq", "torchao", "quark",
    "bitnet", "gemma", "moe_wna16", "experts_int8", "deepspeedfp",
))  # fmt: skip
ENDINGS = {  # of a tensor's name -> method
    ".codebooks": "aqlm", ".centroids.weight": "vptq", ".Qidxs": "quip", ".q_weight": "exl2", ".trellis": "exl3",
    ".dense_weights": "spqr", ".B_24": "marlin", ".weight._data": "quanto",
    "._weight_scale_and_zero": "int4tensor",
}  # fmt: skip
MLX_LAYOUT = (".embed_q.", ".unembed_out.")
MLX_CHANGED = ("qwen3_next", "qwen3_5")  # model types whose norms mlx-lm stores with one added, or not, as its version has it
SETTINGS: Mapping[str, Mapping[str | bool, str]] = {  # setting -> value -> why not; True: any that says something
    "checkpoint_format": {"marlin": _TILES, "bitblas": _TILES, "qqq": _TILES, "exl3": "its weights are a trellis code",
                          "paroquant": _ROTATED},
    "format": {"marlin-24": _TILES}, "module_quant_configs": {True: "patterns of names tell the bits of its weights"},
    "is_marlin_format": {True: _TILES}, "rotation": {True: _ROTATED}, "transform_config": {True: _ROTATED},
    "adapter": {True: "it has a low-rank part beside its codes"},
    "version": {"marlin": _TILES, "exllama": _TILES},
    "is_swizzled_scales": {True: "its scales are in the order of one kernel"},
}  # fmt: skip


AUTOROUND = ("e5m3", "mx_int")  # in the names of data types and packings
QUARK = frozenset(("fp8_e4m3", "fp8_e5m2", "int4", "uint4", "int8", "uint8", "fp4", "float16", "bfloat16", "float32"))


def refused(declared: Mapping[str, Any], names: Collection[str], model_type: object = None) -> tuple[str | None, str] | None:
    """Why the weights are not decoded, and what people call their form where that is not what is declared; None where they
    can be. `model_type`: config.json's."""
    method = str(declared.get("quant_method")).lower()
    found = METHODS.get(method)
    if found is None:
        telling = [name for name in names if name.endswith(tuple(ENDINGS))]
        shown = next((method for ending, method in ENDINGS.items() if any(n.endswith(ending) for n in telling)), None)
        found = METHODS[shown] if shown else None
    if found is not None:
        return found
    words = f"{declared.get('data_type')} {declared.get('packing_format')}"
    if (word := next((word for word in AUTOROUND if word in words), None)) is not None:
        return None, f"{word} is a form of AutoRound's own"
    mlx = any(name.endswith(".biases") for name in names)
    if any(part in name for part in MLX_LAYOUT for name in names) or (mlx and str(model_type).startswith(MLX_CHANGED)):
        return "MLX", "its tensors are stacked, turned or changed as mlx-lm has them, not as the model's own class"
    if method == "quark" and (why := _quark(declared.get("global_quant_config"))):
        return None, why
    for setting, values in SETTINGS.items():
        value = declared.get(setting)
        why = values.get(value.lower() if isinstance(value, str) else True) if value else None
        if why is not None:
            shown = printable(str(value), 60) if isinstance(value, str) else "set"
            return None, f"{setting} is {shown}: {why}"
    return None if method in DECODED else (None, "the method is unknown")


def _quark(settings: object) -> str | None:
    """Why a form of Quark's is not decoded, where that is so."""
    weight = settings.get("weight") if isinstance(settings, Mapping) else None
    if isinstance(weight, list):
        return "its weights are quantized in two stages"
    kind = weight.get("dtype") if isinstance(weight, Mapping) else None
    return f"{printable(kind, 60)} is not decoded" if isinstance(kind, str) and kind.lower() not in QUARK else None
