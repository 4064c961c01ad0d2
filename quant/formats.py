"""Every type of a tensor: ELEMENT_TYPES, numbers one by one as safetensors, torch and GGUF store them, and FORMATS, GGUF's
types, which are those of them that have an id, and blocks.

Sources: ggml.h (`enum ggml_type`) and the block structures of ggml-common.h, without the ids that ggml removed; the `Dtype`
of the safetensors library.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ElementType:
    """One number of `bits`. `torch`, `numpy`: the name of its dtype there, None where there is none. `id`: GGUF's.

    `infinity`: the bits of positive infinity of the floats that ggufx computes with, else 0; what is greater is NaN.
    """

    name: str
    bits: int
    torch: str | None
    numpy: str | None
    id: int | None = None
    infinity: int = 0

    @property
    def width(self) -> int:
        """Bytes of an element; 0 where it has no bytes of its own."""
        return 0 if self.bits % 8 else self.bits // 8

    def nbytes(self, count: int) -> int:
        """Bytes of `count` elements. Raises ValueError if they do not fill whole bytes."""
        if count * self.bits % 8:
            raise ValueError(f"{count} elements of {self.name} do not fill whole bytes")
        return count * self.bits // 8


ELEMENT_TYPES: dict[str, ElementType] = {row.name: row for row in (
    ElementType("F64", 64, "float64", "float64", 28, 0x7FF << 52),
    ElementType("F32", 32, "float32", "float32", 0, 0x7F800000),
    ElementType("F16", 16, "float16", "float16", 1, 0x7C00),
    ElementType("BF16", 16, "bfloat16", None, 30, 0x7F80),
    ElementType("F8_E4M3", 8, "float8_e4m3fn", None),
    ElementType("F8_E5M2", 8, "float8_e5m2", None),
    ElementType("F8_E8M0", 8, "float8_e8m0fnu", None),
    ElementType("F8_E4M3FNUZ", 8, "float8_e4m3fnuz", None),
    ElementType("F8_E5M2FNUZ", 8, "float8_e5m2fnuz", None),
    ElementType("F6_E2M3", 6, None, None),
    ElementType("F6_E3M2", 6, None, None),
    ElementType("F4", 4, None, None),  # torch's float4_e2m1fn_x2 is two of them
    ElementType("C64", 64, "complex64", "complex64"),
    ElementType("I64", 64, "int64", "int64", 27),
    ElementType("I32", 32, "int32", "int32", 26),
    ElementType("I16", 16, "int16", "int16", 25),
    ElementType("I8", 8, "int8", "int8", 24),
    ElementType("U64", 64, "uint64", "uint64"),
    ElementType("U32", 32, "uint32", "uint32"),
    ElementType("U16", 16, "uint16", "uint16"),
    ElementType("U8", 8, "uint8", "uint8"),
    ElementType("BOOL", 8, "bool", "bool"),
)}
FLOATS = tuple(t.name for t in ELEMENT_TYPES.values() if t.infinity)  # the widest first


@dataclass(frozen=True, slots=True)
class QuantFormat:
    """`block_size` elements of a row are stored in `block_bytes` bytes; `fields` sums to `block_bytes`."""

    name: str
    id: int
    block_size: int
    block_bytes: int
    fields: tuple[tuple[str, int], ...] = ()

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.block_bytes / self.block_size

    def row_bytes(self, cols: int) -> int:
        """Bytes of one row of `cols` elements; `cols` must be a multiple of `block_size`."""
        if cols % self.block_size:
            raise ValueError(f"{self.name} stores blocks of {self.block_size}; a row of {cols} is not a multiple of it")
        return cols // self.block_size * self.block_bytes


_ROWS = (
    *(QuantFormat(t.name, t.id, 1, t.bits // 8) for t in ELEMENT_TYPES.values() if t.id is not None),
    QuantFormat("Q4_0", 2, 32, 18, (("d", 2), ("qs", 16))),
    QuantFormat("Q4_1", 3, 32, 20, (("d", 2), ("m", 2), ("qs", 16))),
    QuantFormat("Q5_0", 6, 32, 22, (("d", 2), ("qh", 4), ("qs", 16))),
    QuantFormat("Q5_1", 7, 32, 24, (("d", 2), ("m", 2), ("qh", 4), ("qs", 16))),
    QuantFormat("Q8_0", 8, 32, 34, (("d", 2), ("qs", 32))),
    QuantFormat("Q8_1", 9, 32, 36, (("d", 2), ("s", 2), ("qs", 32))),
    QuantFormat("Q2_K", 10, 256, 84, (("scales", 16), ("qs", 64), ("d", 2), ("dmin", 2))),
    QuantFormat("Q3_K", 11, 256, 110, (("hmask", 32), ("qs", 64), ("scales", 12), ("d", 2))),
    QuantFormat("Q4_K", 12, 256, 144, (("d", 2), ("dmin", 2), ("scales", 12), ("qs", 128))),
    QuantFormat("Q5_K", 13, 256, 176, (("d", 2), ("dmin", 2), ("scales", 12), ("qh", 32), ("qs", 128))),
    QuantFormat("Q6_K", 14, 256, 210, (("ql", 128), ("qh", 64), ("scales", 16), ("d", 2))),
    QuantFormat("Q8_K", 15, 256, 292, (("d", 4), ("qs", 256), ("bsums", 32))),
    QuantFormat("IQ2_XXS", 16, 256, 66, (("d", 2), ("qs", 64))),
    QuantFormat("IQ2_XS", 17, 256, 74, (("d", 2), ("qs", 64), ("scales", 8))),
    QuantFormat("IQ3_XXS", 18, 256, 98, (("d", 2), ("qs", 64), ("signs", 32))),
    QuantFormat("IQ1_S", 19, 256, 50, (("d", 2), ("qs", 32), ("qh", 16))),
    QuantFormat("IQ4_NL", 20, 32, 18, (("d", 2), ("qs", 16))),
    QuantFormat("IQ3_S", 21, 256, 110, (("d", 2), ("qs", 64), ("qh", 8), ("signs", 32), ("scales", 4))),
    QuantFormat("IQ2_S", 22, 256, 82, (("d", 2), ("qs", 32), ("signs", 32), ("qh", 8), ("scales", 8))),
    QuantFormat("IQ4_XS", 23, 256, 136, (("d", 2), ("scales_h", 2), ("scales_l", 4), ("qs", 128))),
    QuantFormat("IQ1_M", 29, 256, 56, (("qs", 32), ("qh", 16), ("scales", 8))),
    QuantFormat("TQ1_0", 34, 256, 54, (("qs", 48), ("qh", 4), ("d", 2))),
    QuantFormat("TQ2_0", 35, 256, 66, (("qs", 64), ("d", 2))),
    QuantFormat("MXFP4", 39, 32, 17, (("e", 1), ("qs", 16))),
    QuantFormat("NVFP4", 40, 64, 36, (("d", 4), ("qs", 32))),
    QuantFormat("Q1_0", 41, 128, 18, (("d", 2), ("qs", 16))),
    QuantFormat("Q2_0", 42, 64, 18, (("d", 2), ("qs", 16))),
)

for _row in _ROWS:
    if _row.fields and sum(size for _, size in _row.fields) != _row.block_bytes:
        raise AssertionError(f"{_row.name}: the fields do not sum to block_bytes")

FORMATS: dict[str, QuantFormat] = {row.name: row for row in _ROWS}
BY_ID: dict[int, QuantFormat] = {row.id: row for row in _ROWS}
if not len(FORMATS) == len(BY_ID) == len(_ROWS):
    raise AssertionError("a format's name or id is listed twice")
