"""The small files of a merged model: config.json, tokenizer, card, index; of the base, or of an adapter with its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..io import tokenizer_names
from ..io.files import open_regular, printable, read_at
from ..io.json_file import json_bytes
from ..io.safetensors import Shard, encode_index, layout, shard
from ..metadata.model_card import front_matter, read_card
from ..sources.hf_folder import Checkpoint, config_only, safe_file
from ..sources.hub import SIDE_FILES, HubReference, cached_origin
from ..sources.quantized import FILES
from ..sources.weight_files import INDEX
from .adapter_updates import Adapter

DEFAULT_SHARD_BYTES = 5 * 10**9
_CARD = ("license", "license_name", "license_link", "language", "languages", "pipeline_tag", "tags", "datasets")
_VOCABULARY = (tokenizer_names.TOKENIZER_JSON, tokenizer_names.TEKKEN, tokenizer_names.SENTENCEPIECE, *tokenizer_names.UNIGRAM,
               tokenizer_names.VOCAB_JSON, tokenizer_names.VOCAB_TXT, *tokenizer_names.RANKS, tokenizer_names.RWKV)


def model_name(adapters: Sequence[Adapter]) -> str:
    """What the merged model is called: as its adapters."""
    return "-".join((cached_origin(a.folder) or a.folder.resolve().name).rpartition("/")[2] for a in adapters)


def shards_of(checkpoint: Checkpoint) -> list[Shard]:
    """The files of the merged weights: the base's, where those are safetensors."""
    by_file: dict[str, list[tuple[str, str, tuple[int, ...]]]] = {}
    for t in checkpoint.tensors.values():
        by_file.setdefault(t.file.name, []).append((t.name, t.type, t.shape))
    if all(name.endswith(".safetensors") for name in by_file):
        return [Shard(name, tuple(layout(rows))) for name, rows in by_file.items()]
    return shard([row for rows in by_file.values() for row in rows], DEFAULT_SHARD_BYTES)


def side_files(base: Path, checkpoint: Checkpoint, adapters: Sequence[Adapter], name: str) -> dict[str, bytes]:
    """The files beside the weights by name, config.json last, since it makes the folder a model."""
    out: dict[str, bytes] = {}
    tokenizer = next((a.folder for a in reversed(adapters) if _has(a.folder, _VOCABULARY)), base)
    for folder, patterns in ((base, SIDE_FILES), (tokenizer, tokenizer_names.PATTERNS)):
        for file in _files(folder, patterns):
            replaced = tokenizer is not folder and _fits(file, tokenizer_names.PATTERNS)
            if not replaced and file not in ("README.md", "config.json", *FILES):
                out[file] = _read(folder, file)
    shards = shards_of(checkpoint)
    if len(shards) > 1:
        out["model.safetensors" + INDEX] = encode_index(shards)
    out["README.md"] = _card(base, checkpoint, adapters, name)
    same = checkpoint.config == config_only(base)
    out["config.json"] = _read(base, "config.json") if same else json_bytes(checkpoint.config, indent=2, sort_keys=True)
    return out


@contextmanager
def beside_weights(base: Path, checkpoint: Checkpoint, adapters: Sequence[Adapter]) -> Iterator[Path]:
    """A folder with the small files of the merged model, for as long as they are read; without adapters the base's own."""
    if not adapters:
        yield base
        return
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / model_name(adapters)
        for file, data in side_files(base, checkpoint, adapters, folder.name).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
        yield folder


def _files(folder: Path, patterns: Sequence[str]) -> list[str]:
    names = sorted(p.relative_to(folder).as_posix() for pattern in patterns for p in folder.glob(pattern) if p.is_file())
    return list(dict.fromkeys(names))


def _has(folder: Path, patterns: Sequence[str]) -> bool:
    return bool(_files(folder, patterns))


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _read(folder: Path, name: str) -> bytes:
    path = safe_file((folder / name).parent, Path(name).name)
    with open_regular(path) as (file, size):
        return read_at(file, 0, size, path)


def _card(base: Path, checkpoint: Checkpoint, adapters: Sequence[Adapter], name: str) -> bytes:
    """README.md: what the base's card says that is still true, and what was merged into what. No path of this machine."""
    card = read_card(base, [])
    front: dict[str, Any] = {key: card[key] for key in _CARD if key in card}
    ids = [model_id(base), *(model_id(a.folder) for a in adapters)]
    front["base_model"] = [one for one in ids if one]
    front["library_name"] = "transformers"
    text = front_matter({k: v for k, v in front.items() if v})
    title = printable(" ".join(name.split()), 200)
    merged = ", ".join((model_id(a.folder) or a.folder.resolve().name) + (f" (scale {a.scale:g})" if a.scale != 1 else "")
                       for a in adapters)
    of = model_id(base) or base.resolve().name
    return f"---\n{text}---\n\n# {title}\n\n{printable(of)} with {printable(merged)} merged into it by ggufx.\n".encode()


def model_id(folder: Path) -> str | None:
    """The repository that a folder came from, if that is known."""
    found = cached_origin(folder)
    return found if found and HubReference.parse(found) else None
