"""`tokenizer.*` key-values -> Hugging Face tokenizer files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError, UnsupportedError
from ..io.json_file import JsonStyle, json_bytes
from ..io.tokenizer_names import PLAMO
from ..io.values import Value, string
from . import plamo
from .protobuf import BPE, UNIGRAM, SentencePieceModel, write_model
from .rebuild import BYTE_LEVEL, Rebuilt, rebuild, settle_names
from .restore import NotRestorable, restore
from .rules import VocabRules, rules_for
from .special import PREFIX
from .stored import Stored, explicit_adds, read_stored
from .templates import template_files
from .vocabulary import TokenType

Structure = Literal["own", "runtime"]


@dataclass(slots=True)
class TokenizerFiles:
    """File names, relative to the folder, with their bytes, and what had to be assumed."""

    files: dict[str, bytes]
    notes: list[str] = field(default_factory=list)


def tokenizer_files(metadata: Mapping[str, Value], *, arch: str, structure: Structure = "own", pre: str | None = None,
                    file: Path | None = None) -> TokenizerFiles:
    """The tokenizer files of a GGUF file; none for a file without a tokenizer (kinds `none`, `no_vocab`).

    Where llama.cpp cuts text in another way than the model's own tokenizer, `structure` says whose ids are wanted. `pre`
    replaces the pre-tokenizer's name (and what ggufx has kept of the original), `file` is for messages.
    Raises InputError for damaged key-values, UnsupportedError for kinds and names that have no counterpart.
    """
    try:
        return _files(metadata, arch, rules_for(arch), structure, pre)
    except (InputError, UnsupportedError) as err:
        err.file = err.file or (None if file is None else str(file))
        err.hint = "; ".join(filter(None, (err.hint, "to go on without a tokenizer: --no-tokenizer")))
        raise


def _files(metadata: Mapping[str, Value], arch: str, rules: VocabRules, structure: Structure,
           pre: str | None) -> TokenizerFiles:
    notes = []
    try:
        if pre is None and (files := restore(metadata)) is not None:
            return TokenizerFiles(files)
    except NotRestorable as err:
        notes.append(f"the tokenizer is made from the standard keys: {err}")
    if pre is not None and PREFIX + "model" not in metadata and PREFIX + "merges" in metadata:
        metadata = {**metadata, PREFIX + "model": string("gpt2")}
        notes.append(f"{PREFIX}model is missing: the vocabulary is taken for gpt2, as it has merges")
    stored = read_stored(metadata, arch)
    if stored.kind in ("none", "no_vocab"):
        return TokenizerFiles({}, ["the file has no tokenizer"])
    settle_names(stored, rules, pre)
    if not stored.used:
        raise InputError("tokenizer.ggml.tokens: no token in it")
    rebuilt = rebuild(stored, rules, structure)
    adds = {**stored.adds, **({"bos": True} if rebuilt.adds_bos else {}), **explicit_adds(metadata)}
    if stored.kind == "gemma4" or stored.pre == "granite-embed-multi-311m":
        adds["bos"] = True  # the runtime adds it whatever the key says
    document = {"version": "1.0", "truncation": None, "padding": None,
                "added_tokens": [token.to_json() for token in rebuilt.added], "normalizer": rebuilt.normalizer,
                "pre_tokenizer": rebuilt.pre_tokenizer, "post_processor": _post_processor(stored, adds),
                "decoder": rebuilt.decoder, "model": rebuilt.model}
    config = _config(stored)
    files = {"tokenizer.json": JsonStyle().encode(document), "tokenizer_config.json": json_bytes(config, indent=2),
             "special_tokens_map.json": json_bytes(_special_map(config), indent=2), **template_files(stored.templates)}
    if stored.kind == plamo.KIND:
        scores = stored.scores or [0.0] * len(stored.tokens)
        rows = [plamo.row_of(stored.tokens[i], scores[i], stored.types[i]) for i in stored.used]
        files[PLAMO] = plamo.lines(rows, False, "\n").encode("utf-8")
    if stored.kind == "llama":
        files["tokenizer.model"] = write_model(_sentencepiece(stored, rebuilt, BPE))
    elif stored.kind == "t5" and rules.spiece:
        files["spiece.model"] = write_model(_sentencepiece(stored, rebuilt, UNIGRAM))
    return TokenizerFiles(files, [*notes, *stored.notes, *rebuilt.notes])


def _post_processor(stored: Stored, adds: Mapping[str, bool]) -> dict[str, Any] | None:
    """What is put around a text, or two, as the flags say; WordPiece always has its [CLS] and [SEP]."""
    bos, eos, sep = stored.text_of("bos"), stored.text_of("eos"), stored.text_of("sep")
    between: tuple[str, ...] = ()
    if stored.kind == "bert":
        first, last = stored.text_of("cls") or bos, sep or eos
    else:
        first, last = bos if adds.get("bos") else None, eos if adds.get("eos") else None
        between = (last,) if last and adds.get("sep") else ()
    steps = [dict(BYTE_LEVEL, add_prefix_space=False, trim_offsets=False)] if stored.kind == "gpt2" else []
    if first or last:
        whole_pair = bool(between) or stored.kind == "bert"
        single = [_special(first, 0), _text("A", 0), _special(last, 0)]
        pair = [*single, *(_special(text, 0) for text in between),
                None if whole_pair else _special(first, 1), _text("B", 1), _special(last, 1)]
        ids = {text: stored.tokens.index(text) for text in (first, last) if text}
        steps.append({"type": "TemplateProcessing", "single": [item for item in single if item],
                      "pair": [item for item in pair if item],
                      "special_tokens": {text: {"id": text, "ids": [token_id], "tokens": [text]}
                                         for text, token_id in ids.items()}})
    if not steps:
        # An empty template, because transformers makes one of its own where there is none.
        return {"type": "TemplateProcessing", "single": [_text("A", 0)], "pair": [_text("A", 0), _text("B", 1)],
                "special_tokens": {}}
    return steps[0] if len(steps) == 1 else {"type": "Sequence", "processors": steps}


def _special(text: str | None, type_id: int) -> dict[str, Any] | None:
    return None if text is None else {"SpecialToken": {"id": text, "type_id": type_id}}


def _text(name: str, type_id: int) -> dict[str, Any]:
    return {"Sequence": {"id": name, "type_id": type_id}}


def _config(stored: Stored) -> dict[str, Any]:
    """tokenizer_config.json. The class is the one that takes tokenizer.json as it stands, in transformers 4 and 5; so
    add_bos_token is left out: given, it would replace the post-processor."""
    config: dict[str, Any] = {"clean_up_tokenization_spaces": False}
    if stored.context_length is not None and stored.context_length > 0:
        config["model_max_length"] = stored.context_length
    inputs = ["input_ids", "token_type_ids", "attention_mask"] if stored.kind == "bert" else ["input_ids",
                                                                                             "attention_mask"]
    config["model_input_names"] = inputs
    texts = {name: stored.text_of(name) for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask")}
    if stored.kind == "bert":
        texts["cls"] = texts["cls"] or texts["bos"]
        texts["bos"] = texts["eos"] = None
    for name, text in texts.items():
        if text is not None:
            config[f"{name}_token"] = text
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    return config


def _special_map(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key.endswith("_token")}


def _sentencepiece(stored: Stored, rebuilt: Rebuilt, model_type: int) -> SentencePieceModel:
    """A SentencePiece model with the same pieces; special tokens get the types and scores they have in such models."""
    ids = stored.ids
    model = SentencePieceModel(
        model_type=model_type, byte_fallback=bool(rebuilt.model.get("byte_fallback")), unk_id=ids.get("unk", 0),
        bos_id=ids.get("bos", -1), eos_id=ids.get("eos", -1), pad_id=ids.get("pad", -1),
        charsmap=stored.charsmap, add_dummy_prefix=stored.space_prefix is not False,
        remove_extra_whitespaces=bool(stored.remove_extra_whitespaces))
    scores = stored.scores or [0.0] * len(stored.tokens)
    spelled = {token.id: token.content for token in rebuilt.added}
    for token_id, text in enumerate(stored.tokens[:stored.used[-1] + 1]):
        kind, score = stored.types[token_id], scores[token_id]
        if token_id == model.unk_id:
            kind = TokenType.UNKNOWN
        elif kind == TokenType.UNKNOWN:
            kind = TokenType.CONTROL
        if kind in (TokenType.UNKNOWN, TokenType.CONTROL, TokenType.USER_DEFINED):
            score = 0.0
        model.pieces.append((spelled.get(token_id, text), score, int(kind)))
    return model
