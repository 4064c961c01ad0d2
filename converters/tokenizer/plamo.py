"""PLaMo 2's vocabulary (`tokenizer.ggml.model` = plamo2): the best-scored pieces of raw text, bytes where there are none.

Forward: tokenizer.jsonl, a line per token: text, score, kind, and numbers that the class's own code needs. Source: llama.cpp
`conversion/base.py` (`_set_vocab_plamo`), `src/llama-vocab.cpp` (`llm_tokenizer_plamo2`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from ..errors import InputError
from ..io.tokenizer_names import PLAMO
from .folder import Folder, token_text
from .vocabulary import TokenType, Vocabulary

KIND = "plamo2"
END_OF_TURN = 4  # <|plamo:op|>
UNKNOWN_SCORE = -1e7  # of a character that no piece has, as the runtime weighs it
PADDING_SCORE = -1000.0
KINDS = {"UNKNOWN": TokenType.UNKNOWN, "CONTROL": TokenType.CONTROL, "BYTE": TokenType.BYTE}
NAMES = {kind: name for name, kind in KINDS.items()}
Row = list[Any]


def rows_of(folder: Folder) -> list[Row]:
    """The lines of tokenizer.jsonl. InputError names one that is not [text, score, kind, ..]."""
    rows = []
    for number, line in enumerate(folder.text(PLAMO).removesuffix("\n").split("\n"), 1):
        try:
            row = json.loads(line)
            if not (isinstance(row[0], str) and type(row[1]) in (int, float) and math.isfinite(row[1])
                    and all(isinstance(kind, str) for kind in row[2:3])):
                raise ValueError
        except (ValueError, LookupError, TypeError, RecursionError) as err:
            raise InputError(f"line {number}: not a list of a text, its score and its kind", file=folder.path / PLAMO,
                             found=line[:60]) from err
        rows.append(row)
    return rows


def from_folder(folder: Folder, size: int) -> Vocabulary:
    """The vocabulary, padded to `size`."""
    rows = rows_of(folder)
    if len(rows) > size:
        raise InputError("more tokens than the model has", file=folder.path / PLAMO, expected=size, found=len(rows))
    more = size - len(rows)
    where = {row[0]: number for number, row in enumerate(rows)}
    named = {name: token_text(folder.config.data.get(f"{name}_token")) for name in ("bos", "eos", "pad", "sep", "unk")}
    ids = {name: where[text] for name, text in named.items() if text in where}
    types = [int(_kind(row)) for row in rows] + [int(TokenType.UNUSED)] * more
    breaks = [key for key in folder.config.data if key.startswith("break_around_") and folder.config.data[key] is not None]
    notes = [f"{key}: the tokenizer cuts text there first, llama.cpp does not" for key in breaks]
    return Vocabulary(KIND, "default", [row[0] for row in rows] + [f"[PAD{i}]" for i in range(1, more + 1)], types,
                      [float(row[1]) for row in rows] + [PADDING_SCORE] * more,
                      ids={**ids, "eot": END_OF_TURN} if size > END_OF_TURN else ids, notes=notes)


def _kind(row: Row) -> TokenType:
    named = row[0].startswith("<|plamo:") and row[0].endswith("|>")
    return KINDS.get(row[2] if len(row) > 2 else "", TokenType.CONTROL if named else TokenType.NORMAL)


def lines(rows: Sequence[Row], ascii_only: bool, end: str) -> str:
    """tokenizer.jsonl of these rows."""
    return "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows) + end


def row_of(text: str, score: float, kind: int) -> Row:
    """A line for a token of a file of others."""
    return [text, score, NAMES.get(TokenType(kind), "NORMAL")]
