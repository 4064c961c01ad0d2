"""ggufx: the round-trip converter between Hugging Face checkpoints and GGUF.

    import ggufx
    ggufx.hf_to_gguf("org/model", "model.gguf", outtype="bf16")
    ggufx.gguf_to_hf("model.gguf", "model/")
    ggufx.lora_to_gguf("adapter/", base="org/model", outfile="adapter.gguf")
    ggufx.verify("org/model", "model.gguf").same

Each verb returns what was written (`Result`), raises `GgufxError`, and writes nothing under a final name unless it is
complete. With `dry_run=True` it returns the plan instead. Nothing heavy is imported before a verb is called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .converters.errors import GgufxError
    from .converters.plan.plan import ConversionPlan
    from .converters.run.execute import Result
    from .converters.verify.verify import Report

__all__ = ["ConversionPlan", "GgufxError", "Report", "Result", "__version__", "gguf_to_hf", "hf_to_gguf", "lora_to_gguf",
           "verify"]

_ELSEWHERE = {"GgufxError": "errors", "Result": "run.execute", "ConversionPlan": "plan.plan", "Report": "verify.verify"}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(f".converters.{_ELSEWHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def hf_to_gguf(
    model: str | Path,
    outfile: str | Path | None = None,
    *,
    outtype: str | Sequence[str] = "auto",
    model_name: str | None = None,
    metadata_file: str | Path | None = None,
    pre: str | None = None,
    plain: bool = False,
    dry_run: bool = False,
    **run: Any,
) -> Result | ConversionPlan:
    """A checkpoint (folder or Hub id `org/name[@revision]`) -> a GGUF file, or one of each type in a single pass.

    `outfile` None: named by the GGUF convention, in the current folder; `{outtype}` in it is filled in. `run`: threads,
    device, max_memory (bytes), force, resume, progress (a callable `(done, total, name)`). Of several types some may fail while
    the others are made: `IncompleteError` then holds the result.
    """
    from .converters.errors import IncompleteError
    from .converters.planners.hf_to_gguf import GgufOptions, GgufPlanner
    from .converters.planners.many_outputs import plan_outputs
    from .converters.sources.hub import cached_origin, resolve_model

    folder = resolve_model(model)
    options = GgufOptions(model_name=model_name, metadata_file=_path(metadata_file), hub_id=cached_origin(folder), pre=pre,
                          plain=plain)
    plan, refused = plan_outputs(GgufPlanner(folder, _path(outfile), options), outtype)
    result = _carried_out(lambda: plan, dry_run, run)
    if failures := (*refused, *(() if dry_run else result.failures)):
        raise IncompleteError(failures, result)
    return result


def gguf_to_hf(
    model: str | Path,
    folder: str | Path,
    *,
    dtype: str = "auto",
    max_shard_size: int = 5 * 10**9,
    dry_run: bool = False,
    **run: Any,
) -> Result | ConversionPlan:
    """A GGUF file (the first part of a split one, or `org/repo:file.gguf`) -> a checkpoint folder.

    `dtype`: auto (the original types where the file tells them), bf16, f16 or f32. `max_shard_size` in bytes.
    """
    from .converters.planners.gguf_to_hf import HfOptions, plan_gguf_to_hf
    from .converters.sources.hub import resolve_model

    path = resolve_model(model, what="gguf")
    options = HfOptions(dtype, max_shard_bytes=max_shard_size)
    return _carried_out(lambda: plan_gguf_to_hf(path, Path(folder), options), dry_run, run)


def lora_to_gguf(
    adapter: str | Path,
    *,
    base: str | Path | None = None,
    outfile: str | Path | None = None,
    outtype: str = "f32",
    model_name: str | None = None,
    metadata_file: str | Path | None = None,
    dry_run: bool = False,
    **run: Any,
) -> Result | ConversionPlan:
    """A PEFT LoRA adapter -> a GGUF adapter. `base`: the base model's folder or Hub id; its config.json is enough.

    None: the one that adapter_config.json names.
    """
    from .converters.planners.lora_to_gguf import LoraOptions, plan_lora_to_gguf
    from .converters.sources.hf_folder import base_of
    from .converters.sources.hub import cached_origin, resolve_model

    folder = resolve_model(adapter, what="adapter")
    base_folder = resolve_model(base_of(folder) if base is None else base, what="config")
    options = LoraOptions(outtype, model_name=model_name, metadata_file=_path(metadata_file), hub_id=cached_origin(folder))
    return _carried_out(lambda: plan_lora_to_gguf(base_folder, folder, _path(outfile), options), dry_run, run)


def verify(
    a: str | Path,
    b: str | Path,
    *,
    base: str | Path | None = None,
    max_rmse: float | None = None,
    ignore: tuple[str, ...] = (),
    strict: bool = False,
    tokenizer: bool = False,
    checksums: bool = True,
    **run: Any,
) -> Report:
    """Compare any two of checkpoint, GGUF file, adapter: `.same`, `.worst()`, `.differences`, `.to_json()`.

    `base`: the base model, for an adapter folder beside a GGUF adapter. `max_rmse`: relative RMSE allowed for quantized
    tensors, in place of each type's own bound. `ignore`: keys (wildcards) that do not count; `strict`: all others do.
    `run`: threads, max_memory (bytes), progress.
    """
    from .converters.sources.hub import resolve_model
    from .converters.verify.verify import VerifyOptions, verify

    what = "checkpoint" if base is None else "adapter"
    paths = [resolve_model(x, what="gguf" if ":" in str(x) else what) for x in (a, b)]
    options = VerifyOptions(
        base=None if base is None else resolve_model(base, what="config"), max_rmse=max_rmse, ignore=tuple(ignore),
        strict=strict, tokenizer=tokenizer, checksums=checksums)
    return verify(*paths, options, **run)


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _carried_out(plan: Callable[[], ConversionPlan], dry_run: bool, run: dict[str, Any]) -> Result | ConversionPlan:
    if dry_run:
        return plan()
    from .converters.run.execute import execute

    return execute(plan(), **run)
