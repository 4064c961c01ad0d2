"""Constructors of small real tokenizers, shaped as the models on the Hub shape theirs."""

import base64
import json
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from .bpe import byte_characters, train

CORPUS = (Path(__file__).parent / "corpus.txt").read_text(encoding="utf-8")
MERGES = 160
UNREACHABLE = "Ġlighthousekeeper"  # no merges lead to this token: only a tokenizer that ignores merges finds it

# sentencepiece's compiled form of six rules (full-width A B 1, no-break space, ligature fi, ideographic space):
# a double-array trie followed by the zero-terminated replacements; made once with
# SentencePieceTrainer's normalization_rule_tsv
CHARSMAP = zlib.decompress(
    base64.b64decode(
        "eNoV03XMFkQcB/DbQ4w/XkRyKAiMriFKKIzulm4FREoFpRseul46pHnpEpASURBF0gClVLq7u+Hz3PbZ7+52u+12319IHEKISxS2x0dCQpIQG9"
        "Fo4kiIvhXCtyESBpUMIZm9icmDVYg6Hk1KnIMpeIOUvElqUpGWNGz5MBLSqa4K6cnA27xDRjKTiXMTIiGLmo2s5CA7uchJHnKTj7zcSh8J+dV3"
        "KcB7FKQQ71OEwnxAUYoxf28IC/4Pobi5J4USlKYUZSlDecpRkQpUphJVqUJ1qlGTGnxELepQm3rUpQH1aURDmtCYZjTlY5rTgk9oRUta8ylt+I"
        "x2tKUD7fmCz+nIl3xFJzrzNV3pQne60ZMe9KYXfelDf/oxkAEMin06QxjMMIYyguGMYiRjGM1Y4hnPOCYygclMYipT+IZpzGA6s5jJHGYzj7mx"
        "vyGBhSxgMYtYyhKWs4yVrGBViGUzhDWsZi3fsZ51bGQDm/iezfzAT/zI1lg22cbP/Mov/MZ2drKD3exCdMIe/uB3/uJP9rOPf/ibgxzgMIf4ly"
        "OIXfiPYxzlBMc5xUnOcDrWB5zlAue5xEWucJlrXOUG12N9wE3ucJt73OUB93nEQ57wmGc85QXPecVLsuigspLftkN4DTQGjhs="
    )
)


@dataclass
class Vocab:
    """A tokenizer to be written beside a model: `tokenizer` is tokenizer.json, `model` a SentencePiece file."""

    kind: str
    pre: str
    tokenizer: dict
    config: dict
    ids: dict[str, int]
    size: int
    model: tuple[str, bytes] | None = None
    texts: dict[str, str] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path, *, v4: bool) -> None:
        """Write the files as transformers 4 (template and added tokens inside the configuration) or 5 would."""
        config = dict(self.config)
        dump(folder / "tokenizer.json", self.tokenizer)
        if self.model:
            (folder / self.model[0]).write_bytes(self.model[1])
        for name, text in self.texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        if v4:
            config["added_tokens_decoder"] = {
                str(token["id"]): {key: value for key, value in token.items() if key != "id"}
                for token in self.tokenizer["added_tokens"]
            }
            special = {key: value for key, value in config.items() if key in _ROLES}
            dump(folder / "special_tokens_map.json", special)
            if len(self.templates) == 1:
                config["chat_template"] = self.templates["default"]
            elif self.templates:
                config["chat_template"] = [{"name": n, "template": t} for n, t in self.templates.items()]
        elif self.templates:
            (folder / "chat_template.jinja").write_text(self.templates["default"], encoding="utf-8")
            for name in self.templates.keys() - {"default"}:
                (folder / "additional_chat_templates").mkdir(exist_ok=True)
                (folder / "additional_chat_templates" / f"{name}.jinja").write_text(
                    self.templates[name], encoding="utf-8"
                )
        dump(folder / "tokenizer_config.json", config)


_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def added(number: int, content: str, special: bool = True, **flags: bool) -> dict:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": content, **plain, "special": special, **flags}


def split(*patterns: str) -> list[dict]:
    return [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False} for p in patterns]


