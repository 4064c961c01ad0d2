"""Hugging Face tokenizer files -> `tokenizer.*` key-values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import InputError, UnsupportedError
from ..io import tokenizer_names as names
from ..io.values import Metadata, ValueType, array, boolean, string, strings, u32
from . import bpe, plamo, rwkv, spm, tekken, tiktoken, unigram, wordpiece
from .folder import Document, Folder
from .pre import RUNTIME_LSTRIP, check_name, normalizers, pre_table, recognise
from .protobuf import UNIGRAM, SentencePieceModel, read_model
from .rules import VocabRules, rules_for
from .special import ID_KEYS, PREFIX, Special, special_tokens
from .templates import KEY as TEMPLATE_KEY
from .templates import chat_templates, replaced_templates, template_metadata
from .vocabulary import MAX_SCORE, TokenType, Vocabulary, listing, separate_twins


@dataclass(slots=True)
class TokenizerResult:
    """The `tokenizer.*` key-values in file order, what a person should know about them, and the folder as it was read."""

    metadata: Metadata
    notes: list[str]
    source: Folder

BEHIND_SCORE = -1000.0  # of tokens that stand behind the tokenizer's own


def tokenizer_metadata(folder: Path, *, arch: str, hf_class: str, config: Mapping[str, Any], vocab_size: int,
                       pre: str | None = None, made: Mapping[str, bytes | Path] | None = None) -> TokenizerResult:
    """All `tokenizer.*` key-values of a model folder; `made` stands for files of it, as of `Folder`.

    `arch` is `general.architecture`, `config` the parsed config.json, `vocab_size` the rows of the token embedding (the
    vocabulary is padded to it with `[PADn]`), `pre` a pre-tokenizer name that overrides recognition. Keys, types and
    values are those of llama.cpp's converter for `hf_class`, except where its result would tokenize otherwise than the
    model; CONTRIBUTING.md lists these. Raises InputError or UnsupportedError with the file and the field.
    """
    if vocab_size < 1:
        raise InputError("a model without a vocabulary size", file=folder, found=vocab_size)
    try:
        return _forward(Folder(folder, made), rules_for(arch), config, vocab_size, pre, hf_class)
    except RecursionError as err:
        raise InputError("a tokenizer file is nested too deeply", file=folder) from err


def _forward(source: Folder, rules: VocabRules, config: Mapping[str, Any], vocab_size: int, pre: str | None,
             hf_class: str) -> TokenizerResult:
    found = _read(source, rules, vocab_size, pre, hf_class)
    vocabulary = found.vocabulary if isinstance(found, unigram.Unigram) else found
    if rules.behind:
        vocabulary = _with_behind(vocabulary, config.get(rules.behind), source)
    separate_twins(vocabulary)
    _check(vocabulary, source)
    row = pre_table().get(vocabulary.pre or "")
    special = special_tokens(source, config, vocabulary, adds_bos=row is not None and row.adds_bos)
    vocabulary = _with_roles(vocabulary, rules, special)
    metadata: Metadata = {}
    if rules.type_count and vocabulary.kind == "bert":
        metadata[PREFIX + "token_type_count"] = _type_count(config)
    if rules.prefix_from_config and (flag := source.config.get("add_prefix_space", bool)) is not None:
        metadata[PREFIX + "add_space_prefix"] = boolean(flag)
    _put_vocabulary(metadata, vocabulary)
    if isinstance(found, unigram.Unigram):
        _put_unigram(metadata, found, rules, config)
    _put_special(metadata, special, source, vocabulary)
    if rules.type_count and vocabulary.kind == "gpt2":
        metadata[PREFIX + "token_type_count"] = _type_count(config)
    _put_rules(metadata, rules, vocabulary, special)
    if rules.untemplated:
        metadata = {key: value for key, value in metadata.items() if not key.startswith(TEMPLATE_KEY)}
    if rules.chat_ends:
        _put_chat_ends(metadata, source, config, len(vocabulary.tokens))
    _put_space_prefix(metadata, rules, source, vocabulary, special.notes)
    _note_flags(source, rules, vocabulary, special.notes)
    if replaced := replaced_templates(source):
        special.notes.append(f"chat templates of tokenizer_config.json that files beside it replace: {listing(replaced)}")
    return TokenizerResult(metadata, [*source.notes, *vocabulary.notes, *special.notes], source)


def _with_behind(vocabulary: Vocabulary, names: Any, source: Folder) -> Vocabulary:
    """The vocabulary with names for the last rows, which the files have no tokens for: control tokens."""
    count = len(vocabulary.tokens)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) > count:
        return vocabulary
    kept = count - len(names)
    rows = zip(vocabulary.tokens[kept:], vocabulary.types[kept:], strict=True)
    if taken := [token for token, kind in rows if kind != TokenType.UNUSED]:
        raise InputError("the tokenizer has a token for a row that is none of its own", file=source.path, found=taken[0])
    scores = None if vocabulary.scores is None else [*vocabulary.scores[:kept], *[BEHIND_SCORE] * len(names)]
    return replace(vocabulary, tokens=[*vocabulary.tokens[:kept], *names], scores=scores,
                   types=[*vocabulary.types[:kept], *[int(TokenType.CONTROL)] * len(names)])


def _read(source: Folder, rules: VocabRules, size: int, pre: str | None,
          hf_class: str) -> Vocabulary | unigram.Unigram:
    use_json = source.tokenizer is not None and (
        rules.json_first or source.config.get("tokenizer_class", str) in rules.json_classes)
    if source.has(names.PLAMO):
        return plamo.from_folder(source, size)
    if source.has(names.TEKKEN) and source.tokenizer is None:
        return tekken.from_folder(source, size, rules.pre)
    if source.tokenizer is None and (ranks := tiktoken.rank_file(source)) is not None:
        return tiktoken.from_folder(source, ranks, size, rules, pre)
    if not use_json and (model := _spm_model(source)) is not None:
        if model.model_type == UNIGRAM:
            return unigram.from_model(source, model, size, fairseq=False)
        if rules.around is not None and source.tokenizer is None:
            return spm.with_around(source, model, size, rules.around)
        return spm.from_model(source, model, size, rules.as_written)
    for name in names.UNIGRAM:
        if source.has(name) and (source.tokenizer is None or unigram.numbered_alike(source, rules.fairseq)):
            return unigram.from_model(source, read_model(source.read(name), source.path / name), size, rules.fairseq)
    if source.tokenizer is not None:
        return _read_json(source, rules, size, pre)
    if source.has("vocab.json") and source.has("merges.txt"):
        return _byte_level(source, rules, size, pre)
    if source.has(names.RWKV):
        return rwkv.from_folder(source, size)
    if source.has("vocab.txt"):
        return wordpiece.from_folder(source, size)
    raise InputError(f"no tokenizer files for {hf_class}", file=source.path,
                     hint=f"expected tokenizer.json, {names.SENTENCEPIECE}, {names.TEKKEN}, vocab.json with merges.txt, "
                          f"vocab.txt, {' or '.join(names.UNIGRAM)}")


def _spm_model(source: Folder) -> SentencePieceModel | None:
    """The parsed tokenizer.model; None where there is none, or where it is no SentencePiece model but tokenizer.json is
    there (Llama 3 ships a tiktoken file under this name)."""
    if not source.has(names.SENTENCEPIECE):
        return None
    try:
        return read_model(source.read(names.SENTENCEPIECE), source.path / names.SENTENCEPIECE)
    except InputError:
        if source.tokenizer is None:
            raise
        return None


def _read_json(source: Folder, rules: VocabRules, size: int, pre: str | None) -> Vocabulary | unigram.Unigram:
    kind = source.model.get("type", str)
    if kind == "WordPiece":
        return wordpiece.from_folder(source, size)
    if kind == "Unigram":
        return unigram.from_json(source, size)
    if kind != "BPE":
        raise UnsupportedError(f"model.type {kind!r} has no counterpart in GGUF", file=source.path / "tokenizer.json")
    if rules.merges:
        return spm.with_merges(source, size, rules.visible)
    if spm.is_spaced_bpe(source) and pre is None:
        if not _cut_as(rules.spaced, source):
            return spm.from_json(source, size)
        pre = rules.spaced
    return _byte_level(source, rules, size, pre)


def _cut_as(name: str, source: Folder) -> bool:
    """Whether a BPE over U+2581 text makes its blanks as the pre-tokenizer of this name does."""
    assert source.tokenizer is not None
    return bool(name) and pre_table()[name].runtime["normalizer"] == source.tokenizer.get("normalizer", dict)


def _byte_level(source: Folder, rules: VocabRules, size: int, pre: str | None) -> Vocabulary:
    vocab, merges, where = bpe.read_byte_level(source)
    notes: list[str] = []
    if pre is None:
        found = recognise(source, rules.pre)
        name = found.name
        notes += found.notes
    else:
        name = check_name(pre).name
    slots, placed = bpe.by_id(vocab, source.all_added(vocab), size, where, notes)
    tokens, types = bpe.typed(slots, placed, byte_level=True, by_flag=rules.by_flag)
    return Vocabulary("gpt2", name, tokens, types, merges=merges, notes=notes)


def _check(vocabulary: Vocabulary, source: Folder) -> None:
    """What GGUF can hold: texts in UTF-8, finite float32 scores."""
    wrong = next((score for score in vocabulary.scores or () if not -MAX_SCORE <= score <= MAX_SCORE), None)
    if wrong is not None:
        raise InputError("a token's score is no float32 number", file=source.path, found=wrong)
    for what, lines in (("token", vocabulary.tokens), ("merge", vocabulary.merges or ()),
                        ("chat template", chat_templates(source).values())):
        try:
            "".join(lines).encode("utf-8")
        except UnicodeEncodeError as err:
            raise InputError(f"a {what} holds a lone surrogate, which is no text", file=source.path,
                             found=repr(err.object[max(0, err.start - 10):err.end])) from err


def _type_count(config: Mapping[str, Any]) -> Any:
    count = config.get("type_vocab_size", 1)
    if type(count) is not int or not 0 <= count < 1 << 32:
        raise InputError("config.json: type_vocab_size: wrong type", expected="a whole number", found=count)
    return u32(count)


def _put_vocabulary(metadata: Metadata, vocabulary: Vocabulary) -> None:
    metadata[PREFIX + "model"] = string(vocabulary.kind)
    if vocabulary.pre is not None:
        metadata[PREFIX + "pre"] = string(vocabulary.pre)
    metadata[PREFIX + "tokens"] = strings(vocabulary.tokens)
    if vocabulary.scores is not None:
        metadata[PREFIX + "scores"] = array(ValueType.FLOAT32, vocabulary.scores)
    metadata[PREFIX + "token_type"] = array(ValueType.INT32, vocabulary.types)


def _put_unigram(metadata: Metadata, found: unigram.Unigram, rules: VocabRules, config: Mapping[str, Any]) -> None:
    metadata[PREFIX + "add_space_prefix"] = boolean(found.add_space_prefix)
    if rules.type_count:
        metadata[PREFIX + "token_type_count"] = _type_count(config)
    metadata[PREFIX + "remove_extra_whitespaces"] = boolean(found.remove_extra_whitespaces)
    if found.charsmap:
        metadata[PREFIX + "precompiled_charsmap"] = array(ValueType.UINT8, found.charsmap)


def _put_special(metadata: Metadata, special: Special, source: Folder, vocabulary: Vocabulary) -> None:
    if vocabulary.merges is not None:
        metadata[PREFIX + "merges"] = strings(vocabulary.merges)
    for name, token_id in special.ids.items():
        metadata[PREFIX + ID_KEYS[name]] = u32(token_id)
    for name, added in special.adds.items():
        if name in ("bos", "eos", "sep"):
            metadata[f"{PREFIX}add_{name}_token"] = boolean(added)
    metadata.update(template_metadata(chat_templates(source) or (
        {"default": rwkv.TEMPLATE} if vocabulary.kind == "rwkv" else tekken.template(source))))
    normalizer = source.tokenizer.section("normalizer") if source.tokenizer else None
    lowercase, strip_accents = _bert_normalizer(normalizer)
    if source.tokenizer is None:
        lowercase = False if source.config.get("do_lower_case", bool) is False else None
        strip_accents = source.config.get("strip_accents", bool)
    if lowercase is not None:
        metadata[PREFIX + "normalizer.lowercase"] = boolean(lowercase)
    if strip_accents is not None:
        metadata[PREFIX + "normalizer.strip_accents"] = boolean(strip_accents)


def _bert_normalizer(step: Document | None) -> tuple[bool | None, bool | None]:
    lowercase = strip_accents = None
    kind = step.get("type", str) if step else None
    if step is None:
        pass
    elif kind == "Sequence":
        for inner in step.items("normalizers"):
            found = _bert_normalizer(inner)
            lowercase = lowercase if found[0] is None else found[0]
            strip_accents = strip_accents if found[1] is None else found[1]
    elif kind == "Lowercase":
        lowercase = True
    elif kind == "StripAccents":
        strip_accents = True
    elif kind == "BertNormalizer":
        lowercase, strip_accents = step.get("lowercase", bool), step.get("strip_accents", bool)
    return lowercase, strip_accents


def _put_rules(metadata: Metadata, rules: VocabRules, vocabulary: Vocabulary, special: Special) -> None:
    for row in (rules, rules.by_size.get(len(vocabulary.tokens))):
        if row is None:
            continue
        for name, token_id in row.ids.items():
            metadata[PREFIX + ID_KEYS[name]] = u32(token_id)
            if token_id >= len(vocabulary.tokens) or vocabulary.types[token_id] == TokenType.NORMAL:
                special.notes.append(f"{name}_token_id {token_id} is what llama.cpp expects of this architecture; "
                                     "in this vocabulary it is no special token")
        for name, added in row.adds.items():
            metadata[f"{PREFIX}add_{name}_token"] = boolean(added)


def _with_roles(vocabulary: Vocabulary, rules: VocabRules, special: Special) -> Vocabulary:
    """The vocabulary in which the tokens that the architecture has a role for are control tokens; `special` knows these
    roles and those by pre-tokenizer, behind the ones that files name."""
    for name, text in rules.roles.get(vocabulary.pre or "", {}).items():
        if text in vocabulary.tokens:
            special.ids.setdefault(name, vocabulary.tokens.index(text))
    types = list(vocabulary.types)
    for name, text in rules.named.items():
        if text in vocabulary.tokens:
            special.ids[name] = vocabulary.tokens.index(text)
            types[special.ids[name]] = TokenType.CONTROL
    return replace(vocabulary, types=types) if rules.named else vocabulary


def _put_chat_ends(metadata: Metadata, source: Folder, config: Mapping[str, Any], size: int) -> None:
    settings = source.document("generation_config.json")
    several = settings.data.get("eos_token_id") if settings else None
    for name, token_id in (("eos", config.get("eod_token_id")),
                           ("eot", several[0] if isinstance(several, list) and len(several) > 1 else None)):
        if type(token_id) is int and 0 <= token_id < size:
            metadata[PREFIX + ID_KEYS[name]] = u32(token_id)


def _put_space_prefix(metadata: Metadata, rules: VocabRules, source: Folder, vocabulary: Vocabulary,
                      notes: list[str]) -> None:
    scheme = unigram.space_scheme(source)
    if rules.space_prefix is not None:
        metadata[PREFIX + "add_space_prefix"] = boolean(rules.space_prefix)
    elif rules.prefix_from_model and (model := _spm_model(source)) is not None:
        metadata[PREFIX + "add_space_prefix"] = boolean(model.add_dummy_prefix)
    elif vocabulary.kind == "llama" and not source.has(names.SENTENCEPIECE) and scheme == "never":
        metadata.setdefault(PREFIX + "add_space_prefix", boolean(False))
    elif vocabulary.kind == "llama" and scheme == "first":
        notes.append("the tokenizer puts a space before text that starts with none, llama.cpp before each text: "
                     "ids differ on text that starts with a space")


def _note_flags(source: Folder, rules: VocabRules, vocabulary: Vocabulary, notes: list[str]) -> None:
    """Name the added tokens with flags that GGUF has no key for, but for those that the runtime knows by other names."""
    normalizes = bool(normalizers(source.tokenizer.get("normalizer", dict) if source.tokenizer else None))
    stripped = (*(rules.lstrip if rules.runtime_lstrip else ()), *RUNTIME_LSTRIP.get(vocabulary.pre or "", ()))
    found = []
    for token in {token.content: token for token in (*source.config_added, *source.json_added)}.values():
        flags = {"lstrip": token.lstrip and token.content not in stripped,
                 "rstrip": token.rstrip and not (rules.rstrip and vocabulary.kind == "llama"),
                 "single_word": token.single_word, "normalized": token.normalized and normalizes}
        if token.id < len(vocabulary.tokens) and any(flags.values()):
            found.append(f"{token.content!r} ({', '.join(name for name, held in flags.items() if held)})")
    if found:
        notes.append(f"{len(found)} added tokens have flags that GGUF cannot hold, so llama.cpp cuts text at them otherwise"
                     f": {listing(found)}")
