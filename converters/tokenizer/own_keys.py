"""What `tokenizer.*` key-values cannot hold: carried in two JSON strings, so that a folder comes back as it was.

    ggufx.tokenizer         tokenizer.json without vocabulary and merges, and how to put those back from the standard
                            keys; the same for vocab.json, merges.txt, vocab.txt and SentencePiece models
    ggufx.tokenizer_config  tokenizer_config.json and the other small files; templates are named, not repeated

Tokens are kept as ids; only a text that differs from `tokenizer.ggml.tokens` is spelled out. A few kB, but for what
the standard keys lack altogether: `ggufx.tokenizer.merges` (the order of merges that a vocabulary implies, `merges.py`),
`ggufx.tokenizer.scores` (scores that need float64), `ggufx.tokenizer.charsmap` (a SentencePiece BPE's character map,
deflated), `ggufx.tokenizer.lines` (a tokenizer.jsonl that is spelled in its own way, deflated).
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..io import tokenizer_names as names
from ..io.json_file import JsonStyle, json_bytes
from ..io.values import Metadata, Value, ValueType, array, string, strings, text_of
from . import plamo
from .bpe import merge_pairs
from .folder import Folder
from .merges import encode_order
from .protobuf import read_model, without_charsmap
from .rwkv import file_line
from .special import PREFIX
from .templates import KEY
from .tiktoken import is_ranks
from .unigram import entries_of
from .vocabulary import SPACE, TokenType

Json = dict[str, Any]

TOKENIZER_KEY = "ggufx.tokenizer"
CONFIG_KEY = "ggufx.tokenizer_config"
MERGES_KEY = "ggufx.tokenizer.merges"
SCORES_KEY = "ggufx.tokenizer.scores"
CHARSMAP_KEY = "ggufx.tokenizer.charsmap"
LINES_KEY = "ggufx.tokenizer.lines"

MODEL_FILES = (names.SENTENCEPIECE, *names.UNIGRAM)
SMALL_FILES = (names.SPECIAL_MAP, names.ADDED, names.TEMPLATE_JSON)
STYLED = (names.TOKENIZER_JSON, names.VOCAB_JSON, names.CONFIG, *SMALL_FILES)  # libraries and their versions spell them apart
_CHARSMAP_MARK = {"ggufx": "tokenizer.ggml.precompiled_charsmap"}


def single(value: float) -> float:
    """The value as float32 holds it."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


class Spelling:
    """Texts of the ids as the standard keys give them: the base that only differences are kept against."""

    def __init__(self, metadata: Mapping[str, Value]) -> None:
        self.tokens: list[str] = list(metadata[PREFIX + "tokens"].data)
        self.types: list[int] = [int(kind) for kind in metadata[PREFIX + "token_type"].data]
        self.kind: str = metadata[PREFIX + "model"].data

    def text(self, token_id: int) -> str | None:
        if not 0 <= token_id < len(self.tokens):
            return None
        text = self.tokens[token_id]
        if self.kind != "bert" or self.types[token_id] == TokenType.CONTROL:
            return text
        return text[len(SPACE):] if text.startswith(SPACE) else "##" + text

    def check(self) -> int:
        return zlib.crc32("\0".join(self.tokens).encode("utf-8"))


def runs(ids: Iterable[int]) -> list[list[int]]:
    """Ascending ids as [first, end) pairs."""
    found: list[list[int]] = []
    for token_id in sorted(ids):
        if found and found[-1][1] == token_id:
            found[-1][1] += 1
        else:
            found.append([token_id, token_id + 1])
    return found


def fold(items: Mapping[int, tuple[str, Any]], spelling: Callable[[int], str | None]) -> Json:
    """{id: (text, attributes)} as groups of ids with equal attributes, and the texts that `spelling` does not give."""
    groups: dict[str, list[int]] = {}
    for token_id, (_, attributes) in items.items():
        key = json.dumps(attributes)
        groups.setdefault(key, []).append(token_id)
    return {"groups": [[json.loads(key), runs(ids)] for key, ids in groups.items()],
            "texts": {str(i): text for i, (text, _) in items.items() if text != spelling(i)}}