def byte_level_step(prefix: bool = False, regex: bool = False) -> dict:
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def _template(first: list[tuple[str, int]], last: list[tuple[str, int]] = ()) -> dict:
    """TemplateProcessing that puts `first` before and `last` after one sequence (and around each of two)."""

    def sequence(name: str, kind: int) -> list[dict]:
        return [
            *({"SpecialToken": {"id": token, "type_id": kind}} for token, _ in first),
            {"Sequence": {"id": name, "type_id": kind}},
            *({"SpecialToken": {"id": token, "type_id": kind}} for token, _ in last),
        ]

    tokens = {token: {"id": token, "ids": [number], "tokens": [token]} for token, number in (*first, *last)}
    both = sequence("A", 0) + sequence("B", 1)
    return {"type": "TemplateProcessing", "single": sequence("A", 0), "pair": both, "special_tokens": tokens}


def _document(
    model: dict, tokens: list[dict], normalizer: dict | None, pre: dict | None, post: dict | None, decoder: dict
) -> dict:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": tokens,
        "normalizer": normalizer,
        "pre_tokenizer": pre,
        "post_processor": post,
        "decoder": decoder,
        "model": model,
    }


@cache
def _byte_level_merges(pre: str, normalizer: str) -> tuple[tuple[str, str], ...]:
    from tokenizers import Tokenizer

    bare = {"type": "BPE", "vocab": {}, "merges": []}
    tool = Tokenizer.from_str(
        json.dumps(_document(bare, [], json.loads(normalizer), json.loads(pre), None, byte_level_step()))
    )
    text = tool.normalizer.normalize_str(CORPUS) if tool.normalizer else CORPUS
    words = [word for word, _ in tool.pre_tokenizer.pre_tokenize_str(text)]
    return tuple(train(words, MERGES, byte_characters()))


def byte_level(
    kind: str,
    pre_name: str,
    pre: dict,
    *,
    before: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    plain: tuple[str, ...] = (),
    roles: dict[str, str],
    config: dict,
    normalizer: dict | None = None,
    ignore_merges: bool = False,
    first: tuple[str, ...] = (),
    last: tuple[str, ...] = (),
    roberta: bool = False,
    templates: dict[str, str] | None = None,
) -> Vocab:
    """Byte-level BPE.

    `before` are special tokens with the lowest ids (inside the vocabulary too), `after` those that follow it, `plain`
    the added tokens that are not special; `first` and `last` are what the post-processor adds.
    """
    merges = _byte_level_merges(json.dumps(pre), json.dumps(normalizer))
    extra = [UNREACHABLE] if ignore_merges else []
    pieces = [*before, *byte_characters(), *("".join(pair) for pair in merges), *extra]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    tokens = [added(number, token) for number, token in enumerate(before)]
    for token in (*after, *plain):
        tokens.append(added(len(vocab) + len(tokens) - len(before), token, special=token not in plain))
    ids = vocab | {token["content"]: token["id"] for token in tokens}
    if roberta:
        post = {
            "type": "RobertaProcessing",
            "sep": ["</s>", ids["</s>"]],
            "cls": ["<s>", ids["<s>"]],
            "trim_offsets": True,
            "add_prefix_space": False,
        }
        tokens[-1]["lstrip"] = True
    elif first or last:
        template = _template([(token, ids[token]) for token in first], [(token, ids[token]) for token in last])
        post = {"type": "Sequence", "processors": [byte_level_step(prefix=True), template]}
    else:
        post = byte_level_step()
    unk = roles.get("unk_token") if "unk_token" in roles and roles["unk_token"] in before else None
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": unk,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": ignore_merges,
        "vocab": vocab,
        "merges": [list(m) for m in merges],
    }
    document = _document(model, tokens, normalizer, pre, post, byte_level_step(prefix=True, regex=True))
    return _vocab(kind, pre_name, document, roles, config, len(ids), templates)


