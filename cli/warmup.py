"""`ggufx warmup`: compile the quantization kernels ahead of their first use."""

from __future__ import annotations

from typing import Annotated

import typer

from ..converters.errors import UsageError
from .options import Json, Quiet
from .output import Output

NAME = "warmup"


def command(
    formats: Annotated[list[str] | None, typer.Argument(metavar="TYPE...", help="Tensor types [default: all].")] = None,
    json_mode: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compile the kernels once, for images and CI: later runs find them in the cache."""
    from ..quant.cpu import warmup
    from ..quant.dispatch import KERNELS

    out = Output(json_mode, quiet)
    wanted = [name.upper() for name in formats] if formats else None
    if unknown := sorted(set(wanted or ()) - set(KERNELS)):
        raise UsageError(f"no kernels for {', '.join(unknown)}", hint="`ggufx types` lists the tensor types.")
    compiled: list[str] = []

    def tell(kernel: str) -> None:
        compiled.append(kernel)
        out.info(f"compiling {kernel}")

    warmup(wanted, tell)
    out.line(f"{len(compiled)} kernels compiled; the others were in the cache")
    out.document({"compiled": compiled})
