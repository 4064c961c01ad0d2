"""Writes a row of the zoo as a checkpoint folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .configs import as_v4
from .fill import bell, bits, parameter
from .kinds import vocab
from .models import MODELS, Model
from .models.rows import Shapes
from .vocab import Vocab, dump

CARD = """---
license: apache-2.0
language:
- en
- fr
tags:
- test
pipeline_tag: text-generation
base_model: example/Tiny-Base-1M
datasets:
- example/tiny-text
---
# A tiny model

Made for tests.
"""


def build(name: str, folder: Path, seed: int = 0) -> Path:
    """Write the model `name` of the zoo into the new folder `folder` and return that.

    Weights, configuration and tokenizer are the same on every machine and for every version of torch; another `seed`
    gives other weights.
    """
    return build_row(MODELS[name], folder, seed)


def build_row(row: Model, folder: Path, seed: int = 0) -> Path:
    """The same for a row that stands elsewhere."""
    words = vocab(row.vocab)
    shapes = (_describe if row.shapes else _save)(folder, row, words)
    write_weights(folder / "model.safetensors", row, hub_layout(shapes, row), weights_name(row, seed))
    _write_config(folder, row)
    if not row.target and row.vocab != "none":
        words.write(folder, v4=row.old)
    if row.pooling:
        _write_sentence_modules(folder, row, weights_name(row, seed))
    if row.card:
        (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


def weights_name(row: Model, seed: int) -> str:
    """What the weights are keyed by: a model and its form of transformers 4 have the same."""
    name = row.name.removesuffix("-v4")
    return f"{name}@{seed}" if seed else name


def _save(folder: Path, row: Model, words: Vocab) -> Shapes:
    """Let transformers write the folder; the shapes of its tensors."""
    import torch
    import transformers

    cls = getattr(transformers, row.cls)
    transformers.utils.logging.disable_progress_bar()
    ids, settings = _ids(row, words), dict(row.config)
    if "text_config" in settings:
        settings["text_config"] = settings["text_config"] | ids
        ids = {}
    cls(cls.config_class(**(settings | ids))).to(getattr(torch, row.dtype)).save_pretrained(folder)
    return {key: tuple(size) for key, size in header(folder / "model.safetensors").items()}


def _describe(folder: Path, row: Model, words: Vocab) -> Shapes:
    """Write config.json of a class that transformers does not have; the shapes of its tensors by the row's own account."""
    folder.mkdir(parents=True)
    kind = {} if "torch_dtype" in row.config else {"dtype": row.dtype}
    config = {"architectures": [row.cls], **kind, **row.config, **_ids(row, words)}
    dump(folder / "config.json", config)
    return row.shapes(config)


def _ids(row: Model, words: Vocab) -> dict[str, Any]:
    """What the configuration says of the vocabulary."""
    ids: dict[str, Any] = {f"{role}_token_id": words.ids.get(role) for role in ("bos", "eos", "pad")}
    ids |= dict.fromkeys(row.vocab_keys, words.size)
    if row.vocab == "llama3":
        ids["eos_token_id"] = [words.ids["eos"] - 6, words.ids["eos"] - 1, words.ids["eos"]]
    return ids


def header(path: Path) -> dict[str, list[int]]:
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {key: entry["shape"] for key, entry in header.items() if key != "__metadata__"}


def hub_layout(shapes: Shapes, row: Model) -> Shapes:
    """Names and shapes as the Hub has them: experts fused if so asked, extras put in.

    transformers 5 computes with fused experts but saves most families one tensor per expert, as the Hub has them
    (Gemma4 and gpt-oss: fused, both). Both layouts must convert.
    """
    out = dict(shapes)
    if row.extra:
        out |= row.extra(out)
    if row.layout == "fused":
        out = _fused(out)
    if row.old and row.v4:
        out |= row.v4.extra
    return out


def _fused(shapes: Shapes) -> Shapes:
    out: Shapes = {}
    for name, shape in shapes.items():
        stem, inside, rest = name.partition(".mlp.experts.")
        if not inside or len(shape) == 3:
            out[name] = shape
            continue
        count = sum(other.startswith(f"{stem}.mlp.experts.") and other.endswith(".up_proj.weight") for other in shapes)
        if rest.endswith("down_proj.weight"):
            out[f"{stem}.mlp.experts.down_proj"] = (count, *shape)
        else:
            out[f"{stem}.mlp.experts.gate_up_proj"] = (count, 2 * shape[0], shape[1])
    return out


