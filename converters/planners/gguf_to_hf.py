"""GGUF -> HF: from the header of a GGUF file to a complete plan of a checkpoint, or one error with all faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...quant.formats import ELEMENT_TYPES, FLOATS
from .. import arch
from ..arch import projectors
from ..errors import GgufxError, InputError, UnsupportedError, UsageError, raise_all
from ..io.files import printable, read_bytes
from ..io.gguf import GgufFile, read_gguf_model
from ..io.json_file import parse_object
from ..io.tensors import StoredTensor
from ..io.values import plain, string
from ..notes import Note
from ..ops import WHOLE_NUMBERS, Crop, Shape
from ..plan.plan import ConversionPlan
from ..plan.tiles import shapes_through
from ..rules.facts import Config, GgufFacts, Missing
from ..rules.hf_config import hub_style, of_text_part
from ..rules.hparams import UNFIT, read_hparams, sizes
from ..rules.match import BlockHparams, Match, match_gguf
from ..rules.pooling import sentence_files
from ..rules.runtime_defaults import with_defaults
from ..rules.shapes import expected_shape
from ..rules.spec import ArchSpec, Hparams
from ..sources.hf_folder import taken_for
from ..sources.quantized import without_quantization
from ..sources.recognise import expect, expect_model
from ..tokenizer.to_hf import TokenizerFiles, tokenizer_files
from .consistency import misfits
from .hf_files import HfTensor, assemble, back, index_of, shards_of, side_files
from .keyed_tensors import from_keys
from .nvfp4_scales import read_factors
from .original_packing import OriginalPacking, original_packing
from .outtype import rounded
from .own_keys import Source

DTYPES = {"bf16": "BF16", "f16": "F16", "f32": "F32"}


@dataclass(frozen=True)
class HfOptions:
    """How a checkpoint is made. `dtype` auto: the original types where the file tells them. `max_shard_bytes` None: the
    original's files where the file tells them, else of at most DEFAULT_SHARD_BYTES. `pre`: the pre-tokenizer, where
    the file's name for it is missing or wrong. `mmproj`: the file of its vision and audio parts, and `hf_class`: the class of
    both, where they do not tell (pair_to_hf). `tokenizer` False: none is written. UsageError for other values."""

    dtype: str = "auto"
    _: KW_ONLY
    max_shard_bytes: int | None = None
    mmproj: Path | None = None
    hf_class: str | None = None
    pre: str | None = None
    tokenizer: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in ("auto", *DTYPES):
            raise UsageError("no dtype of a checkpoint", expected=", ".join(("auto", *DTYPES)), found=self.dtype,
                             hint="A quantized checkpoint is not made; quantized GGUF files are (hf-to-gguf, quantize).")
        if self.max_shard_bytes is not None and self.max_shard_bytes <= 0:
            raise UsageError("max_shard_bytes is not a size", found=self.max_shard_bytes)


@dataclass
class GgufReading:
    """A GGUF file, the table that reads it, and what is said and wrong of it."""

    model: GgufFile
    spec: ArchSpec
    own: Source | None
    options: HfOptions
    aliases: tuple[tuple[str, str], ...] = ()  # of a file of others: (prefix in the checkpoint to be, the table's)
    notes: list[str] = field(default_factory=list)
    problems: list[GgufxError] = field(default_factory=list)
    packing: OriginalPacking | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)  # keys of the text model's file, where this is its projector's

    def spelled(self, table_name: str) -> str:
        """What the checkpoint to be calls a table's name."""
        if self.own:
            return self.own.original_name(table_name)
        return next((ours + table_name.removeprefix(table) for ours, table in self.aliases if table_name.startswith(table)),
                    table_name)


