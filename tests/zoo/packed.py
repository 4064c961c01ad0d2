"""A model of the zoo in a stored form, and its twin: the same folder with the floats that its weights stand for."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ggufx.converters.io.gguf import read_gguf
from ggufx.converters.io.tensors import StoredTensor
from ggufx.converters.plan.plan import Packed, numbered
from ggufx.converters.planners.packed_sources import parts_of, source_of
from ggufx.converters.run.device import Cpu
from ggufx.converters.sources.hf_folder import Checkpoint
from ggufx.converters.sources.packed.logical import open_logical
from safetensors.torch import load_file, save_file

import ggufx

Stored = dict[str, torch.Tensor]
Change = Callable[[str, torch.Tensor], tuple[Stored, torch.Tensor] | None]  # module, weight -> stored tensors, float32 values


def pair(zoo: Path, folder: Path, change: Change, settings: Mapping[str, Any] | None = None,
         stacks: bool = False) -> tuple[Path, Path]:
    """The two folders. `change` gives None for weights that stay as they are; it gets stacks of matrices where asked for."""
    packed, twin = folder / "packed", folder / "twin"
    stored: Stored = {}
    floats: Stored = {}
    for name, w in load_file(zoo / "model.safetensors").items():
        taken = (name.endswith(".weight") and w.dim() == 2) or (stacks and w.dim() == 3 and "conv" not in name)
        made = change(name.removesuffix(".weight"), w) if taken else None
        stored |= made[0] if made else {name: w}
        floats[name] = made[1].contiguous() if made else w
    for target, tensors in ((packed, stored), (twin, floats)):
        shutil.copytree(zoo, target)
        save_file({k: v.contiguous() for k, v in tensors.items()}, target / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((packed / "config.json").read_text())
    (packed / "config.json").write_text(json.dumps({**config, **(settings or {})}))
    return packed, twin


def tensors(path: Path) -> dict[str, tuple[str, bytes]]:
    """Type and bytes of every tensor of a GGUF file."""
    return {t.name: (t.type, path.read_bytes()[t.offset : t.offset + t.nbytes]) for t in read_gguf(path).tensors.values()}


def same(packed: Path, twin: Path, folder: Path, outtype: str = "f32") -> None:
    """Both give the same tensors, at this type."""
    made = {}
    for model in (packed, twin):
        ggufx.hf_to_gguf(model, folder / f"{model.name}-{outtype}.gguf", outtype=outtype, plain=True)
        made[model] = tensors(folder / f"{model.name}-{outtype}.gguf")
    assert made[packed].keys() == made[twin].keys()
    wrong = [name for name in made[twin] if made[packed][name] != made[twin][name]]
    assert not wrong, [(n, np.frombuffer(made[packed][n][1], np.float32)[:8], np.frombuffer(made[twin][n][1], np.float32)[:8])
                       for n in wrong[:1]]


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that hold weights, or declare how they are stored."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()
            if p.suffix == ".safetensors" or p.name.startswith(("config", "quant", "hf_quant"))}


def opened(stored: Stored, config: str, folder: Path) -> Checkpoint:
    """The logical tensors of one file of these, under this config.json, in which `__metadata__` is what the file's says."""
    declared = json.loads(config)
    save_file({k: v.contiguous() for k, v in stored.items()}, folder / "model.safetensors", declared.pop("__metadata__", None))
    (folder / "config.json").write_text(json.dumps(declared))
    return open_logical(folder)


class Files:
    """What a device reads: the inputs of a plan by number."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = list(paths)

    def read(self, file: int, offset: int, data: np.ndarray) -> None:
        with open(self._paths[file], "rb") as opened:
            opened.seek(offset)
            assert opened.readinto(memoryview(data)) == data.nbytes


def packed_source(tensor: StoredTensor) -> tuple[Packed, list[Path]]:
    """What a job reads of a weight, and the files."""
    paths = numbered(part.file for part in parts_of(tensor))
    return source_of(tensor, paths), list(paths)


def decoded(tensor: StoredTensor, item: int | None = None) -> torch.Tensor:
    """float32: a weight as a job decodes it, or one matrix of a stack."""
    source, paths = packed_source(tensor)
    return torch.from_numpy(Cpu().read(Files(paths), source if item is None else source.item(item)).view(np.float32))
