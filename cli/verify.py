"""`ggufx verify`: whether two checkpoints are the same model, within what their types allow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..converters.io.whole_files import check_writable, write_text
from .exit import ExitStatus
from .options import (
    LOOK,
    MEMORY,
    OUTPUT,
    ContextLength,
    Force,
    HfClass,
    Json,
    LlamaVersion,
    MaxMemory,
    Pre,
    Quiet,
    Target,
    Threads,
    Verbose,
)
from .output import Output
from .report import show

NAME = "verify"
COUNTS = "What counts"
PANEL = LOOK
EXAMPLES = """\
$ ggufx verify model/ model-q4_k_m.gguf
$ ggufx verify old.gguf new.gguf --strict --html report.html
$ ggufx verify adapter/ adapter.gguf
$ ggufx verify model/ model.gguf --mmproj mmproj-model-f16.gguf
"""

A = Annotated[str, typer.Argument(metavar="A", help="Checkpoint folder, GGUF file, adapter, or their Hub references.")]
B = Annotated[str, typer.Argument(metavar="B", help="The same.")]


def command(
    a: A,
    b: B,
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", rich_help_panel=COUNTS,
                                 help="Base model of an adapter folder that is compared with a GGUF adapter.")
    ] = None,
    max_rmse: Annotated[
        float | None, typer.Option("--max-rmse", min=0, metavar="NUMBER", rich_help_panel=COUNTS, show_default=False,
                                   help="RMSE over RMS allowed [default: by quantized type].")
    ] = None,
    tokenizer: Annotated[
        bool, typer.Option("--tokenizer", rich_help_panel=COUNTS,
                           help="Encode hard texts with both; GGUF needs xllamacpp installed.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", rich_help_panel=COUNTS, help="Names, licences and all other keys count too.")
    ] = False,
    ignore: Annotated[
        list[str], typer.Option("--ignore", metavar="KEY", rich_help_panel=COUNTS,
                                help="A key that does not count; wildcards; may be repeated.")
    ] = [],  # noqa: B006 typer copies it
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", rich_help_panel=OUTPUT,
                                  help="Write the report as one self-contained page.")
    ] = None,
    worst: Annotated[
        int, typer.Option("--worst", min=0, metavar="N", rich_help_panel=OUTPUT,
                          help="How many of the worst tensors to print.")
    ] = 10,
    mmproj: Annotated[
        str | None, typer.Option("--mmproj", metavar="MMPROJ.gguf", rich_help_panel=COUNTS,
                                 help="File of the vision and audio parts that belongs to the GGUF file.")
    ] = None,
    checksums: Annotated[
        bool, typer.Option("--checksums/--no-checksums", rich_help_panel=OUTPUT, help="SHA-256 of the files.")
    ] = True,
    lora: Annotated[
        list[str], typer.Option("--lora", metavar="ADAPTER[@SCALE]", rich_help_panel=COUNTS,
                                help="Adapter that is merged into A, a model, before; may be repeated.")
    ] = [],  # noqa: B006
    pre: Pre = None,
    hf_class: HfClass = None,
    llama_version: LlamaVersion = None,
    context_length: ContextLength = None,
    target: Target = None,
    force: Force = False,
    threads: Threads = None,
    max_memory: MaxMemory = MEMORY,
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Compare two models, adapters or files of them. Exit 0: the same within what the types allow; 1: different."""
    from ..converters.planners.merged_weights import resolve_adapters
    from ..converters.sources.hub import resolve_model
    from ..converters.sources.stated import Stated
    from ..converters.verify.references import resolve_both
    from ..converters.verify.verify import VerifyOptions, base_named, verify

    out = Output(json_mode, quiet, verbose)
    check_writable(html, force)
    one, two = resolve_both(a, b, adapters=base is not None, parts=mmproj is not None, progress=not quiet)
    base = base or base_named(one, two)
    base_folder = None if base is None else resolve_model(base, what="config", progress=not quiet)
    options = VerifyOptions(base=base_folder, max_rmse=max_rmse, ignore=tuple(ignore), strict=strict, tokenizer=tokenizer,
                            checksums=checksums, pre=pre, hf_class=hf_class,
                            adapters=resolve_adapters(lora, progress=not quiet),
                            stated=Stated(llama_version=llama_version, context_length=context_length),
                            target=None if target is None else resolve_model(target, what="target", progress=not quiet),
                            projector=None if mmproj is None else resolve_model(mmproj, what="gguf", progress=not quiet))
    with out.compiling(), out.progress("verify") as progress:
        report = verify(one, two, options, threads=threads, max_memory=max_memory, progress=progress)
    if html is not None:
        from ..converters.report.report_html import page

        write_text(html, page(report))
    show(out, report, worst)
    status = ExitStatus.DONE if report.same else ExitStatus.NO
    out.document({**report.to_json(), "exit_code": int(status)})
    return status
