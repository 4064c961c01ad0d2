"""The pre-tokenizer table: `tokenizer.ggml.pre` names and the Hugging Face structures that behave as they do.

Two structures can stand for one name: the one that gives llama.cpp's ids (`runtime`) and the model's own, where the
runtime deviates from it. A folder is recognised by its structure (normalizer, pre_tokenizer, ignore_merges), not by a
hash over token ids, so added tokens and other vocabularies change nothing. A regex that is spelled in another way is
recognised by what it does: both are tried on a set of probe texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import UnsupportedError
from .folder import Folder

Step = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """One `tokenizer.ggml.pre` name. `own` is None where the model's own structure is `runtime`."""

    name: str
    runtime: Mapping[str, Any]
    own: Mapping[str, Any] | None
    ignore_merges: bool
    byte_fallback: bool
    adds_bos: bool


@dataclass(slots=True)
class Recognised:
    name: str
    notes: list[str] = field(default_factory=list)


@cache
def pre_table() -> dict[str, PreTokenizer]:
    """All names the runtime knows, in the table's order."""
    raw = json.loads(files(__package__).joinpath("pre_table.json").read_text(encoding="ascii"))
    structures = raw["structures"]
    return {name: PreTokenizer(name, structures[row["runtime"]],
                               None if row["own"] is None else structures[row["own"]],
                               row["ignore_merges"], row["byte_fallback"], row["adds_bos"])
            for name, row in raw["names"].items()}


# Names that behave alike, the most telling first; an architecture's own preference (`rules.py`) goes before.
PREFERRED = ("llama-bpe", "qwen2", "qwen35", "gpt-2", "gpt-4o", "deepseek-v3", "deepseek-llm", "deepseek-coder",
             "tekken", "smollm", "smaug-bpe", "starcoder", "bloom", "bailingmoe", "tiny_aya", "mpt")

# What transformers builds for a folder that has vocab.json and merges.txt, but no tokenizer.json.
CLASS_NAMES = {"GPT2Tokenizer": "gpt-2", "GPT2TokenizerFast": "gpt-2", "RobertaTokenizer": "roberta-bpe",
               "RobertaTokenizerFast": "roberta-bpe", "Qwen2Tokenizer": "qwen2", "Qwen2TokenizerFast": "qwen2"}


# Tokens that swallow the space before them, by the name of the pre-tokenizer: in the runtime, and in the models' own.
RUNTIME_LSTRIP = dict.fromkeys(("jina-v2-de", "jina-v2-es", "jina-v2-code"), ("<mask>",))
LSTRIP = {**RUNTIME_LSTRIP, "roberta-bpe": ("<mask>",), "modern-bert": ("[MASK]",)}


