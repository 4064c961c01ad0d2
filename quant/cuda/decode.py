"""Decoding, the same for all formats: a tile of rows, each of them one block or sub-block with one scale.

A format's part is a function `decode(blocks, row, i)`: float32 [ROWS, WIDTH], the numbers i (int32 [WIDTH]) of the rows
`row` (int32 [ROWS]), `blocks` being a pointer to bytes; one more argument is a pointer to a table. What depends on the row
alone is computed once for the numbers that a thread has of it. Bytes are loaded as often as numbers lie in them; the cache
gives them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl

from .launch import launch_tiles
from .tables import on_device


@triton.jit(do_not_specialize=("count",))
def _decode(blocks, table, out, count, decode: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    i = tl.arange(0, WIDTH)
    here = tl.minimum(row, count - 1)
    values = decode(blocks, here, i, table) if table is not None else decode(blocks, here, i)
    tl.store(out + row[:, None] * WIDTH + i[None, :], values, mask=(row < count)[:, None])


def decoder(decode: Any, width: int, table: str | None = None) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """The `dequantize_<format>` of a format whose (sub-)blocks have `width` numbers. `table`: see tables.on_device()."""

    def dequantize(blocks: torch.Tensor, out: torch.Tensor) -> None:
        known = None if table is None else on_device(table, blocks.device)
        launch_tiles(_decode, out.numel() // width, width, blocks, known, out, decode=decode, WIDTH=width)

    return dequantize
