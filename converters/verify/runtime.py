"""What llama.cpp makes of a file's key-values: what it takes for absent keys, and values that it does not tell apart.

Source: llama.cpp `llama-model.cpp` (load_hparams, load_swa_pattern), `llama-hparams.h`, `models/*.cpp`
(load_arch_hparams), `llama-graph.cpp`, `llama-vocab.cpp`, `llama-model-loader.cpp`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..io.values import Metadata, Value, ValueType, text_of
from ..rules.hf_config import MAX_BLOCKS
from ..rules.spec import MISSING
from ..tokenizer.pre import pre_table
from ..tokenizer.special import ID_KEYS, PREFIX, RUNTIME_ADDS, RUNTIME_IDS
from ..tokenizer.vocabulary import TokenType

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
OLD_NAMES = {"rope.scale_linear": "rope.scaling.factor", "tokenizer.ggml.prefix_token_id": "tokenizer.ggml.fim_pre_token_id",
             "tokenizer.ggml.suffix_token_id": "tokenizer.ggml.fim_suf_token_id",
             "tokenizer.ggml.middle_token_id": "tokenizer.ggml.fim_mid_token_id"}


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

# -- tokenizers -----------------------------------------------------------------------------------------------------

BPE = ("gpt2", "hybriddna", "whitespace", "gemma4")
NO_VOCABULARY = ("none", "no_vocab")
# Key below tokenizer.ggml. -> the values of tokenizer.ggml.model with which it is read.
READ_BY = {"merges": BPE, "pre": ("gpt2", "hybriddna", "whitespace"), "scores": ("llama", "t5", "plamo2"),
           "precompiled_charsmap": ("t5",), "remove_extra_whitespaces": ("t5",)}
PRE_ADDS_SEP = ("jina-v1-en", "jina-v2-code", "roberta-bpe")
PRE_WITHOUT_BOS = ("chatglm-bpe", "glm4", "glm5")
# Pre-tokenizers that are one to the runtime, in everything.
SAME_PRE = (
    ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"),
    ("gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "a.x-4.0", "mellum", "modern-bert", "exaone4"),
    ("jina-v2-es", "jina-v2-de"), ("jina-v1-en", "roberta-bpe"), ("gemma4", "granite-embed-multi-311m"),
    ("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2"), ("glm4", "glm5"), ("gpt-4o", "llama4", "kanana2", "talkie"),
    ("tiny_aya", "cohere2moe"), ("bailingmoe", "bailingmoe2", "llada-moe"),
)
# Ids that are found by the token's text where no key gives them.
ID_TEXTS: dict[str, tuple[str, ...]] = {
    "eot_token_id": ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>",
                     "_<EOT>", "[EOT]", "<｜end▁of▁sentence｜>", "<end_of_utterance>"),
    "eom_token_id": ("<|eom_id|>",),
    "fim_pre_token_id": ("<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
                         "<|code_prefix|>", "<|prefix|>"),
    "fim_suf_token_id": ("<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
                         "<|code_suffix|>", "<|suffix|>"),
    "fim_mid_token_id": ("<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
                         "<|code_middle|>", "<|middle|>"),
    "fim_pad_token_id": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep_token_id": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep_token_id": ("<|file_sep|>",),
}
# Tokens that end a generation are control tokens whatever their type says, and these four are shown.
CONTROL_TEXTS = frozenset((
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>",
    "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["))
SHOWN_TEXTS = frozenset(("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"))
# Types with the same consequences: text is cut at both, and both are hidden; or neither of them.
SAME_TYPES = {TokenType.UNKNOWN: TokenType.CONTROL, TokenType.UNUSED: 0}
_INTEGERS = (ValueType.UINT32, ValueType.INT32, ValueType.BOOL)  # one to the runtime in arrays, not alone


@dataclass(frozen=True)
class Runtime:
    """A file's key-values as llama.cpp takes them."""

    metadata: Metadata
    name: str  # general.architecture, whose prefix the keys have

    @cached_property
    def model(self) -> str:
        return text_of(self.metadata, PREFIX + "model")

    @cached_property
    def pre(self) -> str:
        return text_of(self.metadata, PREFIX + "pre") or "default"

    @cached_property
    def tokens(self) -> list[str]:
        found = self.metadata.get(PREFIX + "tokens")
        return list(found.data) if found is not None and found.item_type is ValueType.STRING else []

    @cached_property
    def ids(self) -> Mapping[str, int]:
        return {text: i for i, text in enumerate(self.tokens)}

    def meaning(self, key: str) -> Any:
        """What the runtime takes for a key, in a form that is equal where it means the same; MISSING where unknown."""
        prefix = f"{self.name}."
        if key == "general.type":
            return text_of(self.metadata, key) or "model"
        try:
            if key.startswith(PREFIX):
                return self._of_tokenizer(key.removeprefix(PREFIX))
            if key.startswith(prefix):
                return self._of_model(key.removeprefix(prefix))
        except (KeyError, TypeError, ValueError, ArithmeticError, IndexError):
            return MISSING  # keys that it depends on are absent, or of types that no model has
        return self._stored(key)

    def _stored(self, key: str) -> Any:
        value = self.metadata.get(key)
        if value is None:
            old = next((o for o, new in OLD_NAMES.items() if new == key.removeprefix(f"{self.name}.")), None)
            prefix = "" if old is None or old.startswith(PREFIX) else f"{self.name}."
            value = None if old is None else self.metadata.get(prefix + old)
        return MISSING if value is None else _plain(value)

    def _of_model(self, key: str) -> Any:
        if key in UNREAD.get(self.name, ()) or (key == "vocab_size" and self.model not in NO_VOCABULARY):
            return None
        if key in OLD_NAMES:
            return self._of_model(OLD_NAMES[key])
        value = self._stored(f"{self.name}.{key}")
        if value is MISSING:
            value = {**DEFAULTS, **ARCHITECTURE_DEFAULTS.get(self.name, {})}.get(key, MISSING)
            value = value(self._get) if callable(value) else value
        if key in SAME_VALUES and value is not MISSING:
            value = SAME_VALUES[key](value, self._get)
        if key in PER_BLOCK and isinstance(value, list) and len(set(value)) == 1:
            value = value[0] if len(value) == self._get("block_count") else value
        return value

    def _get(self, key: str) -> Any:
        value = self._of_model(key)
        if value is MISSING:
            raise KeyError(key)
        return value

    def _of_tokenizer(self, key: str) -> Any:
        full = PREFIX + key
        if full in OLD_NAMES:
            return self.meaning(OLD_NAMES[full])
        if self.model not in READ_BY.get(key, (self.model,)):
            return None
        if key == "pre":
            return next((group[0] for group in SAME_PRE if self.pre in group), self.pre)
        if key in ("scores", "token_type"):
            return self.scores if key == "scores" else self.types
        value = self._stored(full)
        if key.endswith("_token_id"):
            found = value if isinstance(value, int) and 0 <= value < len(self.tokens) else self._default_id(key)
            return None if found is None or not 0 <= found < len(self.tokens) else found
        return value if value is not MISSING else self._tokenizer_default(key)

    def _tokenizer_default(self, key: str) -> Any:
        adds = RUNTIME_ADDS.get(self.model, {})
        row = pre_table().get(self.pre) if self.model == "gpt2" else None
        return {
            "add_bos_token": adds.get("bos", False) or (row is not None and row.adds_bos),
            "add_eos_token": adds.get("eos", False),
            "add_sep_token": self.model == "bert" or (row is not None and self.pre in PRE_ADDS_SEP),
            "add_space_prefix": self.model == "llama",
            "normalizer.lowercase": self.pre != "whitespace",
            "normalizer.strip_accents": self._stored(PREFIX + "normalizer.lowercase") is not False,
            "remove_extra_whitespaces": False,
            "suppress_tokens": [],
        }.get(key, MISSING)

    def _default_id(self, key: str) -> int | None:
        if key in ID_TEXTS:
            found = [self.ids[text] for text in ID_TEXTS[key] if text in self.ids]
            if len(found) > 1:
                raise KeyError(key)  # the one it takes depends on the order of a hash table
            return found[0] if found else None
        name = next((n for n, k in ID_KEYS.items() if k == key), "")
        if name == "bos" and self.model == "gpt2" and self.pre in PRE_WITHOUT_BOS:
            return None
        return RUNTIME_IDS.get(self.model, {}).get(name)

    @cached_property
    def scores(self) -> np.ndarray:
        """float32, one per token."""
        stored = self.metadata.get(PREFIX + "scores")
        count = len(self.tokens)
        return np.zeros(count, np.float32) if stored is None else np.asarray(stored.data, np.float32)[:count]

    @cached_property
    def types(self) -> np.ndarray:
        """int64, one per token; those that mean the same are one number."""
        stored = self.metadata.get(PREFIX + "token_type")
        count = len(self.tokens)
        types = np.full(count, TokenType.NORMAL) if stored is None else np.array(stored.data, np.int64)[:count]
        types[(types < 0) | (types > TokenType.BYTE)] = 0
        if self.model == "t5":  # its lattice holds unused tokens, and is made before any type is corrected
            types[types == TokenType.UNKNOWN] = TokenType.CONTROL
            return types
        for kind, other in SAME_TYPES.items():
            types[types == kind] = other
        for texts, kind in ((CONTROL_TEXTS, TokenType.CONTROL), (SHOWN_TEXTS, TokenType.USER_DEFINED)):
            types[[self.ids[text] for text in texts if text in self.ids]] = kind
        return types

    def scored(self, token: int) -> bool:
        """Whether the tokenizer ever looks at a token's score."""
        if self.model == "llama":  # where two pieces of text are joined to one that is a token
            text = self.tokens[token]
            return any((i == 1 or text[:i] in self.ids) and (len(text) - i == 1 or text[i:] in self.ids)
                       for i in range(1, len(text)))
        return self.model != "t5" or self.types[token] in (TokenType.NORMAL, TokenType.UNUSED)


def _plain(value: Value) -> Any:
    if value.item_type is None:
        return value.data
    return value.data.tolist() if isinstance(value.data, np.ndarray) else list(value.data)


def alike(key: str, a: Runtime, b: Runtime) -> bool:
    """Whether the runtime does the same with both files, as far as this key goes."""
    x, y = a.metadata.get(key), b.metadata.get(key)
    if x is not None and y is not None and not _same_type(x, y):
        return False  # it refuses one of them
    one, two = a.meaning(key), b.meaning(key)
    if one is MISSING or two is MISSING:
        return False
    if not isinstance(one, np.ndarray) or not isinstance(two, np.ndarray):
        return one is two if one is None or two is None else bool(np.array_equal(one, two))
    if len(one) != len(two):
        return False
    differing = np.flatnonzero(one != two)
    return not differing.size or (key.endswith("scores") and not any(s.scored(int(i)) for i in differing for s in (a, b)))


def _same_type(x: Value, y: Value) -> bool:
    kinds = [v.type if v.item_type is None else v.item_type for v in (x, y)]
    arrays = any(v.item_type is not None for v in (x, y))
    return kinds[0] == kinds[1] or (arrays and all(k in _INTEGERS for k in kinds))
