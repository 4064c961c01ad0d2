"""Constructors of small real tokenizers, shaped as the models on the Hub shape theirs."""

import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from .bpe import byte_characters, train

CORPUS = (Path(__file__).parent / "corpus.txt").read_text(encoding="utf-8")
MERGES = 160
UNREACHABLE = "Ġlighthousekeeper"  # no merges lead to this token: only a tokenizer that ignores merges finds it


@dataclass
class Vocab:
    """A tokenizer to be written beside a model: `tokenizer` is tokenizer.json, None where models ship none; `model` a
    SentencePiece file. `longest`: tokens by id, of which the longest that fits is taken."""

    kind: str
    pre: str
    tokenizer: dict | None
    config: dict
    ids: dict[str, int]
    size: int
    model: tuple[str, bytes] | None = None
    texts: dict[str, str] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    longest: tuple[bytes, ...] = ()
    scored: tuple[tuple[str, float], ...] = ()

    def encode(self, text: str) -> list[int]:
        """The ids of a text, by the longest token at each place, or the best-scored pieces; of vocabularies that are so."""
        if self.scored:
            return self._best(text)
        rest, ids = text.encode(), []
        known = {token: number for number, token in enumerate(self.longest) if token}
        while rest:
            token = next(rest[:n] for n in range(len(rest), 0, -1) if rest[:n] in known)
            ids.append(known[token])
            rest = rest[len(token):]
        return ids

    def _best(self, text: str) -> list[int]:
        """Pieces of the highest sum of scores; a character that none has is the tokens of its bytes."""
        known = {piece: (score, number) for number, (piece, score) in enumerate(self.scored) if not piece.startswith("<0x")}
        first_byte = next(number for number, (piece, _) in enumerate(self.scored) if piece == "<0x00>")
        best: list[tuple[float, int, list[int]]] = [(0.0, 0, [])]  # score, where the last piece starts, its ids
        for end in range(1, len(text) + 1):
            ways = [(best[end - 1][0] - 1e7, end - 1, [first_byte + byte for byte in text[end - 1].encode()])]
            ways += [(best[start][0] + known[text[start:end]][0], start, [known[text[start:end]][1]])
                     for start in range(max(0, end - 16), end) if text[start:end] in known]
            best.append(max(ways, key=lambda way: way[0]))
        ids: list[int] = []
        end = len(text)
        while end:
            _, end, found = best[end]
            ids[:0] = found
        return ids

    def write(self, folder: Path, *, v4: bool) -> None:
        """Write the files as transformers 4 (template and added tokens inside the configuration) or 5 would."""
        config = dict(self.config)
        if self.tokenizer:
            dump(folder / "tokenizer.json", self.tokenizer)
        if self.model:
            (folder / self.model[0]).write_bytes(self.model[1])
        for name, text in self.texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        if v4 and self.tokenizer:
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
                (folder / "additional_chat_templates" / f"{name}.jinja").write_text(self.templates[name], encoding="utf-8")
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


def template(first: list[tuple[str, int]], last: list[tuple[str, int]] = ()) -> dict:
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


def document(
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
    tool = Tokenizer.from_str(json.dumps(document(bare, [], json.loads(normalizer), json.loads(pre), None, byte_level_step())))
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
    lstrip: tuple[str, ...] = (),
    roberta: bool = False,
    templates: dict[str, str] | None = None,
) -> Vocab:
    """Byte-level BPE.

    `before` are special tokens with the lowest ids (inside the vocabulary too), `after` those that follow it, `plain`
    the added tokens that are not special; `first` and `last` are what the post-processor adds, `lstrip` those that swallow the space before them.
    """
    merges = _byte_level_merges(json.dumps(pre), json.dumps(normalizer))
    extra = [UNREACHABLE] if ignore_merges else []
    pieces = [*before, *byte_characters(), *("".join(pair) for pair in merges), *extra]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    tokens = [added(number, token) for number, token in enumerate(before)]
    for token in (*after, *plain):
        tokens.append(added(len(vocab) + len(tokens) - len(before), token, lstrip=token in lstrip, special=token not in plain))
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
        around = template([(token, ids[token]) for token in first], [(token, ids[token]) for token in last])
        post = {"type": "Sequence", "processors": [byte_level_step(prefix=True), around]}
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
    whole = document(model, tokens, normalizer, pre, post, byte_level_step(prefix=True, regex=True))
    return finish(kind, pre_name, whole, roles, config, len(ids), templates)


