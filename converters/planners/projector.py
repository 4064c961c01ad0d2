"""The projector of a multimodal checkpoint: its vision and audio parts -> an mmproj file, beside that of its text model.

The table (arch/projectors) sees config.json as it stands, and under `processor` what the processor files say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import arch
from ..arch import projectors
from ..errors import Failure, InputError, UsageError
from ..io import tokenizer_names
from ..io.json_file import read_json
from ..io.values import Metadata
from ..metadata.naming import Kind
from ..plan.gguf_output import WHOLE
from ..plan.plan import ConversionPlan, PlannedTensor
from ..rules.facts import MISSING, Config, Settings, get_path
from ..rules.hf_config import canonical, check_block_count
from ..rules.hparam_rules import Key, OneKey
from ..rules.match import rename
from ..rules.spec import ArchSpec, Projector
from ..rules.template import TemplateIndex
from ..sources.hf_folder import Checkpoint
from ..sources.hub import PROCESSOR_FILES
from ..sources.subfolders import FOLDERS, folder_of
from ..tokenizer.folder import Folder
from ..tokenizer.to_gguf import TokenizerResult, tokenizer_metadata
from .adapter_updates import Adapter
from .hf_to_gguf import GgufOptions, GgufPlanner
from .many_outputs import outtype_names, plan_outputs
from .quantization import Quantization
from .reading import Reading, check_promises, matched, open_weights, with_merged
from .rounded_values import keep_rounded

# What settings of images and sounds are called, the later ones winning, and where in each of them they stand apart.
PROCESSORS = (("preprocessor_config.json", "media_proc_cfg"), ("processor_config.json", "image_processor"))


class ProjectorPlanner(GgufPlanner):
    """Plans the mmproj file of a checkpoint: `GgufPlanner` with the projector's table, without a tokenizer."""

    kind: Kind = "mmproj"
    texts = ("config.json", *PROCESSOR_FILES, tokenizer_names.TEMPLATE_JSON, *(f"{folder}/config.json" for folder in FOLDERS))

    def _read(self, folder: Path) -> Reading:
        return read_projector(folder, self.options.hf_class, self.options.pre, self.options.adapters)

    def _tokenizer(self, folder: Path) -> TokenizerResult:
        return TokenizerResult({}, [], Folder(folder))

    def _own(self, outtype: str, tensors: list[PlannedTensor], notes: list[Any]) -> Metadata:
        kept = {} if self.options.plain else keep_rounded(self.reading, {t.name: t.type for t in tensors}, notes)
        return {**super()._own(outtype, tensors, notes), **kept}

    def _left_out(self) -> list[str]:
        return []


def plan_checkpoint(folder: Path, outfile: str | Path | None, options: GgufOptions,
                    outtype: Sequence[str]) -> tuple[ConversionPlan, tuple[Failure, ...]]:
    """The plan of a checkpoint's files: of its text model in these types, of one projector beside, as the options say.
    And the files that cannot be made. Raises as `plan_outputs`."""
    if not options.mmproj and not options.mmproj_only:
        return plan_outputs(GgufPlanner(folder, outfile, options), outtype)
    own = replace(options, quantization=Quantization(), keep_quantized=False, split=WHOLE, chat_template=None, target=None)
    kind, *more = outtype_names(options.mmproj_type)
    if more:
        raise UsageError("a projector has one type", found=f"--mmproj-type {options.mmproj_type}")
    if options.mmproj_only:
        return ProjectorPlanner(folder, outfile, own).plan(kind), ()
    planner = GgufPlanner(folder, outfile, options)
    beside = ProjectorPlanner(folder, f"{planner.path(outtype[0]).parent}/", own).plan(kind)
    return plan_outputs(planner, outtype, [beside])


def read_projector(folder: Path, hf_class: str | None = None, pre: str | None = None,
                   adapters: Sequence[Adapter] = ()) -> Reading:
    """As `reading.read`, for what of the model is not its language model. `pre`: the pre-tokenizer, where ids of tokens are
    needed and it is not recognised."""
    checkpoint = with_merged(folder, adapters, hf_class) if adapters else open_weights(folder, hf_class)
    file = f"{folder}/config.json"
    name = arch.class_of(checkpoint.config, file)
    spec = projectors.for_config(checkpoint.config, name, file)
    notes: list[str] = []
    config = Settings(checkpoint.config, processor=processor_settings(folder))
    if spec.beside:
        checkpoint, config[spec.beside] = with_beside(checkpoint, spec.beside)
    if spec.tokens:
        config["tokens"] = _token_ids(checkpoint, spec, name, pre)
    _check_parts(spec, config, file)
    _check_counts(spec, config, file)
    names = [*own_tensors(checkpoint, spec, name)]
    for start in spec.without:
        if left := [other for other in names if other.startswith(start)]:
            notes.append(f"{start}*: {len(left)} tensors of another part of the model are left out")
            names = [other for other in names if other not in left]
    reading = matched(checkpoint, spec, config, names, notes)
    if not reading.found.matches and not reading.problems:
        raise InputError("holds no tensor of the vision or audio parts", file=folder, found=name)
    check_promises(reading)
    reading.asked_class = hf_class
    _name_missing_file(reading, folder)
    reading.raise_all()
    return reading


