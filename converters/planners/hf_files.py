"""A checkpoint laid out: which file each tensor goes to and where, the files beside them, a job for each run of tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from ..io.gguf import GgufFile
from ..io.json_file import json_bytes, parse_object
from ..io.safetensors import Shard, encode_index, encode_safetensors_header, shard
from ..metadata.general import sampling_parameters
from ..metadata.model_card import model_card
from ..notes import grouped
from ..ops import Crop, Op, Shape
from ..plan.plan import ConversionPlan, InputFile, OutputFile, PlannedTensor, Region, TensorJob, numbered, region_bytes
from ..rules.facts import Config
from ..rules.match import Match
from ..sources.quantized import FILES
from ..sources.subfolders import folder_of
from .kept_tensors import kept_pieces
from .nvfp4_scales import read_factors
from .original_packing import OriginalPacking
from .own_keys import Source, json_key
from .published import published
from .rounded_values import restore

DEFAULT_SHARD_BYTES = 5 * 10**9


@dataclass
class HfTensor:
    """A tensor of the checkpoint to be. The file's tensors make `made` of it, from row `first` on; its bytes, where they make
    what a quantized weight was stored as, of which it then holds `numbers`."""

    name: str
    dtype: str
    shape: Shape
    match: Match
    expert: int
    made: Shape
    first: int = 0
    numbers: int | None = None

    @property
    def parameters(self) -> int:
        return prod(self.shape) if self.numbers is None else self.numbers


def back(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    """The chain the other way round; cropped rows are placed by the planner."""
    return tuple(op.inverse for op in reversed(ops) if not isinstance(op, Crop))


def side_files(model: GgufFile, config: Config, original: bool, notes: list[str],
               packing: OriginalPacking | None) -> dict[str, bytes]:
    """generation_config.json, the model card, and config.json: last, since it makes the folder a model. Beside weights that are
    stored as they were, what else declares that."""
    files: dict[str, bytes] = {}
    for name in FILES if packing else ():
        if (value := model.metadata.get(json_key(name))) is not None:
            files[name] = str(value.data).encode()
            parse_object(files[name], model.path, non_finite=True)
    if "ggufx.generation_config" in model.metadata:
        raw = str(model.metadata["ggufx.generation_config"].data).encode()
        parse_object(raw, model.path, non_finite=True)
        files["generation_config.json"] = raw
    elif not original:
        ids = {k: config[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id") if config.get(k) is not None}
        files["generation_config.json"] = json_bytes({**ids, **sampling_parameters(model.metadata)}, indent=2, sort_keys=True)
    if (card := model_card(published(model.metadata, notes))) is not None:
        files["README.md"] = card
    kept = str(model.metadata["ggufx.config"].data) if original else ""
    files["config.json"] = kept.encode() if original and json.loads(kept) == config else \
        json_bytes(config, indent=2, sort_keys=True)
    return files


def shards_of(tensors: list[HfTensor], kept: Mapping[str, Any], own: Source | None, max_bytes: int | None,
              packed: bool = False) -> list[Shard]:
    """The files of the weights: the original's where they are known and nothing else is asked for; then those of checkpoints
    in folders. `packed`: weights are stored as they were, and what the files said of them is true."""
    made = {t.name for t in tensors}
    rows = [(t.name, t.dtype, t.shape) for t in tensors]
    rows += [(name, k["dtype"], tuple(k["shape"])) for name, k in kept.items() if name not in made]
    of = {folder: [row for row in rows if folder_of(row[0]) == folder] for folder in sorted({folder_of(n) for n, _, _ in rows})}
    known = own.shards(of[""]) if own and max_bytes is None and "" in of else None
    found = [replace(part, file_name=folder + part.file_name) for folder, inner in of.items()
             for part in (known if known and not folder else shard(inner, max_bytes or DEFAULT_SHARD_BYTES))]
    headers = own.headers if own and packed else {}
    if not headers:
        return found
    same = all(part.file_name in headers for part in found if not folder_of(part.file_name))
    every = {key: text for said in headers.values() for key, text in said}  # in files that are cut otherwise, all of it
    return [part if folder_of(part.file_name) else replace(part, metadata=dict(headers[part.file_name]) if same else every)
            for part in found]


def index_of(shards: list[Shard], own: Source | None) -> dict[str, bytes]:
    """The index of each folder with several files. What the original's says beside is true of the original's files only."""
    out = {}
    for folder in {folder_of(part.file_name) for part in shards}:
        parts = [_in_folder(part) for part in shards if folder_of(part.file_name) == folder]
        same = own is not None and not folder and [part.file_name for part in parts] == own.files
        if len(parts) > 1:
            out[f"{folder}model.safetensors.index.json"] = encode_index(parts, own.index if own and same else None)
    return out


def _in_folder(part: Shard) -> Shard:
    """The file as it is called, and its tensors are, in the folder that it is written to."""
    folder = folder_of(part.file_name)
    return Shard(part.file_name.removeprefix(folder), tuple(replace(t, name=t.name.removeprefix(folder)) for t in part.tensors))


def assemble(folder: Path, model: GgufFile, kept: Mapping[str, Any], shards: list[Shard], notes: list[str],
             tensors: list[HfTensor], files: Mapping[str, bytes], facts: dict[str, Any],
             packing: OriginalPacking | None = None) -> ConversionPlan:
    """Shards, their index, side files; a job per match, or per expert. `kept`: tensors, or rows, that the file keeps as
    they were."""
    place: dict[str, tuple[int, int]] = {}  # name -> output, offset
    outputs: list[OutputFile] = []
    for i, part in enumerate(shards):
        head = encode_safetensors_header(_in_folder(part).tensors, part.metadata)
        place.update({t.name: (i, len(head) + t.offset) for t in part.tensors})
        pieces = tuple(piece for t in part.tensors if t.name in kept
                       for piece in kept_pieces(model.metadata, model.path, t.name, kept[t.name], len(head) + t.offset))
        size = len(head) + sum(t.nbytes for t in part.tensors)
        outputs.append(OutputFile(folder / part.file_name, size, head, pieces))
    outputs += [OutputFile(folder / name, len(data), data) for name, data in files.items()]

    numbers = numbered(t.file for t in model.tensors.values())
    factors = read_factors(model)
    jobs: dict[tuple[str, int], tuple[Match, list[HfTensor], list[Region]]] = {}
    for t in tensors:
        if t.name in kept and kept[t.name]["rows"] is None:
            continue  # the kept bytes are the whole tensor
        output, offset = place[t.name]
        offset += t.first and t.first * (region_bytes(t.dtype, t.shape) // t.shape[0])
        kind = t.dtype if t.numbers is None else "U8"
        _, held, regions = jobs.setdefault((t.match.gguf[0], t.expert), (t.match, [], []))
        held.append(t)
        regions.append(Region(output, offset, kind, t.made))

    def ops(match: Match, expert: int, held: list[HfTensor]) -> tuple[Op, ...]:
        if packing and match in packing:
            return (*back(match.ops), *packing.ops(match, expert))
        if held[0].dtype == "I32":  # as the file has them
            return ()
        return (*factors.ops(match.gguf, expert if match.rule.stacked else None), *back(match.ops_of(expert)),
                *restore(model, [(t.name, prod(t.made)) for t in held]))

    return ConversionPlan(
        "gguf-to-hf", tuple(InputFile.of(path) for path in numbers), tuple(outputs),
        tuple(TensorJob(_job_name(match, expert), _sources(match, expert, model, numbers),
                        ops(match, expert, held), tuple(made))
              for (_, expert), (match, held, made) in jobs.items()),
        tuple(PlannedTensor(t.name, t.type, t.shape) for part in shards for t in part.tensors),
        tuple(grouped(notes)), facts, folder=folder)


def _job_name(match: Match, expert: int) -> str:
    """What a job is called: the first GGUF tensor it reads."""
    return f"{match.gguf[0]} expert {expert}" if match.rule.stacked else match.gguf[0]


def _sources(match: Match, expert: int, model: GgufFile, numbers: Mapping[Path, int]) -> tuple[Region, ...]:
    out = []
    for name in match.gguf:
        t = model.tensors[name]
        shape, offset = t.shape, t.offset
        if match.rule.stacked:
            shape, offset = match.item(shape), offset + expert * (t.nbytes // len(match.hf[0]))
        out.append(Region(numbers[t.file], offset, t.type, shape))
    return tuple(out)
