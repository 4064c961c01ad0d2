"""The files of a folder from `tokenizer.*` and `ggufx.*` key-values: the inverse of `own_keys.py`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from ..errors import InputError
from ..io import tokenizer_names as names
from ..io.json_file import JsonStyle, parse_object
from ..io.values import Value, ValueType
from . import plamo
from .merges import decode_order, inflated
from .own_keys import (
    _CHARSMAP_MARK,
    CHARSMAP_KEY,
    CONFIG_KEY,
    LINES_KEY,
    MERGES_KEY,
    MODEL_FILES,
    SCORES_KEY,
    SMALL_FILES,
    TOKENIZER_KEY,
    Json,
    Spelling,
    model_place,
)
from .protobuf import SentencePieceModel, with_charsmap, write_model
from .rwkv import file_line
from .special import PREFIX

MAX_LINES = 256 << 20  # bytes of a tokenizer.jsonl; PLaMo's have some ten MB
MAX_CHARSMAP = 64 << 20  # bytes; SentencePiece's own are a quarter of a MB


class NotRestorable(ValueError):
    """The `ggufx.*` key-values are damaged, or no longer belong to the vocabulary."""


def restore(metadata: Mapping[str, Value]) -> dict[str, bytes] | None:
    """The original files; None where the file has no `ggufx.tokenizer`. Raises NotRestorable."""
    if TOKENIZER_KEY not in metadata:
        return None
    try:
        return _restore(metadata)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError,
            binascii.Error) as err:
        raise NotRestorable(str(err) if isinstance(err, NotRestorable) else f"{TOKENIZER_KEY} is damaged") from err


def _restore(metadata: Mapping[str, Value]) -> dict[str, bytes]:
    kept = _parsed(metadata, TOKENIZER_KEY)
    spelling = Spelling(metadata)
    if kept["tokens"] != len(spelling.tokens) or kept["check"] != spelling.check():
        raise NotRestorable("the vocabulary was changed after ggufx wrote it")
    style = partial(_style, kept.get("style", {}))
    files: dict[str, bytes] = {}
    if "json" in kept:
        files["tokenizer.json"] = style("tokenizer.json").encode(_json(kept["json"], metadata, spelling))
    if "vocab.json" in kept:
        vocab = {text: i for i, text, _ in unfold(kept["vocab.json"], spelling.text)}
        files["vocab.json"] = style("vocab.json").encode(vocab)
    if "vocab.txt" in kept:
        lines = [text for _, text, _ in sorted(unfold(kept["vocab.txt"], spelling.text))]
        files["vocab.txt"] = "\n".join(lines).encode("utf-8")
    if names.RWKV in kept:
        lines = [text for _, text, _ in sorted(unfold(kept[names.RWKV], lambda i: file_line(i, spelling.text(i))))]
        files[names.RWKV] = "\n".join(lines).encode("utf-8")
    if names.PLAMO in kept:
        files[names.PLAMO] = _rows(kept[names.PLAMO], metadata, spelling)
    if "merges.txt" in kept:
        part = kept["merges.txt"]
        stored = list(metadata[PREFIX + "merges"].data) if part["stored"] and PREFIX + "merges" in metadata else []
        files["merges.txt"] = "\n".join([*part["head"], *stored, *part["tail"]]).encode("utf-8")
    for name, part in kept.get("models", {}).items():
        if name in MODEL_FILES:
            files[name] = _model(part, metadata, spelling)
    return files | _config(_parsed(metadata, CONFIG_KEY), metadata, spelling, style)


def _rows(kept: Json, metadata: Mapping[str, Value], spelling: Spelling) -> bytes:
    """tokenizer.jsonl."""
    if kept.get("deflated"):
        return inflated(bytes(metadata[LINES_KEY].data), MAX_LINES)
    scores = metadata[SCORES_KEY if SCORES_KEY in metadata else PREFIX + "scores"].data
    entries = sorted(unfold(kept, spelling.text), key=lambda entry: entry[0])
    rows = [[text, float(scores[i]), *more] for i, text, more in entries]
    return plamo.lines(rows, kept["ascii"] is True, "\n" if kept["end"] else "").encode("utf-8")


def _style(kept: Json, name: str) -> JsonStyle:
    changes = kept.get(name, {})
    if not all(type(value) in (bool, int) and 0 <= value <= 8 for value in changes.values()):
        raise NotRestorable(f"{name} is spelled in no known way")
    return JsonStyle(**changes)


def _parsed(metadata: Mapping[str, Value], key: str) -> Json:
    try:
        return parse_object(metadata[key].data.encode("utf-8"), key, non_finite=True)
    except InputError as err:
        raise NotRestorable(str(err)) from err


def unfold(folded: Json, spelling: Callable[[int], str | None]) -> Iterator[tuple[int, str, Any]]:
    """(id, text, attributes) of what `own_keys.fold` made. Each id once, and none without a text: no more of them than the
    file has texts, whatever its ranges claim."""
    texts = folded["texts"]
    seen: set[int] = set()
    for attributes, ranges in folded["groups"]:
        for first, end in ranges:
            if not 0 <= first < end:
                raise NotRestorable("a range of ids is out of bounds")
            for token_id in range(first, end):
                if token_id in seen:
                    raise NotRestorable(f"id {token_id} occurs twice")
                seen.add(token_id)
                text = texts.get(str(token_id))
                if text is None:
                    text = spelling(token_id)
                if not isinstance(text, str):
                    raise NotRestorable(f"id {token_id} has no text")
                yield token_id, text, attributes


def _json(kept: Json, metadata: Mapping[str, Value], spelling: Spelling) -> Json:
    document = _unmark_charsmap(kept["rest"], metadata)
    model = document["model"]
    vocab: list[list[Any]] | dict[str, int] | None = None
    if "vocab" in kept:
        entries = list(unfold(kept["vocab"], spelling.text))
        if kept.get("scored"):
            scores = metadata[SCORES_KEY if SCORES_KEY in metadata else PREFIX + "scores"].data
            vocab = [[text, float(scores[i])] for i, text, _ in sorted(entries, key=lambda entry: entry[0])]
        else:
            vocab = {text: i for i, text, _ in sorted(entries, key=lambda entry: entry[0])}
        model["vocab"] = vocab
    if "merges" in kept:
        model["merges"] = _merges(kept["merges"], vocab, metadata)
    if "added" in kept:
        document["added_tokens"] = [
            {"id": i, "content": text, **attributes}
            for i, text, attributes in sorted(unfold(kept["added"], spelling.text), key=lambda entry: entry[0])]
    return document


def _unmark_charsmap(data: Any, metadata: Mapping[str, Value]) -> Any:
    if data == _CHARSMAP_MARK:
        return base64.b64encode(bytes(metadata[PREFIX + "precompiled_charsmap"].data)).decode()
    if isinstance(data, dict):
        return {key: _unmark_charsmap(value, metadata) for key, value in data.items()}
    return [_unmark_charsmap(value, metadata) for value in data] if isinstance(data, list) else data


def _merges(kept: Json, vocab: Any, metadata: Mapping[str, Value]) -> list[Any]:
    if kept["from"] not in ("merges", "own"):
        scores = [float(score) for score in metadata[PREFIX + "scores"].data] if PREFIX + "scores" in metadata else []
        pairs = decode_order(kept["from"], bytes(metadata[MERGES_KEY].data), vocab, scores)
        return [" ".join(pair) for pair in pairs] if kept["form"] == "lines" else pairs
    lines = metadata[PREFIX + "merges" if kept["from"] == "merges" else MERGES_KEY].data
    pairs = [line.split(" ", 1) for line in lines] if kept["form"] == "pairs" else []
    if kept["form"] == "lines":
        return list(lines)
    for index, pair in kept.get("spaced", {}).items():
        pairs[int(index)] = pair
    return pairs


def _model(kept: Json, metadata: Mapping[str, Value], spelling: Spelling) -> bytes:
    scores = metadata[PREFIX + "scores"].data
    place = model_place(kept["shift"])
    texts = kept["texts"]
    if not 0 < kept["pieces"] <= len(spelling.tokens) + len(texts):
        raise NotRestorable("no such number of pieces")
    inside = unfold({"groups": kept["different"], "texts": {}}, lambda i: "" if i < kept["pieces"] else None)
    different = {i: attributes for i, _, attributes in inside}
    pieces = []
    for i in range(kept["pieces"]):
        text = texts.get(str(i))
        if text is None:
            text = spelling.text(place(i))
        if not isinstance(text, str):
            raise NotRestorable(f"piece {i} has no text")
        score, kind = different[i] if i in different else (scores[place(i)], spelling.types[place(i)])
        pieces.append((text, float(score), int(kind)))
    rest = [(number, base64.b64decode(value)) for number, value in kept["rest"]]
    if kept["charsmap"]:
        charsmap = inflated(bytes(metadata[CHARSMAP_KEY].data), MAX_CHARSMAP) if CHARSMAP_KEY in metadata else \
            bytes(metadata[PREFIX + "precompiled_charsmap"].data)
        rest = with_charsmap(rest, charsmap)
    return write_model(SentencePieceModel(pieces=pieces, rest=rest, spelled_out=kept["spelled_out"] is True))


def _template(reference: Json, metadata: Mapping[str, Value]) -> str:
    if "text" in reference:
        return reference["text"]
    value = metadata[reference["key"]]
    if value.type != ValueType.STRING:
        raise NotRestorable(f"{reference['key']} is no string")
    return value.data


def _config(kept: Json, metadata: Mapping[str, Value], spelling: Spelling,
            style: Callable[[str], JsonStyle]) -> dict[str, bytes]:
    files = {}
    if "config" in kept:
        config = dict(kept["config"])
        if "decoder" in kept:
            config["added_tokens_decoder"] = {
                str(i): {"content": text, **attributes} for i, text, attributes
                in sorted(unfold(kept["decoder"], spelling.text), key=lambda entry: entry[0])}
        template = kept.get("template")
        if isinstance(template, list):
            config["chat_template"] = [{"name": name, "template": _template(item, metadata)} for name, item in template]
        elif template is not None:
            config["chat_template"] = _template(template, metadata)
        files["tokenizer_config.json"] = style(names.CONFIG).encode(config)
    for name, data in kept.get("files", {}).items():
        if name in SMALL_FILES:
            files[name] = style(name).encode(data)
    for name, reference in kept["templates"].items():
        folder, _, file = name.rpartition("/")
        if folder not in ("", names.MORE_TEMPLATES) or not file.endswith(".jinja") or "\\" in file or file.startswith("."):
            raise NotRestorable(f"{name!r} is no template file")
        files[name] = _template(reference, metadata).encode("utf-8")
    return files
