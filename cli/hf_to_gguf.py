"""`ggufx hf-to-gguf`: a checkpoint -> a GGUF file."""

from __future__ import annotations

from typing import Annotated

import typer

from .completion import complete_file_types
from .exit import ExitStatus
from .options import (
    CONVERT,
    LAYER_MEMORY,
    MEMORY,
    OUTPUT,
    After,
    BaseModel,
    Calibrate,
    Card,
    ChatTemplate,
    Checksums,
    ContextLength,
    CreatePr,
    Device,
    DryRun,
    Engine,
    ExcludeWeights,
    Force,
    HfClass,
    Imatrix,
    IncludeWeights,
    Json,
    KeepQuantized,
    LeaveOutputTensor,
    LlamaVersion,
    Lora,
    MaxMemory,
    MetadataFile,
    Mmproj,
    MmprojOnly,
    MmprojType,
    ModelfileToo,
    ModelName,
    NoFallback,
    Outfile,
    OutputTensorType,
    OverrideKv,
    Plain,
    Pre,
    Private,
    Pure,
    Push,
    Quiet,
    Report,
    Resume,
    SplitMaxSize,
    SplitMaxTensors,
    Target,
    TensorType,
    TensorTypeFile,
    Threads,
    TokenEmbeddingType,
    Verbose,
)
from .output import Output

