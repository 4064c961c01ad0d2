"""Checkpoints and GGUF files as dictionaries, to be changed and written again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ggufx.converters.io.gguf import encode_header, layout, read_gguf
from ggufx.converters.io.values import Metadata
from ggufx.converters.sources.subfolders import FOLDERS

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]  # name -> type, shape outermost first, bytes


def read_file(path: Path) -> tuple[Metadata, Tensors]:
    """Key-values and tensors of a GGUF file."""
    model = read_gguf(path)
    data = path.read_bytes()
    return dict(model.metadata), {
        name: (t.type, t.shape, data[t.offset : t.offset + t.nbytes]) for name, t in model.tensors.items()}


def write_file(path: Path, metadata: Metadata, tensors: Tensors) -> Path:
    laid = layout([(name, kind, shape) for name, (kind, shape, _) in tensors.items()])
    body = b"".join(data + bytes(-len(data) % 32) for _, _, data in tensors.values())
    path.write_bytes(encode_header(metadata, laid) + body)
    return path


def floats(tensors: Tensors, name: str) -> np.ndarray:
    """The values of an F32 tensor."""
    kind, shape, data = tensors[name]
    assert kind == "F32", (name, kind)
    return np.frombuffer(data, np.float32).reshape(shape)


def load_folder(folder: Path) -> dict[str, Any]:
    """All torch tensors of a checkpoint."""
    from safetensors.torch import load_file

    return {name: t for path in sorted(folder.glob("*.safetensors")) for name, t in load_file(path).items()}


def stored(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Type, shape and bytes of all tensors of a checkpoint, those in its folders too, as the safetensors library reads them."""
    tensors = load_folder(folder)
    for part in FOLDERS:
        tensors |= {f"{part}/{name}": value for name, value in load_folder(folder / part).items()}
    return {name: stored_bits(value) for name, value in tensors.items()}


def stored_bits(value: Any) -> tuple[str, tuple[int, ...], bytes]:
    """Type, shape and bytes of a torch tensor."""
    import torch

    raw = value.contiguous().flatten().view(torch.uint8)
    return str(value.dtype), tuple(value.shape), raw.numpy().tobytes()


def changed_copy(source: Path, target: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None,
                 **config: Any) -> Path:
    """A copy of a checkpoint folder. `change` edits its tensors, or returns others; `config` sets keys, MISSING drops them."""
    from safetensors.torch import save_file

    shutil.copytree(source, target)
    if change is not None:
        tensors = load_folder(target)
        tensors = change(tensors) or tensors
        save_file({name: t.contiguous() for name, t in tensors.items()}, target / "model.safetensors")
    settings = json.loads((target / "config.json").read_text())
    settings.update(config)
    settings = {key: value for key, value in settings.items() if value is not MISSING}
    (target / "config.json").write_text(json.dumps(settings))
    return target


MISSING = object()
