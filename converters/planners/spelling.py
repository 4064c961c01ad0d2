"""Names of modules as an HF class has them, by those of its table, which knows each under several spellings."""

from __future__ import annotations

from ..rules.match import rename
from .adapter_keys import PREFIX
from .lora_to_gguf import BaseModel

# What classes with a head call the model without one (transformers: `base_model_prefix`), where tables have it.
BASES = ("model.", "transformer.", "backbone.")
HEAD = "lm_head."


def class_spelling(model: BaseModel, name: str) -> str:
    """A module's name in the base model's class, by that of the table. Both begin with peft's prefix."""
    prefix, inner = name[: len(PREFIX)], name[len(PREFIX) :]
    weight = f"{inner}.weight"
    spelled = _spelled(model, weight)
    return prefix + spelled.removesuffix(".weight") if weight in rename(spelled, model.spec.aliases) else name


def _spelled(model: BaseModel, inner: str) -> str:
    aliases = model.spec.aliases
    for found, table in model.spec.modules:
        if inner.startswith(table):
            return found + inner.removeprefix(table)
    headless = model.hf_class.endswith("Model") and not model.hf_class.endswith("HeadModel")
    if model.spec.whole:
        found, table = aliases[0] if aliases else ("", "")
        found = found.removeprefix(BASES[0]) if headless else found
        return found + inner.removeprefix(table) if inner.startswith(table) else inner
    embedding = next((str(rule.hf[0]) for rule in model.spec.tensors if str(rule.gguf[0]) == "token_embd.weight"), "")
    if headless:
        base = next((word for word in BASES if embedding.startswith(word)), "")
        return inner.removeprefix(base)
    for found, table in aliases:
        if inner.startswith(table) and (found == HEAD or (table == "" and not embedding.startswith(BASES))):
            return found + inner.removeprefix(table)
    return inner
