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

MERGE = "Merge the adapter into its base model (peft: merge_and_unload) and convert the result with hf-to-gguf."
# Initialisations that change the base weights: the saved factors belong to a base that nobody has.
BASE_CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")
MIN_ALPHA = 1e-15
NO_FORM = (("use_dora", "DoRA"), ("lora_bias", "trained biases (lora_bias)"), ("modules_to_save", "modules_to_save"),
           ("trainable_token_indices", "trainable tokens"), ("layer_replication", "replicated layers"),
           ("use_qalora", "QALoRA"))
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

    def scaling(self, module: str, parameter: str, rank: int) -> float:
        """What the update of `module` (its `parameter`) of this rank is multiplied with."""
        whole = f"{module}.{parameter}"
        name = whole if any(whole == p or whole.endswith(f".{p}") for p in self.parameters) else module
        alpha = next((value for pattern, value in self.alphas if pattern.match(name)), self.alpha)
        return alpha / math.sqrt(rank) if self.rslora else alpha / rank


def read_settings(config: Mapping[str, Any], file: str, problems: list[GgufxError]) -> AdapterSettings:
    """The settings; what is unfit, and what a GGUF adapter cannot express, is appended to `problems`."""
    problems.extend(UnsupportedError(f"a GGUF adapter cannot express {what}", file=file, hint=MERGE)
                    for what in _inexpressible(config))
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


def _inexpressible(config: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    if config.get("peft_type", "LORA") != "LORA":
        found.append(f"peft_type {printable(str(config['peft_type']))}")
    for key, what in NO_FORM:
        if config.get(key):
            listed = isinstance(config[key], (list, dict))
            found.append(f"{what} ({printable(str(config[key]))})" if listed else what)
    if config.get("bias", "none") != "none":
        found.append(f"trained biases (bias = '{printable(str(config['bias']))}')")
    init = str(config.get("init_lora_weights", "")).lower()
    if init.startswith(BASE_CHANGING):
        found.append(f"an adapter whose initialisation ({printable(init)}) changed the base weights")
    return found


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