NAME = "hf-to-gguf"
PANEL = CONVERT
EXAMPLES = """\
$ ggufx hf-to-gguf org/model --outtype q4_k_m
$ ggufx hf-to-gguf model/ --outtype q4_k_m,q6_k,q8_0 --outfile 'm-{outtype}.gguf'
$ ggufx hf-to-gguf model/ --lora adapter/ --outtype q4_k_m
$ ggufx hf-to-gguf org/vision-model --outtype q4_k_m --mmproj
$ ggufx hf-to-gguf org/model --outtype iq2_xs,q4_k_m --calibrate text.txt
$ ggufx hf-to-gguf model/ --outtype iq3_m --imatrix imatrix.gguf --dry-run
"""


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Checkpoint folder, or Hub id org/name[@revision].")],
    outfile: Outfile = None,
    outtype: Annotated[
        str, typer.Option("--outtype", metavar="TYPE[,TYPE]", autocompletion=complete_file_types, rich_help_panel=OUTPUT,
                          help="File types (q4_k_m ...), a preset (recommended), see `ggufx types`; auto: the model's own.")
    ] = "auto",
    lora: Lora = [],  # noqa: B006 typer copies it
    mmproj: Mmproj = False,
    mmproj_only: MmprojOnly = False,
    mmproj_type: MmprojType = "f16",
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
    calibrate: Calibrate = [],  # noqa: B006
    include_weights: IncludeWeights = [],  # noqa: B006
    exclude_weights: ExcludeWeights = [],  # noqa: B006
    tensor_type: TensorType = [],  # noqa: B006
    tensor_type_file: TensorTypeFile = None,
    output_tensor_type: OutputTensorType = None,
    token_embedding_type: TokenEmbeddingType = None,
    leave_output_tensor: LeaveOutputTensor = False,
    pure: Pure = False,
    no_fallback: NoFallback = False,
    model_name: ModelName = None,
    metadata: MetadataFile = None,
    override_kv: OverrideKv = [],  # noqa: B006
    chat_template: ChatTemplate = None,
    pre: Pre = None,
    hf_class: HfClass = None,
    llama_version: LlamaVersion = None,
    context_length: ContextLength = None,
    target: Target = None,
    plain: Plain = False,
    keep_quantized: KeepQuantized = False,
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
    """Convert a Hugging Face checkpoint to a GGUF file, or in one pass to one of each TYPE."""
    from ..converters.io.objects import staged
    from ..converters.measure.recommend import recommended_types
    from ..converters.plan.gguf_output import SplitLimits
    from ..converters.planners.hf_to_gguf import GgufOptions
    from ..converters.planners.many_outputs import outtype_names
    from ..converters.planners.merged_weights import resolve_adapters
    from ..converters.planners.projector import plan_checkpoint
    from ..converters.planners.quantization import Quantization
    from ..converters.sources.hub import cached_origin, resolve_model
    from ..converters.sources.stated import Stated
    from .conversion import RESULT, carry_out
    from .publish import Publishing
    from .report import afterwards, overridden

    out = Output(json_mode, quiet, verbose)
    outfile = staged(outfile)
    outtype_names(outtype)  # a slip is told before anything is fetched
    stated = Stated(llama_version=llama_version, context_length=context_length)
    folder = resolve_model(model, progress=not quiet, headers=dry_run, parts=mmproj or mmproj_only)
    outtypes, why = recommended_types(outtype, folder)
    adapters = resolve_adapters(lora, progress=not quiet, headers=dry_run)
    beside = None if target is None else resolve_model(target, what="target", progress=not quiet, headers=dry_run)
    quantization = Quantization(
        imatrix_file=imatrix, include_weights=tuple(include_weights), exclude_weights=tuple(exclude_weights),
        tensor_types=tuple(tensor_type), tensor_type_file=tensor_type_file, output_tensor_type=output_tensor_type,
        token_embedding_type=token_embedding_type, leave_output_tensor=leave_output_tensor, pure=pure,
        allow_fallback=not no_fallback, override_kv=tuple(override_kv))
    options = GgufOptions(model_name=model_name, metadata_file=metadata, hub_id=cached_origin(folder), pre=pre,
                          hf_class=hf_class, stated=stated, target=beside, chat_template=chat_template, plain=plain,
                          keep_quantized=keep_quantized, adapters=adapters, quantization=quantization, mmproj=mmproj,
                          mmproj_only=mmproj_only, mmproj_type=mmproj_type,
                          split=SplitLimits(max_bytes=split_max_size, max_tensors=split_max_tensors))
    if calibrate:
        from ..converters.calibrate.imatrix import ImatrixOptions, with_matrix

        running = ImatrixOptions(device=device, threads=threads, max_memory=max(max_memory, LAYER_MEMORY), force=force,
                                 resume=resume)
        with out.progress("imatrix", "tokens") as progress:
            options, made = with_matrix(folder, outfile, options, calibrate, running, dry_run, progress)
        out.line(f"{made.path}: {made.entries} weights, {made.chunks} chunks, in {made.seconds:.1f} s")
    plan, refused = plan_checkpoint(folder, outfile, options, outtypes)
    plan = plan.noting(why)
    compare = {path: afterwards(folder, path, threads=threads, max_memory=max_memory, pre=pre, hf_class=hf_class, stated=stated,
                                target=beside, ignore=overridden(override_kv, chat_template), adapters=adapters)
               for path in plan.results} if after else None
    pair = ("--mmproj", str(plan.outputs[-1].path)) if mmproj and not mmproj_only else ()
    served = () if mmproj_only else (
        ("llama-server", "-m", *(("TARGET.gguf", "-md", RESULT) if target else (RESULT, *pair))),)
    publishing = Publishing(push=push, card=card, private=private, create_pr=create_pr, base_model=tuple(base_model),
                            made_of=(folder, *(adapter.folder for adapter in adapters)),
                            relation="merge" if adapters else "quantized")
    return carry_out(out, plan, refused, source=model, dry_run=dry_run, checksums=checksums, report=report,
                     modelfile=modelfile, after=compare,
                     then=(("ggufx", "verify", model, RESULT, *pair, *(("--as", hf_class) if hf_class else ()),
                            *(("--target", target) if target else ()), *stated.words,
                            *(text for adapter in lora for text in ("--lora", adapter))), *served), threads=threads,
                     max_memory=max_memory, device=device, engine=engine, resume=resume, force=force,
                     publishing=publishing)