def write_weights(path: Path, row: Model, shapes: Shapes, weights: str) -> None:
    """One file with the tensors of these shapes, of the row's types; `weights` is what their values are keyed by."""
    import torch
    from safetensors.torch import save_file

    tensors = {}
    for name, shape in shapes.items():
        key = f"{weights}/{name}"
        if row.mxfp4 and name.endswith(("gate_up_proj", "down_proj")):
            # stored [experts, in, out]; packed [experts, out, in / 32, 16] with one exponent for 32 values
            blocks = (shape[0], shape[2], shape[1] // 32, 16)
            tensors[f"{name}_blocks"] = torch.from_numpy(
                (bits(key, int(np.prod(blocks))) >> np.uint64(56)).astype(np.uint8).reshape(blocks)
            )
            scales = (bits(key + "/scales", int(np.prod(blocks[:3]))) >> np.uint64(62)).astype(np.uint8) + np.uint8(121)
            tensors[f"{name}_scales"] = torch.from_numpy(scales.reshape(blocks[:3]))
            continue
        if row.fp4 and row.fp4 in name:
            # pairs of neighbours in a byte, one exponent for 32 values
            tensors[name] = torch.from_numpy((bits(key, shape[0] * shape[1] // 2) >> np.uint64(56)).astype(np.int8).reshape(shape[0], -1))
            scales = (bits(key + "/scales", shape[0] * shape[1] // 32) >> np.uint64(62)).astype(np.uint8) + np.uint8(121)
            scale = torch.from_numpy(scales.reshape(shape[0], -1))
            tensors[f"{name.removesuffix('weight')}scale"] = scale.view(torch.float8_e8m0fnu)
            continue
        if shares := next((n for end, n in row.fp8.items() if name.endswith(end)), 0):
            # no NaN among the codes; a scale for 128 x 128 numbers
            codes = (bits(key, shape[0] * shape[1]) >> np.uint64(56)).astype(np.uint8).reshape(shape)
            codes[codes & 127 == 127] = 0
            tensors[name] = torch.from_numpy(codes).view(torch.float8_e4m3fn)
            grid = (shares * -(-shape[0] // shares // 128), -(-shape[1] // 128))
            tensors[f"{name}_scale_inv"] = torch.from_numpy(0.001 * (1 + np.abs(bell(key + "/scales", grid))).astype(np.float32))
            continue
        if name in row.values:
            tensors[name] = torch.from_numpy(row.values[name](*shape))
            continue
        values = torch.from_numpy(np.asarray(parameter(key, shape, row.zero_norms, row.ranges)))
        tensors[name] = values if name.endswith(row.float32 or ("\0",)) else values.to(getattr(torch, row.dtype))
    if row.old and row.v4 and row.v4.rename:
        tensors = {row.v4.rename(name): tensor for name, tensor in tensors.items()}
    save_file(tensors, path, metadata={"format": "pt"})


def _write_config(folder: Path, row: Model) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # the version would make the bytes depend on the library
    config["transformers_version"] = "4.46.3" if row.old else "5.0.0"
    generation = folder / "generation_config.json"
    if generation.exists():
        dump(generation, json.loads(generation.read_text()) | {"transformers_version": config["transformers_version"]})
    for key in row.drop:
        config.pop(key, None)
    target = config.get("text_config", config)
    target.update(row.add)
    if row.mxfp4:
        config["quantization_config"] = {
            "quant_method": "mxfp4",
            "modules_to_not_convert": [
                "model.layers.*.self_attn",
                "model.layers.*.mlp.router",
                "model.embed_tokens",
                "lm_head",
            ],
        }
    dump(folder / "config.json", as_v4(config, row.v4) if row.old and row.v4 else config)


def _write_sentence_modules(folder: Path, row: Model, weights: str) -> None:
    """modules.json, the pooling's configuration and dense layers, as sentence-transformers stores them."""
    import torch
    from safetensors.torch import save_file

    stem = "sentence_transformers.models"
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": f"{stem}.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{stem}.Pooling"},
    ]
    width = next(row.config[name] for name in ("hidden_size", "n_embd", "dim") if name in row.config)
    (folder / "1_Pooling").mkdir()
    dump(
        folder / "1_Pooling" / "config.json",
        {
            "word_embedding_dimension": width,
            "pooling_mode_cls_token": row.pooling == "cls",
            "pooling_mode_mean_tokens": row.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    )
    for number, out in enumerate(row.dense, start=2):
        place = folder / f"{number}_Dense"
        place.mkdir()
        modules.append({"idx": number, "name": str(number), "path": place.name, "type": f"{stem}.Dense"})
        dump(
            place / "config.json",
            {
                "in_features": width,
                "out_features": out,
                "bias": False,
                "activation_function": "torch.nn.modules.linear.Identity",
            },
        )
        weight = torch.from_numpy(parameter(f"{weights}/{place.name}", (out, width)))
        save_file({"linear.weight": weight}, place / "model.safetensors", metadata={"format": "pt"})
        width = out
    modules.append(
        {
            "idx": len(modules),
            "name": str(len(modules)),
            "path": f"{len(modules)}_Normalize",
            "type": f"{stem}.Normalize",
        }
    )
    dump(folder / "modules.json", modules)
