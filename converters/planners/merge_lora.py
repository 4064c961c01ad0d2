"""Adapters into a checkpoint: from headers to a complete plan of the merged one, or one error with all faults."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path

from ..errors import Failure, UsageError
from ..io.safetensors import encode_safetensors_header
from ..notes import grouped
from ..plan.plan import ConversionPlan, InputFile, OutputFile, PlannedTensor, Region, TensorJob, numbered
from ..sources.merged import MergedTensor
from ..sources.packed.tensor import PackedTensor
from .adapter_updates import Adapter
from .many_outputs import outtype_names, plan_outputs
from .merge_gguf import KEEP, MergePlanner
from .merged_model import shards_of, side_files
from .packed_sources import parts_of, source_of
from .quantization import Quantization
from .reading import with_merged


def plan_merge(base: Path, adapters: Sequence[Adapter], outfile: str | Path, outtype: str | Sequence[str] = KEEP, *,
               hf_class: str | None = None, imatrix: Path | None = None) -> tuple[ConversionPlan, tuple[Failure, ...]]:
    """Plan `base` with `adapters` merged into it: a checkpoint folder, or of a GGUF file a file per type (see
    `outtype_names`); and the files that cannot be made."""
    if base.is_dir():
        if outtype != KEEP or imatrix is not None:
            raise UsageError("a merged checkpoint keeps the types of its base",
                             found="--imatrix" if imatrix else f"--outtype {outtype}",
                             hint="`ggufx hf-to-gguf BASE --lora ADAPTER --outtype ..` makes a merged GGUF file.")
        return plan_merge_lora(base, adapters, Path(outfile), hf_class), ()
    if hf_class is not None:
        raise UsageError("the class of a GGUF file stands in it", found=f"--as {hf_class}", hint="Leave out --as.")
    if outtype != KEEP:
        outtype_names(outtype)
    planner = MergePlanner(base, adapters, outfile, Quantization(imatrix_file=imatrix))
    return (planner.plan(KEEP), ()) if outtype == KEEP else plan_outputs(planner, outtype)


def plan_merge_lora(base: Path, adapters: Sequence[Adapter], folder: Path, hf_class: str | None = None) -> ConversionPlan:
    """Plan `base` with `adapters` merged into it -> the checkpoint `folder`. Reads headers only."""
    if not adapters:
        raise UsageError("no adapter to merge")
    checkpoint = with_merged(base, adapters, hf_class)
    shards = shards_of(checkpoint)
    outputs: list[OutputFile] = []
    place: dict[str, Region] = {}
    for number, part in enumerate(shards):
        head = encode_safetensors_header(part.tensors)
        place.update({t.name: Region(number, len(head) + t.offset, t.type, t.shape) for t in part.tensors})
        outputs.append(OutputFile(folder / part.file_name, len(head) + sum(t.nbytes for t in part.tensors), head))
    files = side_files(base, checkpoint, adapters, folder.resolve().name)
    outputs += [OutputFile(folder / name, len(data), data) for name, data in files.items()]
    bases = (t.base if isinstance(t, MergedTensor) else t for t in checkpoint.tensors.values())
    notes = [*checkpoint.notes, *dict.fromkeys(f"{t.form} decoded to {t.type}: what is merged is not quantized again"
                                               for t in bases if isinstance(t, PackedTensor) and not t.plain)]
    numbers = numbered(part.file for t in checkpoint.tensors.values() for part in parts_of(t))
    return ConversionPlan(
        "merge-lora", tuple(InputFile.of(path) for path in numbers), tuple(outputs),
        tuple(TensorJob(t.name, (source_of(t, numbers),), (), (place[t.name],)) for t in checkpoint.tensors.values()),
        tuple(PlannedTensor(t.name, t.type, t.shape) for part in shards for t in part.tensors),
        tuple(grouped(notes)),
        {"class": next(iter(checkpoint.config.get("architectures") or ()), ""),
         "parameters": sum(prod(t.shape) for t in checkpoint.tensors.values())}, folder=folder)