def residue(folder: Path | Folder, metadata: Metadata) -> Metadata:
    """The `ggufx.*` key-values of a folder whose `tokenizer.*` key-values are `metadata`, for an exact way back.

    `TokenizerResult.source` in the place of the path spares reading the files again.
    """
    source = folder if isinstance(folder, Folder) else Folder(folder)
    spelling = Spelling(metadata)
    extra: Metadata = {}
    kept: Json = {"tokens": len(spelling.tokens), "check": spelling.check()}
    if source.tokenizer is not None:
        kept["json"] = _keep_json(source, metadata, spelling, extra)
    if style := {name: changes for name in STYLED if source.has(name) and (changes := JsonStyle.of(source.read(name)).changes)}:
        kept["style"] = style
    _keep_lists(source, kept, spelling, metadata, extra)
    models = [name for name in MODEL_FILES if source.has(name) and not is_ranks(source.read(name))]
    for name in models:
        kept.setdefault("models", {})[name] = _keep_model(source, name, metadata, spelling, extra)
    if kept.keys() <= {"tokens", "check"}:
        return {}  # nothing that a tokenizer could be loaded from (tekken.json): it is rebuilt from the standard keys
    config = _keep_config(source, metadata, spelling)
    return {TOKENIZER_KEY: string(_text(kept)), CONFIG_KEY: string(_text(config)), **extra}


def residue_with_template(folder: Folder, metadata: Metadata) -> Metadata:
    """The same where another template than the folder's stands under its key: that comes back, or all from standard keys."""
    named = {key: value for key, value in metadata.items() if not key.startswith(f"{KEY}.")}
    kept = residue(folder, named)  # named templates are kept as texts: the file has them no longer
    return kept if follows(kept, KEY) else {}


def follows(metadata: Metadata, key: str) -> bool:
    """Whether the way back takes a template from this key, as it must where that is not the original's."""
    return f'"{key}"' in text_of(metadata, CONFIG_KEY)


def _text(data: Json) -> str:
    return json_bytes(data, compact=True).decode()


def _keep_json(source: Folder, metadata: Metadata, spelling: Spelling, extra: Metadata) -> Json:
    assert source.tokenizer is not None
    document = dict(source.tokenizer.data)
    model = dict(source.tokenizer.need("model", dict))
    kept: Json = {}
    vocab = model.get("vocab")  # None keeps the place of what is put back
    if isinstance(vocab, list):
        entries = entries_of(source.model)
        kept["vocab"] = fold({i: (text, None) for i, (text, _) in enumerate(entries)}, spelling.text)
        kept["scored"] = True
        model["vocab"] = None
        scores = [score for _, score in entries]
        stored = metadata[PREFIX + "scores"].data
        if any(single(score) != score or single(stored[i]) != score for i, score in enumerate(scores)):
            extra[SCORES_KEY] = array(ValueType.FLOAT64, scores)
    elif isinstance(vocab, dict):
        if wrong := [text for text, token_id in vocab.items() if type(token_id) is not int or token_id < 0]:
            raise source.model.error("vocab", f"ids that are no whole numbers, such as that of {wrong[0]!r}")
        kept["vocab"] = fold({i: (text, None) for text, i in vocab.items()}, spelling.text)
        model["vocab"] = None
    if isinstance(merges := model.get("merges"), list):
        kept["merges"] = _keep_merges(source, merges, vocab, metadata, spelling, extra)
        model["merges"] = None
    document["model"] = model
    added = document.get("added_tokens")
    if added is not None:
        document["added_tokens"] = None
        kept["added"] = fold({item["id"]: _split_added(item) for item in added}, spelling.text)
    charsmap = metadata.get(PREFIX + "precompiled_charsmap")
    kept["rest"] = _mark_charsmap(document, bytes(charsmap.data) if charsmap else b"")
    return kept


def _split_added(item: Json) -> tuple[str, Json]:
    return item["content"], {key: value for key, value in item.items() if key not in ("id", "content")}