def finish(
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


def wordpiece(kind: str, *, config: dict, lowercase: bool = True, strip_accents: bool | None = None) -> Vocab:
    """BERT's tokenizer: words, then pieces that continue them, as frequent in the corpus. Accents go with the capitals,
    unless `strip_accents` says otherwise."""
    plain = CORPUS.lower() if lowercase else CORPUS
    if lowercase if strip_accents is None else strip_accents:
        plain = "".join(c for c in unicodedata.normalize("NFD", plain) if unicodedata.category(c) != "Mn")
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
    whole = document(
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
            "strip_accents": strip_accents,
            "lowercase": lowercase,
        },
        {"type": "BertPreTokenizer"},
        template([("[CLS]", vocab["[CLS]"])], [("[SEP]", vocab["[SEP]"])]),
        {"type": "WordPiece", "prefix": "##", "cleanup": True},
    )
    # BERT marks the second sequence of a pair by type 1 and writes [CLS] only once
    whole["post_processor"]["pair"].pop(3)
    roles = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    return finish(kind, "jina-v2-en", whole, roles, config, len(vocab), texts={"vocab.txt": "\n".join(vocab) + "\n"})


def rwkv(kind: str) -> Vocab:
    """RWKV's tokenizer: all bytes, then what is frequent in the corpus, by length; token 261 is a blank line."""
    words = [f" {word}" for word, _ in Counter(re.findall(r"\w+", CORPUS)).most_common(60)]
    longer = [b"\t\t", b"  ", b"\r\n", b"..", b"\n\n", *(word.encode() for word in words)]
    tokens = [b"", *(bytes([number]) for number in range(256)), *longer]
    lines = [f"{number} {_literal(token)} {len(token)}" for number, token in enumerate(tokens) if token]
    return Vocab(kind, "", None, {"tokenizer_class": "RwkvTokenizer"}, {"bos": 0, "eos": 0}, len(tokens) + 3,
                 texts={"rwkv_vocab_v20230424.txt": "\n".join(lines) + "\n"}, longest=tuple(tokens))


def plamo(kind: str) -> Vocab:
    """PLaMo 2's tokenizer: named tokens, bytes, then characters and frequent words of raw text with scores."""
    count = Counter(re.findall(r" ?\w+|[^\w]", CORPUS))
    pieces = dict.fromkeys(CORPUS[:4000]) | dict.fromkeys(word for word, _ in count.most_common(120))
    named = [f"<|plamo:{name}|>" for name in ("unk", "bos", "eos", "pad", "op")]
    rows = [[text, 0.0, "UNKNOWN" if text == named[0] else "CONTROL", 0, False] for text in named]
    rows += [[f"<0x{number:02X}>", 0.0, "BYTE", 0, False] for number in range(256)]
    rows += [[text, -8.0 - number / 64 + len(text) / 2, "NORMAL", len(text), True] for number, text in enumerate(sorted(pieces))]
    config = {"tokenizer_class": "Plamo2Tokenizer", "bos_token": named[1], "eos_token": named[2], "pad_token": named[3],
              "unk_token": named[0]}
    return Vocab(kind, "default", None, config, {"bos": 1, "eos": 2, "pad": 3}, len(rows) + 3,
                 texts={"tokenizer.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)},
                 scored=tuple((row[0], row[1]) for row in rows))


def _literal(token: bytes) -> str:
    """As the published file spells it: text where it is UTF-8."""
    try:
        return repr(token.decode())
    except UnicodeDecodeError:
        return repr(token)