def plan_gguf_to_hf(path: Path, folder: Path, options: HfOptions) -> ConversionPlan:
    """Plan a GGUF file (or the first part of a split one) -> `folder`. Reads headers only."""
    expect(path, "gguf")
    model = read_gguf_model(path)
    keys = plain(model.metadata)
    expect_model(path, keys, model.tensors)
    name = keys.get("general.architecture")
    if not isinstance(name, str):
        raise InputError("the file has no general.architecture", file=path)
    kind = model.metadata.get("general.type", string("model"))
    if kind != string("model"):
        raise UnsupportedError(f"a GGUF file of type '{printable(str(kind.data))}' is not a model", file=path)
    own = Source.of(model.metadata, path)
    texts = TokenizerFiles({}, ["the tokenizer is left out, as asked"]) if not options.tokenizer else \
        TokenizerFiles({}, ["the tokenizer is that of the draft's target, and not written"]) if arch.is_draft(name) else \
        tokenizer_files(model.metadata, arch=name, pre=options.pre, file=path)
    notes = list(texts.notes)
    if not model.tensors:
        notes.append("the file holds a vocabulary only: the tokenizer is written")
        return assemble(folder, model, {}, [], notes, [], texts.files, {"architecture": name})

    raise_all(InputError("a weight has dimensions, and none of them is 0", file=t.file, tensor=t.name, found=list(t.shape))
              for t in model.tensors.values() if not t.shape or not all(t.shape))
    original, spec = original_of(model, own, path) or (None, arch.for_gguf(name, GgufFacts.of(keys, model.tensors), str(path)))
    if own and spec.whole is not None:
        if projectors.parts_of(spec.classes[0]):
            notes.append(f"the text part of {spec.classes[0]} alone; --mmproj with its projector's file gives the whole")
        own, spec = own.of_text_part(), spec.whole.text
    reading = GgufReading(model, spec, own, options, notes=notes)
    tensors, foreign, found, hp = convertible(reading, original)
    pooling = sentence_files(foreign)
    if original:
        config = original if options.dtype == "auto" else with_dtype(original, main_dtype(reading))
        if reading.packing:
            notes.append(f"the weights come back as they were stored ({', '.join(own.decoded if own else ())})")
        elif own and own.decoded:
            config = without_quantization(config)
            notes.append(f"the original was quantized ({', '.join(own.decoded)}); its weights come back as floats")
    else:
        config = foreign_config(reading, foreign, tensors, keys)
        reading.notes.extend(Note(f"config.json, {why}", f"{key} = {value}") for key, (value, why) in found.assumed.items())
        if spec.absent:
            reading.notes.append(spec.absent)
        if any(name in model.tensors for name in spec.again) and "output.weight" not in model.tensors:
            reading.notes.append("of the head the file has the rows of a classifier alone: config.json says that the head is "
                                 "tied to the embedding, as that of Qwen3's smaller rerankers is")
    kept = dict(own.kept) if own and options.dtype == "auto" else {}
    if reading.packing:
        kept |= reading.packing.kept
        model.metadata.update(reading.packing.bytes_of)
    bytes_of, of_keys = from_keys(spec, hp, keys, main_dtype(reading), path, reading.spelled, kept)
    model.metadata.update(bytes_of)
    kept |= of_keys
    shards = shards_of(tensors, kept, own if options.dtype == "auto" else None, options.max_shard_bytes,
                       reading.packing is not None)
    files = {**index_of(shards, own), **texts.files, **pooling,
             **side_files(model, config, original is not None, reading.notes, reading.packing)}
    return assemble(folder, model, kept, shards, reading.notes, tensors, files, {
        "architecture": spec.name, "class": (own and own.hf_class) or arch.class_of(config, str(path)),
        "dtype": main_dtype(reading),
        "parameters": sum(t.parameters for t in tensors)}, reading.packing)


def convertible(reading: GgufReading, original: Config | None) -> tuple[list[HfTensor], Config, GgufFacts, Hparams]:
    """The tensors of the checkpoint to be, the config that the file's keys describe with what had to be assumed for it,
    and the sizes. `original`: the config.json that ggufx kept."""
    model, spec, own, path = reading.model, reading.spec, reading.own, reading.model.path
    said = plain(with_defaults(spec, model.metadata))
    foreign, found = read_hparams(spec, GgufFacts.of({**reading.beside, **said}, model.tensors), str(path), reading.problems)
    rows = _vocab_rows(model)
    hp = sizes(spec, said, rows, original)
    if rows is not None:
        hp = {**hp, "vocab_size": rows}  # whatever the key says
    beside = read_factors(model).names
    types = {n: t.type for n, t in model.tensors.items() if n not in beside}
    matched = match_gguf(spec, hp, types, str(path), reading.problems,
                         frozenset(own.layouts if own else ()), packed=reading.options.dtype == "auto")
    raise_all(reading.problems)
    if rows is not None and f"{spec.name}.vocab_size" in said and foreign.get("vocab_size", rows) != rows:
        reading.notes.append(f"{spec.name}.vocab_size is {foreign['vocab_size']}, token_embd.weight has {rows} rows, "
                             "as config.json says")
        foreign["vocab_size"] = rows
    for derived in spec.derived if not original else ():
        for name in (name for name in spec.names_of(derived, hp) if name in matched.derived):
            try:
                with np.errstate(divide="raise", over="raise", invalid="raise"):
                    derived.recover(_values(model.tensors[name], derived.most), found, foreign)
            except (*UNFIT, Missing) as error:
                raise InputError(f"stands for settings and cannot be read: {error}", file=path, tensor=name) from error
    if own and original and reading.options.dtype == "auto":
        reading.packing = original_packing(model, own, matched.matches)
    _restore_axes(model, matched.matches, hp)
    raise_all(misfits(spec, matched.matches, hp, model.tensors))
    tensors = _targets(reading, matched.matches)
    raise_all(reading.problems)
    if reading.options.dtype == "auto":  # floats beside the original's types are what they were made of
        stored = [(model.tensors[t.match.gguf[0]], t.dtype) for t in tensors if t.numbers is None]
        reading.notes.extend(rounded(((s.type, dtype) for s, dtype in stored if len(s.shape) > 1
                                      and not (own and s.type in FLOATS)), "--dtype f32"))
    return tensors, foreign, found, hp