def canonical(pre_tokenizer: Mapping[str, Any] | None) -> tuple[Step, ...]:
    """The steps of a pre_tokenizer without what does not change the pieces: nesting, offsets, defaults left out."""
    if pre_tokenizer is None:
        return ()
    kind = pre_tokenizer.get("type")
    if kind == "Sequence":
        return tuple(step for item in _objects(pre_tokenizer.get("pretokenizers")) for step in canonical(item))
    if kind == "Split":
        pattern = pre_tokenizer.get("pattern")
        regex = pattern.get("Regex") if isinstance(pattern, Mapping) else None
        text = pattern.get("String") if isinstance(pattern, Mapping) else None
        behavior, invert = pre_tokenizer.get("behavior"), bool(pre_tokenizer.get("invert", False))
        if invert and behavior == "Removed" and isinstance(regex, str) and regex.endswith(r"|\s+"):
            behavior, invert = "Isolated", False  # such a regex covers every character: nothing is there to be removed
        return (("Split", *map(_hashable, (regex, text, behavior)), invert),)
    if kind == "ByteLevel":
        return (("ByteLevel", bool(pre_tokenizer.get("use_regex", True))),)
    if kind == "Digits":
        return (("Digits", bool(pre_tokenizer.get("individual_digits", False))),)
    rest = sorted((key, json.dumps(value, sort_keys=True)) for key, value in pre_tokenizer.items() if key != "type")
    return ((_hashable(kind), *rest),)


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _hashable(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else repr(value)


def normalizers(normalizer: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The types of the normalizers in order, nesting removed."""
    if normalizer is None:
        return ()
    if normalizer.get("type") == "Sequence":
        return tuple(kind for item in _objects(normalizer.get("normalizers")) for kind in normalizers(item))
    return (str(normalizer.get("type")),)


def _normalizes_as(row: PreTokenizer, kinds: tuple[str, ...]) -> bool:
    """Whether the model that the name stands for has these normalizers."""
    return normalizers((row.own or row.runtime)["normalizer"]) == kinds


def _structures(row: PreTokenizer) -> Iterable[Mapping[str, Any]]:
    return (row.runtime,) if row.own is None else (row.runtime, row.own)


@cache
def _by_steps() -> dict[tuple[Step, ...], list[str]]:
    found: dict[tuple[Step, ...], list[str]] = {}
    for row in pre_table().values():
        if row.byte_fallback or row.name == "whitespace":
            continue
        for structure in _structures(row):
            names = found.setdefault(canonical(structure["pre_tokenizer"]), [])
            if row.name not in names:
                names.append(row.name)
    return found


def recognise(folder: Folder, preferred: Sequence[str] = ()) -> Recognised:
    """The `tokenizer.ggml.pre` name of a byte-level BPE folder.

    Raises UnsupportedError where no name has this structure, naming the nearest ones and what differs.
    """
    if folder.tokenizer is None:
        kind = folder.config.get("tokenizer_class", str)
        if kind in CLASS_NAMES:
            return Recognised(CLASS_NAMES[kind])
        raise UnsupportedError(f"there is no tokenizer.json, and tokenizer_class {kind!r} does not tell how text is "
                               "cut", file=folder.path, hint="give the name with --pre NAME")
    return recognise_structure(
        folder.tokenizer.get("normalizer", dict), folder.tokenizer.get("pre_tokenizer", dict),
        folder.model.flag("ignore_merges"), preferred, lambda: _unreachable(folder), folder.path / "tokenizer.json")


def recognise_structure(normalizer: Mapping[str, Any] | None, splitter: Mapping[str, Any] | None, ignore_merges: bool,
                        preferred: Sequence[str], unreachable: Callable[[], int], file: Path) -> Recognised:
    """The name of a structure in the terms of tokenizer.json; `file` is where it was found.

    Among names whose structure this is, the one that the architecture is published with (`preferred`) comes first, even
    where `ignore_merges` differs: that tells on the `unreachable()` tokens alone, which merges do not build, and which a
    note counts. Then come names with the same `ignore_merges`, then the oldest, which most runtimes know.
    """
    kinds = normalizers(normalizer)
    steps = canonical(splitter)
    names = [] if set(kinds) - {"NFC"} else _by_steps().get(steps, [])
    notes = []
    if not names and not set(kinds) - {"NFC"}:
        names = _by_behaviour(splitter, steps)
        if names:
            notes.append(f"pre-tokenizer {names[0]!r} recognised by what it does: its regex is spelled in another way")
    if not names:
        raise _unrecognised(file, splitter, kinds, steps)
    order = {name: i for i, name in enumerate(dict.fromkeys((*preferred, *PREFERRED)))}
    best = min(names, key=lambda name: (
        name not in preferred, pre_table()[name].ignore_merges != ignore_merges,
        bool(kinds) and not _normalizes_as(pre_table()[name], kinds), order.get(name, len(order))))
    if pre_table()[best].ignore_merges != ignore_merges and (count := unreachable()):
        notes.append(f"llama.cpp's {best!r} {'cuts' if ignore_merges else 'takes whole'} the {count} tokens that merges alone "
                     f"do not build, this tokenizer {'takes them whole' if ignore_merges else 'cuts them'} (ignore_merges)")
    notes += _differences(pre_table()[best], kinds, steps, splitter)
    return Recognised(best, notes)


def _differences(row: PreTokenizer, kinds: tuple[str, ...], steps: tuple[Step, ...],
                 splitter: Mapping[str, Any] | None) -> list[str]:
    notes = []
    if kinds:
        notes.append(f"the tokenizer normalises text (NFC), llama.cpp never does for {row.name!r}: "
                     "ids differ on text that is not in NFC")
    if row.own and steps == canonical(row.own["pre_tokenizer"]) != canonical(row.runtime["pre_tokenizer"]):
        texts = probes()
        ours, theirs = pieces(splitter, texts), pieces(row.runtime["pre_tokenizer"], texts)
        count = sum(a != b for a, b in zip(ours or (), theirs or (), strict=True))
        notes.append(f"llama.cpp's {row.name!r} cuts some texts in another way than this tokenizer, {count} of {len(texts)} "
                     "hard ones")
    if '"add_prefix_space": true' in json.dumps(splitter):
        notes.append("the tokenizer puts a space before each text (add_prefix_space), llama.cpp does not for this kind")
    return notes


def probes() -> list[str]:
    """Texts on which all structures of the table differ from each other."""
    return json.loads(files(__package__).joinpath("probes.json").read_text(encoding="ascii"))


def pieces(splitter: Mapping[str, Any] | None, texts: Sequence[str]) -> list[list[str]] | None:
    """How a pre_tokenizer cuts the texts; None where the `tokenizers` library does not accept it."""
    from tokenizers import Tokenizer

    empty = {"type": "BPE", "vocab": {}, "merges": []}
    document: dict[str, Any] = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": splitter,
                                "post_processor": None, "decoder": None, "model": empty}
    try:
        cutter = Tokenizer.from_str(json.dumps(document)).pre_tokenizer
        if cutter is None:
            return [[text] for text in texts]
        return [[piece for piece, _ in cutter.pre_tokenize_str(text)] for text in texts]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # the library raises bare Exception, and panics (which are no Exception) over hostile regexes
        return None


def _byte_level(steps: Iterable[Step]) -> bool:
    return any(step[0] == "ByteLevel" for step in steps)


@cache
def _table_pieces() -> list[tuple[list[str], list[list[str]]]]:
    found = []
    for steps, names in _by_steps().items():
        for structure in _structures(pre_table()[names[0]]):
            if canonical(structure["pre_tokenizer"]) == steps:
                cut = pieces(structure["pre_tokenizer"], probes())
                assert cut is not None
                found.append((names, cut))
                break
    return found


def _by_behaviour(splitter: Mapping[str, Any] | None, steps: tuple[Step, ...]) -> list[str]:
    if not _byte_level(steps):
        return []
    cut = pieces(splitter, probes())  # None equals no row
    return list(dict.fromkeys(name for names, known in _table_pieces() if known == cut for name in names))


def _unreachable(folder: Folder) -> int:
    """How many tokens merges alone do not build: those that `ignore_merges` tells on. All of them, where the `tokenizers`
    library does not accept the model."""
    from tokenizers import Tokenizer

    model, vocab = {**folder.model.data, "ignore_merges": False}, folder.model.need("vocab", dict)
    try:
        bpe = Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": model})).model
        return sum(len(bpe.tokenize(text)) > 1 for text in vocab)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # see `pieces`
        return len(vocab)


def _unrecognised(file: Path, splitter: Mapping[str, Any] | None, kinds: tuple[str, ...],
                  steps: tuple[Step, ...]) -> UnsupportedError:
    nearest: list[str] = []
    if set(kinds) - {"NFC"}:
        message = f"normalizer {' + '.join(kinds)}: llama.cpp's byte-level BPE has none"
    else:
        nearest, message = _nearest(splitter, steps)
    hint = (f"nearest: {', '.join(nearest[:4])}; to use one of them in spite of that: --pre NAME" if nearest
            else "to choose a pre-tokenizer in spite of that: --pre NAME")
    return UnsupportedError(f"the pre-tokenizer is none that llama.cpp has: {message}", file=file, hint=hint)


def _nearest(splitter: Mapping[str, Any] | None, steps: tuple[Step, ...]) -> tuple[list[str], str]:
    if not _byte_level(steps):
        return [], f"steps {', '.join(str(step[0]) for step in steps) or 'none'}, no ByteLevel among them"
    texts = probes()
    cut = pieces(splitter, texts)
    if cut is None:
        return [], "the tokenizers library does not accept its pre_tokenizer"
    alike = [(sum(a == b for a, b in zip(cut, known, strict=True)), names) for names, known in _table_pieces()]
    score, names = max(alike, key=lambda item: item[0])
    known = next(known for listed, known in _table_pieces() if listed is names)
    example = next(text for text, a, b in zip(texts, cut, known, strict=True) if a != b)
    names = sorted(names, key=lambda name: PREFERRED.index(name) if name in PREFERRED else len(PREFERRED))
    return names, f"{names[0]!r} cuts {score} of {len(texts)} probe texts alike, but not {example!r}"


def check_name(name: str) -> PreTokenizer:
    """The row of a name given by hand. Raises UnsupportedError where the runtime has no such name."""
    row = pre_table().get(name)
    if row is None:
        raise UnsupportedError(f"llama.cpp has no pre-tokenizer {name!r}", hint=nearest_names(name))
    return row


def nearest_names(name: str) -> str | None:
    """A question after the names that are spelled like `name`, None where none is."""
    close = get_close_matches(name, pre_table(), n=3)
    return f"did you mean {' or '.join(close)}?" if close else None
