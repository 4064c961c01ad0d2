"""A text model and its projector, two GGUF files -> the checkpoint of the whole multimodal model.

Each file is read by its own table; the tensors of both go into one checkpoint. Of ggufx's own files the settings are those
that the projector's keeps: config.json and the processor files as they were. Of others, config.json has the class that the
projector's type and the text architecture tell, the settings of each part in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import arch
from ..arch import projectors
from ..errors import GgufxError, InputError, UnsupportedError, UsageError, raise_all
from ..io import tokenizer_names
from ..io.files import printable
from ..io.gguf import GgufFile, read_gguf_model
from ..io.json_file import json_bytes, parse_object
from ..io.values import plain, text_of
from ..notes import Note
from ..plan.plan import ConversionPlan
from ..rules.facts import Config, GgufFacts, Settings, get_path, set_path
from ..rules.hparams import write_hparams
from ..rules.spec import ArchSpec, Projector
from ..sources.hf_folder import taken_for
from ..sources.hub import PROCESSOR_FILES
from ..sources.quantized import without_quantization
from ..sources.recognise import expect, expect_model
from ..tokenizer.to_hf import TokenizerFiles, tokenizer_files
from .gguf_to_hf import (
    GgufReading,
    HfOptions,
    convertible,
    foreign_config,
    main_dtype,
    original_of,
    plan_gguf_to_hf,
    with_dtype,
)
from .hf_files import assemble, index_of, shards_of, side_files
from .keyed_tensors import from_keys
from .own_keys import KEPT, Source, json_key
from .projector import joined_processors
from .rounded_values import KEY

OWN_FILES = (*PROCESSOR_FILES, tokenizer_names.TEMPLATE_JSON)


@dataclass
class Part:
    """One of the two files."""

    model: GgufFile
    keys: Mapping[str, Any]
    own: Source | None

    @classmethod
    def read(cls, path: Path) -> Part:
        expect(path, "gguf")
        model = read_gguf_model(path)
        raise_all(InputError("a weight has dimensions, and none of them is 0", file=t.file, tensor=t.name, found=list(t.shape))
                  for t in model.tensors.values() if not t.shape or not all(t.shape))
        return cls(model, plain(model.metadata), Source.of(model.metadata, path))

    @property
    def architecture(self) -> str | None:
        return text_of(self.model.metadata, "general.architecture")

    @property
    def facts(self) -> GgufFacts:
        return GgufFacts.of(self.keys, self.model.tensors)


def plan_model_to_hf(path: Path, folder: Path, options: HfOptions) -> ConversionPlan:
    """Plan a GGUF file, and its projector's where the options name one, -> `folder`. Raises as `plan_gguf_to_hf`, and for
    two files that do not belong together."""
    return plan_gguf_to_hf(path, folder, options) if options.mmproj is None else _pair(path, options.mmproj, folder, options)


def _pair(path: Path, mmproj: Path, folder: Path, options: HfOptions) -> ConversionPlan:
    hf_class = options.hf_class
    text, seen = Part.read(path), Part.read(mmproj)
    expect_model(path, text.keys, text.model.tensors)
    if seen.architecture != "clip":
        raise UsageError("is no projector (mmproj)", file=mmproj, found=seen.architecture,
                         hint="Give the text model first, and its projector to --mmproj.")
    notes: list[str] = []
    config = kept_by_towers = _kept_config(seen)
    if config is None and seen.own is None:  # one that keeps none any more was changed (`edit`): its keys count
        config = _kept_config(text)
    if config is not None:
        config = taken_for(config, hf_class or (seen.own and seen.own.hf_class) or None)
        name = arch.class_of(config, str(mmproj))
        spec, towers = arch.for_config(config, str(mmproj)), projectors.for_config(config, name, str(mmproj))
        if text.own is None or seen.own is None:
            notes.append("one of the two files is not ggufx's: config.json is that which the other keeps")
    else:
        name, spec, towers = _told(text, seen, hf_class, notes)
    if config is not None and kept_by_towers is not None:
        _check_keys(seen, towers, config)
    elif (types := projectors.types_of(seen.facts)) != towers.types:
        raise InputError(f"is no projector of a {name}", file=mmproj, found=_some(types), expected=_some(towers.types))
    if spec.name != text.architecture:
        raise InputError("the two files are not of one model", file=mmproj, found=f"the projector of a {spec.name} model",
                         expected=f"that of a {text.architecture} model")
    _check_widths(text, seen, mmproj)

    texts = tokenizer_files(text.model.metadata, arch=spec.name, pre=options.pre, file=path) if options.tokenizer else \
        TokenizerFiles({}, ["the tokenizer is left out, as asked"])
    notes += texts.notes
    original, _ = original_of(text.model, text.own, path) or (None, None)
    words = GgufReading(text.model, spec, text.own, options, _preferred(spec), notes)
    start = f"{spec.name}."
    images = GgufReading(seen.model, towers, seen.own, options, towers.spelled, notes, beside={
        f"text.{key.removeprefix(start)}": value for key, value in text.keys.items() if key.startswith(start)})
    text_tensors, text_config, text_found, hp = convertible(words, original)
    seen_tensors, seen_config, seen_found, _ = convertible(images, config)
    tensors = [*text_tensors, *seen_tensors]
    if config is None:
        inner = foreign_config(words, text_config, text_tensors, text.keys)
        config = _joined(name, spec, towers, inner, {k: v for k, v in seen_config.items() if k != towers.beside})
        for found in (text_found, seen_found):
            notes.extend(Note(f"config.json, {why}", f"{key} = {value}") for key, (value, why) in found.assumed.items()
                         if not key.startswith("tokens."))
        if towers.absent:
            notes.append(towers.absent)
        known = {token: n for n, token in enumerate(text.keys.get("tokenizer.ggml.tokens", ()))} if towers.ids else {}
        for key, token in towers.ids.items():
            if token in known:
                set_path(config, key, known[token])
        whole = False
    else:
        config = config if options.dtype == "auto" else with_dtype(config, main_dtype(words))
        if text.own and text.own.decoded and not words.packing:
            config = without_quantization(config)
        whole = True
    own_files = (*OWN_FILES, *([f"{towers.beside}/config.json"] if towers.beside else ()))
    processors = {name: _text(seen, json_key(name)) for name in own_files if json_key(name) in seen.keys}
    if kept_by_towers is None and (told := seen_config.get("processor")):
        processors["preprocessor_config.json"] = json_bytes(told, indent=2, sort_keys=True)
        notes.append("preprocessor_config.json holds what the projector's file tells of it")
    if towers.beside and f"{towers.beside}/config.json" not in processors:
        processors[f"{towers.beside}/config.json"] = json_bytes(seen_config.get(towers.beside, {}), indent=2, sort_keys=True)
        notes.append(f"{towers.beside}/config.json holds what the projector's file tells of it")
    kept: dict[str, Any] = {}
    for part in (text, seen):
        if part.own and options.dtype == "auto":
            kept |= part.own.kept
    if words.packing:
        kept |= words.packing.kept
    bytes_of, of_keys = from_keys(spec, hp, text.keys, main_dtype(words), path, words.spelled, kept)
    kept |= of_keys
    kinds = (KEPT, KEY, "ggufx.config") if options.dtype == "auto" else (KEPT, "ggufx.config")
    keys = {key: value for key, value in seen.model.metadata.items() if key.startswith(kinds)}
    both = replace(text.model, tensors={**text.model.tensors, **seen.model.tensors},
                   metadata={**keys, **text.model.metadata, **(words.packing.bytes_of if words.packing else {}), **bytes_of})
    own = text.own if options.dtype == "auto" else None
    shards = shards_of(tensors, kept, own, options.max_shard_bytes, words.packing is not None)
    files = {**index_of(shards, text.own), **texts.files, **processors, **side_files(both, config, whole, notes, words.packing)}
    return assemble(folder, both, kept, shards, notes, tensors, files, {
        "architecture": spec.name, "class": name, "dtype": main_dtype(words),
        "parameters": sum(t.parameters for t in tensors)}, words.packing)


def _kept_config(part: Part) -> Config | None:
    """The whole model's config.json, as ggufx kept it."""
    if part.own is None or "ggufx.config" not in part.keys:
        return None
    return parse_object(_text(part, "ggufx.config"), part.model.path, non_finite=True)