def original_of(model: GgufFile, own: Source | None, path: Path) -> tuple[Config, ArchSpec] | None:
    """The config.json that ggufx kept and its table; of a multimodal class the text part, which the file holds."""
    if own is None or "ggufx.config" not in model.metadata:
        return None
    config = parse_object(str(model.metadata["ggufx.config"].data).encode(), path, non_finite=True)
    spec = arch.for_config(taken_for(config, own.hf_class or None), str(path))
    if spec.name != model.metadata["general.architecture"].data:
        raise InputError("ggufx.config is of another architecture than the file", file=path, found=spec.name,
                         expected=model.metadata["general.architecture"].data)
    if spec.whole is not None:
        config = of_text_part(config, spec.whole)
    return config, spec


def _vocab_rows(model: GgufFile) -> int | None:
    embedding = model.tensors.get("token_embd.weight")
    return embedding.shape[0] if embedding else None


def _values(tensor: StoredTensor, most: int) -> np.ndarray:
    """float32 values of a small F32 tensor."""
    if tensor.type != "F32":
        raise UnsupportedError("stands for settings and must be F32", file=tensor.file, tensor=tensor.name,
                               found=tensor.type)
    if prod(tensor.shape) > most:
        raise InputError("stands for settings and has too many values", file=tensor.file, tensor=tensor.name,
                         expected=f"at most {most}", found=prod(tensor.shape))
    return np.frombuffer(read_bytes(tensor.file, tensor.offset, tensor.nbytes), "<f4")


def main_dtype(reading: GgufReading) -> str:
    """The checkpoint's element type: asked for, the original's, or what loses nothing (bf16 for blocks)."""
    if reading.options.dtype != "auto":
        return DTYPES[reading.options.dtype]
    if reading.own is not None:
        return reading.own.dtype
    types = {t.type for t in reading.model.tensors.values() if len(t.shape) > 1}
    if types <= {"F32"}:
        return "F32"
    return "F16" if "F16" in types and types <= {"F16", "F32"} else "BF16"


def _restore_axes(model: GgufFile, matches: list[Match], hp: Hparams) -> None:
    """Give the tensors their outer axes of length 1 again, which ggml does not count: files of llama-quantize and
    gguf-split are without them."""
    for match in matches:
        if match.rule.stacked or len(match.gguf) != 1:
            continue
        tensor = model.tensors[match.gguf[0]]
        expected = expected_shape(match.rule, BlockHparams(hp, match.block), match.holes.get("p") == "bias")
        try:
            (shape, *_) = shapes_through(match.ops, [expected] * len(match.hf)) if expected else (tensor.shape,)
        except UNFIT:
            continue  # said with the others'
        missing = len(shape) - len(tensor.shape)
        if missing > 0 and shape == (1,) * missing + tensor.shape:
            model.tensors[tensor.name] = replace(tensor, shape=shape)


def _targets(reading: GgufReading, matches: list[Match]) -> list[HfTensor]:
    """The HF tensors that the matches make, in the order of the GGUF data, so that reading is sequential."""
    own = reading.own
    out: list[HfTensor] = []
    for match in sorted((m for m in matches if not m.rule.borrowed), key=lambda m: reading.model.tensors[m.gguf[0]].offset):
        shapes = [reading.model.tensors[g].shape for g in match.gguf]
        crop = next((op for op in match.ops if isinstance(op, Crop)), None)
        try:
            whole = [match.item(shapes[0])] if match.rule.stacked else shapes
            shapes = shapes_through(back(match.ops_of(0)), whole)
            each = [shapes_through(back(match.ops_of(e)), whole) for e in range(len(match.hf[0]))] if match.uneven else []
        except UNFIT as error:
            reading.problems.append(InputError(str(error), file=reading.model.path, tensor=match.gguf[0]))
            continue
        if not all(all(shape) for shape in shapes):
            reading.problems.append(InputError("makes a tensor without elements", file=reading.model.path,
                                               tensor=match.gguf[0]))
            continue
        for part, names in enumerate(match.hf[: len(match.hf) - match.rule.borrows]):
            for expert, table_name in enumerate(names):
                name = reading.spelled(table_name)
                shapes = each[expert] if each else shapes
                if part >= len(shapes):  # what the ops do not give back
                    out.extend(_kept_alone(reading, match, name))
                    continue
                if reading.packing and match in reading.packing:
                    out.extend(_packed(reading, reading.packing, match, (part, expert, name), shapes[part]))
                    continue
                shape, first = shapes[part], 0
                if crop is not None:
                    first = crop.start
                    kept = own.kept.get(name) if own else None
                    shape = (_rows_with(kept, shape) if kept else crop.rows_before(shape[0]), *shape[1:])
                kept = own.kept.get(name) if own and reading.options.dtype == "auto" else None
                if kept is not None and kept["rows"] is None and any(op.loses for op in match.ops):
                    shape = tuple(kept["shape"])  # it comes back as it was, not as what was made of it
                tensor = HfTensor(name, _dtype(reading, match, name), shape, match, expert, shapes[part], first)
                if kept is not None and (kept["dtype"], tuple(kept["shape"])) != (tensor.dtype, shape):
                    reading.problems.append(InputError("ggufx.source keeps another tensor under this name", tensor=name,
                                                       file=reading.model.path, found=kept["shape"], expected=list(shape)))
                out.append(tensor)
    return out


