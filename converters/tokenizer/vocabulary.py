"""What a tokenizer is between the two formats: pieces, their types, scores and merges, in id order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum


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
