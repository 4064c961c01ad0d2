"""HF -> GGUF: from the headers of a checkpoint to a complete plan, or to one error that lists all that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..arch import projectors
from ..errors import GgufxError, InputError, UsageError
from ..io.values import Metadata, string, u32
from ..metadata.general import general_metadata
from ..metadata.naming import Kind, count_parameters, default_file_name, output_path, set_path
from ..notes import Note, grouped
from ..plan.gguf_output import WHOLE, SplitLimits, gguf_output
from ..plan.plan import ConversionPlan, InputFile, PlannedTensor, Region, TensorJob, bits_per_weight, numbered
from ..plan.tiles import shapes_through
from ..rules.facts import Config, Missing
from ..rules.hparams import UNFIT
from ..rules.match import Match
from ..rules.spec import CONV
from ..sources.packed.tensor import PackedTensor
from ..sources.quantized import PLAIN, declared
from ..sources.stated import NOTHING, Stated
from ..tokenizer.folder import Folder
from ..tokenizer.templates import read_template, with_template
from ..tokenizer.to_gguf import TokenizerResult, tokenizer_metadata
from .adapter_updates import Adapter
from .draft_target import read_target, tokens_of_target
from .kept_tensors import dropped_notes, lost
from .merged_model import beside_weights
from .outtype import FILE_TYPE_NUMBERS, OUTTYPES, QUANTIZATION_VERSION, own_type, rounded, target_type
from .packed_sources import blocks_of, factor_of, jobs_of, parts_of, scale_name, scaled
from .packed_zeros import tell_symmetry
from .published import published
from .quantization import Quantization, choose_types, imatrix_keys, named_type, override, read_imatrix, with_weights
from .reading import Reading, read
from .reranker import CLASSIFIER, reranker
from .residue import residue
from .silent_tokens import suppressed, unnamed_rows


@dataclass(frozen=True)
class GgufOptions:
    """How a GGUF file is made. `plain`: no `ggufx.*` key-values. `keep_quantized`: whole numbers of few bits stay such.
    `pre`: the pre-tokenizer, where not recognised. `tokenizer` False: the tokenizer files, if any, are not read. `hf_class`:
    the class to take the model for. `stated`: what the files of an original checkpoint do not tell. `target`: the folder of the
    model that a draft guesses for. `adapters`: what is merged into it first. `chat_template`: a file in the place of the
    model's own. `mmproj`: the vision and audio parts are written, too, to a file of their own, of type `mmproj_type`;
    `mmproj_only`: nothing else is. `split`: what a file holds at most, but for that of `mmproj`."""

    outtype: str = "auto"
    _: KW_ONLY
    model_name: str | None = None
    metadata_file: Path | None = None
    hub_id: str | None = None
    pre: str | None = None
    hf_class: str | None = None
    stated: Stated = NOTHING
    target: Path | None = None
    tokenizer: bool = True
    chat_template: Path | None = None
    plain: bool = False
    keep_quantized: bool = False
    adapters: tuple[Adapter, ...] = ()
    mmproj: bool = False
    mmproj_only: bool = False
    mmproj_type: str = "f16"
    quantization: Quantization = field(default_factory=Quantization)
    split: SplitLimits = WHOLE


class GgufPlanner:
    """Plans a checkpoint -> GGUF, one file after another (`many_outputs.Planner`). What they share is read once.

    `outfile`: a file, in which `{outtype}` is filled in, or a folder; None: the current one.
    """

    kind: Kind = "model"
    texts: tuple[str, ...] = ("config.json", "generation_config.json")  # files that the way back needs as they are

    def __init__(self, folder: Path, outfile: str | Path | None, options: GgufOptions) -> None:
        """Reads headers, config and tokenizer files; where quantized numbers are kept also zeros, and weights whose zeros have
        no room beside them. Raises InputError or UnsupportedError with everything that is wrong."""
        if options.adapters and options.keep_quantized:
            raise UsageError("weights that adapters are merged into cannot stay as they are stored",
                             hint="Leave out --keep-quantized.")
        self.outfile, self.options = outfile, options
        self.target = None if options.target is None else read_target(options.target)
        reading = self.reading = self._read(folder)
        checkpoint, spec = reading.checkpoint, reading.spec
        self.spec, self.keys = spec, reading.keys
        self.literal = _derived(reading)
        self.tensors = [*(PlannedTensor(n, "F32", v.shape) for n, v in self.literal.items()), *_targets(reading)]
        reading.raise_all()
        if options.keep_quantized:
            tell_symmetry(reading)
        self.repacked = _repacked(reading, self.tensors, options.keep_quantized)
        self.scales = {scale_name(name): np.array([factor_of(reading.source(n)) for n in match.hf[0]], np.float32)
                       for match in reading.found.matches for name in match.gguf if self.repacked.get(name) == "NVFP4"}
        with beside_weights(folder, checkpoint, options.adapters) as texts:
            self._read_texts(texts)
        self.imatrix = read_imatrix(options.quantization, ((t.name, t.shape) for t in self.tensors))
        self.files = numbered(part.file for t in checkpoint.tensors.values() for part in parts_of(t))
        self.inputs = tuple(InputFile.of(path) for path in self.files)

    def _read_texts(self, folder: Path) -> None:
        """What the files beside the weights say."""
        options, reading = self.options, self.reading
        checkpoint, notes = reading.checkpoint, reading.notes
        tokens = self._tokenizer(folder)
        self.tokens = {k: v for k, v in (tokens.metadata | suppressed(reading, tokens)).items() if k not in self.keys}
        self.reranker = reranker(reading, {t.name: t for t in self.tensors}, self.tokens, options.hub_id)
        if self.reranker is not None:
            self.tensors.append(self.reranker.tensor)
            self.keys = self.keys | self.reranker.keys
            self.tokens = self.tokens | self.reranker.templates(self.tokens)
        if options.chat_template is not None:
            self.tokens = with_template(self.tokens, read_template(options.chat_template))
        self.general = general_metadata(
            folder if options.adapters else checkpoint.home, arch=self.spec.name,
            tensors_params=count_parameters((t.name, t.shape) for t in self.tensors),
            model_name=options.model_name, override_file=options.metadata_file,
            hub_id=None if options.adapters else options.hub_id, kind=self.kind, notes=notes)
        notes.extend([*unnamed_rows(checkpoint, tokens), *tokens.notes])
        notes.extend(self._left_out())
        notes.extend(f"layer {block}: {count} tensors of {what} are not part of the GGUF model"
                     for (block, what), count in reading.found.beyond.items())
        if options.plain:
            notes.extend(dropped_notes(reading.found.ignored))
            notes.extend(note for match in reading.found.matches for note in lost(match))
        plain = not any(isinstance(t, PackedTensor) or t.type not in PLAIN for t in checkpoint.tensors.values())
        if plain and (method := declared(checkpoint.config, folder)):
            notes.append(f"config.json speaks of quantized weights ({method}); these are plain, and taken as they are")
        self.residue = {} if options.plain else residue(reading, tokens, self.repacked, self.texts,
                                                        options.chat_template is not None,
                                                        folder if options.adapters else checkpoint.folder)

    def _read(self, folder: Path) -> Reading:
        return read(folder, self.options.hf_class, self.target, self.options.stated, self.options.adapters)

    def _tokenizer(self, folder: Path) -> TokenizerResult:
        if not self.options.tokenizer:
            return TokenizerResult({}, ["the tokenizer is left out, as asked"], Folder(folder))
        if self.spec.wordless:
            return TokenizerResult({"tokenizer.ggml.model": string("none")}, [], Folder(folder))
        if self.spec.draft and self.target is not None:
            return tokens_of_target(self.target, folder, self.reading.config, self.options.pre)
        return tokenizer_metadata(folder, arch=self.spec.name, hf_class=self.reading.hf_class, config=self.reading.config,
                                  vocab_size=_vocab_rows(self.tensors, self.reading.config), pre=self.options.pre,
                                  made=self.reading.checkpoint.made)

    def _left_out(self) -> list[str]:
        """What to say of tensors that are not part of this file."""
        reading = self.reading
        if self.options.mmproj:
            return []
        known = projectors.of_config(reading.checkpoint.config, reading.hf_class)
        said = [f"{part}*: {count} tensors of another part of the model are left out"
                for part, count in reading.found.parts.items()]
        return [*said, "--mmproj writes what sees or hears to a file of its own"] if said and known else said

    def path(self, outtype: str) -> Path:
        """The file that this type is written to. UsageError where there is no such type."""
        stored, _ = self._file_type(outtype)
        name = default_file_name(self.general, stored, self.kind)
        return output_path(self.outfile, stored if outtype == "auto" else outtype, name)

    def plan(self, outtype: str) -> ConversionPlan:
        """The plan of a file of this type. Raises GgufxError with everything that keeps it from being made."""
        tensors, notes = self.tensors_of(outtype)
        stored, number = self._file_type(outtype)
        key_values: Metadata = {
            **self.general, **self.keys, "general.file_type": u32(number), **self.tokens,
            "general.quantization_version": u32(QUANTIZATION_VERSION),
        }
        key_values = override(key_values, self.options.quantization)
        if self._recipe(outtype):
            key_values.update(imatrix_keys(self.imatrix, self.options.quantization.imatrix_file, notes))
        elif self.imatrix:
            notes = [*notes, f"the importance matrix is of no use for {stored}, and left alone"]
        notes = list(notes)
        key_values = published({**key_values, **self._own(outtype, tensors, notes)}, notes)
        return self._assemble(outtype, tensors, key_values, self.path(outtype), stored, grouped((*self.reading.notes, *notes)))

    def _own(self, outtype: str, tensors: list[PlannedTensor], notes: list[Any]) -> Metadata:
        """ggufx's key-values for these tensors; what they do not keep is said in `notes`."""
        return self.residue.get(bool(self._repacked(outtype)), {})

    def tensors_of(self, outtype: str) -> tuple[list[PlannedTensor], list[str]]:
        """The tensors of a file of this type, in order, and what their types cost. Raises as `plan`."""
        recipe = self._recipe(outtype)
        repacked = self._repacked(outtype)
        kind = self._kind("auto" if recipe else outtype, repacked)
        conv = "F16" if kind == "F16" else "F32"
        tensors = [_typed(t, conv if len(t.shape) > 1 else "F32", None) if t.type == CONV else t if t.type else
                   _typed(t, repacked[t.name], None) if t.name in repacked else
                   _typed(t, *target_type(t.name, t.shape, kind)) for t in self.tensors]
        if outtype == "auto" and not recipe:
            types = {t.name: t.type for t in tensors}
            tensors = [*(PlannedTensor(n, "F32", v.shape) for n, v in self.scales.items()), *tensors]
            return tensors, self._decoded(kind, repacked) + rounded(((self.reading.source(match.hf[0][0]).type, types[name])
                             for match in self.reading.found.matches for name in match.gguf), "--outtype f32")
        if recipe is None:
            return tensors, self._decoded(kind)
        keys = {"general.architecture": string(self.spec.name), **self.keys}
        chosen = choose_types(recipe, tensors, keys, self.options.quantization, self.imatrix,
                              str(self.reading.checkpoint.folder))
        return [_typed(t, c.type, c.wanted if c.fell_back else None)
                for t, c in zip(tensors, chosen.choices, strict=True)], [*self._decoded("floats"), *chosen.notes]

    def _recipe(self, outtype: str) -> str | None:
        """The file type whose recipe of llama-quantize gives the types; None where they are the converter's own."""
        if outtype not in ("auto", *OUTTYPES):
            return outtype
        return (self._kind("auto") if outtype == "auto" else outtype) if self.options.quantization.chooses else None

    def _kind(self, outtype: str, repacked: Mapping[str, str] | None = None) -> str:
        """The converter's own type, but for what is repacked. A recipe starts from the model's, as llama-quantize does from
        that of `auto`. Tensors that have their own type whatever the file's say nothing of it."""
        tensors = self.reading.checkpoint.tensors
        kept = {self.reading.found.names[name] for match in self.reading.found.matches
                if match.gguf[0] in (repacked or {}) or match.rule.type is not None
                for names in match.hf for name in names}
        decoded = {t.type for n, t in tensors.items() if isinstance(t, PackedTensor) and not t.plain and n not in kept}
        return OUTTYPES.get(outtype) or (("F16" if decoded == {"F16"} else "BF16") if decoded else
                                         own_type({n: (t.type, t.shape) for n, t in tensors.items() if n not in kept}))

    def _repacked(self, outtype: str) -> dict[str, str]:
        """The types of tensors whose numbers stay as they are stored: only of the model's own type."""
        own = outtype == "auto" and not self._recipe(outtype)
        if self.options.keep_quantized and not own:
            raise UsageError("what stays as it is stored has types of its own, and no other can be chosen",
                             found=f"--outtype {outtype}", expected="auto",
                             hint="Leave out --keep-quantized, and the file is made of the exact floats.")
        return self.repacked if own else {}

    def _decoded(self, kind: str, repacked: Mapping[str, str] | None = None) -> list[str]:
        """What to say of weights that are stored in other forms than floats; `kind`: the type of the file's matrices."""
        said: dict[str, None] = {}
        others: dict[str, list[str]] = {}
        for match in self.reading.found.matches:
            into = (repacked or {}).get(match.gguf[0])
            for tensor in (self.reading.source(name) for names in match.hf for name in names[:1]):
                if isinstance(tensor, PackedTensor):
                    said[f"{tensor.form} kept as {into}, without loss" if into else f"{tensor.form} decoded to {kind}"] = None
                    if not into:
                        others.setdefault(self._why_not_kept(match), []).append(match.gguf[0])
        notes = [Note(f"decoded all the same: {why}", *dict.fromkeys(names)) for why, names in others.items()]
        return [*said, *notes] if self.options.keep_quantized else list(said)

    def _why_not_kept(self, match: Match) -> str:
        _, why = blocks_of(match, [self.reading.source(name) for names in match.hf for name in names])
        return why or "the runtime takes them as floats"

    def _file_type(self, outtype: str) -> tuple[str, int]:
        """Name and number of the file type."""
        if recipe := self._recipe(outtype):
            found, number = named_type(recipe)
            return found.name, number
        repacked = self._repacked(outtype)
        kind = self._kind(outtype, repacked)
        if kind != "Q8_0" and any(t.type == "MXFP4" for t in self.tensors):
            kind = "MXFP4"
        if types := list(repacked.values()):
            kind = max(dict.fromkeys(types), key=types.count)
        return kind, FILE_TYPE_NUMBERS[kind]

    def _assemble(self, outtype: str, tensors: list[PlannedTensor], key_values: Metadata, outfile: Path, stored: str,
                  notes: list[Note]) -> ConversionPlan:
        """The file, and a job per tensor (per expert where experts are stacked)."""
        repacked = self._repacked(outtype)
        made = gguf_output(outfile, key_values, tensors, {**(self.scales if repacked else {}), **self.literal},
                           self.options.split, set_path(self.outfile, outtype, outfile))
        jobs: list[TensorJob] = []
        for match in self.reading.found.matches:
            into = repacked.get(match.gguf[0], "")
            parts = _jobs(match, self.reading, self.files, [made.regions[n] for n in match.gguf], into)
            jobs.extend(with_weights(parts, match.gguf, self.imatrix))
            if self.reranker is not None and self.reranker.head in match.gguf:
                jobs.extend(self.reranker.jobs(parts[0].sources[0], made.regions[CLASSIFIER]))
        return ConversionPlan(
            "hf-to-gguf", self.inputs, made.files, tuple(jobs), tuple(tensors), tuple(notes),
            {"architecture": self.spec.name, "class": self.reading.hf_class,
             "file_type": stored, "parameters": sum(prod(t.shape) for t in tensors),
             "bits_per_weight": bits_per_weight(tensors)},
            self.imatrix.entries if self.imatrix else {}, folders=made.folders)


