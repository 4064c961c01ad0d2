"""Names of modules as an HF class has them, by those of its table."""

from __future__ import annotations

from .adapter_keys import PREFIX
from .lora_to_gguf import BaseModel

# What classes with a head call the model without one (transformers: `base_model_prefix`).
BASES = ("model.", "transformer.", "backbone.")


def class_spelling(model: BaseModel, name: str) -> str:
    """A module's name in the base model's class, by that of the table. Both begin with peft's prefix."""
    spec = model.spec
    prefix, inner = name[: len(PREFIX)], name[len(PREFIX) :]
    if spec.whole:
        found, table = spec.aliases[0] if spec.aliases else ("", "")
        return prefix + found + inner.removeprefix(table) if inner.startswith(table) else name
    if model.hf_class.endswith("Model") and not model.hf_class.endswith("HeadModel"):
        base = next((word for word in BASES if inner.startswith(word)), "")
        return prefix + inner.removeprefix(base)
    wrapped = next((found for found, table in spec.aliases if table == ""), "")
    return prefix + wrapped + inner
