"""A model's folder in whichever layout it has: Hugging Face's, or Meta's or Mistral's own as if it were Hugging Face's."""

from __future__ import annotations

import os
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ...errors import GgufxError, InputError, raise_all
from ...io.json_file import json_bytes
from ...io.tokenizer_names import TEMPLATE
from ..hf_folder import Checkpoint, listed, open_checkpoint, read_files, taken_for
from ..recognise import expect
from ..stated import NOTHING, Stated
from ..weight_files import PARAMS, is_original, original_parts
from . import llama, mistral, pocket
from .params import Params, read_params
from .shards import Shard, Sizes, drop_tied_head, joined, read_shards
from .tokenizers import count_ranks, side_files, tokenizer_file

_TORCH = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_HF_READ = "config.json and its weights are here: the model is read in Hugging Face's layout, params.json is not"


def open_model(folder: str | Path, hf_class: str | None = None, stated: Stated = NOTHING, *, whole: bool = True) -> Checkpoint:
    """As `open_checkpoint`, of a folder in any of the layouts. Reads headers; of Meta's models, whether the head's bytes are
    the embedding's. `whole` False: to be looked at only, so that the tokenizer and the context may be missing.

    Raises as it does; InputError or UnsupportedError for settings, shards and a tokenizer that are missing, contradict each
    other, or are not known; UsageError for what is `stated` and does not fit.
    """
    folder = Path(folder)
    names = listed(folder) if folder.is_dir() else set()
    if pocket.is_pocket(folder, names):
        stated.refuse("the sizes of the tensors tell the model")
        return _pocket(folder, hf_class)
    if not is_original(names):
        stated.refuse("the model is in Hugging Face's layout, whose config.json tells it")
        checkpoint = open_checkpoint(folder, hf_class)
        if PARAMS in names and original_parts(names):
            checkpoint.notes.append(_HF_READ)
        return checkpoint
    expect(folder, "checkpoint")
    notes: list[str] = []
    params = read_params(folder)
    tokenizer = tokenizer_file(folder, names, notes, whole)
    files = original_parts(names)
    shards = read_shards(folder, files)
    ranks = count_ranks(tokenizer) if tokenizer and params.maker == "Meta" else 0
    version: str | None = None
    if params.maker == "Meta":
        table = shards[0].get("tok_embeddings.weight")
        kind = table.type if table else ""
        version = llama.version_of(params, bool(ranks) if tokenizer else _like_ranks(params), kind, stated, notes)
        config = llama.config_of(params, version, ranks, stated)
        if tokenizer and TEMPLATE not in names:
            notes.append("nothing tells whether the model is tuned for chat: no chat template, EOS as of the base model")
    else:
        if stated.llama_version is not None:
            replace(stated, context_length=None).refuse("this is Mistral's layout")
        config = mistral.config_of(params, stated, notes, whole)
    if tokenizer is None:  # tokenizer_config.json names the tokens
        del config["bos_token_id"], config["eos_token_id"]
    if left := sorted(n for n in names if fnmatchcase(n, "consolidated*.*t*") and n not in files):
        notes.append(f"not read: {', '.join(left)}")
    tensors = _tensors(shards, folder / files[0], params, config, notes)
    made: dict[str, bytes | Path] = side_files(tokenizer, ranks, version, config) if tokenizer else {}
    made["config.json"] = json_bytes(config, indent=2, sort_keys=True)
    return Checkpoint(folder, taken_for(config, hf_class), tensors, notes, made=made)


def _pocket(folder: Path, hf_class: str | None) -> Checkpoint:
    problems: list[GgufxError] = []
    tensors = read_files(folder, [pocket.FILE], problems)
    raise_all(problems)
    config = pocket.config_of(tensors, folder / pocket.FILE, Path(os.path.abspath(folder)).name)
    notes = ["there is no config.json: one is made of the sizes of the tensors"]
    return Checkpoint(folder, taken_for(config, hf_class), tensors, notes,
                      made={"config.json": json_bytes(config, indent=2, sort_keys=True)})


def _like_ranks(params: Params) -> bool:
    """Whether the settings are those of Llama 3: with a tokenizer.json, no tokenizer tells."""
    return params.get("rope_theta", 0) == 500000 or bool(params.get("use_scaled_rope"))


def _tensors(shards: list[Shard], first: Path, params: Params, config: dict[str, Any], notes: list[str]) -> Shard:
    """The weights; `config` learns what they tell. `first`: the file that stands for all."""
    head = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    if params.maker == "Meta" and params.need("dim") % params.need("n_heads"):
        raise params.error("n_heads", "does not divide dim", found=params.need("n_heads"))
    if head < 2 or head % 2:
        raise params.error("head_dim", "is not an even number, as rotary positions need it", found=head)
    sizes: Sizes = {"dim": config["hidden_size"], "head": head, "q": head * config["num_attention_heads"],
                    "kv": head * config["num_key_value_heads"]}
    known = {"ffn": config.get("intermediate_size"), "experts": config.get("num_local_experts")}
    sizes |= {name: size for name, size in known.items() if size}
    tensors = joined(shards, params, sizes, notes)
    if "vocab" not in sizes or "ffn" not in sizes:
        raise InputError("holds no model of text: tok_embeddings.weight or layers.0.feed_forward.w1.weight is missing",
                         file=first)
    if (layers := {name.split(".")[2] for name in tensors if name.startswith("model.layers.")}) and \
            len(layers) != params.need("n_layers"):
        raise params.error("n_layers", "the tensors are of another number of layers", len(layers), params.need("n_layers"))
    if params.maker == "Meta" and (width := llama.feed_forward(params)) != sizes["ffn"]:
        notes.append(f"params.json makes feed-forward layers {width} wide, the tensors are {sizes['ffn']}: these count")
    tied = bool(params.get("tied_embeddings"))
    if params.maker == "Meta" and drop_tied_head(tensors):
        notes.append("output.weight holds the bytes of tok_embeddings.weight: the two are taken for tied")
        tied = True
    elif "lm_head.weight" not in tensors and not tied:
        raise InputError("missing, and params.json does not say that it is tied to the embedding", file=first,
                         tensor="output.weight", hint="The download is not complete.")
    types = [t.type for t in tensors.values()]
    main = max(dict.fromkeys(types), key=types.count)
    config |= {"intermediate_size": sizes["ffn"], "vocab_size": sizes["vocab"], "tie_word_embeddings": tied,
               "torch_dtype": _TORCH.get(main, "bfloat16"), "transformers_version": "5.0.0"}
    return tensors