def plan_hf_to_gguf(folder: Path, outfile: str | Path | None, options: GgufOptions) -> ConversionPlan:
    """Plan `folder` -> a GGUF file of type `options.outtype`; see GgufPlanner."""
    return GgufPlanner(folder, outfile, options).plan(options.outtype)


def _vocab_rows(tensors: list[PlannedTensor], config: Config) -> int:
    """Rows of the embedding table: what the vocabulary is padded to."""
    return next((t.shape[0] for t in tensors if t.name == "token_embd.weight"), config.get("vocab_size", 0))


def _typed(tensor: PlannedTensor, type: str, wanted: str | None) -> PlannedTensor:
    return replace(tensor, type=type, wanted=wanted)


def _derived(reading: Reading) -> dict[str, np.ndarray]:
    """The values of the float32 tensors that stand for settings, by name."""
    out = {}
    for rule in reading.spec.derived:
        try:
            with np.errstate(divide="raise", over="raise", invalid="raise"):
                values = rule.make(reading.config, reading.hp)
        except GgufxError as error:
            reading.problems.append(error)
            continue
        except (*UNFIT, Missing) as error:
            reading.problems.append(InputError(f"config.json: its rotary settings cannot be used: {error}",
                                               file="config.json", tensor=rule.gguf))
            continue
        if values is not None:
            out.update(dict.fromkeys(reading.spec.names_of(rule, reading.hp), values))
    return out