def _name_missing_file(reading: Reading, folder: Path) -> None:
    """Where a processor file itself is missing, that is the cause, not each of its settings."""
    name = PROCESSORS[0][0]
    others = [problem for problem in reading.problems if str(problem.file) != name]
    if len(others) < len(reading.problems) and not any((folder / file).is_file() for file, _ in PROCESSORS):
        reading.problems[:] = [*others, InputError(
            f"has no {name}, which says how pictures and sounds are prepared", file=folder,
            hint="It comes with the checkpoint: download it into the same folder.")]


def with_beside(checkpoint: Checkpoint, name: str) -> tuple[Checkpoint, Config]:
    """The checkpoint with the tensors of that in its folder `name`, and the latter's settings. InputError where it is missing,
    and as of every checkpoint."""
    if not (checkpoint.folder / name).is_dir():
        raise InputError(f"has no folder {name}, in which a part of the model has its weights", file=checkpoint.folder,
                         hint="The download is not complete, or the part was left out of it.")
    part = open_weights(checkpoint.folder / name, None)
    return checkpoint.with_part(name, part), part.config


def processor_settings(folder: Path) -> Config:
    """What the processor files say, joined. InputError for one that cannot be read."""
    said = {name: read_json(folder / name) for name, _ in PROCESSORS if (folder / name).is_file()}
    for name, text in said.items():
        if not isinstance(text, dict):
            raise InputError("must be an object", file=folder / name, found=type(text).__name__)
    return joined_processors(said)


def joined_processors(said: Mapping[str, Config]) -> Config:
    """The settings of processor files, by their names, as one."""
    out: Config = {}
    for name, inner in PROCESSORS:
        out |= said.get(name, {})
        if isinstance(told := said.get(name, {}).get(inner), dict):
            out |= told
    return out


def own_tensors(checkpoint: Checkpoint, spec: ArchSpec, hf_class: str) -> Iterator[str]:
    """The tensors that are the projector's: by its rows, or because they are of a part of which it has rows."""
    index: TemplateIndex[None] = TemplateIndex()
    templates = [*(t for rule in spec.tensors for t in rule.hf), *spec.ignore]
    for template in templates:
        index.add(template, None)
    tables = arch.BY_CLASS.get(hf_class, ())
    texts = [template.text for template in templates]
    parts = tuple(part for table in tables if table.whole for part in table.whole.parts
                  if any(text.startswith(prefix) for prefix in rename(part, spec.aliases) for text in texts))
    for name in checkpoint.tensors:
        if (folder_of(name) or name.startswith(parts)
                or any(next(index.find(s), None) for s in rename(name, spec.aliases))):
            yield name


def _token_ids(checkpoint: Checkpoint, spec: Projector, hf_class: str, pre: str | None) -> dict[str, int]:
    """The ids of the tokens that the table asks for, in the text model's vocabulary. InputError where one is missing."""
    folder, file = checkpoint.folder, f"{checkpoint.folder}/config.json"
    text = arch.for_config(checkpoint.config, file)
    config = canonical(checkpoint.config, text, file)
    made = tokenizer_metadata(folder, arch=text.name, hf_class=hf_class, config=config, vocab_size=config.get("vocab_size", 0),
                              pre=pre or "default")
    known = {token: i for i, token in enumerate(made.metadata["tokenizer.ggml.tokens"].data)}
    if missing := [token for token in spec.tokens.values() if token not in known]:
        raise InputError(f"the vocabulary has no token {missing[0]}, whose embedding the projector holds", file=folder)
    return {key: known[token] for key, token in spec.tokens.items()}


def _check_parts(spec: ArchSpec, config: Mapping[str, Any], file: str) -> None:
    """Refuse a config without the part that the rules are about, in one line."""
    for rule in spec.hparams:
        if isinstance(rule, Key) and rule.need and rule.default is MISSING:
            parts = {path.split(".")[0]: None for path in rule.fills if "_config." in path}
            if parts and not any(isinstance(config.get(part), Mapping) for part in parts):
                raise InputError(f"config.json has no {' or '.join(parts)}", file=file, expected="an object",
                                 found=config.get(next(iter(parts))))


def _check_counts(spec: ArchSpec, config: Mapping[str, Any], file: str) -> None:
    """Refuse numbers of blocks that no model has before anything is computed with them."""
    for rule in spec.hparams:
        if isinstance(rule, OneKey) and rule.key.endswith("block_count"):
            for path in rule.fills:
                if (count := get_path(config, path)) is not MISSING:
                    check_block_count(count, path, file)
