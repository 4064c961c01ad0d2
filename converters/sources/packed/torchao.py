"""torchao's tensor subclasses, taken apart by its safetensors support: `{module}._weight_{part}`, and in the file's metadata of
each weight, as JSON, which class it is and with what settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...errors import GgufxError, UnsupportedError
from ...io.json_file import parse_object
from . import eight_bits, four_bits
from .tensor import PackedTensor, Parts


def torchao(parts: Parts) -> PackedTensor:
    """Int8Tensor, IntxUnpackedToInt8Tensor, Float8Tensor, MXTensor and NVFP4Tensor, by the types and shapes of their parts."""
    said = _said(parts)
    if said.get("is_swizzled_scales"):
        raise UnsupportedError("torchao's is_swizzled_scales is set: its scales are in the order of one kernel",
                               file=parts.codes.file, tensor=parts.stored["scales"].name)
    scales = parts.stored["scales"].type
    if parts.codes.type == "U8":
        return (four_bits.nvfp4 if scales == "F8_E4M3" else four_bits.mxfp4)(parts)
    if parts.codes.type != "I8":
        made = eight_bits.fp8(parts)
        if scales == "F8_E8M0" and made.op.block != (1, 32):  # another order has another shape, which may fit
            raise parts.unfit("scales", f"a scale for every 32 of {made.op.size[1]} columns")
        return made
    made = eight_bits.whole(parts)
    kind = _named(said.get("target_dtype"))
    used = int(kind[3:]) if kind.startswith("int") and kind[3:] in ("1", "2", "3", "4", "5", "6", "7") else 0
    symmetric = "zeros" in parts.stored and _symmetric(parts)
    op = replace(made.op, used=used, symmetric=symmetric)
    return replace(made, form=f"torchao int{used or 8}", op=parts.ops.setdefault(op, op))


def _said(parts: Parts) -> Mapping[str, Any]:
    """The settings of this weight's subclass; none where the file's metadata has none, or nothing that can be read."""
    text = parts.header(parts.codes.file).get(parts.name)
    try:
        found = parse_object(text.encode(), parts.codes.file).get("_data") if text else None
    except GgufxError:
        return {}  # the tensors tell
    return found if isinstance(found, Mapping) else {}


def _named(value: object) -> str:
    """What torchao writes as {"_type": .., "_data": name}."""
    name = value.get("_data") if isinstance(value, Mapping) else None
    return name if isinstance(name, str) else ""


def _symmetric(parts: Parts) -> bool:
    """Whether zeros are 0: declared, as its kind of mapping, and so in the first row."""
    kinds = [_named(value) or str(value) for value in _mappings(parts.declared.get("quant_type"))]
    row = parts.stored["zeros"].shape[-1] if parts.stored["zeros"].shape else 1
    return kinds != [] and all(kind.startswith("SYMMETRIC") for kind in kinds) and not any(parts.values("zeros", row))


def _mappings(settings: object) -> Iterator[object]:
    """The values of `mapping_type` and `weight_mapping_type`, however deep."""
    for key, value in settings.items() if isinstance(settings, Mapping) else ():
        if key in ("mapping_type", "weight_mapping_type"):
            yield value
        else:
            yield from _mappings(value)