def _vocab(
    kind: str,
    pre: str,
    document: dict,
    roles: dict[str, str],
    config: dict,
    size: int,
    templates: dict[str, str] | None = None,
    **files,
) -> Vocab:
    vocab = document["model"]["vocab"]
    ids = dict(vocab) if isinstance(vocab, dict) else {piece: number for number, (piece, _) in enumerate(vocab)}
    ids |= {token["content"]: token["id"] for token in document["added_tokens"]}
    roles = {role: token for role, token in roles.items() if token}
    full = {"clean_up_tokenization_spaces": False, "model_max_length": 256, **roles, **config}
    return Vocab(
        kind,
        pre,
        document,
        full,
        {role.removesuffix("_token"): ids[t] for role, t in roles.items()},
        size,
        templates=templates or {},
        **files,
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
    first: str | None = None,
    fuse_unk: bool = True,
    with_model: bool = True,
    templates: dict[str, str] | None = None,
    pre: str = "default",
) -> Vocab:
    """SentencePiece-style BPE with byte fallback.

    `head` are the lowest pieces with their types, `listed` those of them that stand in added_tokens, `after`
    added tokens behind the vocabulary (their ids are set here), `style`
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
    tokens = [added(vocab[text], text, special=dict(head)[text] in (CONTROL, UNKNOWN)) for text in listed]
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
        "fuse_unk": fuse_unk,
        "byte_fallback": True,
        "ignore_merges": False,
        "vocab": vocab,
        "merges": _all_merges(vocab, (text for text in texts if text not in taken)),
    }
    post = _template([(first, ids[first])]) if first else None
    document = _document(model, tokens, normalizer, before, post, {"type": "Sequence", "decoders": steps})
    sp = spm_model(rows, kind=2, dummy_prefix=prefix, squeeze=False)
    return _vocab(
        kind, pre, document, roles, config, len(ids), templates, model=("tokenizer.model", sp) if with_model else None
    )


def unigram(kind: str, *, with_model: bool, config: dict) -> Vocab:
    """XLM-R's tokenizer: unigram pieces behind four control tokens, `<mask>` last, a compiled character map."""
    merges, letters = _spm_merges(True)
    texts = dict.fromkeys([*("".join(pair) for pair in merges), *letters])
    # scores fall with the rank and rise with the length, in steps that float32 holds exactly
    body = [(text, -2.0 - rank / 32 - 0.25 / len(text)) for rank, text in enumerate(texts)]
    vocab = [["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], *map(list, body), ["<mask>", 0.0]]
    ids = {text: number for number, (text, _) in enumerate(vocab)}
    tokens = [added(ids[text], text, lstrip=text == "<mask>") for text in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")]
    post = _template([("<s>", 0)], [("</s>", 2)])
    post["pair"] = [
        *post["single"],
        {"SpecialToken": {"id": "</s>", "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 0}},
        {"SpecialToken": {"id": "</s>", "type_id": 0}},
    ]
    meta = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    document = _document(
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
    return _vocab(
        kind,
        "default",
        document,
        roles,
        config,
        len(vocab),
        model=("sentencepiece.bpe.model", sp) if with_model else None,
    )


def wordpiece(kind: str, *, config: dict) -> Vocab:
    """BERT's lower-casing tokenizer: words, then pieces that continue them, as frequent in the corpus."""
    plain = "".join(c for c in unicodedata.normalize("NFD", CORPUS.lower()) if unicodedata.category(c) != "Mn")
    words = re.findall(r"[^\W_]+|[^\w\s]|_", plain)
    letters = sorted({letter for word in words for letter in word})
    counts = Counter(word for word in words if len(word) > 1)
    common = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:80]]
    tails = Counter(word[cut:] for word in counts for cut in range(2, len(word)) if len(word) - cut in (2, 3))
    endings = [tail for tail, _ in sorted(tails.items(), key=lambda item: (-item[1], item[0]))[:60]]
    special = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*special, *letters, *common, *(f"##{letter}" for letter in letters), *(f"##{tail}" for tail in endings)]
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokens = [added(vocab[text], text) for text in special if "unused" not in text]
    document = _document(
        {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
        tokens,
        {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        {"type": "BertPreTokenizer"},
        _template([("[CLS]", vocab["[CLS]"])], [("[SEP]", vocab["[SEP]"])]),
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
    )
    # BERT marks the second sequence of a pair by type 1 and writes [CLS] only once
    document["post_processor"]["pair"].pop(3)
    roles = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    return _vocab(kind, "jina-v2-en", document, roles, config, len(vocab), texts={"vocab.txt": "\n".join(vocab) + "\n"})
