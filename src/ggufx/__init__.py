"""ggufx: the round-trip converter between Hugging Face checkpoints and GGUF.

    import ggufx
    ggufx.hf_to_gguf("org/model", "model.gguf", outtype="q4_k_m", imatrix="imatrix.gguf")
    ggufx.imatrix("org/model", "calibration.txt", "imatrix.gguf")
    ggufx.gguf_to_hf("model.gguf", "model/")
    ggufx.original_to_hf("Llama3.2-1B/", "Llama-3.2-1B-hf/")
    ggufx.lora_to_gguf("adapter/", base="org/model", outfile="adapter.gguf")
    ggufx.quantize("model-bf16.gguf", "model-{outtype}.gguf", ["q4_k_m", "q6_k"])
    ggufx.split("model.gguf", "parts/model", max_size=48 * 10**9)
    ggufx.join("parts/model-00001-of-00003.gguf", "model.gguf")
    ggufx.edit("model.gguf", chat_template="template.jinja", set={"general.name": "Model"})
    ggufx.verify("org/model", "model.gguf").same
    ggufx.push(["model-Q4_K_M.gguf", "model-Q8_0.gguf"], "me/model-GGUF", base_model="org/model")
    ggufx.measure("model-f16.gguf", ["model-q4_k_m.gguf"], "text.txt")[1].divergence
    ggufx.inspect("model.gguf").memory(32768)

Each verb returns what was written (`Result`), raises `GgufxError`, and writes nothing under a final name unless it is
complete. With `dry_run=True` it returns the plan instead, and refuses what it would refuse otherwise. Nothing heavy is
imported before a verb is called.

What the verbs that write have in common:

    dry_run     return the plan (`ConversionPlan`), write nothing
    force       replace existing outputs
    resume      go on where an interrupted run stopped; what is there already is checked, not trusted
    checksums   whether the result states the SHA-256 of each file
    report      a .json or .html file for what each tensor lost by its type; `Result.losses` then has it too
    threads     default: all CPUs. No byte depends on it
    max_memory  bytes of tensor data in flight, on each GPU as well
    device      auto, cpu, cuda (all GPUs) or cuda:N. The same bytes
    engine      threads, or ray: a cluster whose nodes see the same files. The same bytes
    progress    called with (bytes done, bytes in all, name of the tensor)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import as_path, as_quantization, as_stated, as_target, check_positive, checked, several, texts

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .converters.batch import Outcome
    from .converters.calibrate.imatrix import ImatrixResult
    from .converters.errors import GgufxError, IncompleteError
    from .converters.inspect.inspection import Inspection
    from .converters.measure.measure import Measured
    from .converters.plan.plan import ConversionPlan
    from .converters.publish.upload import Pushed
    from .converters.run.execute import Result
    from .converters.run.shards import ShardResult
    from .converters.verify.verify import Report

__all__ = ["ConversionPlan", "GgufxError", "ImatrixResult", "IncompleteError", "Inspection", "Measured", "Outcome", "Pushed",
           "Report", "Result", "ShardResult", "__version__", "batch", "card", "commit", "edit", "gguf_to_hf", "hf_to_gguf",
           "imatrix", "inspect", "join", "lora_to_gguf", "measure", "merge_lora", "original_to_hf", "push", "quantize",
           "run_shard", "split", "verify", "write_plan"]

_ELSEWHERE = {"GgufxError": "errors", "IncompleteError": "errors", "Result": "run.execute", "ShardResult": "run.shards",
              "Outcome": "batch", "ConversionPlan": "plan.plan", "ImatrixResult": "calibrate.imatrix",
              "Inspection": "inspect.inspection", "Measured": "measure.measure", "Report": "verify.verify",
              "Pushed": "publish.upload"}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(f".converters.{_ELSEWHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@checked
def hf_to_gguf(
    model: str | Path,
    outfile: str | Path | None = None,
    *,
    outtype: str | Sequence[str] = "auto",
    imatrix: str | Path | None = None,
    calibrate: str | Path | Sequence[str | Path] = (),
    include_weights: Sequence[str] = (),
    exclude_weights: Sequence[str] = (),
    tensor_types: Mapping[str, str] | Sequence[str] = (),
    tensor_type_file: str | Path | None = None,
    output_tensor_type: str | None = None,
    token_embedding_type: str | None = None,
    leave_output_tensor: bool = False,
    pure: bool = False,
    fallback: bool = True,
    override_kv: Mapping[str, bool | int | float | str] | Sequence[str] = (),
    lora: str | Path | Sequence[str | Path] = (),
    model_name: str | None = None,
    metadata_file: str | Path | None = None,
    pre: str | None = None,
    hf_class: str | None = None,
    llama_version: str | None = None,
    context_length: int | None = None,
    target: str | Path | None = None,
    chat_template: str | Path | None = None,
    plain: bool = False,
    keep_quantized: bool = False,
    mmproj: bool = False,
    mmproj_only: bool = False,
    mmproj_type: str = "f16",
    split_max_size: int | None = None,
    split_max_tensors: int | None = None,
    dry_run: bool = False,
    force: bool = False,
    resume: bool = False,
    checksums: bool = True,
    report: str | Path | None = None,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    device: str = "auto",
    engine: str = "threads",
    progress: Callable[[int, int, str], None] | None = None,
) -> Result | ConversionPlan:
    """A checkpoint (folder or Hub id `org/name[@revision]`) -> a GGUF file, or one of each type in a single pass.

    outfile       a file, in which `{outtype}` is filled in, or a folder for a file of the conventional name; None: the
                  current folder
    outtype       a file type or preset, or several; see `ggufx types`. auto: the model's own
    imatrix       importance matrix, GGUF or legacy; `include_weights`, `exclude_weights`: which of its entries
    calibrate     texts to make an importance matrix of first, as `ggufx.imatrix` does, beside what is written
    tensor_types  pattern -> tensor type, the first that is found in a name decides; `tensor_type_file`: the same in a file
    output_tensor_type, token_embedding_type, leave_output_tensor, pure: as of llama-quantize
    fallback      whether a tensor that does not fit its type may get another, which the plan names
    override_kv   key-values in place of the model's; a sequence: as on the command line
    lora          adapters to merge into the model first, one after another: each a folder or Hub id, as `ADAPTER@SCALE` too
    model_name    general.name; `metadata_file`: JSON with general.* key-values
    pre           the pre-tokenizer, where it is not recognised
    hf_class      the class to take the model for, whatever config.json says
    llama_version, context_length   of a model in Meta's or Mistral's own layout, whose files do not tell them
    target        of a draft model (EAGLE-3, DFlash, DSpark): the model that it guesses for, whose tokenizer it takes;
                  folder or Hub id
    chat_template a Jinja file in the place of the model's own template, named ones too
    plain         no ggufx.* key-values: the way back is then not exact
    keep_quantized   of a quantized checkpoint at `auto`: whole numbers of few bits stay as they are, in GGUF's blocks
    mmproj        also write the vision and audio parts, of type `mmproj_type`, to a file mmproj-... beside; `mmproj_only`: to
                  `outfile`, without the text model
    split_max_size, split_max_tensors   parts as of gguf-split, with at most so many bytes of tensors, or tensors, each

    Of several types some may fail while the others are made: `IncompleteError` then holds the result.
    """
    from .converters.plan.gguf_output import SplitLimits
    from .converters.planners.hf_to_gguf import GgufOptions
    from .converters.planners.many_outputs import outtype_names
    from .converters.planners.merged_weights import resolve_adapters
    from .converters.planners.projector import plan_checkpoint
    from .converters.sources.hub import cached_origin, resolve_model

    quantization = as_quantization(
        imatrix_file=imatrix, include_weights=include_weights, exclude_weights=exclude_weights, tensor_types=tensor_types,
        tensor_type_file=tensor_type_file, output_tensor_type=output_tensor_type, token_embedding_type=token_embedding_type,
        leave_output_tensor=leave_output_tensor, pure=pure, allow_fallback=fallback, override_kv=override_kv)
    outtypes = outtype_names(outtype)
    folder = resolve_model(model, headers=dry_run)
    options = GgufOptions(model_name=model_name, metadata_file=as_path(metadata_file), hub_id=cached_origin(folder), pre=pre,
                          hf_class=hf_class, stated=as_stated(llama_version, context_length),
                          target=as_target(target, headers=dry_run), chat_template=as_path(chat_template), plain=plain,
                          keep_quantized=keep_quantized,
                          adapters=resolve_adapters(several(lora), headers=dry_run), quantization=quantization, mmproj=mmproj,
                          mmproj_only=mmproj_only, mmproj_type=mmproj_type,
                          split=SplitLimits(max_bytes=split_max_size, max_tensors=split_max_tensors))
    if texts := several(calibrate):
        from .converters.calibrate.imatrix import ImatrixOptions, with_matrix

        running = ImatrixOptions(device=device, threads=threads, max_memory=max(max_memory, 4 << 30), force=force,
                                 resume=resume)
        options, _ = with_matrix(folder, outfile, options, [Path(text) for text in texts], running, dry_run, progress)
    return _each_made(*plan_checkpoint(folder, outfile, options, outtypes), dry_run, source=model, report=report, force=force,
                      resume=resume, checksums=checksums, threads=threads, max_memory=max_memory, device=device, engine=engine,
                      progress=progress)


@checked
def imatrix(
    model: str | Path,
    data: str | Path | Sequence[str | Path],
    outfile: str | Path = "imatrix.gguf",
    *,
    context: int = 512,
    chunks: int | None = None,
    skip: int = 0,
    parse_special: bool = False,
    hf_class: str | None = None,
    force: bool = False,
    resume: bool = False,
    threads: int | None = None,
    max_memory: int = 4 << 30,
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> ImatrixResult:
    """An importance matrix of a checkpoint (folder or Hub id), layer by layer, as llama-imatrix makes it. Needs transformers.

    data          UTF-8 texts, one after another
    context       tokens of a chunk; `chunks`: how many at most; `skip`: how many are left out at the begin
    parse_special control tokens in the texts are read as such
    hf_class      the class to take the model for, whatever config.json says
    max_memory    bytes of a layer in float32, and of what a chunk takes in it
    device        auto, cpu, cuda or cuda:N. Sums differ in their last digits from one processor to another
    progress      called with (tokens done, tokens in all, name of the layer); a token counts once in each layer
    """
    from .converters.calibrate.imatrix import ImatrixOptions, make_imatrix
    from .converters.calibrate.text import TextOptions
    from .converters.planners.hf_to_gguf import GgufOptions
    from .converters.sources.hub import resolve_model

    check_positive(context=context, chunks=chunks)
    options = ImatrixOptions(TextOptions(context, chunks, skip, parse_special), device=device, threads=threads,
                             max_memory=max_memory, force=force, resume=resume)
    texts = [Path(text) for text in several(data)]
    return make_imatrix(resolve_model(model), texts, Path(outfile), options, GgufOptions(hf_class=hf_class), progress)


@checked
def measure(
    base: str | Path,
    files: str | Path | Sequence[str | Path],
    data: str | Path | Sequence[str | Path],
    *,
    context: int = 512,
    chunks: int | None = None,
    threads: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Measured]:
    """Perplexity of GGUF files and their divergence from `base`, in llama.cpp: of the base, then of each file. Needs xllamacpp.

    data          UTF-8 texts, one after another
    context       tokens of a chunk; `chunks`: how many at most
    progress      called with (tokens done, tokens in all, "")
    """
    from .converters.measure.measure import measure as measured

    check_positive(context=context, chunks=chunks, threads=threads)
    texts = [Path(text) for text in several(data)]
    return measured(Path(base), [Path(file) for file in several(files)], texts, context, chunks, threads, progress)


@checked
def gguf_to_hf(
    model: str | Path,
    folder: str | Path,
    *,
    dtype: str = "auto",
    max_shard_size: int | None = None,
    mmproj: str | Path | None = None,
    base: str | Path | None = None,
    hf_class: str | None = None,
    dry_run: bool = False,
    force: bool = False,
    resume: bool = False,
    checksums: bool = True,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    device: str = "auto",
    engine: str = "threads",
    progress: Callable[[int, int, str], None] | None = None,
) -> Result | ConversionPlan:
    """A GGUF file (the first part of a split one, or `org/repo:file.gguf`) -> a checkpoint folder, which is made; a GGUF
    adapter -> a PEFT adapter's.

    `dtype`: auto (the original types where the file tells them), bf16, f16 or f32. `max_shard_size` in bytes (the files
    as they were where the file tells that, else of 5 GB). `mmproj`: the file of the vision and audio parts, with which the
    whole multimodal checkpoint is made; `hf_class`: its class, where two files of others do not tell. `base`: of an adapter,
    the base model's folder or Hub id, of which config.json is enough; None: the one that the adapter names.
    """
    from .converters.planners.adapter_to_hf import base_of_gguf, hub_id, is_adapter, plan_adapter_to_hf
    from .converters.planners.gguf_to_hf import HfOptions
    from .converters.planners.pair_to_hf import plan_model_to_hf
    from .converters.sources.hub import resolve_model

    projector = None if mmproj is None else resolve_model(mmproj, what="gguf", headers=dry_run)
    options = HfOptions(dtype, max_shard_bytes=max_shard_size, mmproj=projector, hf_class=hf_class)
    path = resolve_model(model, what="gguf", headers=dry_run)
    if is_adapter(path) or base is not None:
        named = base_of_gguf(path) if base is None else base
        base_folder = resolve_model(named, what="config", headers=dry_run)
        plan = plan_adapter_to_hf(path, base_folder, Path(folder), options, hub_id(named))
    else:
        plan = plan_model_to_hf(path, Path(folder), options)
    return _carried_out(plan, dry_run, force=force, resume=resume, checksums=checksums, threads=threads,
                        max_memory=max_memory, device=device, engine=engine, progress=progress)


@checked
def original_to_hf(
    model: str | Path,
    folder: str | Path,
    *,
    llama_version: str | None = None,
    context_length: int | None = None,
    max_shard_size: int = 5 * 10**9,
    dry_run: bool = False,
    force: bool = False,
    resume: bool = False,
    checksums: bool = True,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    device: str = "auto",
    engine: str = "threads",
    progress: Callable[[int, int, str], None] | None = None,
) -> Result | ConversionPlan:
    """A model in Meta's or Mistral's own layout -> a checkpoint folder, which is made; each tensor in its own element type.

    `llama_version`, `context_length` as of `hf_to_gguf`; `max_shard_size` in bytes.
    """
    from .converters.planners.original_to_hf import OriginalOptions, plan_original_to_hf
    from .converters.sources.hub import resolve_model

    check_positive(max_shard_size=max_shard_size)
    options = OriginalOptions(as_stated(llama_version, context_length), max_shard_bytes=max_shard_size)
    plan = plan_original_to_hf(resolve_model(model, headers=dry_run), Path(folder), options)
    return _carried_out(plan, dry_run, force=force, resume=resume, checksums=checksums, threads=threads,
                        max_memory=max_memory, device=device, engine=engine, progress=progress)


@checked
def lora_to_gguf(
    adapter: str | Path,
    *,
    base: str | Path | None = None,
    outfile: str | Path | None = None,
    outtype: str = "f32",
    model_name: str | None = None,
    metadata_file: str | Path | None = None,
    hf_class: str | None = None,
    plain: bool = False,
    task: str | None = None,
    dry_run: bool = False,
    force: bool = False,
    resume: bool = False,
    checksums: bool = True,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    progress: Callable[[int, int, str], None] | None = None,
) -> Result | ConversionPlan:
    """A PEFT LoRA adapter -> a GGUF adapter. `base`: the base model's folder or Hub id; its config.json is enough.

    None: the one that adapter_config.json names. `task`: `adapter` is a model that holds updates of tasks, of which this one
    is made an adapter.
    `outfile`, `model_name`, `metadata_file`, `hf_class` (the base's), `plain` as of `hf_to_gguf`; `outtype`: f32, f16, bf16 or
    q8_0.
    """
    from .converters.planners.lora_to_gguf import LoraOptions, plan_lora_to_gguf
    from .converters.sources.hf_folder import base_of
    from .converters.sources.hub import cached_origin, resolve_model

    folder = resolve_model(adapter, what="adapter" if task is None else "checkpoint", headers=dry_run)
    base = base or (base_of(folder) if task is None else folder)
    base_folder = resolve_model(base, what="config", headers=dry_run)
    options = LoraOptions(outtype, model_name=model_name, metadata_file=as_path(metadata_file), hub_id=cached_origin(folder),
                          hf_class=hf_class, plain=plain, task=task)
    plan = plan_lora_to_gguf(base_folder, folder, outfile, options)
    return _carried_out(plan, dry_run, force=force, resume=resume, checksums=checksums, threads=threads,
                        max_memory=max_memory, progress=progress)


@checked
def merge_lora(
    adapters: str | Path | Sequence[str | Path],
    outfile: str | Path,
    *,
    base: str | Path | None = None,
    outtype: str | Sequence[str] = "keep",
    imatrix: str | Path | None = None,
    hf_class: str | None = None,
    dry_run: bool = False,
    force: bool = False,
    resume: bool = False,
    checksums: bool = True,
    report: str | Path | None = None,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    device: str = "auto",
    engine: str = "threads",
    progress: Callable[[int, int, str], None] | None = None,
) -> Result | ConversionPlan:
    """PEFT adapters merged into their base model -> a checkpoint folder, which is made; with the bits of peft's merge.

    `adapters`: folders or Hub ids, as `ADAPTER@SCALE` too; several are merged one after another. `base`: the base model's
    checkpoint; None: the one that the first adapter names. `hf_class` as of `hf_to_gguf`. Of a base that is a GGUF file,
    `outfile` is one: `outtype` keep leaves each tensor its type, else a file of each type; adapters may be GGUF files as well.
    """
    from .converters.planners.merge_lora import plan_merge
    from .converters.planners.merged_weights import resolve_adapters
    from .converters.sources.hf_folder import base_of
    from .converters.sources.hub import resolve_model

    found = resolve_adapters(several(adapters), headers=dry_run)
    model = base_of(found[0].folder) if base is None and found else base or ""
    path = resolve_model(model, what="gguf" if str(model).endswith(".gguf") else "checkpoint", headers=dry_run)
    plan, refused = plan_merge(path, found, outfile, outtype, hf_class=hf_class, imatrix=as_path(imatrix))
    return _each_made(plan, refused, dry_run, source=model, report=report, force=force, resume=resume,
                      checksums=checksums, threads=threads, max_memory=max_memory, device=device, engine=engine,
                      progress=progress)


@checked
def quantize(
    model: str | Path,
    outfile: str | Path,
    outtype: str | Sequence[str],
    *,
    imatrix: str | Path | None = None,
    include_weights: Sequence[str] = (),
    exclude_weights: Sequence[str] = (),
    tensor_types: Mapping[str, str] | Sequence[str] = (),
    tensor_type_file: str | Path | None = None,
    output_tensor_type: str | None = None,
    token_embedding_type: str | None = None,
    leave_output_tensor: bool = False,
    pure: bool = False,
    fallback: bool = True,
    allow_requantize: bool = False,
    override_kv: Mapping[str, bool | int | float | str] | Sequence[str] = (),
    split_max_size: int | None = None,
    split_max_tensors: int | None = None,
    dry_run: bool = False,
    force: bool = False,
    resume: bool = False,
    checksums: bool = True,
    report: str | Path | None = None,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    device: str = "auto",
    engine: str = "threads",
    progress: Callable[[int, int, str], None] | None = None,
) -> Result | ConversionPlan:
    """A GGUF file -> a GGUF file of another type, or one of each type in a single pass, with the bytes of llama-quantize.

    `allow_requantize`: also tensors that are quantized already, which lose twice. The others as of `hf_to_gguf`.
    """
    from .converters.plan.gguf_output import SplitLimits
    from .converters.planners.many_outputs import outtype_names
    from .converters.planners.quantize import QuantizePlanner
    from .converters.sources.hub import resolve_model

    quantization = as_quantization(
        imatrix_file=imatrix, include_weights=include_weights, exclude_weights=exclude_weights, tensor_types=tensor_types,
        tensor_type_file=tensor_type_file, output_tensor_type=output_tensor_type, token_embedding_type=token_embedding_type,
        leave_output_tensor=leave_output_tensor, pure=pure, allow_fallback=fallback, override_kv=override_kv,
        allow_requantize=allow_requantize)
    outtypes = outtype_names(outtype)
    planner = QuantizePlanner(resolve_model(model, what="gguf", headers=dry_run), outfile, quantization,
                              SplitLimits(max_bytes=split_max_size, max_tensors=split_max_tensors))
    return _each_type(planner, outtypes, dry_run, source=model, report=report, force=force, resume=resume,
                      checksums=checksums, threads=threads, max_memory=max_memory, device=device, engine=engine,
                      progress=progress)


@checked
def split(
    model: str | Path,
    out: str | Path,
    *,
    max_size: int | None = None,
    max_tensors: int | None = None,
    first_empty: bool = False,
    dry_run: bool = False,
    force: bool = False,
    resume: bool = False,
    checksums: bool = True,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    progress: Callable[[int, int, str], None] | None = None,
) -> Result | ConversionPlan:
    """A GGUF file -> parts named `out`-00001-of-0000N.gguf, with the bytes of gguf-split; the first opens them all.

    `max_size`: bytes of tensors in a part; `max_tensors`: tensors in a part; of both, what is reached first. `first_empty`:
    the first part has the key-values alone. `out`: the beginning of the names, or a folder.
    """
    from .converters.plan.gguf_output import SplitLimits
    from .converters.planners.copied_tensors import plan_split
    from .converters.sources.hub import resolve_model

    limits = SplitLimits(max_bytes=max_size, max_tensors=max_tensors, first_empty=first_empty)
    plan = plan_split(resolve_model(model, what="gguf", headers=dry_run), out, limits)
    return _carried_out(plan, dry_run, force=force, resume=resume, checksums=checksums, threads=threads,
                        max_memory=max_memory, progress=progress)


@checked
def join(
    first: str | Path,
    outfile: str | Path,
    *,
    dry_run: bool = False,
    force: bool = False,
    resume: bool = False,
    checksums: bool = True,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    progress: Callable[[int, int, str], None] | None = None,
) -> Result | ConversionPlan:
    """The parts of a split GGUF model, given the first, -> one file: the one that was split, but for its `split.*` keys."""
    from .converters.planners.copied_tensors import plan_join
    from .converters.sources.hub import resolve_model

    plan = plan_join(resolve_model(first, what="gguf", headers=dry_run), outfile)
    return _carried_out(plan, dry_run, force=force, resume=resume, checksums=checksums, threads=threads,
                        max_memory=max_memory, progress=progress)


@checked
def edit(
    model: str | Path,
    outfile: str | Path | None = None,
    *,
    set: Mapping[str, bool | int | float | str | Sequence[bool | int | float | str]] | Sequence[str] = (),
    set_file: Mapping[str, str | Path] | Sequence[str] = (),
    unset: Sequence[str] = (),
    chat_template: str | Path | None = None,
    tokens: Mapping[str, str] | Sequence[str] = (),
    tokenizer_from: str | Path | None = None,
    dry_run: bool = False,
    force: bool = False,
    resume: bool = False,
    checksums: bool = True,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    progress: Callable[[int, int, str], None] | None = None,
) -> Result | ConversionPlan:
    """A GGUF file -> the same with other key-values, and the same tensors; None: in its own place, once it is complete.

    set             values by key; of a key that is not known by `key:type`, as in {"my.key:u32": 5}. `set_file`: in files
    unset           keys, with wildcards
    chat_template   a Jinja file; `tokens`: the texts of special tokens, {"eos": "<|eot_id|>"}
    tokenizer_from  a checkpoint's folder: vocabulary and templates anew

    Of a split model the first part alone changes. Sequences: as on the command line. A file that changes in nothing stays.
    """
    import json

    from .converters.planners.edit import EditOptions, plan_edit
    from .converters.run.execute import Result
    from .converters.sources.hub import resolve_model

    def assigned(pairs: Any) -> tuple[str, ...]:
        if not isinstance(pairs, Mapping):
            return tuple(pairs)
        return tuple(f"{k}={v if isinstance(v, (str, Path)) else json.dumps(v)}" for k, v in pairs.items())

    options = EditOptions(set=assigned(set), set_file=assigned(set_file), unset=tuple(unset), tokens=assigned(tokens),
                          chat_template=as_path(chat_template), tokenizer_from=as_path(tokenizer_from))
    plan = plan_edit(resolve_model(model, what="gguf", headers=dry_run), as_path(outfile), options)
    if outfile is None and not plan.facts["changes"] and not dry_run:
        return Result((), 0.0, 0, 0, 0)
    return _carried_out(plan, dry_run, force=force or outfile is None, resume=resume, checksums=checksums, threads=threads,
                        max_memory=max_memory, progress=progress)


@checked
def verify(
    a: str | Path,
    b: str | Path,
    *,
    base: str | Path | None = None,
    lora: str | Path | Sequence[str | Path] = (),
    max_rmse: float | None = None,
    ignore: Sequence[str] = (),
    strict: bool = False,
    tokenizer: bool = False,
    checksums: bool = True,
    pre: str | None = None,
    hf_class: str | None = None,
    llama_version: str | None = None,
    context_length: int | None = None,
    target: str | Path | None = None,
    mmproj: str | Path | None = None,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    progress: Callable[[int, int, str], None] | None = None,
) -> Report:
    """Compare any two of checkpoint, GGUF file, adapter: `.same`, `.worst()`, `.differences`, `.to_json()`.

    `base`: the base model, for an adapter folder beside a GGUF adapter; else the one that it names. `lora`: adapters that are
    merged into `a`, a checkpoint, before. `max_rmse`: relative RMSE
    allowed for quantized tensors, in place of each type's own bound. `ignore`: keys (wildcards) that do not count; `strict`:
    all others do. `pre`, `hf_class`, `llama_version`, `context_length`, `target`: as of `hf_to_gguf`. `mmproj`: the file of the
    vision and audio parts that belongs to the GGUF file. `progress`: called with (bytes done, in all, name of the tensor).
    """
    from .converters.planners.merged_weights import resolve_adapters
    from .converters.sources.hub import resolve_model
    from .converters.verify.verify import VerifyOptions, base_named, verify

    check_positive(threads=threads, max_memory=max_memory)
    one, two = (resolve_model(x, what="gguf" if ":" in str(x) else "checkpoint" if base is None else "adapter") for x in (a, b))
    base = base or base_named(one, two)
    options = VerifyOptions(
        base=None if base is None else resolve_model(base, what="config"), max_rmse=max_rmse, ignore=tuple(ignore),
        strict=strict, tokenizer=tokenizer, checksums=checksums, pre=pre, hf_class=hf_class, target=as_target(target),
        stated=as_stated(llama_version, context_length), adapters=resolve_adapters(several(lora)),
        projector=None if mmproj is None else resolve_model(mmproj, what="gguf"))
    return verify(one, two, options, threads=threads, max_memory=max_memory, progress=progress)


@checked
def inspect(path: str | Path) -> Inspection:
    """A GGUF file, an importance matrix, or a checkpoint's or adapter's folder, from headers only; of the Hub
    (`org/name[@revision]`, `org/repo:file.gguf`) nothing else is fetched.

    `.architecture`, `.parameters`, `.types`, `.context_length`, `.templates`, `.tensors`, `.metadata`; `.memory(context)`:
    bytes of weights and of the cache at so many tokens.
    """
    from .converters.inspect.inspection import inspect
    from .converters.sources.hub import resolve_model

    return inspect(resolve_model(path, what="any", headers=True))


def write_plan(plan: ConversionPlan, path: str | Path) -> None:
    """Write what a verb gives with `dry_run=True` to a JSON file, for `run_shard` and `commit` on machines that see the same
    files. A model of the Hub must have been fetched before."""
    import json

    from .converters.errors import StorageError, UsageError
    from .converters.plan.document import plan_document
    from .converters.plan.plan import ConversionPlan

    if not isinstance(plan, ConversionPlan):
        raise UsageError("write_plan: plan is of a wrong type", expected="ConversionPlan", found=type(plan).__name__)
    text = json.dumps(plan_document(plan, __version__), ensure_ascii=False)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", file=path) from error


@checked
def run_shard(
    plan: str | Path,
    index: int,
    count: int,
    *,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    device: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> ShardResult:
    """Carry out shard `index`, from 0, of `count` of a plan's file: what a task of a cluster calls. All shards have the same
    `count`; they run in any order, at once, and again. What they write gets its names by `commit`."""
    from .converters.plan.document import read_plan
    from .converters.run.shards import run_shard

    check_positive(threads=threads, max_memory=max_memory)
    return run_shard(read_plan(Path(plan), __version__), index, count, threads=threads, max_memory=max_memory, device=device,
                     progress=progress)


@checked
def commit(
    plan: str | Path,
    *,
    force: bool = False,
    checksums: bool = True,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    progress: Callable[[int, int, str], None] | None = None,
) -> Result:
    """Check what all shards of a plan wrote, and publish it. UsageError names shards that are missing."""
    from .converters.plan.document import read_plan
    from .converters.run.shards import commit

    check_positive(threads=threads, max_memory=max_memory)
    result = commit(read_plan(Path(plan), __version__), force=force, checksums=checksums, threads=threads,
                    max_memory=max_memory, progress=progress)
    if result.failures:
        from .converters.errors import IncompleteError

        raise IncompleteError(result.failures, result)
    return result


@checked
def push(
    paths: str | Path | Sequence[str | Path],
    repo: str,
    *,
    base_model: str | Sequence[str] = (),
    relation: str = "quantized",
    private: bool = False,
    create_pr: bool = False,
    message: str | None = None,
    force: bool = False,
) -> Pushed:
    """GGUF files, or folders of them, a checkpoint or an adapter -> one commit of `repo` (`org/name[@branch]`) on the Hub.

    The repository is made where it is not there, `private` or not. `base_model`: Hub ids of what the files were made of, for
    the model card; `relation`: quantized, adapter, merge or finetune. `create_pr`: as a pull request. `message`: the commit's
    title. `force`: replace a README.md that ggufx did not make. What has arrived is not sent again by a later call.
    `.commit`, `.url`, `.files` (name, bytes, SHA-256).
    """
    from .converters.publish.contents import collect
    from .converters.publish.plan import prepare
    from .converters.publish.upload import as_target, look
    from .converters.publish.upload import push as pushed

    target = as_target(repo)
    prepared = prepare(collect([Path(path) for path in several(paths)]), repo, texts(base_model), relation)
    look(target, private)
    return pushed(prepared.contents, target, prepared.card, private=private, create_pr=create_pr, message=message, force=force)


@checked
def card(paths: str | Path | Sequence[str | Path], *, repo: str | None = None, base_model: str | Sequence[str] = (),
         relation: str = "quantized") -> str:
    """The model card (README.md) of GGUF files, from their headers; arguments as of `push`."""
    from .converters.publish.contents import collect
    from .converters.publish.plan import prepare

    return prepare(collect([Path(path) for path in several(paths)]), repo, texts(base_model), relation).card


@checked
def batch(
    models: str | Path | Sequence[str | Path],
    *,
    outtype: str | Sequence[str] = "auto",
    outfile: str | Path | None = None,
    mmproj: bool = False,
    mmproj_type: str = "f16",
    check: bool = False,
    force: bool = False,
    checksums: bool = True,
    threads: int | None = None,
    max_memory: int = 1 << 30,
    device: str = "auto",
    engine: str = "threads",
    progress: Callable[[int, int, str], None] | None = None,
) -> tuple[Outcome, ...]:
    """`hf_to_gguf` of many checkpoints, one after another: what became of each. One that fails does not keep the others back.

    `models`: folders or Hub ids, or a file with one on each line. `outfile`: with `{name}`, `{org}` and `{revision}` of the
    checkpoint filled in, and `{outtype}`; or a folder. What is there already, with the size and header that it must have, is
    not made anew; `check`: it is held byte for byte against what its source gives. An interrupted call goes on when repeated.
    """
    from .converters.batch import BatchOptions, check_batch, convert_each, read_list
    from .converters.planners.many_outputs import outtype_names

    check_positive(threads=threads, max_memory=max_memory)
    names = read_list(Path(models)) if isinstance(models, (str, Path)) else [str(model) for model in models]
    options = BatchOptions(outtype=tuple(outtype_names(outtype)), outfile=outfile, mmproj=mmproj, mmproj_type=mmproj_type,
                           force=force, check=check, checksums=checksums, threads=threads, max_memory=max_memory, device=device,
                           engine=engine)
    check_batch(names, options)
    return tuple(convert_each(names, options, progress and (lambda *_: progress)))


def _each_type(planner: Any, outtype: str | Sequence[str], dry_run: bool, **run: Any) -> Result | ConversionPlan:
    from .converters.planners.many_outputs import plan_outputs

    return _each_made(*plan_outputs(planner, outtype), dry_run, **run)


def _each_made(plan: ConversionPlan, refused: Sequence[Any], dry_run: bool, **run: Any) -> Result | ConversionPlan:
    """A file of each type. IncompleteError, with what was made or would be, where some of them cannot be."""
    from .converters.errors import IncompleteError

    result = _carried_out(plan, dry_run, **run)
    if failures := (*refused, *getattr(result, "failures", ())):
        raise IncompleteError(failures, result)
    return result


def _carried_out(plan: ConversionPlan, dry_run: bool, *, checksums: bool, progress: Any, report: str | Path | None = None,
                 source: str | Path = "", **run: Any) -> Result | ConversionPlan:
    from .cli.loss_report import check_report, write_report
    from .converters.run.execute import execute, refuse

    check_positive(threads=run["threads"], max_memory=run["max_memory"])
    path = as_path(report)
    check_report(path, run.get("force", False))
    if dry_run:
        refuse(plan, **run, losses=path is not None)
        return plan
    result = execute(plan, checksums=checksums, progress=progress, losses=path is not None, **run)
    if path is not None:
        write_report(path, result, str(source))
    return result
