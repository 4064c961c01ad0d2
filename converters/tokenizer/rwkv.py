"""RWKV's World vocabulary (`tokenizer.ggml.model` = rwkv): the longest token that fits, byte by byte.

Forward: lines of a number, a Python literal and its length in bytes. Back: the `tokenizers` library has no such model. A
pre-tokenizer does the work: a regex that is the trie of all tokens, over the byte characters that ByteLevel makes, cuts exactly
the longest one at each place; the model then only looks it up.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

from ..errors import InputError, UnsupportedError
from ..io.tokenizer_names import RWKV
from .folder import Folder
from .vocabulary import TokenType, Vocabulary, padding_token

TEMPLATE = "rwkv-world"  # the name of a template that llama.cpp has built in
_ESCAPES = {"t": 0x09, "n": 0x0A, "r": 0x0D}
_META = frozenset("\\.^$*+?()[]{}|/-&~#")


def from_folder(folder: Folder, size: int) -> Vocabulary:
    """The vocabulary, padded to `size`: `<s>` is 0, a token of the file its number. Source: llama.cpp `conversion/base.py`
    (`_set_vocab_rwkv_world`), which takes the newlines (261) for the end of a turn."""
    file = folder.path / RWKV
    tokens = ["<s>"]
    for number, line in enumerate(folder.text(RWKV).splitlines(), 1):
        index, _, rest = line.partition(" ")
        literal, _, length = rest.rpartition(" ")
        try:
            token = ast.literal_eval(literal)
            token = token.encode("utf-8") if isinstance(token, str) else token
            if not isinstance(token, bytes) or len(token) != int(length) or int(index) != len(tokens):
                raise ValueError
        except (ValueError, SyntaxError, MemoryError, RecursionError) as err:
            raise InputError(f"line {number}: not the next number, a literal and its length", file=file,
                             found=line[:60]) from err
        tokens.append(repr(token)[2:-1])
    if len(tokens) > size:
        raise InputError("more tokens than the model has", file=file, expected=size, found=len(tokens))
    types = [int(TokenType.CONTROL)] + [int(TokenType.NORMAL)] * (len(tokens) - 1)
    types += [int(TokenType.UNUSED)] * (size - len(tokens))
    tokens += map(padding_token, range(len(tokens), size))
    return Vocabulary("rwkv", None, tokens, types, ids={"eot": 261, "bos": 0, "eos": 0} if size > 261 else {"bos": 0, "eos": 0})


def unescape(text: str) -> bytes:
    """The bytes of a token, which GGUF spells as Python prints bytes: `\\t`, `\\xe4`, `\\'`. Raises InputError."""
    out = bytearray()
    rest = iter(text)
    for char in rest:
        if char != "\\":
            out += char.encode("utf-8")
            continue
        escaped = next(rest, "")
        if escaped == "x":
            digits = next(rest, "") + next(rest, "")
            try:
                out.append(int(digits, 16))
            except ValueError as err:
                raise InputError(f"tokenizer.ggml.tokens: {text!r} is not how RWKV tokens are spelled") from err
        elif escaped in _ESCAPES:
            out.append(_ESCAPES[escaped])
        else:
            out += escaped.encode("utf-8")
    return bytes(out)


def file_line(number: int, text: str | None) -> str | None:
    """The line of the vocabulary's file for a token as GGUF spells it, as the published file has it; None for none."""
    if text is None:
        return None
    raw = unescape(text)
    try:
        return f"{number} {raw.decode()!r} {len(raw)}"
    except UnicodeDecodeError:
        return f"{number} {raw!r} {len(raw)}"


def longest_match(tokens: Iterable[str]) -> str:
    """A regex that matches the longest of `tokens` (none of them empty) at each place: their trie, spelled out.

    Raises UnsupportedError where tokens nest too deeply in each other for a regex.
    """
    root: dict[str, Any] = {}
    for token in tokens:
        node = root
        for char in token:
            node = node.setdefault(char, {})
        node[""] = True
    try:
        return _spell(root)
    except RecursionError as err:
        raise UnsupportedError("the longest tokens of this vocabulary are too long for a tokenizer.json") from err


def _quoted(char: str) -> str:
    return "\\" + char if char in _META else char


def _spell(node: dict[str, Any]) -> str:
    prefix = ""
    while len(node) == 1 and "" not in node:  # a single way on: no need to nest
        (char, node), = node.items()
        prefix += _quoted(char)
    if len(node) == 1 and "" in node:
        return prefix
    leaves = [char for char, inner in sorted(node.items()) if char and inner.keys() == {""}]
    ways = [_quoted(char) + _spell(inner) for char, inner in sorted(node.items()) if char and inner.keys() != {""}]
    if leaves:
        ways.append(f"[{''.join(map(_quoted, leaves))}]" if len(leaves) > 1 else _quoted(leaves[0]))
    return f"{prefix}(?:{'|'.join(ways)}){'?' if '' in node else ''}"
