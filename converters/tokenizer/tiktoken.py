"""Rank files (tiktoken): lines of base64 and a rank, as a byte-level BPE.

Such a file has no special tokens, no merges and no regex; they stand in a Python file beside it, which is never run: what is
published of each architecture is in its `VocabRules`. Sources: the files themselves, tiktoken's `load_tiktoken_bpe`, llama.cpp
`conversion/qwen.py`, `hunyuan.py`, `kimi_linear.py`.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from ..errors import InputError, UnsupportedError
from ..io import tokenizer_names as names
from .bpe import BYTE_TO_CHAR
from .folder import Folder
from .merges import merges_of_pieces
from .pre import check_name
from .rules import VocabRules
from .vocabulary import TokenType, Vocabulary, padding_token

MAX_WORK = 1 << 28  # sum of squared piece lengths, in bytes; 200 000 pieces of o200k make 2^24


def rank_file(folder: Folder) -> str | None:
    """The name of the folder's rank file, None where there is none. InputError where there are several."""
    found = sorted({file.name for pattern in names.RANKS for file in folder.path.glob(pattern)})
    if folder.has(names.SENTENCEPIECE) and is_ranks(folder.read(names.SENTENCEPIECE)):
        found.append(names.SENTENCEPIECE)
    if len(found) > 1:
        raise InputError("several rank files, and none says which counts", file=folder.path, found=", ".join(found))
    return found[0] if found else None


def is_ranks(raw: bytes) -> bool:
    """Whether bytes begin as a rank file does."""
    parts = raw[:1 << 12].split(b"\n", 1)[0].split()
    if len(parts) != 2 or not parts[1].isdigit():
        return False
    try:
        return bool(base64.b64decode(parts[0], validate=True))
    except binascii.Error:
        return False


def read_ranks(raw: bytes, file: Path) -> dict[bytes, int]:
    """Pieces to ranks, by rank. InputError where a line is no piece with its rank, or the ranks are not 0, 1, 2 ..."""
    found: dict[bytes, int] = {}
    for number, line in enumerate(raw.splitlines(), 1):
        if not line.strip():
            continue
        parts = line.split()
        try:
            piece, rank = base64.b64decode(parts[0], validate=True), int(parts[1])
            if len(parts) != 2 or not piece or piece in found:
                raise ValueError
        except (ValueError, IndexError) as err:  # binascii.Error is a ValueError
            raise InputError(f"line {number}: not a new piece with its rank", file=file, expected="base64, a space, a number",
                             found=repr(line[:60])) from err
        found[piece] = rank
    ranks = dict(sorted(found.items(), key=lambda item: item[1]))
    if not ranks or list(ranks.values()) != list(range(len(ranks))):
        raise InputError("ranks are not 0, 1, 2 ... without a gap", file=file)
    if (work := sum(len(piece) ** 2 for piece in ranks)) > MAX_WORK:
        raise InputError("pieces are too long for a vocabulary", file=file, expected=f"at most {MAX_WORK}", found=work)
    return ranks


def from_folder(folder: Folder, name: str, size: int, rules: VocabRules, pre: str | None) -> Vocabulary:
    """The vocabulary, padded to `size`; `pre` overrides the name that the architecture is published with."""
    file = folder.path / name
    form = rules.ranks
    if form is None:
        raise UnsupportedError("a rank file, and the special tokens that go with it are not known for this architecture",
                               file=file, hint="convert the tokenizer to tokenizer.json with transformers first")
    ranks = read_ranks(folder.read(name), file)
    spelled = {_spell(piece): rank for piece, rank in ranks.items()}
    special = _special(folder, len(ranks), rules)
    if len(ranks) > size:
        raise InputError("more pieces than the model has", file=file, expected=size, found=len(ranks))
    notes = [f"token {text!r} (id {token_id}) is left out: the model has {size} ids"
             for token_id, text in special.items() if token_id >= size and not form.is_reserved(text)]
    tokens, types = list(spelled), [int(TokenType.NORMAL)] * len(ranks)
    for token_id in range(len(ranks), size):
        tokens.append(special.get(token_id, padding_token(token_id)))
        types.append(int(TokenType.CONTROL if token_id in special else TokenType.UNUSED))
    merges = [" ".join(way) for way in merges_of_pieces(spelled, spelled.__getitem__, "ids")] if form.every_way \
        else _last_merges(ranks)
    where = {text: token_id for token_id, text in special.items()}
    ids = {key: where[text] for key, text in form.ids.items() if text in where}
    return Vocabulary("gpt2", check_name(pre or form.pre).name, tokens, types, None, merges, ids, notes=notes)


def _special(folder: Folder, start: int, rules: VocabRules) -> dict[int, str]:
    """Special tokens by id: those published with the architecture, under the names that tokenizer_config.json has."""
    assert rules.ranks is not None
    found = dict(enumerate(rules.ranks.special, start))
    for token_id in range(start + len(found), start + rules.ranks.count):
        found[token_id] = rules.ranks.reserved.format(token_id)
    for token in folder.config_added:
        if token.id < start:
            raise folder.config.error(f"added_tokens_decoder.{token.id}", "the id of a piece of the rank file")
        found[token.id] = token.content
    return found


def _spell(piece: bytes) -> str:
    return "".join(BYTE_TO_CHAR[byte] for byte in piece)


def _last_merges(ranks: dict[bytes, int]) -> list[str]:
    """For each piece the two that it is made of last, as the converter has it; none for pieces that merges do not build."""
    lines = []
    for piece, limit in ranks.items():
        parts = [piece[i:i + 1] for i in range(len(piece))]
        while len(parts) > 2:
            rank, at = min((ranks.get(parts[i] + parts[i + 1], limit), i) for i in range(len(parts) - 1))
            if rank >= limit:
                break
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        if len(parts) == 2:
            lines.append(f"{_spell(parts[0])} {_spell(parts[1])}")
    return lines
