"""Original checkpoint -> HF: a model in its maker's own layout as safetensors, config and tokenizer of Hugging Face."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from math import prod
from pathlib import Path

from ..errors import UsageError
from ..io.json_file import json_bytes
from ..io.safetensors import encode_index, encode_safetensors_header, shard
from ..io.tokenizer_names import PATTERNS, SENTENCEPIECE
from ..notes import grouped
from ..plan.plan import ConversionPlan, InputFile, OutputFile, PlannedTensor, Region, TensorJob, numbered
from ..sources.packed.tensor import PackedTensor
from ..sources.stated import NOTHING, Stated
from ..tokenizer.folder import Folder
from ..tokenizer.templates import KEY as TEMPLATE_KEY
from ..tokenizer.templates import chat_templates, template_files
from ..tokenizer.to_gguf import tokenizer_metadata
from ..tokenizer.to_hf import tokenizer_files
from .hf_files import DEFAULT_SHARD_BYTES
from .packed_sources import jobs_of, parts_of
from .reading import Reading, read
from .silent_tokens import unnamed_rows


@dataclass(frozen=True)
class OriginalOptions:
    """How the checkpoint is made. `stated`: what the source's files do not tell. `max_shard_bytes`: of a file."""

    stated: Stated = NOTHING
    _: KW_ONLY
    max_shard_bytes: int = DEFAULT_SHARD_BYTES


def plan_original_to_hf(folder: Path, out: Path, options: OriginalOptions) -> ConversionPlan:
    """Plan an original checkpoint -> `out`, each tensor in its own element type (FP8 as bf16). Reads headers.

    Raises as `reading.read`, and UsageError where the folder is in Hugging Face's layout already.
    """
    reading = read(folder, stated=options.stated)
    checkpoint = reading.checkpoint
    if not checkpoint.made:
        raise UsageError("is in Hugging Face's layout already", file=folder,
                         hint=f"`ggufx hf-to-gguf {folder}` makes a GGUF file of it.")
    tensors = checkpoint.tensors
    parts = shard([(t.name, t.type, t.shape) for t in tensors.values()], options.max_shard_bytes)
    files = numbered(part.file for t in tensors.values() for part in parts_of(t))
    outputs: list[OutputFile] = []
    jobs: list[TensorJob] = []
    for number, part in enumerate(parts):
        head = encode_safetensors_header(part.tensors)
        outputs.append(OutputFile(out / part.file_name, len(head) + sum(t.nbytes for t in part.tensors), head))
        for t in part.tensors:
            jobs += jobs_of(t.name, [tensors[t.name]], files, (), [Region(number, len(head) + t.offset, t.type, t.shape)])
    notes = list(reading.checkpoint.notes)  # those of the reading are what the runtime of GGUF files does
    texts = _tokenizer(reading, notes)
    if len(parts) > 1:
        texts["model.safetensors.index.json"] = encode_index(parts, None)
    texts["config.json"] = json_bytes(checkpoint.config, indent=2, sort_keys=True)  # last, since it makes the folder a model
    outputs += [OutputFile(out / name, len(data), data) for name, data in texts.items()]
    decoded = list(dict.fromkeys(t.form for t in tensors.values() if isinstance(t, PackedTensor)))
    notes += [f"{form} decoded to BF16" for form in decoded]
    types = [t.type for t in tensors.values()]
    return ConversionPlan(
        "original-to-hf", tuple(InputFile.of(path) for path in files), tuple(outputs), tuple(jobs),
        tuple(PlannedTensor(t.name, t.type, t.shape) for part in parts for t in part.tensors), tuple(grouped(notes)),
        {"architecture": reading.spec.name, "class": reading.hf_class, "dtype": max(dict.fromkeys(types), key=types.count),
         "parameters": sum(prod(t.shape) for t in tensors.values())}, folder=out)


def _tokenizer(reading: Reading, notes: list[str]) -> dict[str, bytes]:
    """Hugging Face's files where they are there, else what the vocabulary in GGUF's terms makes; SentencePiece's as it is."""
    folder = Folder(reading.checkpoint.folder, reading.checkpoint.made)
    if folder.tokenizer is not None:
        return {name: folder.read(name) for name in PATTERNS if "*" not in name and folder.has(name)}
    rows = reading.source("model.embed_tokens.weight").shape[0]
    tokens = tokenizer_metadata(folder.path, arch=reading.spec.name, hf_class=reading.hf_class, config=reading.config,
                                vocab_size=rows, made=reading.checkpoint.made)
    # A template of the runtime's own, by its name, is none for transformers: those of the folder count.
    keys = {key: value for key, value in tokens.metadata.items() if not key.startswith(TEMPLATE_KEY)}
    made = tokenizer_files(keys, arch=reading.spec.name, file=folder.path)
    notes += [*unnamed_rows(reading.checkpoint, tokens), *tokens.notes, *made.notes]
    if SENTENCEPIECE in made.files:
        made.files[SENTENCEPIECE] = folder.read(SENTENCEPIECE)
    return made.files | template_files(chat_templates(folder))
