"""GGUF -> the same file with other key-values: each change is held against what the key may hold, and all against the file.

What contradicts itself after a change, and did not before, is refused: settings, names and shapes of tensors, vocabulary. Of
a split model the first part alone changes, which has all key-values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ...quant.recipes.recipe import FILE_TYPES
from ..arch import BY_NAME
from ..errors import GgufxError, InputError, UnsupportedError, UsageError, raise_all
from ..io.files import read_text
from ..io.gguf import GgufFile, read_gguf, read_gguf_model
from ..io.json_file import read_json
from ..io.values import Metadata, Value, ValueType, text_of, u32
from ..notes import Note, listed
from ..plan.plan import ConversionPlan
from ..sources.hub import cached_origin
from ..sources.recognise import expect
from ..tokenizer.own_keys import follows, residue
from ..tokenizer.pre import check_name
from ..tokenizer.special import PREFIX
from ..tokenizer.stored import read_stored
from ..tokenizer.templates import KEY as TEMPLATE
from ..tokenizer.templates import read_template, with_template
from ..tokenizer.to_gguf import tokenizer_metadata
from .consistency import contradictions
from .copied_tensors import copies
from .key_types import TOKENS, kind_of, near, split_assignment, value_of
from .silent_tokens import KEY as SILENT

# Keys that are what the file is, by pattern, and why they do not change.
FIXED = {
    "general.architecture": "the tensors are those of this architecture",
    "general.type": "it says what kind of file this is",
    "general.alignment": "it says where the tensors lie",
    "general.quantization_version": "it says how the blocks are laid out",
    "split.*": "it is how the parts of a model find each other",
    f"{PREFIX}model": "the vocabulary is of this kind; --tokenizer-from FOLDER makes all of it anew",
    "ggufx.*": "it is what ggufx has kept of the original",
}
# Settings that are the shapes of tensors, where no table of the architecture says how: they do not change either.
SIZES = ("block_count", "embedding_length*", "feed_forward_length", "attention.head_count*", "attention.key_length*",
         "attention.value_length*", "vocab_size", "expert_count", "expert_feed_forward_length", "ssm.*")
# Words that the runtime knows; it ends where it finds another.
WORDS = {"{arch}.rope.scaling.type": ("none", "linear", "yarn", "longrope")}
# What is kept of the original for the way back, and no longer true where a key of the pattern changes.
KEPT = {
    f"{PREFIX}*_token_id": ("ggufx.config", "ggufx.generation_config", "ggufx.tokenizer*"),
    f"{PREFIX}*": ("ggufx.tokenizer*",),
    "general.sampling.*": ("ggufx.generation_config",),
    "{arch}.*": ("ggufx.config", "ggufx.preprocessor_config", "ggufx.processor_config"),
}


@dataclass(frozen=True)
class EditOptions:
    """What changes, as on the command line. `set`: KEY=VALUE or KEY:type=VALUE; `set_file`: the same with a file's path in
    the place of the value; `unset`: keys, with wildcards; `tokens`: NAME=TEXT, the token that serves as eos, bos ..."""

    set: tuple[str, ...] = ()
    _: KW_ONLY
    set_file: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    chat_template: Path | None = None
    tokens: tuple[str, ...] = ()
    tokenizer_from: Path | None = None


def plan_edit(path: Path, out: Path | None, options: EditOptions) -> ConversionPlan:
    """Plan a GGUF file (or the first part of a split one) -> `out` with other key-values; None: in its own place.

    `facts["changes"]` says of each key what it was and what it will be. Raises UsageError for changes that cannot be asked
    for, InputError for those that the file's tensors and vocabulary do not allow: everything found, in one message.
    """
    expect(path, "gguf")
    if options == EditOptions():
        raise UsageError("no change is asked for", file=path, hint="Give --set, --unset, --chat-template ..., see --help.")
    file, model = read_gguf(path), read_gguf_model(path)
    _refuse_place(path, out, file, model)
    edited, notes = _edited(model, options)
    changes = _changes(model.metadata, edited)
    changed = [change["key"] for change in changes]
    for pattern in _no_longer_true(model, edited, changed):
        gone = [key for key in edited if fnmatchcase(key, pattern)]
        notes += [Note("gguf-to-hf makes anew what was kept of the original", *gone)] if gone else []
        edited = {key: value for key, value in edited.items() if key not in gone}
    _check(model, replace(model, metadata=edited), changed)
    parts = {key: value for key, value in file.metadata.items() if key.startswith("split.")}
    plan = copies("edit", path, file.tensors.values(), edited | parts, out or path, notes=notes, in_place=out is None)
    return replace(plan, facts={**plan.facts, "changes": changes})


def _refuse_place(path: Path, out: Path | None, file: GgufFile, model: GgufFile) -> None:
    if out is None and cached_origin(path):
        raise UsageError("is a file of the Hub's cache", file=path, hint="Name a file to write.")
    if out is None and path.is_symlink():
        raise UsageError("is a link", file=path, hint=f"Give the file itself, {path.resolve()}, or name a file to write.")
    if out is not None and any(t.file != file.path for t in model.tensors.values()):
        raise UsageError("is the first part of a split model, and the others belong to it", file=path,
                         hint="Edit it in its place, or `ggufx join` the parts first.")


def _edited(model: GgufFile, options: EditOptions) -> tuple[Metadata, list[str]]:
    """The key-values with all changes. Raises what is wrong with any of them."""
    metadata: Metadata = dict(model.metadata)
    notes: list[str] = []
    if options.tokenizer_from is not None:
        metadata, notes = _with_tokenizer(model, options.tokenizer_from)
    if options.chat_template is not None:
        metadata = with_template(metadata, read_template(options.chat_template))
    problems: list[GgufxError] = []
    changed: set[str] = set()
    for option, texts, read in (("--set", options.set, None), ("--set-file", options.set_file, read_text)):
        for text in texts:
            try:
                key, stated, value = split_assignment(option, text)
                _refuse_fixed(key)
                _refuse_twice(key, changed)
                metadata[key] = value_of(key, kind_of(key, stated, metadata), value if read is None else read(Path(value)))
            except GgufxError as error:
                problems.append(error)
    for text in options.tokens:
        try:
            key, token_id = _token(text, metadata)
            _refuse_twice(key, changed)
            metadata[key] = u32(token_id)
        except GgufxError as error:
            problems.append(error)
    for pattern in options.unset:
        found = [key for key in metadata if fnmatchcase(key, pattern)]
        try:
            if not found:
                raise UsageError(f"--unset {pattern}: the file has no such key", hint=near(pattern, metadata))
            for key in found:
                _refuse_twice(key, changed)
                if not key.startswith("ggufx."):
                    _refuse_fixed(key)
                del metadata[key]
        except GgufxError as error:
            problems.append(error)
    raise_all(problems)
    return metadata, notes


def _refuse_fixed(key: str) -> None:
    for pattern, why in FIXED.items():
        if fnmatchcase(key, pattern):
            raise UsageError(f"{key} does not change: {why}")


def _refuse_twice(key: str, changed: set[str]) -> None:
    if key in changed:
        raise UsageError(f"{key}: more than one change is asked for")
    changed.add(key)


def _token(text: str, metadata: Metadata) -> tuple[str, int]:
    """`eos=<|eot_id|>` as a key and an id."""
    name, equals, token = text.partition("=")
    if not equals or name not in TOKENS:
        raise UsageError(f"--token {text}: NAME=TEXT is needed", expected=f"a NAME of {', '.join(TOKENS)}")
    tokens = _tokens(metadata)
    try:
        return PREFIX + TOKENS[name], tokens.index(token)
    except ValueError:
        raise InputError(f"--token {name}: the vocabulary has no such token", found=token,
                         hint=near(token, {t: None for t in tokens if t[:1] == token[:1]})) from None


def _tokens(metadata: Metadata) -> list[str]:
    """The vocabulary; empty where there is none that can be read."""
    value = metadata.get(PREFIX + "tokens")
    return list(value.data) if value is not None and value.item_type is ValueType.STRING else []


def _with_tokenizer(model: GgufFile, folder: Path) -> tuple[Metadata, list[str]]:
    """The key-values with the vocabulary and the templates of a folder in the place of the file's."""
    if not folder.is_dir():
        raise InputError("no such folder", file=folder)
    config: Mapping[str, Any] = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    made = tokenizer_metadata(folder, arch=text_of(model.metadata, "general.architecture"),
                              hf_class=str((config.get("architectures") or ["this model"])[0]), config=config,
                              vocab_size=_vocab_rows(model))
    own = residue(made.source, made.metadata) if "ggufx.source" in model.metadata else {}
    rest = {k: v for k, v in model.metadata.items() if k == SILENT or not k.startswith(("tokenizer.", "ggufx.tokenizer"))}
    return rest | made.metadata | own, list(made.notes)


