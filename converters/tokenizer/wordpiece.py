"""WordPiece (`tokenizer.ggml.model` = bert).

GGUF marks the start of a word (U+2581), WordPiece its continuation (##).
"""

from __future__ import annotations

from ..errors import UnsupportedError
from .bpe import by_id, string_vocab, typed
from .folder import Document, Folder
from .vocabulary import SPACE, TokenType, Vocabulary

PREFIX = "##"


def to_phantom(text: str) -> str:
    """`##ing` -> `ing`, `the` -> U+2581 `the`."""
    return text[len(PREFIX):] if text.startswith(PREFIX) else SPACE + text


def from_folder(folder: Folder, size: int) -> Vocabulary:
    """From tokenizer.json or vocab.txt."""
    notes: list[str] = []
    if folder.tokenizer is not None:
        source = folder.model
        prefix = source.get("continuing_subword_prefix", str)
        if prefix not in (None, PREFIX):
            raise UnsupportedError(f"continuation prefix {prefix!r}: GGUF knows only {PREFIX!r}", file=source.file)
        vocab = string_vocab(source)
    else:
        source = Document(folder.path / "vocab.txt", {})
        vocab = {line.rstrip("\r"): i for i, line in enumerate(folder.text("vocab.txt").rstrip("\n").split("\n"))}
    added = folder.all_added(vocab)
    slots, placed = by_id(vocab, added, size, source, notes)
    tokens, types = typed(slots, placed, byte_level=False)
    tokens = [text if kind == TokenType.CONTROL else to_phantom(text) for text, kind in zip(tokens, types, strict=True)]
    return Vocabulary("bert", "jina-v2-en", tokens, types, notes=notes)
