"""Tokenizers, both ways: Hugging Face files <-> `tokenizer.*` key-values.

Forward: `tokenizer_metadata` reads a folder; a vocabulary's kind decides which module does the work: `bpe` (byte-level
BPE), `spm` (SentencePiece BPE), `unigram`, `wordpiece`, `rwkv`; `tekken` and `tiktoken` read rank files as byte-level BPE.
`pre` recognises the pre-tokenizer, `special` finds ids and flags, `templates` carries chat templates, `rules` holds what is
peculiar to an architecture, in both directions. `own_keys` keeps what the standard keys cannot hold, `merges` their order.

Back: `tokenizer_files` writes the files: exactly (`restore`) where `own_keys` are there, else from the standard keys
(`stored` reads them, `rebuild` makes a tokenizer.json for each kind).

May import `notes`, `errors` and `io`.
"""

from .own_keys import residue
from .to_gguf import TokenizerResult, tokenizer_metadata
from .to_hf import TokenizerFiles, tokenizer_files

__all__ = ["TokenizerFiles", "TokenizerResult", "residue", "tokenizer_files", "tokenizer_metadata"]
