"""The tokenizer files of a Hugging Face folder, read strictly.

Every complaint is an `InputError` that names the file and the field. Sources: the `tokenizers` library's
tokenizer.json, and the files that transformers 4 and 5 save beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError
from ..io.json_file import parse_object, read_json
from .vocabulary import AddedToken, listing

T = TypeVar("T")

SPECIAL_NAMES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
MAX_BYTES = 512 << 20  # the largest tokenizer.json known is 35 MB
_KIND_NAMES = {dict: "an object", list: "a list", str: "a string", int: "a whole number", bool: "true or false",
               float: "a number"}


def _kind_of(value: Any) -> str:
    return "null" if value is None else _KIND_NAMES.get(type(value), type(value).__name__)


class Document:
    """A parsed JSON object that knows its file, so that a wrong field can be named."""

    def __init__(self, file: Path, data: dict[str, Any], where: str = "") -> None:
        self.file = file
        self.data = data
        self.where = where

    def error(self, field: str, message: str, **details: Any) -> InputError:
        return InputError(f"{self.where}{field}: {message}", file=self.file, **details)

    def get(self, field: str, kind: type[T]) -> T | None:
        """The field's value, None where it is absent or null; InputError where it is of another type."""
        value = self.data.get(field)
        if value is None:
            return None
        accepted = (int, float) if kind is float else kind
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise self.error(field, "wrong type", expected=_KIND_NAMES.get(kind, kind.__name__), found=_kind_of(value))
        return value  # type: ignore[return-value]

    def need(self, field: str, kind: type[T]) -> T:
        value = self.get(field, kind)
        if value is None:
            raise self.error(field, "missing", expected=_KIND_NAMES.get(kind, kind.__name__))
        return value

    def flag(self, field: str, default: bool = False) -> bool:
        value = self.get(field, bool)
        return default if value is None else value

    def section(self, field: str) -> Document | None:
        value = self.get(field, dict)
        return None if value is None else Document(self.file, value, f"{self.where}{field}.")

    def items(self, field: str) -> list[Document]:
        """The objects of a list of objects; an absent list is empty."""
        found = []
        for i, item in enumerate(self.get(field, list) or []):
            if not isinstance(item, dict):
                raise self.error(f"{field}[{i}]", "wrong type", expected="an object", found=_kind_of(item))
            found.append(Document(self.file, item, f"{self.where}{field}[{i}]."))
        return found


