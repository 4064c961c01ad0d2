"""adapter_config.json: what a PEFT adapter says of itself, checked, and the scale that it gives each update.

Source: peft `tuners/lora/config.py` (LoraConfig), `tuners/lora/model.py` (patterns), `tuners/lora/layer.py` (scaling).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from ..errors import GgufxError, InputError, UnsupportedError
from ..io.files import printable

MERGE = "Merge the adapter into its base model: `ggufx merge-lora`, or in one step `ggufx hf-to-gguf BASE --lora ADAPTER`."
MERGE_BY_PEFT = "Merge the adapter into its base model with peft (merge_and_unload), and convert the result with hf-to-gguf."
# Initialisations that change the base weights: the saved factors belong to a base that nobody has.
BASE_CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")
MIN_ALPHA = 1e-15
NO_FORM = (("use_dora", "DoRA"), ("lora_bias", "trained biases (lora_bias)"), ("modules_to_save", "modules_to_save"),
           ("trainable_token_indices", "trainable tokens"), ("layer_replication", "replicated layers"),
           ("use_qalora", "QALoRA"))
# What has no merged form here; the way out of each.
NO_MERGE = (
    ("layer_replication", "replicated layers", MERGE_BY_PEFT), ("use_qalora", "QALoRA", MERGE_BY_PEFT),
    ("arrow_config", "Arrow's routing between adapters", "No merge has its effect: serve it with peft."),
    ("alora_invocation_tokens", "an adapter that acts behind its invocation tokens only (aLoRA)",
     "Keep it beside the model: `ggufx lora-to-gguf` makes a GGUF adapter of it."),
    ("use_bdlora", "block-diagonal LoRA", MERGE_BY_PEFT), ("kasa_config", "KaSA", MERGE_BY_PEFT),
    ("monteclora_config", "MonteCLoRA", MERGE_BY_PEFT), ("velora_config", "VeLoRA", MERGE_BY_PEFT),
)
CHANGED_BASE = ("Save it with peft against the original base (save_pretrained with path_initial_model_for_weight_conversion), "
                "and merge that.")
# A pattern is a stranger's regular expression, and Python's matcher can take exponential time: none with repeated
# groups or back references, and all together few ways to match a name. peft's own, and those of people, are far from it.
MAX_PATTERNS, MAX_PATTERN_LENGTH, MAX_WAYS = 1000, 500, 1 << 17
NAME_LENGTH = 64  # about that of a weight's name: in so many places a repetition can end
_REPEAT = re.compile(r"(?<!\\)(?:[*+]|\{\d*,)")
_OPTION = re.compile(r"(?<![\\(])\?")
_RISKY = re.compile(r"\)[*+?{]|\\[1-9]|\(\?(?!:)")


@dataclass(frozen=True)
class AdapterSettings:
    """`alpha` of all modules, `alphas` of those that match a pattern; `parameters`: names (endings of names) of weights
    that are adapted as parameters, not as modules."""

    alpha: float
    alphas: tuple[tuple[re.Pattern[str], float], ...] = ()
    rslora: bool = False
    parameters: tuple[str, ...] = ()
    invocation_tokens: tuple[int, ...] = ()

    def is_parameter(self, weight: str) -> bool:
        """Whether the weight of this name is adapted as a parameter."""
        return any(weight == name or weight.endswith(f".{name}") for name in self.parameters)

    def scaling(self, module: str, parameter: str, rank: int) -> float:
        """What the update of `module` (its `parameter`) of this rank is multiplied with."""
        whole = f"{module}.{parameter}"
        name = whole if self.is_parameter(whole) else module
        alpha = next((value for pattern, value in self.alphas if pattern.match(name)), self.alpha)
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank


def read_settings(config: Mapping[str, Any], file: str, problems: list[GgufxError], *, merge: bool = False) -> AdapterSettings:
    """The settings; what is unfit, and what a GGUF adapter cannot express, or has no merged form, is appended to `problems`."""
    if merge:
        problems.extend(UnsupportedError(f"{what} cannot be merged", file=file, hint=way) for what, way in _unmergeable(config))
    else:
        problems.extend(UnsupportedError(f"a GGUF adapter cannot express {what}", file=file, hint=way)
                        for what, way in _inexpressible(config))
    alpha = config.get("lora_alpha")
    if not _number(alpha):
        problems.append(InputError("adapter_config.json has no usable lora_alpha", file=file, found=alpha,
                                   expected=f"0, or {MIN_ALPHA:.0e} to {1 / MIN_ALPHA:.0e}"))
    return AdapterSettings(
        float(alpha) if _number(alpha) else 0.0, _alphas(config.get("alpha_pattern"), file, problems),
        bool(config.get("use_rslora")), tuple(_list(config, "target_parameters", str, file, problems)),
        tuple(_list(config, "alora_invocation_tokens", int, file, problems)))


def _number(value: Any) -> TypeGuard[float]:
    """Whether it is a scale whose quotients, too, are numbers of float32."""
    return (isinstance(value, (int, float)) and not isinstance(value, bool)
            and (value == 0 or MIN_ALPHA <= abs(value) <= 1 / MIN_ALPHA))


def _inexpressible(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a GGUF adapter cannot express, and the way out."""
    found: list[tuple[str, str]] = []
    if kind := _other_kind(config):
        found.append((kind, MERGE_BY_PEFT))
    for key, what in NO_FORM:
        if config.get(key):
            listed = isinstance(config[key], (list, dict))
            way = MERGE_BY_PEFT if any(key == other for other, *_ in NO_MERGE) else MERGE
            found.append((f"{what} ({printable(str(config[key]))})" if listed else what, way))
    if config.get("bias", "none") != "none":
        found.append((f"trained biases (bias = '{printable(str(config['bias']))}')", MERGE))
    return found + _changed_base(config)


