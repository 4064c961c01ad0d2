"""Byte-level BPE (`tokenizer.ggml.model` = gpt2), and the numbering of tokens that every kind shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..errors import InputError, UnsupportedError
from ..notes import Note
from .folder import Document, Folder
from .vocabulary import SPACE, AddedToken, TokenType, padding_token


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's printable spelling of the 256 bytes: printable Latin-1 as itself, the rest from U+0100 upwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in alphabet:
            alphabet[byte] = chr(256 + len(alphabet) - len(printable))
    return alphabet


BYTE_TO_CHAR = _byte_alphabet()
CHAR_TO_BYTE = {char: byte for byte, char in BYTE_TO_CHAR.items()}

_LOOK_SPECIAL = frozenset(("<pad>", "<mask>", "<2mass>", "[@BOS@]"))
_LOOK_BRACKETS = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))


def looks_special(text: str) -> bool:
    """Whether a token is a control token though its file does not say so (llama.cpp's `does_token_look_special`)."""
    return text in _LOOK_SPECIAL or any(text.startswith(start) and text.endswith(end)
                                        for start, end in _LOOK_BRACKETS)


def plain_spelling(content: str) -> str:
    """What a ByteLevel decoder prints for the token: byte characters become text, anything else stays."""
    try:
        return bytes(CHAR_TO_BYTE[char] for char in content).decode("utf-8")
    except (KeyError, UnicodeDecodeError):
        return content


def by_id(vocab: Mapping[str, int], added: Iterable[AddedToken], size: int, source: Document,
          notes: list[str]) -> tuple[list[str | None], dict[int, AddedToken]]:
    """All tokens in id order, None where an id has none, and the added ones by id.

    Added tokens beyond `size` (the rows of the embedding) are left out with a note. Raises InputError where an id of
    the vocabulary is not a whole number below `size`, or two tokens share an id.
    """
    slots: list[str | None] = [None] * size
    clashes, wrong = [], []
    for text, token_id in vocab.items():
        if type(token_id) is not int or not 0 <= token_id < size:
            wrong.append(f"{text!r}: {token_id!r}")
        elif slots[token_id] is not None:
            clashes.append(f"{token_id}: {slots[token_id]!r} and {text!r}")
        else:
            slots[token_id] = text
    if wrong:
        raise source.error("vocab", f"{len(wrong)} ids beyond the model's vocabulary, such as {', '.join(wrong[:3])}",
                           expected=f"whole numbers from 0 to {size - 1}")
    placed = {}
    for token in added:
        if token.id >= size:
            notes.append(Note(f"tokens left out, the model has {size} ids", f"{token.content!r} (id {token.id})"))
        elif slots[token.id] not in (None, token.content):
            clashes.append(f"{token.id}: {slots[token.id]!r} and {token.content!r}")
        else:
            slots[token.id] = token.content
            placed[token.id] = token
    if clashes:
        raise source.error("vocab", f"{len(clashes)} ids with two tokens, such as {'; '.join(clashes[:3])}")
    return slots, placed


def typed(slots: Sequence[str | None], placed: Mapping[int, AddedToken],
          byte_level: bool, by_flag: bool = False) -> tuple[list[str], list[int]]:
    """Texts and types of a BPE or WordPiece vocabulary. Ids without a token become `[PADn]`; added tokens get the text
    that the runtime looks for: decoded where they were not normalized, SentencePiece spaces as spaces. `by_flag`: only the
    special flag makes a token control."""
    tokens, types = [], []
    for token_id, text in enumerate(slots):
        kind = TokenType.NORMAL
        if text is None:
            text, kind = padding_token(token_id), TokenType.UNUSED
        elif token := placed.get(token_id):
            text = plain_spelling(text) if byte_level and not token.normalized else text
            kind = TokenType.CONTROL if token.special or (looks_special(text) and not by_flag) else TokenType.USER_DEFINED
            text = text if kind == TokenType.CONTROL else text.replace(SPACE, " ")
        tokens.append(text)
        types.append(int(kind))
    return tokens, types


def string_vocab(model: Document) -> dict[str, int]:
    """`model.vocab` of tokenizer.json as it stands. Raises InputError where it is no object or is empty."""
    vocab = model.need("vocab", dict)
    if not vocab:
        raise model.error("vocab", "empty")
    return vocab


def merges_of(model: Document) -> list[str]:
    """The merges as "left right" lines. Pairs may hold spaces, which are then spelled U+0120, as llama.cpp has it."""
    merges = model.get("merges", list) or []
    lines = []
    for i, merge in enumerate(merges):
        if isinstance(merge, str):
            lines.append(merge)
        elif isinstance(merge, list) and len(merge) == 2 and all(isinstance(part, str) and part for part in merge):
            left, right = merge
            lines.append(f"{left} {right}" if " " not in left and " " not in right
                         else f"{left.replace(' ', 'Ġ')} {right.replace(' ', 'Ġ')}")
        else:
            raise model.error(f"merges[{i}]", "wrong form", expected='"left right" or ["left", "right"]', found=merge)
    return lines


def merge_pairs(model: Document) -> list[tuple[str, str]]:
    """The merges as pairs of pieces."""
    pairs = []
    for i, merge in enumerate(model.get("merges", list) or []):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise model.error(f"merges[{i}]", "wrong form", expected='"left right" or ["left", "right"]', found=merge)
        pairs.append((parts[0], parts[1]))
    return pairs


def merges_file(folder: Folder) -> list[str]:
    """The lines of merges.txt without its heading."""
    lines = []
    for number, line in enumerate(folder.text("merges.txt").split("\n"), 1):
        line = line.strip()
        if not line or (number == 1 and line.startswith("#")):
            continue
        if len(line.split(" ")) != 2:
            raise InputError(f"line {number} is not a merge", file=folder.path / "merges.txt", expected="left right",
                             found=line[:80])
        lines.append(line)
    return lines


def read_byte_level(folder: Folder) -> tuple[dict[str, int], Sequence[str], Document]:
    """Vocabulary, merges and where they were found: tokenizer.json, or vocab.json with merges.txt."""
    if folder.tokenizer is not None:
        model = folder.model
        if model.get("continuing_subword_prefix", str) or model.get("end_of_word_suffix", str):
            raise UnsupportedError("BPE with a subword prefix or an end-of-word suffix has no counterpart in GGUF",
                                   file=folder.path / "tokenizer.json")
        return string_vocab(model), merges_of(model), model
    vocab = folder.document("vocab.json")
    assert vocab is not None
    if not vocab.data:
        raise vocab.error("", "empty")
    return vocab.data, merges_file(folder), vocab