def token_text(value: Any) -> str | None:
    """The text of a `*_token` field: a string, or an object with `content` (as transformers 4 wrote them)."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


class Folder:
    """A folder with tokenizer files. Files are read on first use and once.

    `made`: what stands for files of the folder: their bytes, or where they lie.
    """

    def __init__(self, path: Path, made: Mapping[str, bytes | Path] | None = None) -> None:
        self.path = Path(path)
        self._made = made or {}
        self.notes: list[str] = []
        self._documents: dict[str, Document | None] = {}

    def has(self, name: str) -> bool:
        return name in self._made or (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """The file's bytes. Raises InputError where it is missing, unreadable or beyond any tokenizer's size."""
        made = self._made.get(name)
        if isinstance(made, bytes):
            return made
        file = made or self.path / name
        try:
            size = file.stat().st_size
            if size > MAX_BYTES:
                raise InputError("far too large for a tokenizer file", file=file, expected=f"at most {MAX_BYTES} bytes",
                                 found=size)
            return file.read_bytes()
        except OSError as err:
            raise InputError(f"cannot be read: {err.strerror or err}", file=file) from err

    def text(self, name: str) -> str:
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as err:
            raise InputError(f"not UTF-8 text (byte {err.start})", file=self.path / name) from err

    def document(self, name: str) -> Document | None:
        """The JSON object in the file, None where there is no such file."""
        if name not in self._documents:
            self._documents[name] = self._parsed(name) if self.has(name) else None
        return self._documents[name]

    def _parsed(self, name: str) -> Document:
        file = self.path / name
        made = self._made.get(name)
        data = parse_object(made, file) if isinstance(made, bytes) else \
            read_json(made or file, max_bytes=MAX_BYTES, non_finite=True)
        return Document(file, data)

    @cached_property
    def tokenizer(self) -> Document | None:
        return self.document("tokenizer.json")

    @cached_property
    def config(self) -> Document:
        """tokenizer_config.json, empty where there is none."""
        found = self.document("tokenizer_config.json")
        return found if found is not None else Document(self.path / "tokenizer_config.json", {})

    @cached_property
    def model(self) -> Document:
        """tokenizer.json's `model`, with `type` filled in (old files leave it out)."""
        assert self.tokenizer is not None
        model = self.tokenizer.section("model")
        if model is None:
            raise self.tokenizer.error("model", "missing", expected="an object")
        if model.get("type", str) is None:
            guess = ("BPE" if "merges" in model.data else "Unigram" if isinstance(model.data.get("vocab"), list)
                     else "WordPiece" if "continuing_subword_prefix" in model.data else "WordLevel")
            model = Document(model.file, {"type": guess, **model.data}, model.where)
        return model

    @cached_property
    def steps(self) -> list[Document]:
        """Normalizers and pre-tokenizers of tokenizer.json in order, sequences opened."""
        found: list[Document] = []

        def walk(step: Document | None) -> None:
            if step is None:
                return
            inner = step.items("normalizers") + step.items("pretokenizers")
            if not inner:
                found.append(step)
            for item in inner:
                walk(item)

        for part in ("normalizer", "pre_tokenizer"):
            walk(self.tokenizer.section(part) if self.tokenizer else None)
        return found

    @cached_property
    def json_vocab(self) -> Mapping[str, Any]:
        """Texts to ids in tokenizer.json's model."""
        vocab = self.model.data.get("vocab")
        if isinstance(vocab, list):
            return {entry[0]: i for i, entry in enumerate(vocab)
                    if isinstance(entry, list) and entry and isinstance(entry[0], str)}
        return vocab if isinstance(vocab, dict) else {}

    @cached_property
    def json_added(self) -> list[AddedToken]:
        """The added tokens of tokenizer.json by id, numbered as the `tokenizers` library does, whatever ids they are
        listed with: a text has one id, a piece's where it is a piece; what has none yet gets the next one."""
        if self.tokenizer is None:
            return []
        vocab = self.json_vocab
        found: dict[str, AddedToken] = {}
        moved = []
        for item in self.tokenizer.items("added_tokens"):
            listed = self._added(item, item.need("id", int))
            known = found[listed.content].id if listed.content in found else vocab.get(listed.content)
            if type(known) is not int:
                known = max(len(vocab), 1 + max((token.id for token in found.values()), default=-1))
            if listed.content:
                found.setdefault(listed.content, replace(listed, id=known))
            if known != listed.id or not listed.content:
                moved.append(f"{listed.content!r} under {listed.id}, is {known}")
        if moved:
            self.notes.append("tokenizer.json lists added tokens with ids that they do not have in the tokenizers library, "
                              f"{len(moved)} in all: {listing(moved)}")
        return sorted(found.values(), key=lambda token: token.id)

    @cached_property
    def config_added(self) -> list[AddedToken]:
        """The added tokens of tokenizer_config.json (`added_tokens_decoder`), in the order of the file."""
        decoder = self.config.section("added_tokens_decoder")
        if decoder is None:
            return []
        found = []
        for key in decoder.data:
            item = decoder.section(key)
            if item is None or not key.isdecimal() or len(key) > 10:
                raise decoder.error(key, "not a token id with its token")
            found.append(self._added(item, int(key)))
        return found

    @cached_property
    def file_added(self) -> list[AddedToken]:
        """The tokens of added_tokens.json; those named in special_tokens_map.json are special."""
        document = self.document("added_tokens.json")
        if document is None:
            return []
        found = []
        for text in document.data:
            token_id = document.need(text, int)
            if token_id < 0:
                raise document.error(text, "negative id", found=token_id)
            found.append(AddedToken(token_id, text, special=text in self.special_texts, normalized=False))
        return found

    @cached_property
    def special_names(self) -> dict[str, str]:
        """The named special tokens (`bos`, `eos`, `unk`, `sep`, `pad`, `cls`, `mask`) of tokenizer_config.json or,
        where that says nothing, of special_tokens_map.json."""
        named = {}
        for document in (self.document("special_tokens_map.json"), self.config):
            for name in SPECIAL_NAMES:
                if document and (text := token_text(document.data.get(f"{name}_token"))):
                    named[name] = text
        return named

    @cached_property
    def special_texts(self) -> dict[str, None]:
        """Every text that tokenizer_config.json or special_tokens_map.json names as a special token, named ones first
        (the order in which transformers gives ids to those that have none)."""
        texts = dict.fromkeys(self.special_names.values())
        for document in (self.config, self.document("special_tokens_map.json")):
            for key in ("extra_special_tokens", "additional_special_tokens", "model_specific_special_tokens"):
                value = document.data.get(key) if document else None
                listed = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
                texts.update(dict.fromkeys(text for text in map(token_text, listed) if text))
        return texts

    def all_added(self, vocabulary: Mapping[str, int]) -> list[AddedToken]:
        """What transformers treats as added tokens: those of tokenizer.json, then those only the other files know.

        A named special token that no file numbers has its id in the vocabulary, or else gets the next free id.
        """
        found = {token.content: token for token in self.json_added}
        for token in (*self.config_added, *self.file_added):
            known = vocabulary.get(token.content)
            if token.content in found or type(known) is not int:
                known = token.id
            elif known != token.id:
                self.notes.append(f"the added token {token.content!r} (id {token.id}) is the token {known} already")
            found.setdefault(token.content, replace(token, id=known))
        for text in self.special_texts:
            if text not in found:
                token_id = vocabulary.get(text)
                if type(token_id) is not int:
                    token_id = max(len(vocabulary), 1 + max((token.id for token in found.values()), default=-1))
                found[text] = AddedToken(token_id, text, special=True, normalized=False)
        return sorted(found.values(), key=lambda token: token.id)

    @staticmethod
    def _added(item: Document, token_id: int) -> AddedToken:
        if token_id < 0:
            raise item.error("id", "negative", found=token_id)
        special = item.flag("special")
        return AddedToken(token_id, item.need("content", str), special, item.flag("normalized", not special),
                          item.flag("lstrip"), item.flag("rstrip"), item.flag("single_word"))