def _mark_charsmap(data: Any, charsmap: bytes) -> Any:
    """The document with a character map that the standard key holds replaced by a mark."""
    encoded = base64.b64encode(charsmap).decode() if charsmap else None

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: _CHARSMAP_MARK if key == "precompiled_charsmap" and encoded and inner == encoded
                    else walk(inner) for key, inner in value.items()}
        return [walk(inner) for inner in value] if isinstance(value, list) else value

    return walk(data)


def _keep_merges(source: Folder, merges: list[Any], vocab: Any, metadata: Metadata, spelling: Spelling,
                 extra: Metadata) -> Json:
    """How the merges come back: from their key, from the scores, or from a key of ours."""
    if PREFIX + "merges" in metadata and all(isinstance(merge, str) for merge in merges):
        return {"form": "lines", "from": "merges"}
    kept: Json = {"form": "lines" if merges and isinstance(merges[0], str) else "pairs"}
    pairs = merge_pairs(source.model)
    if PREFIX + "merges" in metadata:
        kept["from"] = "merges"
    elif isinstance(vocab, dict) and (found := encode_order(pairs, vocab, _scores(metadata))):
        kept["from"], steps = found
        extra[MERGES_KEY] = array(ValueType.UINT8, steps)
        return kept
    else:
        kept["from"] = "own"
        extra[MERGES_KEY] = strings([f"{left} {right}" for left, right in pairs])
    spaced = {str(i): pair for i, pair in enumerate(pairs) if " " in pair[0] or " " in pair[1]}
    if spaced:
        kept["spaced"] = spaced
    return kept


def _scores(metadata: Mapping[str, Value]) -> list[float]:
    """The scores as a file of float32 gives them back."""
    return [single(score) for score in metadata[PREFIX + "scores"].data] if PREFIX + "scores" in metadata else []


def _keep_lists(source: Folder, kept: Json, spelling: Spelling, metadata: Metadata, extra: Metadata) -> None:
    """vocab.json, vocab.txt, RWKV's and PLaMo's files, merges.txt: the vocabulary as ids, merges by reference where they are
    the same."""
    if document := source.document(names.VOCAB_JSON):
        entries = {i: (text, None) for text, i in document.data.items() if type(i) is int and i >= 0}
        kept[names.VOCAB_JSON] = fold(entries, spelling.text)
    if source.has(names.VOCAB_TXT):
        lines = source.text(names.VOCAB_TXT).split("\n")
        kept[names.VOCAB_TXT] = fold({i: (line, None) for i, line in enumerate(lines)}, spelling.text)
    if source.has(names.RWKV):
        lines = source.text(names.RWKV).split("\n")
        entries = {i: (line, None) for i, line in enumerate(lines, 1)}
        kept[names.RWKV] = fold(entries, lambda i: file_line(i, spelling.text(i)))
    if source.has(names.PLAMO):
        kept[names.PLAMO] = _keep_rows(source, spelling, metadata, extra)
    if source.has(names.MERGES_TXT):
        lines = source.text(names.MERGES_TXT).split("\n")
        head = lines[:1] if lines and lines[0].startswith("#") else []
        stored = list(metadata[PREFIX + "merges"].data) if PREFIX + "merges" in metadata else []
        body = lines[len(head):]
        same = body[:len(stored)] == stored
        kept[names.MERGES_TXT] = {"head": head, "stored": same, "tail": body[len(stored):] if same else body}


def _keep_rows(source: Folder, spelling: Spelling, metadata: Metadata, extra: Metadata) -> Json:
    """tokenizer.jsonl: what the standard keys do not say of a line; the whole file where its lines are spelled otherwise."""
    rows, text = plamo.rows_of(source), source.text(names.PLAMO)
    end = "\n" if text.endswith("\n") else ""
    for ascii_only in (False, True):
        if plamo.lines(rows, ascii_only, end) == text and all(type(row[1]) is float for row in rows):
            if any(single(row[1]) != row[1] for row in rows):
                extra[SCORES_KEY] = array(ValueType.FLOAT64, [row[1] for row in rows])
            folded = fold({i: (row[0], row[2:]) for i, row in enumerate(rows)}, spelling.text)
            return {**folded, "ascii": ascii_only, "end": end}
    extra[LINES_KEY] = array(ValueType.UINT8, zlib.compress(source.read(names.PLAMO), 9))
    return {"deflated": True}


