"""What llama.cpp makes of a file's key-values: what it takes for absent keys, and values that it does not tell apart.

The hyperparameters are in `rules/runtime_defaults.py`. Source: llama.cpp `llama-vocab.cpp`, `llama-model-loader.cpp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..io.values import Metadata, Value, ValueType, text_of
from ..rules.facts import MISSING
from ..rules.runtime_defaults import RuntimeHparams
from ..tokenizer.pre import pre_table
from ..tokenizer.special import ID_KEYS, PREFIX, RUNTIME_ADDS, RUNTIME_IDS
from ..tokenizer.vocabulary import TokenType

# -- tokenizers -----------------------------------------------------------------------------------------------------

BPE = ("gpt2", "hybriddna", "whitespace", "gemma4")
NO_VOCABULARY = ("none", "no_vocab")
# Key below tokenizer.ggml. -> the values of tokenizer.ggml.model with which it is read.
READ_BY = {"merges": BPE, "pre": ("gpt2", "hybriddna", "whitespace"), "scores": ("llama", "t5", "plamo2"),
           "precompiled_charsmap": ("t5",), "remove_extra_whitespaces": ("t5",)}
PRE_ADDS_SEP = ("jina-v1-en", "jina-v2-code", "roberta-bpe")
PRE_WITHOUT_BOS = ("chatglm-bpe", "glm4", "glm5")
OLD_IDS = {"prefix_token_id": "fim_pre_token_id", "suffix_token_id": "fim_suf_token_id", "middle_token_id": "fim_mid_token_id"}
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

    @cached_property
    def hparams(self) -> RuntimeHparams:
        prefix = f"{self.name}."
        own = {k.removeprefix(prefix): _plain(v) for k, v in self.metadata.items() if k.startswith(prefix)}
        return RuntimeHparams(self.name, own)

    def meaning(self, key: str) -> Any:
        """What the runtime takes for a key, in a form that is equal where it means the same; MISSING where unknown."""
        prefix = f"{self.name}."
        try:
            if key == f"{prefix}vocab_size" and self.model not in NO_VOCABULARY:
                return None  # the tokens are counted
            if key.startswith(PREFIX):
                return self._of_tokenizer(key.removeprefix(PREFIX))
            if key.startswith(prefix):
                return self.hparams[key.removeprefix(prefix)]
        except (KeyError, TypeError, ValueError, ArithmeticError, IndexError):
            return MISSING  # keys that it depends on are absent, or of types that no model has
        return _plain(self.metadata[key]) if key in self.metadata else "model" if key == "general.type" else MISSING

    def _of_tokenizer(self, key: str) -> Any:
        key = OLD_IDS.get(key, key)
        if self.model not in READ_BY.get(key, (self.model,)):
            return None
        if key == "pre":
            return next((group[0] for group in SAME_PRE if self.pre in group), self.pre)
        if key in ("scores", "token_type"):
            return self.scores if key == "scores" else self.types
        old = next((o for o, new in OLD_IDS.items() if new == key), key)
        value = self.metadata.get(PREFIX + key, self.metadata.get(PREFIX + old))
        if key.endswith("_token_id"):
            found = value.data if value is not None and 0 <= value.data < len(self.tokens) else self._default_id(key)
            return None if found is None or not 0 <= found < len(self.tokens) else found
        return self._tokenizer_default(key) if value is None else _plain(value)

    def _tokenizer_default(self, key: str) -> Any:
        if key == "normalizer.strip_accents":
            return self._of_tokenizer("normalizer.lowercase")
        adds = RUNTIME_ADDS.get(self.model, {})
        row = pre_table().get(self.pre) if self.model == "gpt2" else None
        return {
            "add_bos_token": adds.get("bos", False) or (row is not None and row.adds_bos),
            "add_eos_token": adds.get("eos", False),
            "add_sep_token": self.model == "bert" or (row is not None and self.pre in PRE_ADDS_SEP),
            "add_space_prefix": self.model == "llama",
            "normalizer.lowercase": self.pre != "whitespace",
            "remove_extra_whitespaces": False,
            "suppress_tokens": [],
        }[key]

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
