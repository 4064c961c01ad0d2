"""`ggufx quantize`: a GGUF file -> a GGUF file of another type."""

from __future__ import annotations

from typing import Annotated

import typer

from .completion import complete_file_types
from .exit import ExitStatus
from .options import (
    CONVERT,
    MEMORY,
    QUANTIZATION,
    After,
    BaseModel,
    Card,
    Checksums,
    CreatePr,
    Device,
    DryRun,
    Engine,
    ExcludeWeights,
    Force,
    Imatrix,
    IncludeWeights,
    Json,
    LeaveOutputTensor,
    MaxMemory,
    ModelfileToo,
    NoFallback,
    OutputTensorType,
    OverrideKv,
    Private,
    Pure,
    Push,
    Quiet,
    Report,
    Resume,
    SplitMaxSize,
    SplitMaxTensors,
    TensorType,
    TensorTypeFile,
    Threads,
    TokenEmbeddingType,
    Verbose,
)
from .output import Output

NAME = "quantize"
PANEL = CONVERT
EXAMPLES = """\
$ ggufx quantize model-bf16.gguf model-q4_k_m.gguf q4_k_m
$ ggufx quantize model-bf16.gguf 'model-{outtype}.gguf' q4_k_m,iq4_xs --imatrix imatrix.gguf
$ ggufx quantize model-bf16.gguf out.gguf q4_k_m --tensor-type 'ffn_down=q6_k'
"""


def command(
    model: Annotated[
        str, typer.Argument(metavar="IN.gguf", help="GGUF file, first part of a split one, or org/repo:file.gguf.")
    ],
    outfile: Annotated[
        str, typer.Argument(metavar="OUT.gguf", help="File to write, {outtype} is filled in; or a folder.")
    ],
    outtype: Annotated[
        str, typer.Argument(metavar="TYPE[,TYPE]", autocompletion=complete_file_types,
                            help="File types (q4_k_m ...) or a preset (recommended): see `ggufx types`.")
    ],
    split_max_size: SplitMaxSize = None,
    split_max_tensors: SplitMaxTensors = None,
    checksums: Checksums = None,
    report: Report = None,
    push: Push = None,
    private: Private = False,
    create_pr: CreatePr = False,
    card: Card = None,
    base_model: BaseModel = [],  # noqa: B006
    modelfile: ModelfileToo = False,
    imatrix: Imatrix = None,
    include_weights: IncludeWeights = [],  # noqa: B006 typer copies it
    exclude_weights: ExcludeWeights = [],  # noqa: B006
    tensor_type: TensorType = [],  # noqa: B006
    tensor_type_file: TensorTypeFile = None,
    output_tensor_type: OutputTensorType = None,
    token_embedding_type: TokenEmbeddingType = None,
    leave_output_tensor: LeaveOutputTensor = False,
    pure: Pure = False,
    no_fallback: NoFallback = False,
    allow_requantize: Annotated[
        bool, typer.Option("--allow-requantize", rich_help_panel=QUANTIZATION,
                           help="Quantize tensors that are quantized already: loses twice.")
    ] = False,
    override_kv: OverrideKv = [],  # noqa: B006
    dry_run: DryRun = False,
    force: Force = False,
    after: After = False,
    resume: Resume = False,
    threads: Threads = None,
    max_memory: MaxMemory = MEMORY,
    device: Device = "auto",
    engine: Engine = "threads",
    json_mode: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> ExitStatus:
    """Quantize a GGUF file, in one pass to a file of each TYPE, with the bytes of llama-quantize."""
    from ..converters.io.objects import staged
    from ..converters.measure.recommend import recommended_types
    from ..converters.plan.gguf_output import SplitLimits
    from ..converters.planners.many_outputs import outtype_names, plan_outputs
    from ..converters.planners.quantization import Quantization
    from ..converters.planners.quantize import QuantizePlanner
    from ..converters.sources.hub import resolve_model
    from .conversion import RESULT, carry_out
    from .publish import Publishing
    from .report import afterwards, overridden

    out = Output(json_mode, quiet, verbose)
    outtype_names(outtype)  # a slip is told before anything is fetched
    path = resolve_model(model, what="gguf", progress=not quiet, headers=dry_run)
    outtypes, why = recommended_types(outtype, path)
    quantization = Quantization(
        imatrix_file=imatrix, include_weights=tuple(include_weights), exclude_weights=tuple(exclude_weights),
        tensor_types=tuple(tensor_type), tensor_type_file=tensor_type_file, output_tensor_type=output_tensor_type,
        token_embedding_type=token_embedding_type, leave_output_tensor=leave_output_tensor, pure=pure,
        allow_fallback=not no_fallback, override_kv=tuple(override_kv), allow_requantize=allow_requantize)
    planner = QuantizePlanner(path, staged(outfile), quantization,
                              SplitLimits(max_bytes=split_max_size, max_tensors=split_max_tensors))
    plan, refused = plan_outputs(planner, outtypes)
    plan = plan.noting(why)
    compare = {written: afterwards(path, written, threads=threads, max_memory=max_memory,
                                  ignore=overridden(override_kv)) for written in plan.results} if after else None
    publishing = Publishing(push=push, card=card, private=private, create_pr=create_pr, base_model=tuple(base_model),
                            made_of=(path,), relation="quantized")
    return carry_out(out, plan, refused, source=model, dry_run=dry_run, checksums=checksums, report=report,
                     modelfile=modelfile, after=compare,
                     then=(("ggufx", "verify", model, RESULT), ("llama-server", "-m", RESULT)), threads=threads,
                     max_memory=max_memory, device=device, engine=engine, resume=resume, force=force,
                     publishing=publishing)