def _text(part: Part, key: str) -> bytes:
    raw = str(part.keys[key]).encode()
    parse_object(raw, part.model.path, non_finite=True)
    return raw


def _told(text: Part, seen: Part, hf_class: str | None, notes: list[str]) -> tuple[str, ArchSpec, Projector]:
    """Class and tables of a pair of others: by the projector's type and the text architecture."""
    name = text.architecture
    known = _tables(text)
    found = projectors.classes_of(seen.facts, known)
    if not found:
        kind = _some(projectors.types_of(seen.facts))
        raise UnsupportedError(f"no class has a projector of type {kind} beside a {name} model", file=seen.model.path)
    if hf_class is not None:
        found = [(c, spec) for c, spec in found if c == hf_class] or _not_of(hf_class, [c for c, _ in found])
    elif len(found) > 1:
        others = ", ".join(c for c, _ in found[1:])
        notes.append(f"taken for {found[0][0]}; {others} would have the same files: --as says which it is")
    chosen, towers = found[0]
    return chosen, known[chosen], towers


def _some(types: Mapping[str, str]) -> str:
    return printable(", ".join(types.values())) or "none"


def _tables(text: Part) -> dict[str, ArchSpec]:
    """The classes of the text file's architecture, and their tables; of several for one class, that around what reads the
    file."""
    name = text.architecture
    out: dict[str, ArchSpec] = {}
    reads = arch.for_gguf(name, text.facts, str(text.model.path)) if name in arch.BY_NAME else None
    tables = [spec for spec in arch.SPECS if spec.name == name]
    for spec in sorted(tables, key=lambda spec: bool(reads and spec.whole and spec.whole.text.tensors is reads.tensors)):
        out.update(dict.fromkeys(spec.classes, spec))
    return out


