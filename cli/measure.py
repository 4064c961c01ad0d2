"""`ggufx measure`: what quantizing costs, in perplexity and divergence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..converters.io.whole_files import check_writable, write_text
from .exit import ExitStatus
from .options import LOOK, OUTPUT, Chunks, Context, Data, Force, Json, Quiet, Threads, Verbose
from .output import Output, human_bytes

if TYPE_CHECKING:
    from ..converters.measure.measure import Measured

NAME = "measure"
PANEL = LOOK
EXAMPLES = """\
$ ggufx measure model-f16.gguf model-q4_k_m.gguf model-iq2_xs.gguf --data text.txt
$ ggufx measure model-f16.gguf model-*.gguf --data text.txt --html types.html --json > measure.json
"""


def command(
    base: Annotated[Path, typer.Argument(metavar="BASE.gguf", help="The file that the others are held against.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE.gguf", help="Quantized files of the same model.")],
    data: Data = [],  # noqa: B006 typer copies it
    context: Context = 512,
    chunks: Chunks = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", rich_help_panel=OUTPUT, show_default=False,
                                  help="Also write a page with size against divergence.")
    ] = None,
    force: Force = False,
    threads: Threads = None,
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Perplexity of GGUF files and their divergence from BASE, in llama.cpp; needs xllamacpp."""
    from ..converters.measure.measure import measure

    out = Output(json_mode, quiet, verbose)
    check_writable(html, force)
    with out.progress("measure", "tokens") as progress:
        found = measure(base, files, data, context, chunks, threads, progress)
    if html is not None:
        from ..converters.report.measure_page import page

        write_text(html, page(found))
    return _tell(out, found)


def _tell(out: Output, found: Sequence[Measured]) -> ExitStatus:
    base = found[0].path
    out.table(["file", "size", "perplexity", "ln ratio", "divergence", "median", "99.9 %", "RMS Δp", "same top token"],
              [(m.path, human_bytes(m.size), f"{m.perplexity:.4f} ± {m.perplexity_error:.4f}",
                f"{m.log_ratio:.6f} ± {m.log_ratio_error:.6f}",
                f"{m.divergence:.6f} ± {m.divergence_error:.6f}", f"{m.divergence_median:.6f}", f"{m.divergence_999:.6f}",
                f"{m.rms_dp:.3%} ± {m.rms_dp_error:.3%}", f"{m.same_top:.3%} ± {m.same_top_error:.3%}") for m in found])
    out.line(f"{found[0].positions} positions; divergence in nats, from {base}")
    out.document({"base": str(base), "files": [m.to_json() for m in found], "exit_code": 0})
    return ExitStatus.DONE