def _keep_model(source: Folder, name: str, metadata: Metadata, spelling: Spelling, extra: Metadata) -> Json:
    model = read_model(source.read(name), source.path / name)
    shift = 4 if spelling.text(0) == "<s>NOTUSED" else int(name == names.UNIGRAM[0])
    place = model_place(shift)
    stored = metadata[PREFIX + "scores"].data if PREFIX + "scores" in metadata else []
    different = {}
    for i, (_, score, kind) in enumerate(model.pieces):
        at = place(i)
        if at >= len(stored) or single(stored[at]) != score or spelling.types[at] != kind:
            different[i] = ("", [score, kind])
    folded = fold({i: (text, None) for i, (text, _, _) in enumerate(model.pieces)}, lambda i: spelling.text(place(i)))
    if model.charsmap and _standard_charsmap(metadata) != model.charsmap:
        extra[CHARSMAP_KEY] = array(ValueType.UINT8, zlib.compress(model.charsmap, 9))
    rest = [[number, base64.b64encode(value).decode()]
            for number, value in without_charsmap(model.rest, model.charsmap)]
    return {"pieces": len(model.pieces), "shift": shift, "spelled_out": model.spelled_out, "texts": folded["texts"],
            "different": fold(different, lambda i: "")["groups"], "rest": rest, "charsmap": bool(model.charsmap)}


def model_place(shift: int) -> Callable[[int], int]:
    """Where a SentencePiece piece stands in the vocabulary: in fairseq's numbering, one later after the first three; in
    CamemBERT's, four later."""
    if shift > 1:
        return lambda i: i + shift
    return (lambda i: i + 1 if i >= 3 else (3, 0, 2)[i]) if shift else (lambda i: i)


def _standard_charsmap(metadata: Mapping[str, Value]) -> bytes:
    value = metadata.get(PREFIX + "precompiled_charsmap")
    return bytes(value.data) if value else b""


def _keep_config(source: Folder, metadata: Metadata, spelling: Spelling) -> Json:
    kept: Json = {}
    document = source.document(names.CONFIG)
    if document is not None:
        config = dict(document.data)
        if source.config_added:
            decoder, config["added_tokens_decoder"] = config["added_tokens_decoder"], None
            kept["decoder"] = fold({int(i): _split_added(item) for i, item in decoder.items()}, spelling.text)
        template = config.get("chat_template")
        if template is not None:
            config["chat_template"] = None
            kept["template"] = ([[item["name"], _refer(item["name"], item["template"], metadata)] for item in template]
                                if isinstance(template, list) else _refer("default", template, metadata))
        kept["config"] = config
    for name in SMALL_FILES:
        if found := source.document(name):
            kept.setdefault("files", {})[name] = found.data
    kept["templates"] = _keep_templates(source, metadata)
    return kept


def _keep_templates(source: Folder, metadata: Metadata) -> Json:
    texts = {names.TEMPLATE: "default"} if source.has(names.TEMPLATE) else {}
    more = source.path / names.MORE_TEMPLATES
    if more.is_dir():
        texts |= {f"{more.name}/{file.name}": file.stem for file in sorted(more.glob("*.jinja"))}
    return {name: _refer(template, source.read(name).decode("utf-8"), metadata) for name, template in texts.items()}


def _refer(name: str, text: str, metadata: Mapping[str, Value]) -> Json:
    """A template as the key that holds it, or as its text where no key does."""
    for key in (KEY if name == "default" else f"{KEY}.{name}", *(key for key in metadata if key.startswith(KEY))):
        value = metadata.get(key)
        if value is not None and value.type == ValueType.STRING and value.data == text:
            return {"key": key}
    return {"text": text}


