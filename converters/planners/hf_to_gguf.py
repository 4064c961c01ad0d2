"""HF -> GGUF: from the headers of a checkpoint to a complete plan, or to one error that lists all that is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np

from .. import arch
from ..errors import GgufxError, InputError, UnsupportedError, raise_all
from ..io.files import printable
from ..io.tensors import StoredTensor
from ..io.values import Metadata, string, u32
from ..metadata.general import general_metadata
from ..metadata.model_card import read_card
from ..metadata.naming import count_parameters, default_file_name, output_path
from ..notes import Note, grouped
from ..ops import Shape
from ..plan.gguf_output import gguf_output
from ..plan.plan import ConversionPlan, InputFile, PlannedTensor, Region, TensorJob, bits_per_weight, numbered
from ..plan.tiles import shapes_through
from ..rules.facts import Config, Has, Missing
from ..rules.hf_config import canonical
from ..rules.hparam_rules import Seen
from ..rules.hparams import UNFIT, sizes, write_hparams
from ..rules.match import BlockHparams, HfMatches, Match, expected_shape, match_hf, rename
from ..rules.pooling import read_pooling
from ..rules.spec import ArchSpec, Hparams
from ..rules.template import TemplateIndex
from ..sources.hf_folder import Checkpoint, open_checkpoint
from ..sources.names import HEADS, PREFIXES
from ..sources.quantized import declared, method_of
from ..tokenizer.folder import Folder
from ..tokenizer.own_keys import residue as tokenizer_own_keys
from ..tokenizer.to_gguf import TokenizerResult, tokenizer_metadata
from .kept_tensors import dropped_notes, keep
from .keyed_tensors import to_keys
from .outtype import FILE_TYPE_NUMBERS, OUTTYPES, QUANTIZATION_VERSION, own_type, rounded, target_type
from .own_keys import Source, json_value
from .quantization import Quantization, choose_types, imatrix_keys, named_type, override, read_imatrix, with_weights


@dataclass(frozen=True)
class GgufOptions:
    """How a GGUF file is made. `plain`: no `ggufx.*` key-values. `pre`: the pre-tokenizer, where not recognised.
    `tokenizer` False: the tokenizer files, if any, are not read."""

    outtype: str = "auto"
    _: KW_ONLY
    model_name: str | None = None
    metadata_file: Path | None = None
    hub_id: str | None = None
    pre: str | None = None
    tokenizer: bool = True
    plain: bool = False
    quantization: Quantization = field(default_factory=Quantization)


@dataclass
class _Reading:
    """What the headers say, and everything found wrong with them."""

    checkpoint: Checkpoint
    spec: ArchSpec
    config: Config
    found: HfMatches
    notes: list[str]
    problems: list[GgufxError]

    def source(self, spelling: str) -> StoredTensor:
        """The checkpoint's tensor behind a table's spelling."""
        return self.checkpoint.tensors[self.found.names[spelling]]


class GgufPlanner:
    """Plans a checkpoint -> GGUF, one file after another (`many_outputs.Planner`). What they share is read once.

    `outfile`: a file, in which `{outtype}` is filled in, or a folder; None: the current one.
    """

    def __init__(self, folder: Path, outfile: str | Path | None, options: GgufOptions) -> None:
        """Reads headers, config and tokenizer files. Raises InputError or UnsupportedError with everything that is wrong."""
        self.outfile, self.options = outfile, options
        checkpoint = open_checkpoint(folder)
        file = str(folder)
        spec = arch.for_config(checkpoint.config, f"{folder}/config.json")
        config = canonical(checkpoint.config, spec, f"{folder}/config.json", checkpoint.tensors.keys())
        self.spec = spec = with_tied_head(spec, config, checkpoint.tensors)
        notes, problems = list(checkpoint.notes), list[GgufxError]()
        config.update(read_pooling(folder, notes))

        self.keys = write_hparams(self.spec, config, notes, problems)
        hp = sizes(self.spec, {k: v.data for k, v in self.keys.items()}, config.get("vocab_size"), config)
        shapes = {name: t.shape for name, t in checkpoint.tensors.items()}
        found = match_hf(self.spec, hp, shapes, file, problems)
        check_shapes(found, hp, shapes, file, problems)
        reading = self.reading = _Reading(checkpoint, spec, config, found, notes, problems)
        _check_promises(reading)
        _check_head(reading)
        _check_flags(reading)
        self.keys.update(to_keys(spec, hp, checkpoint.tensors, found, file, problems))
        _raise_all(reading)
        self.literal = _derived(reading, hp)
        self.tensors = [*(PlannedTensor(n, "F32", v.shape) for n, v in self.literal.items()), *_targets(reading)]
        _raise_all(reading)

        tokens = TokenizerResult({}, ["the tokenizer is left out, as asked"], Folder(folder)) if not options.tokenizer else \
            tokenizer_metadata(folder, arch=self.spec.name, hf_class=checkpoint.config["architectures"][0], config=config,
                               vocab_size=_vocab_rows(self.tensors, config), pre=options.pre)
        self.tokens = tokens.metadata
        self.general = general_metadata(
            folder, arch=self.spec.name, tensors_params=count_parameters((t.name, t.shape) for t in self.tensors),
            model_name=options.model_name, override_file=options.metadata_file, hub_id=options.hub_id,
            notes=notes)
        notes.extend(tokens.notes)
        notes.extend(f"{part}*: {count} tensors of another part of the model are left out"
                     for part, count in found.parts.items())
        notes.extend(f"layer {block}: {count} tensors of {what} are not part of the GGUF model"
                     for (block, what), count in found.beyond.items())
        if options.plain:
            notes.extend(dropped_notes(found.ignored))
        if (method := declared(checkpoint.config, folder)) and not method_of(checkpoint.config, checkpoint.tensors, folder):
            notes.append(f"config.json speaks of quantized weights ({method}); these are plain, and taken as they are")
        self.residue = {} if options.plain else _residue(reading, tokens)
        self.imatrix = read_imatrix(options.quantization, ((t.name, t.shape) for t in self.tensors))
        self.files = numbered(t.file for t in checkpoint.tensors.values())
        self.inputs = tuple(InputFile.of(path) for path in self.files)

    def path(self, outtype: str) -> Path:
        """The file that this type is written to. UsageError where there is no such type."""
        stored, _ = self._file_type(outtype)
        return output_path(self.outfile, stored if outtype == "auto" else outtype, default_file_name(self.general, stored))

    def plan(self, outtype: str) -> ConversionPlan:
        """The plan of a file of this type. Raises GgufxError with everything that keeps it from being made."""
        tensors, notes = self.tensors_of(outtype)
        stored, number = self._file_type(outtype)
        key_values: Metadata = {
            **self.general, **self.keys, "general.file_type": u32(number), **self.tokens,
            "general.quantization_version": u32(QUANTIZATION_VERSION),
        }
        if outtype not in ("auto", *OUTTYPES):
            asked = self.options.quantization
            key_values = override(key_values, asked)
            key_values.update(imatrix_keys(self.imatrix, asked.imatrix_file))
        key_values.update(self.residue)
        return self._assemble(tensors, key_values, self.path(outtype), stored, grouped((*self.reading.notes, *notes)))

    def tensors_of(self, outtype: str) -> tuple[list[PlannedTensor], list[str]]:
        """The tensors of a file of this type, in order, and what their types cost. Raises as `plan`."""
        kind = self._kind(outtype)
        tensors = [t if t.type else _typed(t, *target_type(t.name, t.shape, kind)) for t in self.tensors]
        if outtype == "auto":
            types = {t.name: t.type for t in tensors}
            return tensors, rounded(((self.reading.source(match.hf[0][0]).type, types[name])
                             for match in self.reading.found.matches for name in match.gguf), "--outtype f32")
        if outtype in OUTTYPES:
            return tensors, []
        keys = {"general.architecture": string(self.spec.name), **self.keys}
        chosen = choose_types(outtype, tensors, keys, self.options.quantization, self.imatrix,
                              str(self.reading.checkpoint.folder))
        return [_typed(t, c.type, c.wanted if c.fell_back else None)
                for t, c in zip(tensors, chosen.choices, strict=True)], chosen.notes

    def _kind(self, outtype: str) -> str:
        """The converter's own type. A recipe starts from the model's, as llama-quantize does from that of `auto`."""
        return OUTTYPES.get(outtype) or own_type({n: (t.type, t.shape) for n, t in self.reading.checkpoint.tensors.items()})

    def _file_type(self, outtype: str) -> tuple[str, int]:
        """Name and number of the file type."""
        if outtype not in ("auto", *OUTTYPES):
            found, number = named_type(outtype)
            return found.name, number
        kind = self._kind(outtype)
        if kind != "Q8_0" and any(t.type == "MXFP4" for t in self.tensors):
            kind = "MXFP4"
        return kind, FILE_TYPE_NUMBERS[kind]

    def _assemble(self, tensors: list[PlannedTensor], key_values: Metadata, outfile: Path, stored: str,
                  notes: list[Note]) -> ConversionPlan:
        """The file, and a job per tensor (per expert where experts are stacked)."""
        made = gguf_output(outfile, key_values, tensors, self.literal)
        jobs: list[TensorJob] = []
        for match in self.reading.found.matches:
            parts = _jobs(match, self.reading, self.files, [made.regions[n] for n in match.gguf])
            jobs.extend(with_weights(parts, match.gguf, self.imatrix))
        return ConversionPlan(
            "hf-to-gguf", self.inputs, made.files, tuple(jobs), tuple(tensors), tuple(notes),
            {"architecture": self.spec.name, "class": self.reading.checkpoint.config["architectures"][0],
             "file_type": stored, "parameters": sum(prod(t.shape) for t in tensors),
             "bits_per_weight": bits_per_weight(tensors)},
            self.imatrix.entries if self.imatrix else {})


def _raise_all(reading: _Reading) -> None:
    """Raise what is wrong; of a checkpoint that is quantized in a form that the table does not take, that alone."""
    checkpoint = reading.checkpoint
    taken = any(match.rule.emits for match in reading.found.matches)
    method = None if taken or not reading.problems else method_of(checkpoint.config, checkpoint.tensors, checkpoint.folder)
    if method:
        bases = [base for base in read_card(checkpoint.folder, []).get("base_model", ()) if isinstance(base, str)]
        raise UnsupportedError(f"is a quantized checkpoint ({method}), which ggufx does not decode", file=checkpoint.folder,
                               hint="Convert the checkpoint that it was made from" + (f": {bases[0]}." if bases else "."))
    raise_all(reading.problems)


def _check_promises(reading: _Reading) -> None:
    """A tensor that an index lists, that no file holds, and that the model would have. Without a word of it, an optional
    one would be missing in silence."""
    known: TemplateIndex[None] = TemplateIndex()
    tied = HEADS if reading.config.get("tie_word_embeddings") else ()
    for template in (template for rule in reading.spec.tensors for template in rule.hf if str(template) not in tied):
        known.add(template, None)
    said = {problem.tensor for problem in reading.problems}
    reading.problems.extend(
        InputError("in no file, but the index lists it", file=reading.checkpoint.folder, tensor=printable(name),
                   hint="the download is not complete, or the index is of another version of the model")
        for name in reading.checkpoint.promised
        if name not in said and any(next(known.find(s), None) for s in rename(name, reading.spec.aliases)))


def plan_hf_to_gguf(folder: Path, outfile: str | Path | None, options: GgufOptions) -> ConversionPlan:
    """Plan `folder` -> a GGUF file of type `options.outtype`; see GgufPlanner."""
    return GgufPlanner(folder, outfile, options).plan(options.outtype)


def with_tied_head(spec: ArchSpec, config: Config, names: Collection[str]) -> ArchSpec:
    """The table for a checkpoint that holds the tensor which head and embedding share under the head's name only.

    transformers ties in both directions: it takes the one that is there. The embedding then is an alias of the head.
    """
    embedding = next((str(rule.hf[0]) for rule in spec.tensors if str(rule.gguf[0]) == "token_embd.weight"), None)
    if embedding is None or not config.get("tie_word_embeddings"):
        return spec
    found = {spelling: name for name in names for spelling in rename(name, spec.aliases)}
    head = next((head for head in HEADS if head in found), None)
    if head is None or embedding in found:
        return spec
    return replace(spec, aliases=((found[head], embedding), *spec.aliases),
                   tensors=tuple(rule for rule in spec.tensors if str(rule.hf[0]) != head),
                   ignore=tuple(template for template in spec.ignore if template.match(head) is None))


def _check_head(reading: _Reading) -> None:
    """A head that config.json says is there, and is not. Without a word of it the runtime would take the embedding."""
    head = next((rule for rule in reading.spec.tensors if str(rule.gguf[0]) == "output.weight"), None)
    class_name = reading.checkpoint.config["architectures"][0]
    untied = reading.config.get("tie_word_embeddings") is False and class_name not in reading.spec.headless
    if head is not None and untied and str(head.hf[0]) not in reading.found.names:
        reading.problems.append(InputError(
            "missing, and config.json says that it is not tied to the embedding", file=reading.checkpoint.folder,
            tensor=str(head.hf[0]), hint='If the model has no head of its own, set "tie_word_embeddings": true.'))


def _check_flags(reading: _Reading) -> None:
    """Tensors whose flag in config.json is false: transformers leaves them out, and the runtime would compute with them."""
    made = {name: match for match in reading.found.matches for name in match.gguf}
    for rule in reading.spec.hparams:
        if (isinstance(rule, Seen) and isinstance(rule.fact, Has) and not rule.fact.absent
                and reading.config.get(rule.hf) is False and (match := made.get(str(rule.fact.tensor)))):
            reading.problems.append(InputError(
                f"there, and config.json says that {rule.hf} is false", file=reading.checkpoint.folder,
                tensor=reading.found.names[match.hf[0][0]],
                hint=f'If the model was trained with it, set "{rule.hf}": true; transformers leaves it out now.'))


def check_shapes(found: HfMatches, hp: Hparams, shapes: Mapping[str, Shape], file: str,
                 problems: list[GgufxError]) -> None:
    """Compare every tensor with the shape that the hyperparameters give it."""
    for match in found.matches:
        expected = expected_shape(match.rule, BlockHparams(hp, match.block), match.holes.get("p") == "bias")
        for names in match.hf:
            for name in names:
                own = found.names[name]
                if expected is not None and shapes[own] != expected:
                    problems.append(InputError("the shape does not fit config.json", file=file, tensor=own,
                                               expected=list(expected), found=list(shapes[own])))
                elif shapes[own] != shapes[found.names[names[0]]]:
                    problems.append(InputError("the experts differ in shape", file=file, tensor=own,
                                               expected=list(shapes[found.names[names[0]]]), found=list(shapes[own])))


def _vocab_rows(tensors: list[PlannedTensor], config: Config) -> int:
    """Rows of the embedding table: what the vocabulary is padded to."""
    return next((t.shape[0] for t in tensors if t.name == "token_embd.weight"), config.get("vocab_size", 0))


def _typed(tensor: PlannedTensor, type: str, wanted: str | None) -> PlannedTensor:
    return replace(tensor, type=type, wanted=wanted)


def _derived(reading: _Reading, hp: Hparams) -> dict[str, np.ndarray]:
    """The values of the float32 tensors that stand for settings, by name."""
    out = {}
    for rule in reading.spec.derived:
        try:
            with np.errstate(divide="raise", over="raise", invalid="raise"):
                values = rule.make(reading.config, hp)
        except GgufxError as error:
            reading.problems.append(error)
            continue
        except (*UNFIT, Missing) as error:
            reading.problems.append(InputError(f"config.json: its rotary settings cannot be used: {error}",
                                               file="config.json", tensor=rule.gguf))
            continue
        if values is not None:
            out[rule.gguf] = values
    return out


def _targets(reading: _Reading) -> list[PlannedTensor]:
    """The GGUF tensors that the matches make; without a type where it depends on the file's."""
    out = []
    for match in reading.found.matches:
        first = [reading.source(names[0]) for names in match.hf]
        try:
            shapes = shapes_through(match.ops, [t.shape for t in first])
        except UNFIT as error:
            reading.problems.append(InputError(str(error), file=reading.checkpoint.folder, tensor=first[0].name))
            continue
        if not all(all(t.shape) for t in first):
            reading.problems.append(InputError("has no elements", file=first[0].file, tensor=first[0].name))
            continue
        emitted = match.rule.emits
        unusual = emitted is None and first[0].type not in ("F32", "F16", "BF16", "F64")
        if unusual:
            reading.problems.append(InputError(
                f"{first[0].type} weights are not converted", file=first[0].file, tensor=first[0].name,
                expected="F32, F16, BF16 or F64", hint="Convert the unquantized checkpoint of this model."))
            continue
        for name, shape in zip(match.gguf, shapes, strict=True):
            whole = (len(match.hf[0]), *shape) if match.rule.stacked else shape
            out.append(PlannedTensor(name, emitted or match.rule.type or "", whole))
    return out


