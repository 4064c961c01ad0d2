"""SentencePiece BPE (`tokenizer.ggml.model` = llama) and its sibling with merges (gemma4).

The runtime merges by the score of the piece that a merge makes, so scores are the merge order. `tokenizer.model`
carries them; a tokenizer.json carries merges, from which they are rebuilt (llama.cpp's converter writes -1000 for
every piece there, which makes the runtime merge from left to right).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import UnsupportedError
from .bpe import by_id, looks_special, merge_pairs, merges_of, string_vocab
from .folder import Folder
from .protobuf import SentencePieceModel
from .rules import Around
from .vocabulary import ADDED_SCORE, SPACE, AddedToken, PieceTable, TokenType, Vocabulary, padding_token

BYTE_PIECE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


def _put_added(table: PieceTable, token: AddedToken, as_written: bool) -> None:
    """`as_written`: only the `special` flag decides, and the text keeps its U+2581 (Phi-3's way)."""
    if token.special or (not as_written and looks_special(token.content)):
        table.put(token.id, token.content, ADDED_SCORE, TokenType.CONTROL)
    else:
        text = token.content if as_written else token.content.replace(SPACE, " ")
        table.put(token.id, text, ADDED_SCORE, TokenType.USER_DEFINED)


def from_model(folder: Folder, model: SentencePieceModel, size: int, as_written: bool) -> Vocabulary:
    """A vocabulary of `size` ids from a parsed `tokenizer.model` and the added tokens of the other files."""
    table = PieceTable(size, [])
    for token_id, (text, score, kind) in enumerate(model.pieces):
        if kind == TokenType.USER_DEFINED and not as_written:
            kind = TokenType.CONTROL if looks_special(text) else kind
            text = text if kind == TokenType.CONTROL else text.replace(SPACE, " ")
        table.put(token_id, text, score, kind)
    for token in folder.file_added:
        table.put(token.id, token.content, ADDED_SCORE, TokenType.USER_DEFINED)
    for token in folder.config_added:
        _put_added(table, token, as_written)
    for token in folder.json_added:
        # The older files are complete where they exist; only Phi-3 takes every flag from tokenizer.json.
        if as_written or (token.id < size and table.types[token.id] == TokenType.UNUSED) or token.id >= size:
            _put_added(table, token, as_written)
    return table.vocabulary("llama")


def with_around(folder: Folder, model: SentencePieceModel, size: int, around: Around) -> Vocabulary:
    """A vocabulary of `size` ids from a parsed `tokenizer.model` and what the code of its class knows besides."""
    table = PieceTable(size, [])
    for token_id, (text, score, kind) in enumerate(model.pieces):
        table.put(token_id, dict(enumerate(around.first)).get(token_id, text), score, kind)
    pieces = {text for text, _, _ in model.pieces}
    behind = [] if pieces.issuperset(around.behind) else around.behind  # a model made of a GGUF file has them all
    for token_id, text in enumerate(behind, len(model.pieces)):
        table.put(token_id, text, 0.0, TokenType.CONTROL)
    for token_id in range(len(model.pieces) + len(behind), size):
        table.put(token_id, padding_token(token_id), 0.0, TokenType.UNUSED)
    if behind and around.unless not in (folder.config.get("name_or_path", str) or ""):
        table.notes.append(around.note)
    return table.vocabulary("llama", around.pre)


def merge_scores(vocab: Mapping[str, int], pairs: list[tuple[str, str]]) -> tuple[dict[str, float], int]:
    """Scores that make the runtime merge in the order of `pairs`, as SentencePiece numbers them: 0, -1, -2 ... by first
    merge, then the pieces that no merge makes, by id. The second value counts the merges that scores cannot order: a
    piece with two merges, and another piece's merge between them."""
    first: dict[str, int] = {}
    unordered = last = 0
    for left, right in pairs:
        rank = first.setdefault(left + right, len(first))
        unordered += rank < last
        last = max(last, rank)
    scores = {text: 0.0 - rank for text, rank in first.items() if text in vocab}
    for text in sorted((text for text in vocab if text not in first and not BYTE_PIECE.fullmatch(text)), key=vocab.__getitem__):
        scores[text] = 0.0 - len(scores)
    return scores, unordered


def is_spaced_bpe(folder: Folder) -> bool:
    """Whether tokenizer.json holds a BPE over U+2581 text with byte fallback, as SentencePiece models become."""
    if folder.tokenizer is None:
        return False
    return folder.model.get("type", str) == "BPE" and folder.model.flag("byte_fallback")


def from_json(folder: Folder, size: int) -> Vocabulary:
    """A vocabulary of `size` ids from a tokenizer.json whose model is such a BPE."""
    model = folder.model
    notes: list[str] = []
    vocab = string_vocab(model)
    added = folder.all_added(vocab)
    slots, placed = by_id(vocab, added, size, model, notes)
    plain = {text: token_id for text, token_id in vocab.items() if token_id not in placed}
    scores, unordered = merge_scores(plain, merge_pairs(model))
    if unordered:
        notes.append(f"{unordered} merges cannot be ordered by one score per piece; such words may be cut differently")
    unknown = model.get("unk_token", str)
    table = PieceTable(size, notes)
    for token_id, text in enumerate(slots):
        if text is None:
            continue
        if token := placed.get(token_id):
            _put_added(table, token, as_written=False)
        elif BYTE_PIECE.fullmatch(text):
            table.put(token_id, text, 0.0, TokenType.BYTE)
        elif text == unknown:
            table.put(token_id, text, 0.0, TokenType.UNKNOWN)
        else:
            table.put(token_id, text, scores[text], TokenType.NORMAL)
    return table.vocabulary("llama")


def with_merges(folder: Folder, size: int, visible: frozenset[str]) -> Vocabulary:
    """Gemma 4's kind: the merges themselves, and a score of -1000 throughout. Tokens in `visible` are user-defined,
    so that the runtime prints them."""
    if not is_spaced_bpe(folder):
        raise UnsupportedError("this architecture needs a BPE with byte fallback", file=folder.path / "tokenizer.json",
                               hint="expected tokenizer.json with model.type BPE and model.byte_fallback true")
    model = folder.model
    notes: list[str] = []
    vocab = string_vocab(model)
    slots, placed = by_id(vocab, folder.all_added(vocab), size, model, notes)
    table = PieceTable(size, notes)
    for token_id, text in enumerate(slots):
        if text is None:
            continue
        token = placed.get(token_id)
        if text in visible:
            kind = TokenType.USER_DEFINED
        elif BYTE_PIECE.fullmatch(text):
            kind = TokenType.BYTE
        elif token is not None and (token.special or text in folder.special_texts):
            kind = TokenType.CONTROL
        elif token is not None:
            kind = TokenType.USER_DEFINED
        else:
            kind = TokenType.NORMAL
        table.put(token_id, text, ADDED_SCORE, kind)
    result = table.vocabulary("gemma4", None)
    result.merges = merges_of(model)
    return result
