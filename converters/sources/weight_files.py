"""Which files of a folder hold the weights, told from the names in it: transformers' own order, then the makers' own layouts.

Source: transformers `modeling_utils._get_resolved_checkpoint_files`; peft `save_and_load.load_peft_weights`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

MODEL = ("model.safetensors", "pytorch_model.bin")
MLX_ADAPTER = "adapters.safetensors"
ADAPTER = ("adapter_model.safetensors", "adapter_model.bin", MLX_ADAPTER)
INDEX = ".index.json"
CHOICE = "transformers_weights"  # the key of config.json that names the file, or the index, to load
# *.safetensors that are not a model's weights under Hugging Face names: adapters of PEFT and MLX, Mistral's own layout
PARAMS = "params.json"  # the settings of Meta's and Mistral's own layouts
RANKS = re.compile(r"consolidated\.(\d{2,4})\.pth")
_PARTS = re.compile(r"consolidated(-\d{5}-of-\d{5})?\.safetensors")
OTHERS = ("adapter_model*", "adapters.safetensors", "*_adapters.safetensors", "consolidated*")


def first_of(names: Collection[str], config: Mapping[str, Any], single: Collection[str] = MODEL) -> str | None:
    """The file that is loaded, or the index of several: the one that config.json chooses, else the first by rank."""
    chosen = config.get(CHOICE) if single is MODEL else None
    if isinstance(chosen, str):
        return chosen
    return next((name for one in single for name in (one, one + INDEX) if name in names), None)


def loose_parts(names: Collection[str]) -> list[str]:
    """Failing these, all *.safetensors of the folder that can be a model's."""
    return sorted(name for name in names if name.endswith(".safetensors") and "/" not in name
                  and not any(fnmatchcase(name, pattern) for pattern in OTHERS))


def left_alone(names: Collection[str], read: Collection[str]) -> list[str]:
    """Files with weights of the model that are not among those read."""
    return sorted(name for name in {*loose_parts(names), *(n for n in names if fnmatchcase(n, "pytorch_model*.bin")),
                                    *(n for n in names if fnmatchcase(n, "consolidated*"))} - set(read))


def original_parts(names: Collection[str]) -> list[str]:
    """The weights of a maker's own layout: Mistral's safetensors, or else a file per rank, in their order."""
    ranks = {name: int(match[1]) for name in names if (match := RANKS.fullmatch(name))}
    return sorted(name for name in names if _PARTS.fullmatch(name)) or sorted(ranks, key=ranks.__getitem__)


def is_original(names: Collection[str]) -> bool:
    """Whether a folder with these names is read in its maker's layout: there is one, and Hugging Face's is not complete."""
    hugging_face = "config.json" in names and (first_of(names, {}) is not None or loose_parts(names))
    return PARAMS in names and bool(original_parts(names)) and not hugging_face