def _kept_alone(reading: GgufReading, match: Match, name: str) -> list[HfTensor]:
    """A tensor that the file keeps beside what was made of it; none where it does not, which is said."""
    kept = reading.own.kept.get(name) if reading.own and reading.options.dtype == "auto" else None
    if kept is None or kept["rows"] is not None:
        reading.notes.append(Note("not in the file, which holds what the model makes of it", name))
        return []
    shape = tuple(kept["shape"])
    return [HfTensor(name, kept["dtype"], shape, match, 0, shape)]




def _packed(reading: GgufReading, packing: OriginalPacking, match: Match, which: tuple[int, int, str],
            shape: Shape) -> list[HfTensor]:
    """What a weight was stored as: the part, expert and name `which`, of this shape."""
    part, expert, name = which
    if packing.shape(match, part) != shape:
        reading.problems.append(InputError("ggufx.source has another shape of the weight", tensor=name, file=reading.model.path,
                                           found=list(packing.shape(match, part)), expected=list(shape)))
        return []
    return [HfTensor(t.name, t.dtype, t.shape, match, expert, t.made or (), numbers=t.numbers)
            for t in packing.tensors(match, part, expert, name)]


def _rows_with(kept: Mapping[str, Any], shape: Shape) -> int:
    """The rows of a table of which `shape` is in GGUF and the rest is kept."""
    return shape[0] + sum(stop - start for start, stop in kept["rows"] or ())


def _dtype(reading: GgufReading, match: Match, name: str) -> str:
    """The element type of one tensor."""
    if match.rule.emits in WHOLE_NUMBERS:
        own = reading.own.dtypes.get(name) if reading.own is not None else None
        return own if own == match.rule.emits else "I64"
    if match.rule.emits:
        return "U8"
    if reading.options.dtype != "auto":
        return main_dtype(reading)
    if reading.own is not None:
        dtype = reading.own.dtypes.get(name, reading.own.dtype)
        if dtype not in FLOATS:
            reading.problems.append(InputError("ggufx.source gives a weight the wrong type", file=reading.model.path,
                                               tensor=name, expected=", ".join(FLOATS), found=dtype))
        return dtype
    return match.rule.hf_dtype or main_dtype(reading)



def foreign_config(reading: GgufReading, config: Config, tensors: list[HfTensor], keys: Mapping[str, Any]) -> Config:
    """config.json from the standard keys."""
    for name in ("bos", "eos", "padding"):
        # An explicit null: the class's default id may lie outside of this vocabulary.
        token = keys.get(f"tokenizer.ggml.{name}_token_id")
        if token is not None and not isinstance(token, int):
            raise InputError(f"tokenizer.ggml.{name}_token_id: wrong type", file=reading.model.path, expected="a whole number",
                             found=printable(repr(token)))
        config[f"{'pad' if name == 'padding' else name}_token_id"] = token
    if all(t.match.rule.emits in (None, *WHOLE_NUMBERS) for t in tensors):
        config.pop("quantization_config", None)
    config["dtype"] = ELEMENT_TYPES[main_dtype(reading)].torch
    # Without a version AutoTokenizer takes a Mistral tokenizer for one of those that older versions saved wrongly.
    config["transformers_version"] = "5.0.0"
    return hub_style(config, reading.spec)


def with_dtype(config: Config, dtype: str) -> Config:
    """The original config.json for weights of another type: a stored form of quantized weights goes."""
    key = "torch_dtype" if "torch_dtype" in config else "dtype"
    return {**without_quantization(config), key: ELEMENT_TYPES[dtype].torch}