def _not_of(hf_class: str, known: list[str]) -> list[tuple[str, Projector]]:
    raise UsageError("no class of these two files", expected=" or ".join(known), found=hf_class)


def _check_keys(seen: Part, towers: Projector, config: Config) -> None:
    """Refuse a projector of ggufx's whose keys are not those that the settings in it make."""
    kept = {name: parse_object(_text(seen, json_key(name)), seen.model.path, non_finite=True)
            for name in (*PROCESSOR_FILES, f"{towers.beside}/config.json") if json_key(name) in seen.keys}
    settings = Settings(config, processor=joined_processors(kept))
    if towers.beside:
        settings[towers.beside] = kept.get(f"{towers.beside}/config.json", {})
    problems: list[GgufxError] = []
    made = plain(write_hparams(towers, settings, [], problems))
    found = {key: value for key, value in seen.keys.items() if key in made or key.startswith("clip.")}
    wrong = sorted(key for key in made.keys() | found.keys() if not _same(made.get(key), found.get(key)))
    if problems or wrong:
        key = wrong[0] if wrong else "ggufx.config"
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise InputError(f"{key}{more}: not what the settings that the file keeps make", file=seen.model.path,
                         found=found.get(key), expected=str(problems[0]) if problems else made.get(key),
                         hint="The file is damaged, or was changed by a program that does not know of ggufx.config.")


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one in a file, where floats are float32."""
    a, b = np.asarray(one), np.asarray(other)
    if {a.dtype.kind, b.dtype.kind} in ({"f"}, {"f", "i"}):
        a, b = a.astype(np.float32), b.astype(np.float32)
    return np.array_equal(a, b)


def _check_widths(text: Part, seen: Part, file: Path) -> None:
    """The features that the projector makes must be as wide as the text model."""
    width = text.keys.get(f"{text.architecture}.embedding_length")
    for part in ("vision", "audio"):
        made = seen.keys.get(f"clip.{part}.projection_dim")
        if isinstance(made, int) and isinstance(width, int) and made != width:
            raise InputError("the two files are not of one model", file=file, found=f"features of {made} values",
                             expected=f"as many as the text model's {width}")


def _preferred(spec: ArchSpec) -> tuple[tuple[str, str], ...]:
    """How the class spells the names of its text part's table: one prefix for those of the base model, and the same for its
    head where that is the whole part's."""
    aliases = spec.aliases if spec.whole else ()
    first = next((a for a in aliases if a[1]), None) or next(iter(aliases), ("", ""))
    return (first, *(a for a in aliases if not a[1] and first == (a[0] + first[1], first[1]) and a != first))


def _joined(name: str, spec: ArchSpec, towers: Projector, text: Config, seen: Config) -> Config:
    """config.json of the whole."""
    seen = {k: v for k, v in seen.items() if k not in ("architectures", "model_type", "processor", "tokens")}
    model_type = spec.whole.model_type if spec.whole else spec.model_type
    outer = {"architectures": [name], "model_type": model_type, "dtype": text["dtype"],
             "transformers_version": text["transformers_version"]}
    if not towers.text:
        return {**text, **seen, **outer}
    for key in ("tie_word_embeddings",):
        if key in text:
            outer[key] = text[key]
    inner = {k: v for k, v in text.items() if k not in ("architectures", "transformers_version")}
    config = {**seen, **outer}
    beside = get_path(seen, towers.text)  # what of the towers' settings stands among the language model's
    set_path(config, towers.text, {**(beside if isinstance(beside, Mapping) else {}), **inner})
    return config
