"""Changed copies of files for the tests of verify: GGUF files and folders with other tensors or settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ggufx.converters.io.gguf import encode_header, layout, read_gguf
from ggufx.converters.io.values import Metadata
from ggufx.quant import dequantize, quantize

Tensor = tuple[str, tuple[int, ...], np.ndarray]  # type, shape, bytes


def change_gguf(source: Path, target: Path, tensors: Callable[[dict[str, Tensor]], None] | None = None,
                keys: Callable[[Metadata], None] | None = None) -> Path:
    """A copy of a GGUF file after `tensors` and `keys` have changed what they are given."""
    model = read_gguf(source)
    held = {t.name: (t.type, t.shape, np.fromfile(source, np.uint8, t.nbytes, offset=t.offset))
            for t in model.tensors.values()}
    metadata = dict(model.metadata)
    if tensors:
        tensors(held)
    if keys:
        keys(metadata)
    laid = layout([(name, kind, shape) for name, (kind, shape, _) in held.items()])
    out = bytearray(encode_header(metadata, laid))
    start = len(out)
    for place in laid:
        out += bytes(start + place.offset - len(out)) + np.ascontiguousarray(held[place.name][2]).tobytes()
    target.write_bytes(bytes(out) + bytes(-len(out) % 32))
    return target


def rows(tensor: Tensor) -> np.ndarray:
    """uint8 [rows, bytes] of a tensor, to be changed in place of a copy."""
    return tensor[2].reshape(int(np.prod(tensor[1][:-1])), -1).copy()


def with_rows(tensor: Tensor, changed: np.ndarray) -> Tensor:
    return tensor[0], tensor[1], changed.reshape(-1)


def as_type(tensor: Tensor, kind: str) -> Tensor:
    """The same values in another type."""
    values = dequantize(np.ascontiguousarray(rows(tensor)), tensor[0])
    return kind, tensor[1], quantize(values, kind).reshape(-1)


def swapped_rows(held: dict[str, Tensor]) -> None:
    """Rows 5 and 9 of the embedding change places."""
    table = rows(held["token_embd.weight"])
    table[[5, 9]] = table[[9, 5]]
    held["token_embd.weight"] = with_rows(held["token_embd.weight"], table)


def dropped(held: dict[str, Tensor]) -> None:
    """A tensor that every model needs is gone."""
    del held["blk.1.ffn_up.weight"]


def change_folder(source: Path, target: Path, tensors: Callable[[dict], None] | None = None,
                  config: Callable[[dict], None] | None = None) -> Path:
    """A copy of a checkpoint's folder after `tensors` (torch, by name) and `config` have changed what they are given."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    if tensors:
        held = load_file(target / "model.safetensors")
        tensors(held)
        save_file({k: v.contiguous() for k, v in held.items()}, target / "model.safetensors", metadata={"format": "pt"})
    if config:
        path = target / "config.json"
        values = json.loads(path.read_text())
        config(values)
        path.write_text(json.dumps(values))
    return target
