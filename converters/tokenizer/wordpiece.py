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
    return Vocabulary("bert", "jina-v2-en", tokens, types, notes=[*notes, *_differences(folder)])


# What llama.cpp does to all text before WordPiece, whatever the files say.
_ALWAYS = {"clean_text": "drops control characters", "handle_chinese_chars": "cuts Chinese text into characters"}
_KNOWN = frozenset(("BertNormalizer", "Lowercase", "StripAccents", "NFD", "BertPreTokenizer"))


def _differences(folder: Folder) -> list[str]:
    """What the files say of the text before WordPiece, and llama.cpp does otherwise."""
    if folder.tokenizer is None:
        off = ["handle_chinese_chars"] if folder.config.get("tokenize_chinese_chars", bool) is False else []
        unknown = []
    else:
        off = [flag for step in folder.steps if step.data.get("type") == "BertNormalizer"
               for flag in _ALWAYS if not step.flag(flag, True)]
        unknown = [str(step.data.get("type")) for step in folder.steps if step.data.get("type") not in _KNOWN]
    notes = [f"{flag} is false, and llama.cpp {_ALWAYS[flag]} all the same" for flag in off]
    if unknown:
        notes.append(f"llama.cpp prepares text as BERT does, this tokenizer with {', '.join(unknown)}: ids may differ")
    return notes