def _vocab_rows(model: GgufFile) -> int:
    embedding = model.tensors.get("token_embd.weight")
    if embedding is None or not embedding.shape:
        raise UnsupportedError("has no embedding of tokens", file=model.path)
    return embedding.shape[0]


def _changes(before: Metadata, after: Metadata) -> list[dict[str, Any]]:
    """What each key was and will be; None where it is absent."""
    keys = dict.fromkeys((*before, *after))
    return [{"key": key, "was": _told(before.get(key)), "will_be": _told(after.get(key))}
            for key in keys if not _same(before.get(key), after.get(key))]


def _same(a: Value | None, b: Value | None) -> bool:
    if a is b or a is None or b is None or (a.type, a.item_type) != (b.type, b.item_type):
        return a is b
    return list(a.data) == list(b.data) if a.type is ValueType.ARRAY else a.data == b.data


def _told(value: Value | None) -> Any:
    if value is None:
        return None
    return f"{len(value.data)} items" if value.type is ValueType.ARRAY else value.data


def _no_longer_true(model: GgufFile, edited: Metadata, changed: Sequence[str]) -> list[str]:
    """Patterns of what is kept of the original and contradicts the changes."""
    name = text_of(model.metadata, "general.architecture")
    tokenizer_kept = not _same(model.metadata.get("ggufx.tokenizer"), edited.get("ggufx.tokenizer"))
    out: dict[str, None] = {}
    for key in changed:
        for pattern, kept in KEPT.items():
            if fnmatchcase(key, pattern.replace("{arch}", name)):
                out |= dict.fromkeys(p for p in kept if not (tokenizer_kept and p == "ggufx.tokenizer*"))
        if key.startswith(TEMPLATE) and (key in edited) != follows(edited, key):
            out["ggufx.tokenizer*"] = None
    return list(out)


