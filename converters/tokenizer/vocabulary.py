"""What a tokenizer is between the two formats: pieces, their types, scores and merges, in id order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from ..notes import Note


class TokenType(IntEnum):
    """The values of `tokenizer.ggml.token_type` (llama.cpp's `llama_token_type`)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


SPACE = "\u2581"  # SentencePiece writes a space as this character
PADDING_SCORE = -10000.0
ADDED_SCORE = -1000.0
MAX_SCORE = 3.4e38  # what float32 holds


def padding_token(index: int) -> str:
    """The name llama.cpp's converter gives to an id that no token has."""
    return f"[PAD{index}]"


def listing(items: Sequence[str], shown: int = 5) -> str:
    """The first few of `items` and how many more there are."""
    rest = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {rest} more" if rest > 0 else "")


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is cut out of the text before the model sees it; the flags are those of tokenizer.json."""

    id: int
    content: str
    special: bool = False
    normalized: bool = True
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False

    def to_json(self) -> dict[str, object]:
        return {"id": self.id, "content": self.content, "single_word": self.single_word, "lstrip": self.lstrip,
                "rstrip": self.rstrip, "normalized": self.normalized, "special": self.special}


@dataclass(slots=True)
class Vocabulary:
    """One vocabulary in GGUF's terms. `kind` is `tokenizer.ggml.model`, `pre` is `tokenizer.ggml.pre`.

    `tokens`, `types` and `scores` (where the kind has scores) have one entry per id. `ids` and `adds` are special ids
    and add_* flags that the vocabulary's own file states; they come before what the other files say.
    """

    kind: str
    pre: str | None
    tokens: Sequence[str]
    types: Sequence[int]
    scores: Sequence[float] | None = None
    merges: Sequence[str] | None = None
    ids: Mapping[str, int] = field(default_factory=dict)
    adds: Mapping[str, bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class PieceTable:
    """Pieces by id, filled step by step; later sources overwrite earlier ones."""

    def __init__(self, size: int, notes: list[str]) -> None:
        self.tokens = [padding_token(i) for i in range(size)]
        self.scores = [PADDING_SCORE] * size
        self.types = [int(TokenType.UNUSED)] * size
        self.notes = notes

    def put(self, token_id: int, text: str, score: float, kind: int) -> None:
        if token_id >= len(self.tokens):
            self.notes.append(Note(f"tokens left out, the model has {len(self.tokens)} ids", f"{text!r} (id {token_id})"))
            return
        self.tokens[token_id], self.scores[token_id], self.types[token_id] = text, score, int(kind)

    def vocabulary(self, kind: str, pre: str | None = "default") -> Vocabulary:
        return Vocabulary(kind, pre, self.tokens, self.types, self.scores, notes=self.notes)


def separate_twins(vocabulary: Vocabulary) -> None:
    """Leave every text under one id, since the runtime aborts on a file with two ids of one text.

    The first id that is a token keeps the text, and becomes the added token that it shares the text with; the others
    become fillers. A filler that is called like a token gets a number that is free.
    """
    tokens, types = list(vocabulary.tokens), list(vocabulary.types)
    size = len(tokens)
    if len(set(tokens)) == size:
        return
    scores = None if vocabulary.scores is None else list(vocabulary.scores)
    first: dict[str, int] = {}
    repeated, twins = [], []
    for token_id in sorted(range(size), key=lambda i: types[i] == TokenType.UNUSED):
        text = tokens[token_id]
        if not text or (keeper := first.setdefault(text, token_id)) == token_id:
            continue  # the runtime names tokens without a text by their ids
        repeated.append(token_id)
        if types[token_id] != TokenType.UNUSED:
            twins.append(f"{text!r} ({token_id}, is {keeper})")
            if types[keeper] == TokenType.NORMAL:
                types[keeper] = types[token_id]
            types[token_id] = int(TokenType.UNUSED)
            if scores is not None:
                scores[token_id] = PADDING_SCORE
    for token_id in repeated:
        number = token_id
        while padding_token(number) in first:
            number += size
        tokens[token_id] = padding_token(number)
        first[tokens[token_id]] = token_id
    vocabulary.tokens, vocabulary.types, vocabulary.scores = tokens, types, scores
    if twins:
        vocabulary.notes.append(f"{len(twins)} ids have the text of another token, which GGUF cannot hold; they become "
                                f"fillers: {listing(twins)}")
