"""Checkpoints to GGUF and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import as_path, as_quantization, as_stated, as_target, check_positive, checked, several
from .carried import carried_out, each_made

if TYPE_CHECKING:
    from ..converters.plan.plan import ConversionPlan
    from ..converters.run.execute import Result


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
                  current folder. Also `s3://bucket/name.gguf` or `s3://bucket/folder/`, as of all verbs: written and checked
                  here, then sent (`WrittenFile.url`)
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
    from ..converters.io.objects import staged
    from ..converters.measure.recommend import recommended_types
    from ..converters.plan.gguf_output import SplitLimits
    from ..converters.planners.hf_to_gguf import GgufOptions
    from ..converters.planners.many_outputs import outtype_names
    from ..converters.planners.merged_weights import resolve_adapters
    from ..converters.planners.projector import plan_checkpoint
    from ..converters.sources.hub import cached_origin, resolve_model

    quantization = as_quantization(
        imatrix_file=imatrix, include_weights=include_weights, exclude_weights=exclude_weights, tensor_types=tensor_types,
        tensor_type_file=tensor_type_file, output_tensor_type=output_tensor_type, token_embedding_type=token_embedding_type,
        leave_output_tensor=leave_output_tensor, pure=pure, allow_fallback=fallback, override_kv=override_kv)
    outfile = staged(outfile)
    outtype_names(outtype)  # a slip is told before anything is fetched
    folder = resolve_model(model, headers=dry_run, parts=mmproj or mmproj_only)
    outtypes, why = recommended_types(outtype, folder)
    options = GgufOptions(model_name=model_name, metadata_file=as_path(metadata_file), hub_id=cached_origin(folder), pre=pre,
                          hf_class=hf_class, stated=as_stated(llama_version, context_length),
                          target=as_target(target, headers=dry_run), chat_template=as_path(chat_template), plain=plain,
                          keep_quantized=keep_quantized,
                          adapters=resolve_adapters(several(lora), headers=dry_run), quantization=quantization, mmproj=mmproj,
                          mmproj_only=mmproj_only, mmproj_type=mmproj_type,
                          split=SplitLimits(max_bytes=split_max_size, max_tensors=split_max_tensors))
    if texts := several(calibrate):
        from ..converters.calibrate.imatrix import ImatrixOptions, with_matrix

        running = ImatrixOptions(device=device, threads=threads, max_memory=max(max_memory, 4 << 30), force=force,
                                 resume=resume)
        options, _ = with_matrix(folder, outfile, options, [Path(text) for text in texts], running, dry_run, progress)
    plan, refused = plan_checkpoint(folder, outfile, options, outtypes)
    return each_made(plan.noting(why), refused, dry_run, source=model, report=report, force=force,
                      resume=resume, checksums=checksums, threads=threads, max_memory=max_memory, device=device, engine=engine,
                      progress=progress)


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
    from ..converters.io.objects import staged
    from ..converters.planners.adapter_to_hf import base_of_gguf, hub_id, is_adapter, plan_adapter_to_hf
    from ..converters.planners.gguf_to_hf import HfOptions
    from ..converters.planners.pair_to_hf import plan_model_to_hf
    from ..converters.sources.hub import resolve_model

    made = Path(staged(folder))
    projector = None if mmproj is None else resolve_model(mmproj, what="gguf", headers=dry_run)
    options = HfOptions(dtype, max_shard_bytes=max_shard_size, mmproj=projector, hf_class=hf_class)
    path = resolve_model(model, what="gguf", headers=dry_run)
    if is_adapter(path) or base is not None:
        named = base_of_gguf(path) if base is None else base
        base_folder = resolve_model(named, what="config", headers=dry_run)
        plan = plan_adapter_to_hf(path, base_folder, made, options, hub_id(named))
    else:
        plan = plan_model_to_hf(path, made, options)
    return carried_out(plan, dry_run, force=force, resume=resume, checksums=checksums, threads=threads,
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
    from ..converters.io.objects import staged
    from ..converters.planners.original_to_hf import OriginalOptions, plan_original_to_hf
    from ..converters.sources.hub import resolve_model

    check_positive(max_shard_size=max_shard_size)
    options = OriginalOptions(as_stated(llama_version, context_length), max_shard_bytes=max_shard_size)
    plan = plan_original_to_hf(resolve_model(model, headers=dry_run), Path(staged(folder)), options)
    return carried_out(plan, dry_run, force=force, resume=resume, checksums=checksums, threads=threads,
                        max_memory=max_memory, device=device, engine=engine, progress=progress)
