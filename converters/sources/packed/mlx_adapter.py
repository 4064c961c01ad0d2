"""Adapters of mlx-lm as PEFT adapters: the same factors under PEFT's names, turned as PEFT stores them, and its settings.

mlx-lm computes `x @ lora_a @ lora_b * scale`: lora_a is [in, r], lora_b [r, out]. Source: mlx-lm `tuner/lora.py`
(LoRALinear, LoRASwitchLinear, LoRAEmbedding), `tuner/dora.py`, `tuner/utils.py` (adapter_config.json).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import GgufxError, InputError, UnsupportedError, raise_all
from ...io.files import printable
from ...io.tensors import StoredTensor
from ...ops import Grid, Unpack
from ..hf_folder import Checkpoint
from ..hf_folder import open_adapter as open_stored
from ..weight_files import MLX_ADAPTER
from .tensor import PackedTensor

PREFIX = "base_model.model."
FUSE = "Fuse it with `mlx_lm.fuse --save-path OUT --dequantize`, and convert OUT with hf-to-gguf."
MAX_SCALE = 1e15
_FACTOR = re.compile(r"(?P<module>.+)\.(?:lora_(?P<side>[ab])|(?P<magnitude>m))")
_EMBEDDINGS = ("embed_tokens", "wte", "tok_embeddings", "word_embeddings", "embedding", "embeddings")
# Experts that mlx-lm stacks are modules of their own in PEFT: (how the stack ends, how one of them does).
_STACKED = (*((f"block_sparse_moe.switch_mlp.{ours}", f"block_sparse_moe.experts.{{}}.{theirs}") for ours, theirs in
              (("gate_proj", "w1"), ("down_proj", "w2"), ("up_proj", "w3"))),
            *((f"switch_mlp.{name}", f"experts.{{}}.{name}") for name in ("gate_proj", "up_proj", "down_proj")))


def open_adapter(folder: str | Path) -> Checkpoint:
    """As `hf_folder.open_adapter`, with mlx-lm's adapters as PEFT has them."""
    checkpoint = open_stored(folder)
    if "peft_type" in checkpoint.config or any(t.file.name != MLX_ADAPTER for t in checkpoint.tensors.values()):
        return checkpoint
    kind = checkpoint.config.get("fine_tune_type", "lora")
    if kind not in ("lora", "dora"):
        raise UnsupportedError("holds whole weights, no factors", file=checkpoint.folder, hint=FUSE,
                               found=f"fine_tune_type {printable(str(kind))}")
    problems: list[GgufxError] = []
    tensors = {t.name: t for stored in checkpoint.tensors.values() for t in _as_peft_has_it(stored, problems)}
    config = _settings(checkpoint, tensors, kind, problems)
    raise_all(problems)
    return replace(checkpoint, config=config, tensors=tensors)


def _as_peft_has_it(stored: StoredTensor, problems: list[GgufxError]) -> Iterator[StoredTensor]:
    """What a tensor is in PEFT: one, or one per expert."""
    match = _FACTOR.fullmatch(stored.name)
    if match is None or len(stored.shape) != (1 if match["magnitude"] else max(2, min(len(stored.shape), 3))):
        problems.append(UnsupportedError("is no factor of mlx-lm's", file=stored.file, tensor=stored.name, hint=FUSE))
        return
    module, side = match["module"], (match["side"] or "").upper()
    if match["magnitude"]:
        yield replace(stored, name=f"{PREFIX}{module}.lora_magnitude_vector.weight")
    elif len(stored.shape) == 2:
        embedding = module.rpartition(".")[2] in _EMBEDDINGS
        yield turned(stored, f"{PREFIX}{module}." + (f"lora_embedding_{side}" if embedding else f"lora_{side}.weight"))
    else:
        pattern = next((module.removesuffix(found) + one for found, one in _STACKED if module.endswith(found)), None)
        if pattern is None:
            problems.append(UnsupportedError("is a stack of experts that is not known by this name", file=stored.file,
                                             tensor=stored.name, hint=FUSE))
            return
        each = stored.nbytes // max(stored.shape[0], 1)
        for expert in range(stored.shape[0]):
            yield StoredTensor(f"{PREFIX}{pattern.format(expert)}.lora_{side}.weight", stored.type, stored.shape[1:],
                               stored.file, stored.offset + expert * each, each)


def turned(stored: StoredTensor, name: str, form: str = "MLX") -> PackedTensor:
    """A matrix whose columns are stored as rows."""
    rows, cols = stored.shape[::-1]
    op = Unpack((rows, cols), (("floats", Grid(turned=True)),), (1, 1))
    return PackedTensor(name, stored.type, (rows, cols), stored.file, stored.offset, stored.nbytes, (stored,), op, None, form)


def _settings(checkpoint: Checkpoint, tensors: Mapping[str, StoredTensor], kind: str,
              problems: list[GgufxError]) -> dict[str, Any]:
    """adapter_config.json as PEFT would have it: alpha is mlx-lm's scale times the rank."""
    given = checkpoint.config.get("lora_parameters")
    given = given if isinstance(given, dict) else checkpoint.config
    scale = given.get("scale")
    ranks = {t.shape[0] for name, t in tensors.items() if ".lora_A." in name or name.endswith("lora_embedding_A")}
    if not isinstance(scale, (int, float)) or isinstance(scale, bool) or not abs(scale) < MAX_SCALE:
        problems.append(InputError("adapter_config.json has no usable scale", file=checkpoint.folder,
                                   expected="lora_parameters.scale, a number", found=printable(repr(scale))))
        scale = 0.0
    if len(ranks) != 1 or 0 in ranks:
        problems.append(InputError("factors of one rank are needed", file=checkpoint.folder, found=sorted(ranks)))
    alpha = scale * max(ranks, default=0)
    modules = {name.removeprefix(PREFIX).partition(".lora_")[0] for name in tensors}
    return {"peft_type": "LORA", "base_model_name_or_path": checkpoint.config.get("model"), "r": max(ranks, default=0),
            "lora_alpha": int(alpha) if alpha == int(alpha) else alpha, "target_modules": sorted(modules), "bias": "none",
            "inference_mode": True, **({"use_dora": True} if kind == "dora" else {})}

