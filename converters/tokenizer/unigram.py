"""Unigram (`tokenizer.ggml.model` = t5): SentencePiece's other model, with the tables that go with it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from ..errors import InputError, UnsupportedError
from .folder import Document, Folder
from .protobuf import SentencePieceModel
from .vocabulary import MAX_SCORE, AddedToken, PieceTable, TokenType, Vocabulary

# XLM-RoBERTa and its relatives renumber the pieces of their SentencePiece model: these four first, the rest one later.
FAIRSEQ_HEAD = (("<s>", TokenType.CONTROL), ("<pad>", TokenType.CONTROL), ("</s>", TokenType.CONTROL),
                ("<unk>", TokenType.UNKNOWN))


_NO_BYTES = "byte_fallback: llama.cpp has <unk> for what this kind of vocabulary spells in bytes"
_CHANGES = ("Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "BertNormalizer", "Digits", "Punctuation")


@dataclass(slots=True)
class Unigram:
    """A unigram vocabulary and how its text is prepared."""

    vocabulary: Vocabulary
    add_space_prefix: bool
    remove_extra_whitespaces: bool
    charsmap: bytes


def _put_added(table: PieceTable, added: list[AddedToken]) -> None:
    for token in added:
        if token.id >= len(table.tokens) or table.types[token.id] == TokenType.UNUSED:
            kind = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
            table.put(token.id, token.content, 0.0, kind)


def from_model(folder: Folder, model: SentencePieceModel, size: int, fairseq: bool) -> Unigram:
    """From a SentencePiece unigram model; `fairseq` renumbers its pieces as XLM-RoBERTa does."""
    table = PieceTable(size, [])
    pieces = model.pieces
    if fairseq and folder.tokenizer is None and str(folder.config.get("tokenizer_class", str)).startswith("Camembert"):
        raise UnsupportedError("CamemBERT numbers its pieces in a way of its own, which only tokenizer.json tells",
                               file=folder.path, hint="Save the tokenizer with transformers, which writes tokenizer.json.")
    if fairseq:
        pieces = [(text, 0.0, int(kind)) for text, kind in FAIRSEQ_HEAD] + pieces[3:]
    for token_id, (text, score, kind) in enumerate(pieces):
        table.put(token_id, text, score, kind)
    _put_added(table, folder.all_added({text: i for i, (text, _, _) in enumerate(pieces)}))
    if model.byte_fallback:
        table.notes.append(_NO_BYTES)
    return Unigram(table.vocabulary("t5"), model.add_dummy_prefix, model.remove_extra_whitespaces, model.charsmap)


def entries_of(model: Document) -> list[tuple[str, float]]:
    """`model.vocab` of a unigram tokenizer.json. Raises InputError for an entry that is no piece with its score."""
    entries = []
    for i, entry in enumerate(model.need("vocab", list)):
        if (not isinstance(entry, list) or len(entry) != 2 or not isinstance(entry[0], str)
                or isinstance(entry[1], bool) or not isinstance(entry[1], (int, float))
                or not -MAX_SCORE <= entry[1] <= MAX_SCORE):
            raise model.error(f"vocab[{i}]", "wrong form", expected='["piece", score]', found=entry)
        entries.append((entry[0], float(entry[1])))
    return entries


def numbered_alike(folder: Folder, fairseq: bool) -> bool:
    """Whether tokenizer.json numbers the pieces as `from_model` does; CamemBERT's does not, with more tokens in front."""
    if folder.model.get("type", str) != "Unigram":
        return False
    head = [text for text, _ in entries_of(folder.model)[:len(FAIRSEQ_HEAD)]]
    return not fairseq or head == [text for text, _ in FAIRSEQ_HEAD]


def from_json(folder: Folder, size: int) -> Unigram:
    """From a tokenizer.json whose model is Unigram."""
    model = folder.model
    entries = entries_of(model)
    unknown = model.get("unk_id", int)
    table = PieceTable(size, [])
    texts: dict[str, int] = {}
    for token_id, (text, _) in enumerate(entries):
        texts.setdefault(text, token_id)
    added = {token.id: token for token in folder.all_added(texts)}
    for token_id, (text, score) in enumerate(entries):
        token = added.get(token_id)
        if token_id == unknown:
            kind = TokenType.UNKNOWN
        elif token is not None:
            kind = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
        else:
            kind = TokenType.NORMAL
        table.put(token_id, text, score, kind)
    _put_added(table, [token for token_id, token in added.items() if token_id >= len(entries)])
    if model.flag("byte_fallback"):
        table.notes.append(_NO_BYTES)
    steps = folder.steps
    kinds = [step.data.get("type") for step in steps]
    if changes := [str(kind) for kind in kinds if kind in _CHANGES]:
        table.notes.append(f"the tokenizer changes text ({', '.join(changes)}), which GGUF has no key for: ids may differ")
    return Unigram(table.vocabulary("t5"), space_scheme(folder) != "never", _collapses_spaces(kinds, steps), _charsmap(steps))


def space_scheme(folder: Folder) -> str:
    """When tokenizer.json puts a space before text: "always", "first" (not before a space that is there) or "never"."""
    steps = folder.steps
    for step in steps:
        if step.data.get("type") == "Metaspace":
            scheme = step.get("prepend_scheme", str)
            return scheme or ("always" if step.flag("add_prefix_space", True) else "never")
    prepends = any(step.data.get("type") == "Prepend" for step in steps) or folder.config.flag("add_prefix_space")
    return "always" if prepends else "never"


def _collapses_spaces(kinds: list[object], steps: list[Document]) -> bool:
    if "WhitespaceSplit" in kinds:
        return True
    return any(step.data.get("type") == "Replace" and "{2,}" in str(step.data.get("pattern")) for step in steps)


def _charsmap(steps: list[Document]) -> bytes:
    for step in steps:
        if step.data.get("type") == "Precompiled" and (text := step.get("precompiled_charsmap", str)):
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as err:
                raise InputError(f"{step.where}precompiled_charsmap: not base64: {err}", file=step.file) from err
    return b""
