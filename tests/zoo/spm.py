"""Constructors of SentencePiece tokenizers: BPE with byte fallback, and unigram."""

import base64
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from functools import cache

from .bpe import train
from .vocab import CORPUS, MERGES, Vocab, added, document, finish, template

# sentencepiece's compiled form of a few rules (full-width A B 1, ligature fi, eight blanks, three controls):
# a double-array trie followed by the zero-terminated replacements; made once with
# SentencePieceTrainer's normalization_rule_tsv
CHARSMAP = zlib.decompress(
    base64.b64decode(
        "eNoV03nQT1UYAOD391NjGP4TNQxp1NjSZ0lClrKTqCiUUFkiWQs19n3tI0sLfYjsZd8z2ZdElso+SKsh+7489848933vmTPnnnvf98QDEZErIv"
        "1QROqRiCG4+qcYldutaDr650pHztIROZ7z/GzEgkjHgBwRuZ80ZmhDk4hMc7PJHyQ7eSySj7wkSz5MftbuTce6LukoIC9EQQozfUfEjEMRj8kf"
        "pwhZYyKeEItRlBIUx2ujJE9RCluLDMpShqcpxzOUx5ajApWoiM+IylSlCtWpxgs8T01qUJta1KUO9anHizTgJRrSmEa8wsv4HfEqr9GUZrxOC5"
        "rzJm/wFi1pTSvepg3v8g7taEsH2tOR93ifTnxAZ7rShe50oyc9+IgP6U0vPqYP/U6m4pMk0pcBScEZxECGMJhhDGUEwxnFSJQlRjOOsWTyKRMY"
        "z0Q+YzKT+JwpfMkXTOUrvmZaUvuk1sxkBrP4hm+ZzVzmMJ95LIykByO+YxGL+Z6lLGE5y1jJClazKuk91rCedWzgB35kY4FUbEoiW9jMNraiNW"
        "M7u9jJbn5iDz/zC3vZzz4OcoDf+BVtHb9zhMMc4ygnOM7prFScmpKK0/JTnOEP/uJP/uFv/uNfzmek4mwSOccF/ucSF7nCZa5xlRtc5xY3ucNt"
        "7nE3Oe2POkLVtX7bDnEfcXCTFw=="
    )
)


# SentencePiece piece types
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def spm_model(
    pieces: list[tuple[str, float, int]],
    *,
    kind: int,
    dummy_prefix: bool,
    squeeze: bool,
    charsmap: bytes = b"",
    byte_fallback: bool = True,
) -> bytes:
    """A SentencePiece model file of (text, score, type) rows; `kind` is 1 for unigram, 2 for BPE."""
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    for text, score, piece_type in pieces:
        row = proto.pieces.add()
        row.piece, row.score, row.type = text, score, piece_type
    proto.trainer_spec.model_type = kind
    proto.trainer_spec.vocab_size = len(pieces)
    proto.trainer_spec.byte_fallback = byte_fallback
    for role in ("unk", "bos", "eos", "pad"):
        number = next((n for n, row in enumerate(pieces) if row[0] == {"unk": "<unk>", "pad": "<pad>"}.get(role)), -1)
        if role in ("bos", "eos"):
            names = {"bos": ("<s>", "<bos>"), "eos": ("</s>", "<eos>")}[role]
            number = next((n for n, row in enumerate(pieces) if row[0] in names), -1)
        setattr(proto.trainer_spec, f"{role}_id", number)
    spec = proto.normalizer_spec
    spec.name, spec.add_dummy_prefix, spec.remove_extra_whitespaces = "identity", dummy_prefix, squeeze
    spec.escape_whitespaces, spec.precompiled_charsmap = True, charsmap
    return proto.SerializeToString()


