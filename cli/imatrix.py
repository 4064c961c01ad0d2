"""`ggufx imatrix`: an importance matrix of a checkpoint; matrices shown and added up."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..converters.io.whole_files import check_writable
from .completion import complete_devices
from .exit import ExitStatus
from .options import (
    LAYER_MEMORY,
    OUTPUT,
    PREPARE,
    RUN,
    Chunks,
    Context,
    Data,
    Force,
    HfClass,
    Json,
    ParseSpecial,
    Quiet,
    Resume,
    Threads,
    Verbose,
    device_name,
    memory_size,
)
from .output import Output

if TYPE_CHECKING:
    from ..converters.calibrate.imatrix import ImatrixResult

NAME = "imatrix"
PANEL = PREPARE
MODES = "Matrices that are there"
EXAMPLES = """\
$ ggufx imatrix org/model --data calibration.txt --outfile imatrix.gguf
$ ggufx imatrix model/ --data a.txt --data b.txt --chunks 200 --outfile imatrix.gguf
$ ggufx imatrix --show imatrix.gguf
$ ggufx imatrix --merge a.gguf b.gguf --outfile both.gguf
"""


def command(
    inputs: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Checkpoint folder, or Hub id org/name[@revision]; "
                                                        "or matrices to --show or --merge.")
    ],
    data: Data = [],  # noqa: B006 typer copies it
    outfile: Annotated[
        Path, typer.Option("--outfile", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="Matrix to write.")
    ] = Path("imatrix.gguf"),
    context: Context = 512,
    chunks: Chunks = None,
    skip: Annotated[
        int, typer.Option("--skip", min=0, metavar="N", rich_help_panel=OUTPUT, help="Leave out the first N chunks.")
    ] = 0,
    parse_special: ParseSpecial = False,
    show: Annotated[
        bool, typer.Option("--show", rich_help_panel=MODES, help="Statistics of a matrix, and what it does not cover.")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", rich_help_panel=MODES, help="Add matrices of one model up.")
    ] = False,
    hf_class: HfClass = None,
    force: Force = False,
    resume: Resume = False,
    threads: Threads = None,
    max_memory: Annotated[
        int, typer.Option("--max-memory", parser=memory_size, metavar="SIZE", rich_help_panel=RUN,
                          help="A layer in float32, and what a chunk takes in it.")
    ] = LAYER_MEMORY,
    device: Annotated[
        str, typer.Option("--device", parser=device_name, metavar="DEVICE", autocompletion=complete_devices,
                          rich_help_panel=RUN,
                          help="auto, cpu, cuda or cuda:N, as PyTorch finds them. Sums differ in their last digits.")
    ] = "auto",
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Make an importance matrix of a checkpoint, layer by layer, as llama-imatrix makes it of a GGUF file."""
    from ..converters.errors import UsageError

    out = Output(json_mode, quiet, verbose)
    if show and merge:
        raise UsageError("--show and --merge are two things", hint="Merge first, then show the result.")
    if show or merge:
        if data:
            raise UsageError("--data is for a matrix that is made of a model")
        if merge:
            check_writable(outfile, force)
        return _show(out, [Path(p) for p in inputs]) if show else _merge(out, [Path(p) for p in inputs], outfile)
    if len(inputs) != 1:
        raise UsageError("one model is needed", found=len(inputs))
    from ..converters.calibrate.imatrix import ImatrixOptions, make_imatrix
    from ..converters.calibrate.text import TextOptions
    from ..converters.planners.hf_to_gguf import GgufOptions
    from ..converters.sources.hub import resolve_model

    folder = resolve_model(inputs[0], progress=not quiet)
    options = ImatrixOptions(TextOptions(context, chunks, skip, parse_special), device=device, threads=threads,
                             max_memory=max_memory, force=force, resume=resume)
    with out.compiling(), out.progress("imatrix", "tokens") as progress:
        made = make_imatrix(folder, data, outfile, options, GgufOptions(hf_class=hf_class), progress)
    return _tell(out, made, inputs[0])


