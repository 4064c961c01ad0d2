"""Tokenizers, both ways: Hugging Face files <-> `tokenizer.*` key-values.

`tokenizer_metadata` reads a folder; a vocabulary's kind decides which module does the work: `bpe` (byte-level BPE),
`spm` (SentencePiece BPE), `unigram`, `wordpiece`. `pre` recognises the pre-tokenizer, `special` finds ids and flags,
`templates` carries chat templates, `rules` holds what is peculiar to an architecture.
"""

from .forward import TokenizerResult, tokenizer_metadata

__all__ = ["TokenizerResult", "tokenizer_metadata"]
