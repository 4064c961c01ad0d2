"""Which files of a folder hold the weights, told from the names in it: transformers' own order.

Source: transformers `modeling_utils._get_resolved_checkpoint_files`; peft `save_and_load.load_peft_weights`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any

MODEL = ("model.safetensors", "pytorch_model.bin")
MLX_ADAPTER = "adapters.safetensors"
ADAPTER = ("adapter_model.safetensors", "adapter_model.bin", MLX_ADAPTER)
INDEX = ".index.json"
CHOICE = "transformers_weights"  # the key of config.json that names the file, or the index, to load
# *.safetensors that are not a model's weights under Hugging Face names: adapters of PEFT and MLX, Mistral's own layout
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
