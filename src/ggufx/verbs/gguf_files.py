"""GGUF files that exist: other types, parts, key-values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arguments import as_path, as_quantization, checked
from .carried import carried_out, each_made

if TYPE_CHECKING:
    from ..converters.plan.plan import ConversionPlan
    from ..converters.run.execute import Result


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
    from ..converters.io.objects import staged
    from ..converters.measure.recommend import recommended_types
    from ..converters.plan.gguf_output import SplitLimits
    from ..converters.planners.many_outputs import outtype_names, plan_outputs
    from ..converters.planners.quantize import QuantizePlanner
    from ..converters.sources.hub import resolve_model

    quantization = as_quantization(
        imatrix_file=imatrix, include_weights=include_weights, exclude_weights=exclude_weights, tensor_types=tensor_types,
        tensor_type_file=tensor_type_file, output_tensor_type=output_tensor_type, token_embedding_type=token_embedding_type,
        leave_output_tensor=leave_output_tensor, pure=pure, allow_fallback=fallback, override_kv=override_kv,
        allow_requantize=allow_requantize)
    outtype_names(outtype)  # a slip is told before anything is fetched
    path = resolve_model(model, what="gguf", headers=dry_run)
    outtypes, why = recommended_types(outtype, path)
    planner = QuantizePlanner(path, staged(outfile), quantization,
                              SplitLimits(max_bytes=split_max_size, max_tensors=split_max_tensors))
    plan, refused = plan_outputs(planner, outtypes)
    return each_made(plan.noting(why), refused, dry_run, source=model, report=report, force=force, resume=resume,
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
    from ..converters.io.objects import staged
    from ..converters.plan.gguf_output import SplitLimits
    from ..converters.planners.copied_tensors import plan_split
    from ..converters.sources.hub import resolve_model

    limits = SplitLimits(max_bytes=max_size, max_tensors=max_tensors, first_empty=first_empty)
    plan = plan_split(resolve_model(model, what="gguf", headers=dry_run), staged(out), limits)
    return carried_out(plan, dry_run, force=force, resume=resume, checksums=checksums, threads=threads,
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
    from ..converters.io.objects import staged
    from ..converters.planners.copied_tensors import plan_join
    from ..converters.sources.hub import resolve_model

    plan = plan_join(resolve_model(first, what="gguf", headers=dry_run), staged(outfile))
    return carried_out(plan, dry_run, force=force, resume=resume, checksums=checksums, threads=threads,
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

    from ..converters.io.objects import staged
    from ..converters.planners.edit import EditOptions, plan_edit
    from ..converters.run.execute import Result
    from ..converters.sources.hub import resolve_model

    def assigned(pairs: Any) -> tuple[str, ...]:
        if not isinstance(pairs, Mapping):
            return tuple(pairs)
        return tuple(f"{k}={v if isinstance(v, (str, Path)) else json.dumps(v)}" for k, v in pairs.items())

    options = EditOptions(set=assigned(set), set_file=assigned(set_file), unset=tuple(unset), tokens=assigned(tokens),
                          chat_template=as_path(chat_template), tokenizer_from=as_path(tokenizer_from))
    plan = plan_edit(resolve_model(model, what="gguf", headers=dry_run), staged(as_path(outfile)), options)
    if outfile is None and not plan.facts["changes"] and not dry_run:
        return Result((), 0.0, 0, 0, 0)
    return carried_out(plan, dry_run, force=force or outfile is None, resume=resume, checksums=checksums, threads=threads,
                        max_memory=max_memory, progress=progress)