@cache
def _spm_merges(prefix: bool) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Merges over words that start with the blank sign, and the characters of the corpus by frequency."""
    text = ("▁" if prefix else "") + CORPUS.replace(" ", "▁")
    words = [word for line in text.split("\n") for word in re.findall(r"▁*[^▁]+|▁+", line)]
    counts = Counter(text.replace("\n", "").replace("\t", ""))
    letters = tuple(sorted(counts, key=lambda letter: (-counts[letter], letter)))[:120]
    return tuple(train(words, MERGES, letters)), letters


def _all_merges(vocab: dict[str, int], pieces: Iterable[str]) -> list[list[str]]:
    """Every way in which a piece is made of two others, in the order of the pieces: which is what scores mean."""
    cuts = (sorted([piece[:at], piece[at:]] for at in range(1, len(piece))) for piece in pieces)
    return [pair for pairs in cuts for pair in pairs if pair[0] in vocab and pair[1] in vocab]


def spm_bpe(
    kind: str,
    *,
    head: list[tuple[str, int]],
    roles: dict[str, str],
    config: dict,
    prefix: bool,
    style: str,
    after: tuple[dict, ...] = (),
    listed: tuple[str, ...] = (),
    rstrip: tuple[str, ...] = (),
    first: str | None = None,
    with_model: bool = True,
    templates: dict[str, str] | None = None,
    pre: str = "default",
) -> Vocab:
    """SentencePiece-style BPE with byte fallback.

    `head` are the lowest pieces with their types, `listed` those of them that stand in added_tokens, `rstrip` those of
    these that swallow blanks behind them, `after` added tokens behind the vocabulary (their ids are set here), `style`
    how a blank is written: "prepend", "metaspace" or "gemma".
    """
    merges, letters = _spm_merges(prefix)
    rows = [(text, 0.0, piece_type) for text, piece_type in head]
    rows += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    taken = {text for text, _, _ in rows}
    # every merge makes its own piece, in the order of the scores: otherwise tokenizer.model and tokenizer.json disagree
    texts = dict.fromkeys([*("".join(pair) for pair in merges), *letters])
    rows += [(text, -float(rank), NORMAL) for rank, text in enumerate(text for text in texts if text not in taken)]
    vocab = {text: number for number, (text, _, _) in enumerate(rows)}
    tokens = [
        added(vocab[text], text, special=dict(head)[text] in (CONTROL, UNKNOWN), rstrip=text in rstrip) for text in listed
    ]
    tokens += [token | {"id": len(vocab) + number} for number, token in enumerate(after)]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    steps = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if style == "prepend":
        normalizer = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]}
        before = None
    elif style == "metaspace":
        normalizer = None
        before = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    else:
        normalizer = replace
        before = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
    if prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    ids = vocab | {token["content"]: token["id"] for token in tokens}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": "<unk>",
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "ignore_merges": False,
        "vocab": vocab,
        # runs of blanks stand in the head, and come first as in Gemma's file
        "merges": _all_merges(vocab, [*sorted(dict(head), key=len), *(text for text in texts if text not in taken)]),
    }
    post = template([(first, ids[first])]) if first else None
    whole = document(model, tokens, normalizer, before, post, {"type": "Sequence", "decoders": steps})
    sp = spm_model(rows, kind=2, dummy_prefix=prefix, squeeze=False)
    return finish(kind, pre, whole, roles, config, len(ids), templates, model=("tokenizer.model", sp) if with_model else None)


def _unigram_pieces() -> list[tuple[str, float]]:
    """Texts with scores that fall with the rank and rise with the length, in steps that float32 holds exactly."""
    merges, letters = _spm_merges(True)
    texts = dict.fromkeys([*("".join(pair) for pair in merges), *letters])
    return [(text, -2.0 - rank / 32 - 0.25 / len(text)) for rank, text in enumerate(texts)]


def t5(kind: str, extra: int = 4) -> Vocab:
    """T5's tokenizer: unigram pieces behind three special ones, and `extra` sentinels that only tokenizer.json has."""
    head, body = [("<pad>", CONTROL), ("</s>", CONTROL), ("<unk>", UNKNOWN)], _unigram_pieces()
    sentinels = [f"<extra_id_{number}>" for number in reversed(range(extra))]
    vocab = [[text, 0.0] for text, _ in head] + [list(row) for row in body] + [[text, 0.0] for text in sentinels]
    ids = {text: number for number, (text, _) in enumerate(vocab)}
    meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    whole = document(
        {"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": False},
        [added(ids[text], text) for text in (*(text for text, _ in head), *sentinels)],
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(CHARSMAP).decode()},
        {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, meta]},
        template([], [("</s>", 1)]),
        meta,
    )
    rows = [*((text, 0.0, piece_type) for text, piece_type in head), *((text, score, NORMAL) for text, score in body)]
    sp = spm_model(rows, kind=1, dummy_prefix=True, squeeze=True, charsmap=CHARSMAP, byte_fallback=False)
    roles = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": extra, "additional_special_tokens": sentinels}
    return finish(kind, "default", whole, roles, config, len(vocab), model=("spiece.model", sp))


def pocket(kind: str) -> Vocab:
    """Pocket TTS' tokenizer: a unigram model without bytes, and behind its pieces rows that no file names."""
    body = _unigram_pieces()
    rows = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), *((text, score, NORMAL) for text, score in body)]
    sp = spm_model(rows, kind=1, dummy_prefix=True, squeeze=True, charsmap=CHARSMAP, byte_fallback=False)
    return Vocab(kind, "default", None, {}, {}, len(rows), model=("tokenizer.model", sp))


XLMR_HEAD = ("<s>", "<pad>", "</s>", "<unk>")
CAMEMBERT_HEAD = ("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>")


def unigram(kind: str, *, with_model: bool, config: dict, head: tuple[str, ...] = XLMR_HEAD) -> Vocab:
    """XLM-R's tokenizer, or CamemBERT's: unigram pieces behind some control tokens, `<mask>` last, a compiled character map."""
    body = _unigram_pieces()
    vocab = [*([text, 0.0] for text in head), *map(list, body), ["<mask>", 0.0]]
    ids = {text: number for number, (text, _) in enumerate(vocab)}
    tokens = [added(ids[text], text, lstrip=text == "<mask>")
              for text in sorted(("<s>", "<pad>", "</s>", "<unk>", "<mask>"), key=ids.__getitem__)]
    post = template([("<s>", ids["<s>"])], [("</s>", ids["</s>"])])
    post["pair"] = [
        *post["single"],
        {"SpecialToken": {"id": "</s>", "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 0}},
        {"SpecialToken": {"id": "</s>", "type_id": 0}},
    ]
    meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    whole = document(
        {"type": "Unigram", "unk_id": 3, "vocab": vocab, "byte_fallback": False},
        tokens,
        {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(CHARSMAP).decode()},
        {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, meta]},
        post,
        meta,
    )
    rows = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), *((t, s, NORMAL) for t, s in body)]
    sp = spm_model(rows, kind=1, dummy_prefix=True, squeeze=True, charsmap=CHARSMAP, byte_fallback=False)
    roles = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "cls_token": "<s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": "<mask>",
    }
    return finish(
        kind,
        "default",
        whole,
        roles,
        config,
        len(vocab),
        model=("sentencepiece.bpe.model", sp) if with_model else None,
    )