def _unmergeable(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What has no merged form, and the way out."""
    found = [(kind, MERGE_BY_PEFT)] if (kind := _other_kind(config)) else []
    found += [(what, way) for key, what, way in NO_MERGE if config.get(key)]
    return found + _changed_base(config)


def _other_kind(config: Mapping[str, Any]) -> str | None:
    kind = config.get("peft_type", "LORA")
    return None if kind == "LORA" else f"peft_type {printable(str(kind))}"


def _changed_base(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    init = str(config.get("init_lora_weights", "")).lower()
    what = f"an adapter whose initialisation ({printable(init)}) changed the base weights"
    return [(what, CHANGED_BASE)] if init.startswith(BASE_CHANGING) else []


def _alphas(given: Any, file: str, problems: list[GgufxError]) -> tuple[tuple[re.Pattern[str], float], ...]:
    """alpha_pattern, compiled as peft matches it: at the end of a name, from a dot on or from its beginning."""
    if not given:
        return ()
    if not isinstance(given, dict) or not all(_number(value) for value in given.values()):
        problems.append(InputError("alpha_pattern: patterns to usable scales are needed", file=file))
        return ()
    found, ways = [], 0
    for pattern, value in given.items():
        if (len(pattern) > MAX_PATTERN_LENGTH or _RISKY.search(pattern) or len(given) > MAX_PATTERNS
                or (ways := ways + _ways(pattern)) > MAX_WAYS):
            problems.append(UnsupportedError("alpha_pattern: too complex a pattern", file=file, found=printable(pattern),
                                             expected="no repeated group, few repetitions and alternatives"))
            break
        try:
            found.append((re.compile(rf"(.*\.)?({pattern})$"), float(value)))
        except (re.error, OverflowError, RecursionError) as error:
            problems.append(InputError(f"alpha_pattern: not a regular expression ({error})", file=file,
                                       found=printable(pattern)))
    return tuple(found)


def _ways(pattern: str) -> int:
    """An upper bound of the ways in which a pattern without repeated groups can match a part of a name."""
    repeats, options = len(_REPEAT.findall(pattern)), len(_OPTION.findall(pattern))
    alternatives = (1 + pattern.count("|")) ** max(1, pattern.count("("))
    return NAME_LENGTH**repeats * 2**options * alternatives


def _list(config: Mapping[str, Any], key: str, kind: type, file: str, problems: list[GgufxError]) -> list[Any]:
    given = config.get(key) or []
    if not isinstance(given, list) or not all(type(item) is kind for item in given):
        problems.append(InputError(f"adapter_config.json: {key} is no list of {kind.__name__}", file=file))
        return []
    return given