def _check(before: GgufFile, after: GgufFile, changed: Sequence[str]) -> None:
    """Raise what is wrong with a file whose key-values changed, and was not before."""
    keys = {key: after.metadata[key] for key in changed if key in after.metadata}
    problems: list[GgufxError] = []
    arch = text_of(after.metadata, "general.architecture")
    was, count = (len(_tokens(m.metadata)) for m in (before, after))
    embedding = after.tensors.get("token_embd.weight")
    if was and count not in (was, *(embedding.shape[:1] if embedding else ())):
        problems.append(InputError(f"{PREFIX}tokens: a vocabulary of another length", expected=was, found=count))
    problems += [InputError(f"{key}: one for each token is needed", expected=count, found=len(keys[key].data))
                 for key in (PREFIX + "scores", PREFIX + "token_type") if key in keys and len(keys[key].data) != count]
    problems += [InputError(f"{key}: no token of the vocabulary has this id", expected=f"below {count}", found=value.data)
                 for key, value in keys.items() if key.startswith(PREFIX) and key.endswith("_token_id")
                 and not (isinstance(value.data, int) and 0 <= value.data < count)]
    if pre := text_of(keys, PREFIX + "pre"):
        problems += _raised(lambda: check_name(pre))
    numbers = {row.number: row.name for row in FILE_TYPES.values() if row.number is not None}
    file_type = keys.get("general.file_type")
    if file_type is not None and file_type.data not in numbers:
        problems.append(InputError("general.file_type: no file type has this number", found=file_type.data,
                                   hint="They are " + ", ".join(f"{n} {name}" for n, name in sorted(numbers.items())) + "."))
    for key, words in ((pattern.replace("{arch}", arch), words) for pattern, words in WORDS.items()):
        if key in keys and keys[key].data not in words:
            problems.append(InputError(f"{key}: no such word", expected=" or ".join(words), found=keys[key].data))
    if arch not in BY_NAME:
        sizes = [f"{arch}{part}.{size}" for size in SIZES for part in ("", ".*")]
        problems += [UnsupportedError(f"{key} does not change: ggufx knows no tensors of {arch} to hold it against")
                     for key in changed if any(fnmatchcase(key, size) for size in sizes)]
    raise_all(problems)
    known = set(contradictions(before))
    if new := [text for text in contradictions(after) if text not in known]:
        more = f", and {len(new) - 1} more" if len(new) > 1 else ""
        raise InputError(f"{listed(changed)}: the file would contradict itself: {new[0]}{more}", file=after.path)
    if PREFIX + "model" in after.metadata and not _raised(lambda: read_stored(before.metadata, arch)):
        raise_all(_raised(lambda: read_stored(after.metadata, arch)))


def _raised(call: Callable[[], object]) -> list[GgufxError]:
    try:
        call()
    except GgufxError as error:
        return [error]
    return []