def _tell(out: Output, made: ImatrixResult, model: str) -> ExitStatus:
    out.notes(made.notes)
    size = made.tokens // made.chunks
    out.line(f"{made.path}: {made.entries} weights, {made.chunks} chunks of {size} tokens, in {made.seconds:.1f} s")
    _print_unreached(out, made.unreached)
    out.info(f"next: ggufx hf-to-gguf {model} --outtype iq2_xs --imatrix {made.path}")
    out.document({"path": str(made.path), "weights": made.entries, "chunks": made.chunks, "tokens": made.tokens,
                  "seconds": round(made.seconds, 3), "notes": list(made.notes),
                  "unreached": [{"name": name, "experts": list(experts)} for name, experts in made.unreached],
                  "exit_code": 0})
    return ExitStatus.DONE


def _print_unreached(out: Output, unreached: tuple[tuple[str, tuple[int, ...]], ...]) -> None:
    if unreached:
        out.table(["weight", "experts that no token reached"],
                  [(name, ", ".join(map(str, experts))) for name, experts in unreached])


def _show(out: Output, paths: list[Path]) -> ExitStatus:
    from ..converters.calibrate.statistics import by_layer, statistics, unreached
    from ..converters.errors import UsageError
    from ..converters.io.imatrix_file import read_imatrix_file

    if len(paths) != 1:
        raise UsageError("one matrix is shown at a time", found=len(paths))
    matrix = read_imatrix_file(paths[0])
    found, missed = statistics(matrix), unreached(matrix)
    layers = by_layer(found)
    out.line(f"{paths[0]}: {len(matrix.entries)} weights, {matrix.chunk_count} chunks of {matrix.chunk_size} tokens of "
             f"{', '.join(matrix.datasets)}")
    out.line()
    out.table(["weight", "sum", "min", "max", "mean", "deviation", "active", "columns", "entropy", "of most", "outliers",
               "like the last", "experts"],
              [(s.name, f"{s.total:.2f}", f"{s.minimum:.4f}", f"{s.maximum:.4f}", f"{s.mean:.2f}", f"{s.deviation:.2f}",
                f"{s.active:.2%}", s.columns, f"{s.entropy:.4f}", f"{s.entropy_share:.2%}", f"{s.outliers:.2%}",
                f"{s.likeness:.4f}", f"{s.reached} of {s.matrices}" if s.matrices > 1 else "") for s in found])
    out.line()
    out.table(["layer", "sum", "outliers", "like the last"],
              [(row.block, f"{row.total:.2f}", f"{row.outliers:.4%}", f"{row.likeness:.4f}") for row in layers])
    if missed:
        out.line()
        _print_unreached(out, missed)
    out.document({"path": str(paths[0]), "datasets": list(matrix.datasets), "chunks": matrix.chunk_count,
                  "chunk_size": matrix.chunk_size, "weights": [s.to_json() for s in found],
                  "layers": [asdict(row) for row in layers],
                  "unreached": [{"name": name, "experts": list(experts)} for name, experts in missed], "exit_code": 0})
    return ExitStatus.DONE


def _merge(out: Output, paths: list[Path], outfile: Path) -> ExitStatus:
    from ..converters.calibrate.statistics import merged, unreached
    from ..converters.errors import UsageError
    from ..converters.io.imatrix_file import read_imatrix_file, write_imatrix

    if len(paths) < 2:
        raise UsageError("at least two matrices are needed", found=len(paths))
    made = merged([(str(path), read_imatrix_file(path)) for path in paths])
    write_imatrix(outfile, made)
    missed = unreached(made)
    out.line(f"{outfile}: {len(made.entries)} weights, {made.chunk_count} chunks of {made.chunk_size} tokens")
    _print_unreached(out, missed)
    out.document({"path": str(outfile), "weights": len(made.entries), "chunks": made.chunk_count,
                  "datasets": list(made.datasets),
                  "unreached": [{"name": name, "experts": list(experts)} for name, experts in missed], "exit_code": 0})
    return ExitStatus.DONE
