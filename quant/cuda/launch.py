"""How kernels are launched: in one place, for what all of them must have.

`enable_fp_fusion=False`: without it, ptxas contracts a product and a sum into one rounding, and bytes change. The
interpreter never contracts, so it does not show whether this is given.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

import numpy as np
import triton

INTERPRETED: bool = triton.knobs.runtime.interpret
WARPS = 4
LANES = 32 * WARPS  # one block or sub-block per thread
TILE = 16 * LANES  # numbers of a tile: sixteen per thread, so that enough loads are under way at a time
if INTERPRETED:  # an operation costs the same for few and for many numbers
    LANES, TILE = 1 << 13, 1 << 17
_TURN = threading.Lock() if INTERPRETED else nullcontext()  # the interpreter serves one thread at a time


def launch_lanes(kernel: Any, rows: int, *arguments: Any, warps: int = WARPS, **constants: Any) -> None:
    """Run `kernel` with one lane per row. It gets `arguments`, `rows` as count, `constants`, and ROWS per program.

    Fewer warps suit a kernel whose lanes wait for the slowest one of their program.
    """
    _launch(kernel, rows, LANES * warps // WARPS, arguments, constants, warps)


def launch_tiles(kernel: Any, rows: int, width: int, *arguments: Any, **constants: Any) -> None:
    """Run `kernel` with tiles of rows, of each of which some `width` numbers are in registers at a time. Else as above."""
    _launch(kernel, rows, TILE // width, arguments, constants, WARPS)


def _launch(kernel: Any, rows: int, most: int, arguments: tuple, constants: dict[str, Any], warps: int) -> None:
    if INTERPRETED:
        most = min(most, triton.next_power_of_2(rows))
    with _TURN, np.errstate(all="ignore"):  # the interpreter computes with numpy
        kernel[(triton.cdiv(rows, most),)](
            *arguments, count=rows, **constants, ROWS=most, num_warps=warps, enable_fp_fusion=False
        )
