"""A tokenizer.json from a GGUF vocabulary alone: model, normalizer, pre_tokenizer, decoder and added tokens per kind.

All ids that are tokens are in the model's vocabulary, except a closed run of added tokens at its end, which the
`tokenizers` library numbers in order; so no id moves and none appears that the file does not have.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import UnsupportedError
from . import plamo
from .bpe import BYTE_TO_CHAR
from .merges import merges_of_pieces
from .pre import LSTRIP, check_name, nearest_names, pre_table
from .rules import VocabRules
from .rwkv import longest_match, unescape
from .special import RUNTIME_IDS
from .spm import BYTE_PIECE
from .stored import Stored
from .vocabulary import SPACE, AddedToken, TokenType

Json = dict[str, Any]


@dataclass(slots=True)
class Rebuilt:
    """The parts of a tokenizer.json; `post_processor` is made by the caller, who knows the flags."""

    model: Json
    normalizer: Json | None
    pre_tokenizer: Json | None
    decoder: Json | None
    added: list[AddedToken]
    adds_bos: bool = False
    notes: list[str] = field(default_factory=list)


BYTE_LEVEL: Json = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
_TO_SPACE_MARK: Json = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
_FROM_SPACE_MARK: Json = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
_SPACED_DECODER: tuple[Json, ...] = (_FROM_SPACE_MARK, {"type": "ByteFallback"}, {"type": "Fuse"})


def sequence(key: str, steps: Sequence[Json]) -> Json | None:
    if not steps:
        return None
    return dict(steps[0]) if len(steps) == 1 else {"type": "Sequence", key: list(steps)}


def _added_tokens(stored: Stored, lstrip: frozenset[str], rstrip: bool) -> list[AddedToken]:
    added = []
    for token_id in stored.used:
        kind, text = stored.types[token_id], stored.tokens[token_id]
        if kind in (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED):
            special = kind != TokenType.USER_DEFINED
            strips = rstrip and (special or text == "</s>") and text not in ("<unk>", "<s>", "<|endoftext|>")
            added.append(AddedToken(token_id, text, special=special, normalized=False, lstrip=text in lstrip,
                                    rstrip=strips))
    return added


def _strips(stored: Stored, rules: VocabRules) -> tuple[frozenset[str], bool]:
    """Tokens that swallow the space before them, and whether all special tokens swallow the space after them."""
    name = stored.name.lower()
    if (rules.rstrip and stored.kind == "llama") or any(part in name for part in ("phi-3", "phi3")):
        return frozenset(), True
    by_name = ("[MASK]",) if "modern-bert" in name else ()
    return frozenset((*rules.lstrip, *LSTRIP.get(stored.pre or "", ()), *by_name)), False


def _model_vocab(stored: Stored, added: Sequence[AddedToken],
                 spell: Callable[[int], str] | None = None) -> dict[str, int]:
    """Texts to ids, without the added tokens that close the vocabulary."""
    used = stored.used
    tail = {token.id for token in added}
    end = len(used)
    while end and used[end - 1] in tail and used[end - 1] == end - 1:
        end -= 1
    spell = spell or stored.tokens.__getitem__
    return {spell(token_id): token_id for token_id in used[:end]}


def _merge_pairs(merges: Sequence[str], vocab: Mapping[str, int], notes: list[str]) -> list[tuple[str, str]]:
    pairs, dropped = [], 0
    for line in merges:
        left, _, right = line.partition(" ")
        if not left:  # the runtime looks for the separator from the second character on
            head, _, right = line[1:].partition(" ")
            left = " " + head
        if left in vocab and right in vocab and left + right in vocab:
            pairs.append((left, right))
        else:
            dropped += 1
    if dropped:
        notes.append(f"{dropped} merges of pieces that are no tokens are left out")
    return pairs


def byte_level(stored: Stored, rules: VocabRules, structure: str) -> Rebuilt:
    """gpt2: the structure that `tokenizer.ggml.pre` stands for."""
    name = stored.pre or "default"
    row = pre_table()[name]
    if row.byte_fallback:
        return spaced_bpe(stored, rules, structure)
    notes = []
    own = row.own is not None and structure == "own" and name not in RUNTIME_FIRST
    chosen = row.own if own else row.runtime
    assert chosen is not None
    if row.own is not None:
        notes.append(f"pre-tokenizer {name!r}: " + (
            "the model's own structure; llama.cpp deviates from it on some texts" if own else
            "llama.cpp's structure; the model's own may differ on some texts"))
    added = _added_tokens(stored, *_strips(stored, rules))
    vocab = _model_vocab(stored, added)
    if stored.merges is None:
        notes.append("the file has no merges: they are derived from the order of the ids")
        plain = {text: i for text, i in vocab.items() if stored.types[i] == TokenType.NORMAL}
        merges: Sequence[Sequence[str]] = list(merges_of_pieces(plain, plain.__getitem__, "ids"))
    else:
        merges = _merge_pairs(stored.merges, vocab, notes)
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
             "ignore_merges": row.ignore_merges, "vocab": vocab, "merges": merges}
    return Rebuilt(model, chosen["normalizer"], chosen["pre_tokenizer"], BYTE_LEVEL, added, row.adds_bos, notes)


# The expected ids that llama.cpp publishes for Qwen3.5's vocabulary are those without the NFC of transformers' class.
RUNTIME_FIRST = frozenset(("qwen35",))


def spaced_bpe(stored: Stored, rules: VocabRules, structure: str) -> Rebuilt:
    """gemma4 and its like: BPE with merges over U+2581 text."""
    row = pre_table()["gemma4" if stored.kind == "gemma4" else stored.pre or "gemma4"]
    notes: list[str] = []
    added = _added_tokens(stored, *_strips(stored, rules))
    vocab = _model_vocab(stored, added)
    merges = _merge_pairs(stored.merges or (), vocab, notes)
    return Rebuilt(_spaced_model(stored, vocab, merges), row.runtime["normalizer"], row.runtime["pre_tokenizer"],
                   sequence("decoders", _SPACED_DECODER), added, row.adds_bos, notes)


def _spaced_model(stored: Stored, vocab: Json, merges: Sequence[Sequence[str]]) -> Json:
    unknown = stored.text_of("unk")
    return {"type": "BPE", "dropout": None, "unk_token": unknown if unknown in vocab else None,
            "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
            "byte_fallback": any(BYTE_PIECE.fullmatch(text) for text in vocab), "ignore_merges": False,
            "vocab": vocab, "merges": merges}


def sentencepiece(stored: Stored, rules: VocabRules, structure: str) -> Rebuilt:
    """llama: SentencePiece BPE; the merges follow from the scores."""
    prefix = stored.space_prefix is not False
    added = []
    spaces = set()
    for token in _added_tokens(stored, *_strips(stored, rules)):
        if not prefix and not token.special and len(token.content) > 1 and not token.content.strip(" "):
            # Gemma's runs of spaces: pieces of the vocabulary, looked for in the normalized text.
            token = AddedToken(token.id, SPACE * len(token.content), normalized=True)
            spaces.add(token.id)
        added.append(token)
    vocab = _model_vocab(stored, added, lambda i: SPACE * len(stored.tokens[i]) if i in spaces else stored.tokens[i])
    pieces = {text: i for text, i in vocab.items()
              if stored.types[i] == TokenType.NORMAL or i in spaces}
    scores = stored.scores
    notes: list[str] = []
    if scores is None or len({scores[i] for i in pieces.values()}) <= 1:
        notes.append("the pieces have no scores to tell them apart: merges follow the order of the ids")
        merges = list(merges_of_pieces(pieces, pieces.__getitem__, "longest"))
    else:
        merges = list(merges_of_pieces(pieces, lambda text: (-scores[pieces[text]], pieces[text]), "longest"))
    normalizer = [{"type": "Prepend", "prepend": SPACE}] if prefix else []
    decoder: Sequence[Json] = [*_SPACED_DECODER, {"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix \
        else _SPACED_DECODER
    return Rebuilt(_spaced_model(stored, vocab, merges), sequence("normalizers", [*normalizer, _TO_SPACE_MARK]), None,
                   sequence("decoders", decoder), added, notes=notes)


def wordpiece(stored: Stored, rules: VocabRules, structure: str) -> Rebuilt:
    """bert: phantom spaces become continuation marks again."""
    def spell(token_id: int) -> str:
        text = stored.tokens[token_id]
        if stored.types[token_id] in (TokenType.CONTROL, TokenType.UNKNOWN):
            return text
        return text[len(SPACE):] if text.startswith(SPACE) else "##" + text

    added = [AddedToken(token.id, spell(token.id), token.special, False, token.lstrip, token.rstrip)
             for token in _added_tokens(stored, *_strips(stored, rules))]
    vocab = _model_vocab(stored, [], spell)
    lowercase = stored.lowercase is not False
    model = {"type": "WordPiece", "unk_token": stored.text_of("unk") or "[UNK]", "continuing_subword_prefix": "##",
             "max_input_chars_per_word": 100, "vocab": vocab}
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                  "strip_accents": stored.strip_accents, "lowercase": lowercase}
    return Rebuilt(model, normalizer, {"type": "BertPreTokenizer"},
                   {"type": "WordPiece", "prefix": "##", "cleanup": True}, added)


def unigram(stored: Stored, rules: VocabRules, structure: str) -> Rebuilt:
    """t5: scores as they are; the character map and the handling of spaces from their keys."""
    prefix = stored.space_prefix is not False
    added = _added_tokens(stored, *_strips(stored, rules))
    scores = stored.scores or [0.0] * len(stored.tokens)
    lowest = min((scores[token_id] for token_id in stored.used), default=0.0)
    end = stored.used[-1] + 1 if stored.used else 0
    entries = [[text, lowest if stored.is_padding(i) else scores[i]] for i, text in enumerate(stored.tokens[:end])]
    unknown = stored.ids.get("unk", RUNTIME_IDS["t5"]["unk"])
    model = {"type": "Unigram", "unk_id": unknown if unknown < end else None, "vocab": entries,
             "byte_fallback": any(kind == TokenType.BYTE for kind in stored.types)}
    normalizer = []
    if stored.charsmap:
        normalizer.append({"type": "Precompiled", "precompiled_charsmap": base64.b64encode(stored.charsmap).decode()})
    scheme = "always" if prefix else "never"
    metaspace: Json = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": True}
    steps = [{"type": "WhitespaceSplit"}, metaspace] if stored.remove_extra_whitespaces else [metaspace]
    return Rebuilt(model, sequence("normalizers", normalizer), sequence("pretokenizers", steps), metaspace, added)


def whitespace(stored: Stored, rules: VocabRules, structure: str) -> Rebuilt:
    """whitespace: words are pieces of raw text, spaces are dropped."""
    notes: list[str] = []
    added = _added_tokens(stored, *_strips(stored, rules))
    vocab = _model_vocab(stored, [])
    merges = _merge_pairs(stored.merges or (), vocab, notes)
    unknown = stored.text_of("unk")
    model = {"type": "BPE", "dropout": None, "unk_token": unknown, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
             "vocab": vocab, "merges": merges}
    return Rebuilt(model, {"type": "Lowercase"} if stored.lowercase else None, {"type": "WhitespaceSplit"}, None,
                   added, notes=notes)


def rwkv(stored: Stored, rules: VocabRules, structure: str) -> Rebuilt:
    """rwkv: the longest token that fits, found by a pre-tokenizer."""
    notes: list[str] = []
    added = _added_tokens(stored, frozenset(), rstrip=False)
    special = {token.id for token in added}
    vocab: dict[str, int] = {}
    for token_id in stored.used:
        if token_id in special:
            continue
        text = "".join(BYTE_TO_CHAR[byte] for byte in unescape(stored.tokens[token_id]))
        if text:
            vocab[text] = token_id  # of two with the same bytes, the runtime finds the later one
    model: Json = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
             "vocab": {**vocab, **{token.content: token.id for token in added}}, "merges": []}
    split = {"type": "Split", "pattern": {"Regex": longest_match(vocab)}, "behavior": "Isolated", "invert": False}
    bytes_first = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return Rebuilt(model, None, sequence("pretokenizers", [bytes_first, split]), BYTE_LEVEL, added, notes=notes)


def plamo2(stored: Stored, rules: VocabRules, structure: str) -> Rebuilt:
    """plamo2: the best-scored pieces of raw text. Bytes are scored so low that a character that no piece has costs what it
    costs in the runtime."""
    added = _added_tokens(stored, frozenset(), rstrip=False)
    scores = stored.scores or [0.0] * len(stored.tokens)
    end = stored.used[-1] + 1 if stored.used else 0
    low = plamo.UNKNOWN_SCORE + 10  # the library takes 10 off the lowest
    entries = [[text, low if stored.types[i] == TokenType.BYTE or stored.is_padding(i) else scores[i]]
               for i, text in enumerate(stored.tokens[:end])]
    model = {"type": "Unigram", "unk_id": stored.ids.get("unk"), "vocab": entries, "byte_fallback": True}
    return Rebuilt(model, None, None, sequence("decoders", [{"type": "ByteFallback"}, {"type": "Fuse"}]), added)


KINDS: dict[str, Callable[[Stored, VocabRules, str], Rebuilt]] = {
    "gpt2": byte_level, "gemma4": spaced_bpe, "llama": sentencepiece, "bert": wordpiece, "t5": unigram,
    "whitespace": whitespace, "rwkv": rwkv, "plamo2": plamo2,
}


def settle_names(stored: Stored, rules: VocabRules, pre: str | None) -> None:
    """Give a vocabulary the kind and the pre-tokenizer that the runtime knows: `pre` where it is given, today's spelling of
    names that files of 2023 have (`deepseek_llm`, also as the kind), the runtime's fallback where there is no name.

    Raises UnsupportedError, with the key, for kinds that tokenizer.json cannot hold and names that the runtime has not."""
    if pre is not None:
        pre = check_name(pre).name
    if stored.kind not in KINDS:
        spelled = stored.kind.replace("_", "-")
        if stored.merges is None or (pre is None and spelled not in pre_table()):
            raise UnsupportedError(
                f"tokenizer.ggml.model: kind {stored.kind!r} cannot be written as a tokenizer.json",
                expected=", ".join(KINDS), hint=None if stored.merges is None else "if it is a byte-level BPE: --pre NAME")
        stored.notes.append(f"tokenizer.ggml.model {stored.kind!r} is no kind that llama.cpp knows, and taken for gpt2 with "
                            f"the pre-tokenizer {pre or spelled!r}")
        stored.kind, stored.pre = "gpt2", spelled
    if stored.kind != "gpt2":
        return
    if pre is not None:
        stored.pre = pre
    elif stored.pre is None:
        stored.notes.append(
            "the file names no pre-tokenizer (tokenizer.ggml.pre): llama.cpp's fallback is used, which is rarely the model's "
            f"own{f'; most models of this architecture have --pre {rules.pre[0]}' if rules.pre else ''}")
    elif stored.pre not in pre_table():
        spelled = stored.pre.replace("_", "-")
        if spelled not in pre_table():
            raise UnsupportedError(f"tokenizer.ggml.pre: llama.cpp has no pre-tokenizer {stored.pre!r}",
                                   hint="; ".join(filter(None, (nearest_names(spelled), "to choose one: --pre NAME"))))
        stored.notes.append(f"tokenizer.ggml.pre {stored.pre!r} is read as {spelled!r}")
        stored.pre = spelled


def rebuild(stored: Stored, rules: VocabRules, structure: str) -> Rebuilt:
    """The tokenizer.json parts of a vocabulary whose names are settled."""
    return KINDS[stored.kind](stored, rules, structure)


