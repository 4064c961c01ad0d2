"""What a shell completes behind an option: names of types and devices, from the tables."""

from __future__ import annotations

DTYPES = ("auto", "bf16", "f16", "f32")
PLAIN_TYPES = ("f32", "f16", "bf16", "q8_0")  # of an adapter
DEVICES = ("auto", "cpu", "cuda", "cuda:0")


def complete_file_types(incomplete: str) -> list[str]:
    """File types and presets, after each comma again."""
    from ..quant.recipes.recipe import FILE_TYPES, PRESETS

    before, comma, last = incomplete.rpartition(",")
    names = ("auto", *PRESETS, *(row.name.lower() for row in FILE_TYPES.values() if row.number is not None))
    return [f"{before}{comma}{name}" for name in _starting(names, last)]


def complete_tensor_types(incomplete: str) -> list[str]:
    from ..quant.recipes.recipe import TENSOR_TYPES

    return _starting([name.lower() for name in TENSOR_TYPES], incomplete)


def complete_typed_patterns(incomplete: str) -> list[str]:
    """The type behind PATTERN=."""
    pattern, equals, start = incomplete.partition("=")
    return [f"{pattern}={name}" for name in complete_tensor_types(start)] if equals else []


def complete_dtypes(incomplete: str) -> list[str]:
    return _starting(DTYPES, incomplete)


def complete_plain_types(incomplete: str) -> list[str]:
    return _starting(PLAIN_TYPES, incomplete)


def complete_devices(incomplete: str) -> list[str]:
    return _starting(DEVICES, incomplete)


def _starting(names: tuple[str, ...] | list[str], start: str) -> list[str]:
    """In the case in which the user began: the shell drops what does not begin so."""
    return [name.upper() if start.isupper() else name for name in names if name.startswith(start.lower())]
