"""What the kernel of `stored` is tried on, and what numpy makes of it, which the values must equal.

No digests are recorded: a variant is a combination of options, of which there are hundreds, and its arithmetic a few lines.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from . import rows as launched
from .stored import Places, Variant, decode

HEIGHT, WIDTH, GROUPS = 24, 157, 5
# What stored forms need, scales and zeros that are codes themselves included.
_WORDS = {f"int{bits}{', padded' * padded}": Variant(bits, 32, 32 % bits > 0 and not padded)
          for bits in range(2, 9) for padded in (False, True) if 32 % bits or not padded}
VARIANTS = {
    "bytes": Variant(8, 8),  # FP8, int8
    "bytes with zeros": Variant(8, 8, zeros=True),
    "bytes with columns": Variant(8, 8, columns=True),
    "bytes times a constant": Variant(8, 8, after=True),  # bitsandbytes' int8
    "bytes alone": Variant(8, 8, scales=False),  # scales of MXFP4, zeros of int8
    "bytes divided": Variant(8, 8, divided=True),  # scales of NVFP4
    "bytes with biases": Variant(8, 8, biases=True),  # nested scales of NF4
    "halves of bytes": Variant(4, 8),  # MXFP4, NVFP4, NF4
    "halves of bytes with columns": Variant(4, 8, columns=True),
    "quarters of bytes": Variant(2, 8),  # BitNet
    "6 bits in bytes": Variant(6, 8, straddles=True),  # MXFP6
    "AWQ, fast": Variant(4, 16, biases=True),
    **_WORDS,
    **{f"{name}, with zeros": variant._replace(zeros=True) for name, variant in _WORDS.items()},
    **{f"{name}, zeros": variant._replace(scales=False) for name, variant in _WORDS.items()},
    **{f"MLX int{bits}": Variant(bits, 32, 32 % bits > 0, biases=True) for bits in (2, 3, 4, 5, 6, 8)},
}


def sample(variant: Variant) -> tuple[Places, np.ndarray, dict[str, Any]]:
    """Places, uint8 or wider [n] elements, and the arguments of `decode` beside them as numpy's arrays."""
    rng = np.random.default_rng(variant.bits)
    step = 3 * variant.straddles
    elements = rng.integers(0, 1 << variant.word, 4096, dtype=np.uint64).astype(f"u{variant.word // 8}")
    shifts = variant.word if variant.straddles else variant.word - variant.bits + 1
    rows, columns = (np.stack([rng.integers(0, 2048 - step, n), np.zeros(n, int), rng.integers(0, most, n)]).astype(np.int32)
                     for n, most in ((HEIGHT, HEIGHT), (WIDTH, GROUPS)))
    columns[1] = rng.integers(0, shifts, WIDTH)
    parts: dict[str, Any] = {"table": _floats(rng, 256), "divided": variant.divided}
    for name in ("zeros", "scales", "biases", "columns"):
        if getattr(variant, name):
            parts[name] = _floats(rng, WIDTH if name == "columns" else HEIGHT + GROUPS)
    if variant.after:
        parts["after"] = float(np.float32(1 / 127))
    return Places(rows, columns, variant.bits, step), elements, parts


def _floats(rng: np.random.Generator, count: int) -> np.ndarray:
    """float32 [count] of a few orders of magnitude, and what is neither that nor a number."""
    found = np.ldexp(rng.standard_normal(count), rng.integers(-40, 40, count)).astype(np.float32)
    found[:9] = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3e38, 448)
    return rng.permutation(found)


def expected(places: Places, elements: np.ndarray, table: np.ndarray, *, divided: bool = False, after: float | None = None,
             **parts: np.ndarray) -> np.ndarray:
    """float32 [height, width]: as `stored.decode`."""
    at, shift, number = places.rows[:, :, None] + places.columns[:, None, :]
    word = 8 * elements.itemsize
    code = elements[at].astype(np.uint64) >> shift.astype(np.uint64)
    if places.step:
        code |= elements[at + places.step].astype(np.uint64) << (word - shift).astype(np.uint64)
    value = table[code & np.uint64((1 << places.bits) - 1)]
    with np.errstate(all="ignore"):
        if "zeros" in parts:
            value = value - parts["zeros"][number]
        if "scales" in parts:
            scale = parts["scales"][number]
            value = value / scale if divided else value * scale
        if "biases" in parts:
            value = value + parts["biases"][number]
        if "columns" in parts:
            value = value * parts["columns"]
        return value if after is None else value * np.float32(after)


def differences(variant: Variant, device: str) -> int:
    """How many values of the sample a device makes otherwise; which NaN is not defined where two meet, and not compared."""
    places, elements, parts = sample(variant)
    right = expected(places, elements, **parts)

    where = torch.device("cpu" if launched.INTERPRETED else device)

    def there(x: Any) -> Any:
        return torch.from_numpy(x).to(where) if isinstance(x, np.ndarray) else x

    with launched.on(where):
        signed = there(elements.view(f"i{elements.itemsize}"))
        places = replace(places, rows=there(places.rows), columns=there(places.columns))
        made = decode(places, signed, **{name: there(x) for name, x in parts.items()}).cpu().numpy()
    wrong = (made.view(np.uint32) != right.view(np.uint32)) & ~(np.isnan(made) & np.isnan(right))
    return int(wrong.sum())


def matrix(variant: Variant, height: int, width: int, device: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of `decode` for a matrix whose rows of codes follow each other, groups of 32 columns: to time it."""
    each = variant.word if variant.straddles else variant.word // variant.bits * variant.bits  # the bits that are used
    at, shift = np.divmod(np.arange(width) * variant.bits, each)
    per_row = int(at[-1]) + 1 + variant.straddles
    groups = width // 32
    rows = np.stack([np.arange(height) * per_row, np.zeros(height, int), np.arange(height) * groups])
    columns = np.stack([at, shift, np.arange(width) // 32])
    there = [torch.from_numpy(x.astype(np.int32)).to(device) for x in (rows, columns)]
    stored = torch.zeros(height * per_row, dtype=getattr(torch, f"int{variant.word}"), device=device)
    parts = {name: torch.ones(width if name == "columns" else height * groups, device=device)
             for name in ("zeros", "scales", "biases", "columns") if getattr(variant, name)}
    more = {"divided": variant.divided, "after": 0.5 if variant.after else None}
    return (Places(*there, variant.bits, int(variant.straddles)), stored, torch.ones(256, device=device)), {**parts, **more}
