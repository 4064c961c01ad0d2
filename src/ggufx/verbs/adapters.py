"""LoRA adapters: to GGUF, into a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import as_path, checked, several
from .carried import carried_out, each_made

if TYPE_CHECKING:
    from ..converters.plan.plan import ConversionPlan
    from ..converters.run.execute import Result


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
    from ..converters.io.objects import staged
    from ..converters.planners.lora_to_gguf import LoraOptions, plan_lora_to_gguf
    from ..converters.sources.hf_folder import base_of
    from ..converters.sources.hub import cached_origin, resolve_model

    folder = resolve_model(adapter, what="adapter" if task is None else "checkpoint", headers=dry_run)
    base = base or (base_of(folder) if task is None else folder)
    base_folder = resolve_model(base, what="config", headers=dry_run)
    options = LoraOptions(outtype, model_name=model_name, metadata_file=as_path(metadata_file), hub_id=cached_origin(folder),
                          hf_class=hf_class, plain=plain, task=task)
    plan = plan_lora_to_gguf(base_folder, folder, staged(outfile), options)
    return carried_out(plan, dry_run, force=force, resume=resume, checksums=checksums, threads=threads,
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
    from ..converters.io.objects import staged
    from ..converters.planners.merge_lora import plan_merge
    from ..converters.planners.merged_weights import resolve_adapters
    from ..converters.sources.hf_folder import base_of
    from ..converters.sources.hub import resolve_model

    found = resolve_adapters(several(adapters), headers=dry_run)
    model = base_of(found[0].folder) if base is None and found else base or ""
    path = resolve_model(model, what="gguf" if str(model).endswith(".gguf") else "checkpoint", headers=dry_run)
    plan, refused = plan_merge(path, found, staged(outfile), outtype, hf_class=hf_class, imatrix=as_path(imatrix))
    return each_made(plan, refused, dry_run, source=model, report=report, force=force, resume=resume,
                      checksums=checksums, threads=threads, max_memory=max_memory, device=device, engine=engine,
                      progress=progress)
