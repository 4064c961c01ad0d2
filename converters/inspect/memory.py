"""Bytes that a model takes in llama.cpp: its weights and the cache of a context.

Source: llama.cpp `src/llama-kv-cache*.cpp` and `src/llama-hparams.cpp`, with the cache in F16, as is the default, one
sequence and a batch of 512. Buffers of the computation come on top: some hundred MB.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

F16, F32 = 2, 4
BATCH = 512  # rows that a sliding window's cache holds beside the window
PAD = 256
MAX_BLOCKS = 1 << 16  # a stranger's file may claim billions
RECURRENT = ("linear_attention", "mamba", "conv")  # layer types of config.json without keys and values
FEED_FORWARD_BLOCKS = ("nemotron_h", "nemotron_h_moe")  # blocks without attention are either recurrent or feed forward


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes at `context` tokens. `cache` None: the file does not tell enough."""

    context: int
    weights: int
    cache: int | None

    def to_json(self) -> dict[str, int | None]:
        return {"context": self.context, "weights": self.weights, "cache": self.cache}


def cache_bytes(keys: Mapping[str, Any], layers: Sequence[str] | None, context: int) -> int | None:
    """Bytes of the cache at `context` tokens; None where keys are missing or cannot be what they say.

    `keys`: plain GGUF key-values. `layers`: layer types as in config.json (full_attention, sliding_attention,
    linear_attention ...); None where nothing tells them: the blocks with key-value heads are full then.
    """
    arch = keys.get("general.architecture")

    def key(name: str, default: Any = None) -> Any:
        return keys.get(f"{arch}.{name}", default)

    try:
        if key("attention.causal") is False:
            return 0
        blocks = int(key("block_count")) - int(key("nextn_predict_layers", 0))
        if not 0 < blocks <= MAX_BLOCKS:
            return None
        heads = key("attention.head_count", 0)
        kv_heads = _each(key("attention.head_count_kv", heads), blocks)
        width = int(key("embedding_length")) // max(_each(heads, 1)[0], 1)
        key_length, value_length = int(key("attention.key_length", width)), int(key("attention.value_length", width))
        if key("attention.kv_lora_rank") is not None and key("attention.key_length_mla") is not None:
            value_length = 0  # one latent serves as keys and as values
        window = int(key("attention.sliding_window", 0))
        slides = _slides(layers, key("attention.sliding_window_pattern"), blocks) if window else [False] * blocks
        kinds = [*(layers or ())[:blocks], *[""] * (blocks - len(layers or ()))]
        feeds = _each(key("feed_forward_length", 0), blocks)
        state = F32 * _state(key)
        both = state and "linear_attention" not in kinds and all(kv_heads)  # attention and a state in every block
        shared = int(key("attention.shared_kv_layers", 0))  # the last ones, which look into the caches of others
        total = 0
        for block in range(blocks):
            attends = kv_heads[block] > 0 and kinds[block] not in RECURRENT
            if attends and block < blocks - shared:
                rows = min(context, -(-(window + BATCH) // PAD) * PAD) if slides[block] else context
                total += F16 * rows * kv_heads[block] * _at(key_length, value_length, slides[block], key)
                total += F16 * rows * int(key("attention.indexer.key_length", 0))
            if both or (not attends and not (arch in FEED_FORWARD_BLOCKS and feeds[block])):
                total += state
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return total


def _state(key: Callable[..., Any]) -> int:
    """Numbers that a recurrent block keeps: of its convolution and of its state. 0 where there are none."""
    if key("wkv.head_size") is not None:
        width = int(key("embedding_length"))
        return int(key("token_shift_count", 2)) * width + width * int(key("wkv.head_size"))
    if key("shortconv.l_cache") is not None:
        return int(key("embedding_length")) * (int(key("shortconv.l_cache")) - 1)
    inner, size = int(key("ssm.inner_size", 0)), int(key("ssm.state_size", 0))
    return max(int(key("ssm.conv_kernel", 0)) - 1, 0) * (inner + 2 * int(key("ssm.group_count", 0)) * size) + size * inner


def _at(key_length: int, value_length: int, slides: bool, key: Any) -> int:
    """Numbers per head and token: layers that slide may have heads of their own size."""
    if slides:
        return int(key("attention.key_length_swa", key_length)) + int(key("attention.value_length_swa", value_length))
    return key_length + value_length


def _each(value: Any, blocks: int) -> list[int]:
    """One number, or one of each block."""
    if isinstance(value, (int, float)):
        return [int(value)] * blocks
    return [int(item) for item in value]


def _slides(layers: Sequence[str] | None, pattern: Any, blocks: int) -> list[bool]:
    if pattern is not None and not isinstance(pattern, int):
        return [bool(item) for item in pattern]
    if layers:
        return [kind == "sliding_attention" for kind in layers]
    return [False] * blocks