def _residue(reading: _Reading, tokens: TokenizerResult) -> Metadata:
    """ggufx's own key-values: what makes the way back exact."""
    checkpoint, found = reading.checkpoint, reading.found
    types = [t.type for t in checkpoint.tensors.values()]
    main = max(dict.fromkeys(types), key=types.count)
    source = Source(dtype=main, dtypes={n: t.type for n, t in checkpoint.tensors.items() if t.type != main})
    source.record_files(checkpoint.tensors, checkpoint.folder / "model.safetensors.index.json")
    source.record_names(found.names, (*reading.spec.aliases, *PREFIXES))
    first_choice: dict[str, str] = {}
    for rule in reading.spec.tensors:
        for made in rule.gguf:
            first_choice.setdefault(str(made), str(rule.hf[0]))
    source.layouts = sorted({str(m.rule.hf[0]) for m in found.matches for made in m.rule.gguf
                             if first_choice[str(made)] != str(m.rule.hf[0])})
    kept = keep(checkpoint.tensors, found, source, reading.notes)
    try:
        generation = json_value(checkpoint.folder / "generation_config.json")
    except InputError:
        generation = {}  # said where its sampling settings are looked for
    return {"ggufx.source": string(source.to_value()), **json_value(checkpoint.folder / "config.json"), **generation,
            **tokenizer_own_keys(tokens.source, tokens.metadata), **kept}


def _jobs(match: Match, reading: _Reading, files: Mapping[Path, int],
          outputs: list[Region]) -> list[TensorJob]:
    def region(spelling: str) -> Region:
        tensor = reading.source(spelling)
        return Region(files[tensor.file], tensor.offset, tensor.type, tensor.shape)

    name = match.gguf[0]
    if not match.rule.stacked:
        return [TensorJob(name, tuple(region(names[0]) for names in match.hf), match.ops, tuple(outputs))]
    (whole,) = outputs
    step = whole.nbytes // whole.shape[0]
    return [TensorJob(f"{name} expert {e}", (region(source),), match.ops,
                      (replace(whole, offset=whole.offset + e * step, shape=whole.shape[1:]),))
            for e, source in enumerate(match.hf[0])]
