"""`ggufx warmup`: compile the quantization kernels ahead of their first use, and try those of a GPU."""

from __future__ import annotations

from typing import Annotated

import typer

from ..converters.errors import UsageError
from .completion import complete_devices, complete_tensor_types
from .exit import ExitStatus
from .options import PREPARE, RUN, Json, Quiet, device_name
from .output import Output

NAME = "warmup"
PANEL = PREPARE
EXAMPLES = """\
$ ggufx warmup
$ ggufx warmup q4_k q6_k --device cuda
"""


def command(
    formats: Annotated[
        list[str] | None, typer.Argument(metavar="TYPE...", autocompletion=complete_tensor_types, show_default=False,
                                         help="Tensor types [default: all].")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", parser=device_name, metavar="DEVICE", autocompletion=complete_devices,
                          rich_help_panel=RUN, help="Whose kernels: cpu, cuda or cuda:N.")
    ] = "cpu",
    json_mode: Json = False,
    quiet: Quiet = False,
) -> ExitStatus:
    """Compile the kernels once, for images and CI: later runs find them in the cache.

    A GPU's kernels are also tried: each must make the bytes that ggml makes, or the CPU will do its work.
    """
    from ..quant.dispatch import KERNELS

    out = Output(json_mode, quiet)
    wanted = [name.upper() for name in formats] if formats else None
    if unknown := sorted(set(wanted or ()) - set(KERNELS)):
        raise UsageError(f"no kernels for {', '.join(unknown)}", hint="`ggufx types` lists the tensor types.")
    if device.startswith("cuda"):
        return _try_gpus(out, wanted, device)
    from ..quant.cpu import warmup

    compiled: list[str] = []

    def tell(kernel: str) -> None:
        compiled.append(kernel)
        out.info(f"compiling {kernel}")

    warmup(wanted, tell)
    out.line(f"{len(compiled)} kernels compiled; the others were in the cache")
    out.document({"compiled": compiled})
    return ExitStatus.DONE


def _try_gpus(out: Output, formats: list[str] | None, device: str) -> ExitStatus:
    """Those of some types, or all, what decodes packed checkpoints among them."""
    from ..converters.run.engines.choice import named_gpus
    from ..quant.cuda.proof import all_kernels, trials, verdict

    found = []
    for index, name in named_gpus(device).items():
        for format in formats or all_kernels():
            for trial in trials(format):
                why = verdict(format, trial, f"cuda:{index}")
                found.append({"device": f"cuda:{index}", "name": name, "type": str(format), "kernel": trial, "wrong": why})
                if why:
                    out.line(f"cuda:{index} ({name}): {format} {trial}: {why}")
                else:
                    out.info(f"cuda:{index}: {format} {trial}")
    wrong = sum(row["wrong"] is not None for row in found)
    out.line(f"{len(found) - wrong} of {len(found)} kernels gave the bytes that they must")
    out.document({"ok": not wrong, "kernels": found})
    return ExitStatus.NO if wrong else ExitStatus.DONE
