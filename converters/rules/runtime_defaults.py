"""What llama.cpp takes for hyperparameters that a file lacks, and values of them that it does not tell apart.

Source: llama.cpp `llama-model.cpp` (load_hparams, load_swa_pattern), `llama-hparams.h`, `models/*.cpp`
(load_arch_hparams), `llama-graph.cpp`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..io.values import Metadata, plain
from .facts import MISSING
from .hf_config import MAX_BLOCKS
from .hparam_rules import Const, Key, OneKey, typed
from .spec import ArchSpec

Get = Callable[[str], Any]  # the meaning of another key below the architecture's prefix; KeyError where there is none


def _head_length(get: Get) -> int:
    return get("embedding_length") // _first(get("attention.head_count"))


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


# Key below the architecture's prefix -> what stands for it where it is absent, or how that comes from other keys.
DEFAULTS: dict[str, Any] = {
    "attention.causal": True,
    "attention.clamp_kqv": 0.0,
    "attention.head_count_kv": lambda get: get("attention.head_count"),
    "attention.key_length": _head_length,
    "attention.key_length_swa": lambda get: get("attention.key_length"),
    "attention.max_alibi_bias": 0.0,
    "attention.scale": 0.0,
    "attention.shared_kv_layers": 0,
    "attention.sliding_window": 0,
    "attention.temperature_length": 0,
    "attention.temperature_scale": 0.0,
    "attention.value_length": _head_length,
    "attention.value_length_swa": lambda get: get("attention.value_length"),
    "embedding_length_out": lambda get: get("embedding_length"),
    "embedding_scale": 0.0,
    "expert_count": 0,
    "expert_gating_func": 0,
    "expert_group_count": 0,
    "expert_group_used_count": 0,
    "expert_used_count": 0,
    "expert_weights_norm": False,
    "expert_weights_scale": 1.0,
    "leading_dense_block_count": 0,
    "logit_scale": 0.0,
    "nextn_predict_layers": 0,
    "pooling_type": 0,
    "residual_scale": 0.0,
    "rope.dimension_count": lambda get: get("attention.key_length"),
    "rope.dimension_count_swa": lambda get: get("rope.dimension_count"),
    "rope.freq_base": 10000.0,
    "rope.freq_base_swa": 10000.0,
    "rope.scaling.attn_factor": 1.0,
    "rope.scaling.factor": 1.0,
    "rope.scaling.finetuned": False,
    "rope.scaling.original_context_length": lambda get: get("context_length"),
    "rope.scaling.type": "linear",
    "rope.scaling.yarn_attn_factor": 1.0,
    "rope.scaling.yarn_beta_fast": 32.0,
    "rope.scaling.yarn_beta_slow": 1.0,
    "rope.scaling.yarn_ext_factor": -1.0,
    "rope.scaling.yarn_log_multiplier": 0.0,
}
_SAME_BASE = {"rope.freq_base_swa": lambda get: get("rope.freq_base")}
ARCHITECTURE_DEFAULTS: dict[str, dict[str, Any]] = {
    "deepseek2": {"expert_gating_func": lambda get: MISSING if get("block_count") in (47, 48) else 1},
    "gemma-embedding": {"attention.causal": False, "attention.sliding_window_pattern": 6},
    "gemma2": {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "attention.sliding_window": 4096,
               "attention.sliding_window_pattern": 2, **_SAME_BASE},
    "gemma3": {"final_logit_softcapping": 0.0, "attention.sliding_window_pattern": 6},
    "gemma4": {"final_logit_softcapping": 30.0},
    "gpt-oss": {"attention.sliding_window_pattern": 2, **_SAME_BASE},
    "qwen35": {"full_attention_interval": 4},
    "qwen35moe": {"full_attention_interval": 4},
}
# Keys that the runtime reads and does nothing with, or never reads.
UNREAD: dict[str, tuple[str, ...]] = {"phi3": ("attention.sliding_window",)}
OLD_NAMES = {"rope.scale_linear": "rope.scaling.factor"}


def _scaling_type(value: str, get: Get) -> str:
    return "linear" if value in ("none", "linear") and get("rope.scaling.factor") == 1 else value


def _window_pattern(value: Any, get: Get) -> Any:
    """A period n: every n-th block sees everything."""
    if isinstance(value, int) and not isinstance(value, bool):
        blocks = min(get("block_count"), MAX_BLOCKS) - get("nextn_predict_layers")
        return [not value or i % value < value - 1 for i in range(blocks)]
    return value


# Values that mean the same, brought into one form.
SAME_VALUES: dict[str, Callable[[Any, Get], Any]] = {
    "attention.sliding_window_pattern": _window_pattern,
    "expert_weights_scale": lambda value, get: value or 1.0,
    "rope.scaling.factor": lambda value, get: value or 1.0,
    "rope.scaling.type": _scaling_type,
}
# One number for all blocks, or one for each.
PER_BLOCK = ("attention.head_count", "attention.head_count_kv", "feed_forward_length", "expert_used_count",
             "expert_feed_forward_length")



class RuntimeHparams:
    """The hyperparameters of a file as the runtime takes them. `stored`: plain values by key below the prefix `arch`."""

    def __init__(self, arch: str, stored: Mapping[str, Any]) -> None:
        self.arch, self.stored = arch, stored

    def __getitem__(self, key: str) -> Any:
        """A value in a form that is equal where it means the same. KeyError where the runtime wants a key that is absent.

        Whatever arithmetic raises for values that no model has is raised here as well.
        """
        key = OLD_NAMES.get(key, key)
        if key in UNREAD.get(self.arch, ()):
            return None
        value = next((self.stored[k] for k in (key, *OLD_NAMES) if k in self.stored and OLD_NAMES.get(k, k) == key), MISSING)
        if value is MISSING:
            value = {**DEFAULTS, **ARCHITECTURE_DEFAULTS.get(self.arch, {})}[key]
            value = value(self.__getitem__) if callable(value) else value
        if key in SAME_VALUES:
            value = SAME_VALUES[key](value, self.__getitem__)
        if key in PER_BLOCK and isinstance(value, list) and len(value) == self["block_count"] and len(set(value)) == 1:
            value = value[0]
        return value


def with_defaults(spec: ArchSpec, metadata: Metadata) -> Metadata:
    """Key-values with those that a rule of the table reads, the file lacks, and the runtime has a value for.

    Not those for which the table itself has one, nor 0: what that switches off has its own spelling in config.json.
    """
    out = dict(metadata)
    prefix = f"{spec.name}."
    runtime = RuntimeHparams(spec.name, {k.removeprefix(prefix): v.tolist() if isinstance(v, np.ndarray) else v
                                         for k, v in plain(metadata).items() if k.startswith(prefix)})
    for rule in spec.hparams:
        if not isinstance(rule, OneKey) or prefix + rule.key in out:
            continue
        if isinstance(rule, Const) or (isinstance(rule, Key) and rule.default is not MISSING):
            continue
        try:
            value = runtime[rule.key]
            if value or value is False:
                out[prefix + rule.key] = typed(rule.type, value)
        except (KeyError, TypeError, ValueError, ArithmeticError, IndexError):
            continue  # missed by its own rule
    return out