def _targets(reading: Reading) -> list[PlannedTensor]:
    """The GGUF tensors that the matches make; without a type where it depends on the file's."""
    out = []
    for match in reading.found.matches:
        first = [reading.source(names[0]) for names in match.hf]
        try:
            shapes = shapes_through(match.ops_of(0), [t.shape for t in first])
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
            out.append(PlannedTensor(name, emitted or match.rule.type or "", match.whole(shape)))
    return out


def _repacked(reading: Reading, tensors: list[PlannedTensor], keep_quantized: bool) -> dict[str, str]:
    """GGUF tensors that are repacked without loss, and the types of their blocks: MXFP4 and NVFP4, and all where so asked."""
    matrices = {t.name for t in tensors if target_type(t.name, t.shape, "BF16")[0] != "F32"}
    out = {}
    for match in reading.found.matches:
        into, _ = blocks_of(match, [reading.source(name) for names in match.hf for name in names])
        if into == "NVFP4" and (len(match.hf) > 1 or not all(scaled(reading.spec.name, name) for name in match.gguf)
                                or any(len(reading.source(name).shape) > 2 for name in match.hf[0])):
            continue  # the factor of the whole has no place, or the runtime does not look there
        if into and (keep_quantized or into in ("MXFP4", "NVFP4")) and matrices.issuperset(match.gguf):
            out.update(dict.fromkeys(match.gguf, into))
    return out


def _jobs(match: Match, reading: Reading, files: Mapping[Path, int], outputs: list[Region], into: str = "") -> list[TensorJob]:
    name = match.gguf[0]
    if not match.rule.stacked:
        return jobs_of(name, [reading.source(names[0]) for names in match.hf], files, match.ops, outputs, into)
    (whole,) = outputs
    each = replace(whole, shape=(len(match.hf[0]), *match.item(whole.shape)))
    return [job for e, names in enumerate(zip(*match.hf, strict=True))
            for job in jobs_of(f"{name} expert {e}", list(map(reading.source, names)), files, match.ops_of(e), [each.item(e)],
                               into)]
