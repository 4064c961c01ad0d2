"""Pocket TTS, whose checkpoints have no config.json: one made of the sizes of its tensors.

What no tensor shows is the same in all that are published: heads of 64, positions that turn by 10000. The context bounds
only the runtime's cache. Source: llama.cpp `conversion/pockettts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...io.safetensors import read_safetensors_header
from ...io.tensors import StoredTensor

FILE = "model.safetensors"
STARTS, VOICE = "flow_lm.bos_emb", "flow_lm.bos_before_voice"
EMBEDDING, BLOCK = "flow_lm.conditioner.embed.weight", "flow_lm.transformer.layers."
HEARING = "mimi.encoder_transformer.transformer.layers."
HEAD, CONTEXT, THETA, EPSILON = 64, 4096, 10000.0, 1e-5


def is_pocket(folder: Path, names: set[str]) -> bool:
    """Whether the folder holds such a checkpoint and no config.json. Reads one header."""
    if "config.json" in names or FILE not in names:
        return False
    return STARTS in read_safetensors_header(folder / FILE).tensors


def config_of(tensors: Mapping[str, StoredTensor], file: Path, variant: str) -> dict[str, Any]:
    """The config.json that stands for the sizes. `variant`: what the folder is called. InputError where a tensor is
    missing."""
    def shape(name: str, axes: int) -> tuple[int, ...]:
        if name not in tensors or len(tensors[name].shape) != axes:
            raise InputError(f"missing, or not of {axes} axes: the model's sizes are read of it", file=file, tensor=name)
        return tensors[name].shape

    def blocks(prefix: str) -> int:
        return sum(name.startswith(prefix) and name.endswith(".norm1.weight") for name in tensors)

    rows, width = shape(EMBEDDING, 2)
    heard = shape(f"{HEARING}0.norm1.weight", 1)[0]
    behind = ["<|pad|>", *["<|bos_before_voice|>"] * (VOICE in tensors), "<|audio_bos|>"]
    types = [t.type for t in tensors.values()]
    main = max(dict.fromkeys(types), key=types.count)
    return {
        "architectures": ["PocketTTSModel"], "model_type": "pockettts", "model_variant": variant,
        "num_hidden_layers": blocks(BLOCK), "hidden_size": width,
        "intermediate_size": shape(f"{BLOCK}0.linear1.weight", 2)[0],
        "num_attention_heads": width // HEAD, "max_position_embeddings": CONTEXT, "rope_theta": THETA,
        "layer_norm_eps": EPSILON,
        "vocab_size": rows + len(behind) - 1, "tokens_behind": behind,
        "audio_config": {"num_hidden_layers": blocks(HEARING), "hidden_size": heard, "num_attention_heads": heard // HEAD,
                         "intermediate_size": shape(f"{HEARING}0.linear1.weight", 2)[0]},
        "dtype": {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}.get(main, "bfloat16"),
    }
