"""Tokens that the runtime shall never choose: those behind a tokenizer's vocabulary whose embeddings are zero, as MiniMax-01
has them. Source: llama.cpp `conversion/minimax.py`."""

from __future__ import annotations

import numpy as np

from ..io.tensors import StoredTensor
from ..io.values import Metadata, ValueType, array
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
