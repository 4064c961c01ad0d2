"""adapter_config.json of an adapter that somebody else's GGUF file holds: what makes peft compute what the runtime does.

Source: peft `tuners/lora/config.py` (LoraConfig), `tuners/lora/model.py` (patterns), `tuners/tuners_utils.py` (targets).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..notes import Note
from ..rules.match import local_holes
from ..rules.template import Holes
from .adapter_keys import PREFIX
from .lora_to_gguf import BaseModel
from .spelling import class_spelling

ASSUMED = "adapter_config.json, not in the file and taken as usual"
FOLDED = ("rsLoRA, patterns of ranks and alphas, targets as they were written, dropout and initialisation are not in a GGUF "
          "adapter; ranks and scales are those that the runtime computes with")


@dataclass(frozen=True)
class Adapted:
    """A module, or a `parameter` of it, with factors of `rank`, whose product is scaled by `alpha` / `rank`."""

    module: str
    parameter: str | None
    rank: int
    alpha: float

    @property
    def name(self) -> str:
        return f"{self.module}.{self.parameter}" if self.parameter else self.module


def peft_config(model: BaseModel, adapted: list[Adapted], *, base: str | None, conv1d: bool, tokens: list[int],
                notes: list[str]) -> dict[str, Any]:
    """The settings; `base`: what they call the base model, `tokens`: those that invoke an aLoRA. What is assumed is noted."""
    rank = Counter(a.rank for a in adapted).most_common(1)[0][0]
    alpha = Counter(a.alpha for a in adapted).most_common(1)[0][0]
    task = _task(model)
    notes += [FOLDED, Note(ASSUMED, f"task_type = {task}", "bias = none", "lora_dropout = 0")]
    config: dict[str, Any] = {
        "peft_type": "LORA", "task_type": task, "base_model_name_or_path": base, "inference_mode": True, "bias": "none",
        "r": rank, "lora_alpha": int(alpha) if alpha == int(alpha) else alpha, "lora_dropout": 0.0,
        "fan_in_fan_out": conv1d,
        "target_modules": _targets(model, sorted({a.module for a in adapted if not a.parameter})),
        "rank_pattern": {_pattern(a.name): a.rank for a in adapted if a.rank != rank},
        "alpha_pattern": {_pattern(a.name): a.alpha for a in adapted if a.alpha != alpha},
    }
    if parameters := sorted({a.name for a in adapted if a.parameter}):
        config["target_parameters"] = parameters
    if tokens:
        config["alora_invocation_tokens"] = tokens
    return config


def _pattern(name: str) -> str:
    """A name as a pattern: peft takes it for a regular expression."""
    return re.escape(name)


def _task(model: BaseModel) -> str | None:
    """The task that peft wraps the class for. None for encoders: those of classifiers would train a head."""
    if "d" in model.spec.stacks:
        return "SEQ_2_SEQ_LM"
    head = model.hf_class.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration"))
    return "CAUSAL_LM" if head and model.spec.head else None


def _targets(model: BaseModel, modules: list[str]) -> list[str]:
    """Endings of the modules' names where all modules with that ending are adapted, else whole names."""
    if model.spec.whole:
        return modules  # the other parts of the model may have modules with these endings
    endings: dict[str, set[str]] = {}
    for module in _modules(model):
        endings.setdefault(module.rpartition(".")[2], set()).add(module)
    there = set(modules)
    return sorted({end if endings.get(end := m.rpartition(".")[2], {""}) <= there else m for m in modules})


def _modules(model: BaseModel) -> Iterable[str]:
    """The modules with a weight that the table knows of, under the names of the class."""
    for rule in model.spec.tensors:
        stack = rule.stack
        for block in (None,) if stack is None else range(len(model.spec.blocks(stack, model.hp))):
            holes: Holes = {"p": "weight", "e": 0} if stack is None else {"p": "weight", "e": 0, stack: block}
            if stack is None:
                holes = local_holes(model.spec, rule, holes, model.hp)
            for template in rule.hf:
                if (name := template.format(holes)).endswith(".weight"):
                    yield class_spelling(model, PREFIX + name.removesuffix(".weight")).removeprefix(PREFIX)
