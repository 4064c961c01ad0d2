"""PEFT adapters for models of the zoo, with factors of ordinary size, so that they make a difference."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ggufx.converters.rules.template import Template

from . import peers
from .files import changed_copy
from .fill import bell

PEFT_MAMBA = ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h")


def load(base: Path) -> Any:
    """The model of a checkpoint folder, by the class that its config names."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    name = json.loads((base / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    return getattr(transformers, name).from_pretrained(base)


def make_adapter(base: Path, folder: Path, settings: dict[str, Any], rank: int = 4, seed: int = 0) -> Path:
    """Write the adapter that LoraConfig(**settings) makes of the model in `base`; another `seed`, other factors."""
    import torch
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(load(base), LoraConfig(**{"r": rank, "lora_alpha": 8, **settings}))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            key = f"{name}@{seed}" if seed else name
            parameter.data = torch.from_numpy(0.3 * bell(key, tuple(parameter.shape))).to(parameter.dtype)
        elif parameter.requires_grad:  # biases, saved modules, rows of tokens
            change = 1 + 0.3 * torch.from_numpy(bell(f"{name}@{seed}", tuple(parameter.shape)))
            parameter.data = (parameter.data.float() * change).to(parameter.dtype)
    model.save_pretrained(folder)
    return folder


def merged_by_peft(base: Path, adapters: Sequence[Path], folder: Path) -> Path:
    """The checkpoint that peft's merge_and_unload makes of the adapters, all active, one after another."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(load(base), adapters[0], adapter_name="0")
    if len(adapters) == 1:
        peers.fill(model, adapters[0] / "adapter_model.safetensors", "0")
    for number, adapter in enumerate(adapters[1:], 1):
        model.load_adapter(adapter, adapter_name=str(number))
    if len(adapters) > 1:
        model.base_model.set_adapter([str(number) for number in range(len(adapters))])
    model.merge_and_unload().save_pretrained(folder)
    return folder


def every_weight(base: Path, without: Collection[str] = ()) -> dict[str, Any]:
    """Settings that put factors on every matrix of the model, router and stack of experts, but for those whose name
    starts with one of `without`. (peft takes `down_proj` and the like for experts, wherever DeepSeek has them.)"""
    import torch
    from transformers.pytorch_utils import Conv1D

    model, skip = load(base), tuple(without)
    kinds = (torch.nn.Linear, Conv1D, torch.nn.Embedding)
    refused = "out_proj" if model.config.model_type in PEFT_MAMBA else None  # by peft
    matrices = {name: module for name, module in model.named_modules()
                if isinstance(module, kinds) and "Router" not in type(module).__name__}  # it gives more than a product
    parameters = [name for name, p in model.named_parameters()
                  if p.ndim in (2, 3) and name.rpartition(".")[0] not in matrices
                  and "conv" not in name and not name.endswith(("bias", "A_log"))]
    return {
        "target_modules": [n for n in matrices if not n.startswith(skip) and n.rpartition(".")[2] != refused],
        "target_parameters": [name for name in parameters if not name.startswith(skip)] or None,
        "fan_in_fan_out": any(isinstance(module, Conv1D) for module in matrices.values()),
    }


def adapter_and_merged(base: Path, folder: Path, merged: Path, without: Collection[str] = (), rank: int = 4,
                       seed: int = 0, conv1d: Collection[Template] = ()) -> Path:
    """For classes that peft cannot load: an adapter on every matrix of the checkpoint, written by hand into `folder`, and into
    `merged` the checkpoint with the update in its weights, in float32. As in peft, an embedding's factors lie the other way round, and
    those of the weights named `conv1d`, which are stored as [in, out], do not."""
    from safetensors.numpy import save_file

    factors: dict[str, np.ndarray] = {}
    targets: list[str] = []

    def change(tensors: dict[str, Any]) -> dict[str, Any]:
        import torch

        out = {}
        for name, weight in tensors.items():
            out[name] = weight.float() if weight.is_floating_point() else weight
            module, kind = name.replace(".parametrizations.weight.original", ".weight").rpartition(".")[::2]
            if weight.ndim != 2 or kind != "weight" or name.startswith(tuple(without)) or "conv" in name:
                continue
            embedding = any(part in name for part in ("embed", ".wte.", ".wpe.")) or name.endswith("encoder.weight")
            stored_turned = embedding or any(template.match(name) for template in conv1d)
            rows, columns = tuple(weight.shape)[::-1] if stored_turned else tuple(weight.shape)
            ends = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A.weight", "lora_B.weight")
            a, b = (0.3 * bell(f"{module}.{end}@{seed}", shape) for end, shape in zip(ends, ((rank, columns), (rows, rank)), strict=True))
            factors.update({f"base_model.model.{module}.{end}": values for end, values in zip(ends, (a, b), strict=True)})
            targets.append(module)
            update = torch.from_numpy(8 / rank * (b @ a))
            out[name] = out[name] + (update.T if stored_turned else update)
        return out

    changed_copy(base, merged, change)
    folder.mkdir()
    save_file(factors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
