"""Ids behind a tokenizer's vocabulary: those that the runtime shall never choose, since their embeddings are zero, as in
MiniMax-01 (source: llama.cpp `conversion/minimax.py`); those that a model in its maker's own layout does not have."""

from __future__ import annotations

import numpy as np

from ..io.tensors import StoredTensor
from ..io.values import Metadata, ValueType, array
from ..sources.hf_folder import Checkpoint
from ..tokenizer.rules import rules_for
from ..tokenizer.to_gguf import TokenizerResult
from .kept_tensors import floats, read_rows
from .reading import Reading

KEY = "tokenizer.ggml.suppress_tokens"


def suppressed(reading: Reading, tokens: TokenizerResult) -> Metadata:
    """The key that lists them, of an architecture whose rules want it and a checkpoint that has any. Reads the rows of the
    embedding table behind the vocabulary, added tokens left out of account."""
    table = reading.source("model.embed_tokens.weight") if rules_for(reading.spec.name).silent and tokens.metadata else None
    if not isinstance(table, StoredTensor):
        return {}
    folder = tokens.source
    vocabulary = folder.json_vocab if folder.tokenizer else getattr(folder.document("vocab.json"), "data", None)
    rows = table.shape[0]
    own = rows if vocabulary is None else len(vocabulary)
    if own >= rows:
        return {}
    values = floats(read_rows(table, [[own, rows]]), table.type).reshape(rows - own, -1)
    zero = own + np.flatnonzero(~values.any(1))
    return {KEY: array(ValueType.INT32, zero.tolist())} if len(zero) else {}


def unnamed_rows(checkpoint: Checkpoint, tokens: TokenizerResult) -> list[str]:
    """What to say of a model in its maker's own layout, whose tokenizers have a token for each row, where some have none."""
    if not checkpoint.made or "tokenizer.ggml.tokens" not in tokens.metadata:
        return []
    texts = tokens.metadata["tokenizer.ggml.tokens"].data
    unnamed = sum(text == f"[PAD{number}]" for number, text in enumerate(texts))
    return [f"the tokenizer has {len(texts) - unnamed} tokens, the weights have rows for {len(texts)}: it may be another "
            "model's"] if unnamed else []
