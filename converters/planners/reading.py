"""A checkpoint read for its table: settings, which tensor is which, and all that is wrong with them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import arch
from ..errors import GgufxError, InputError, UnsupportedError, raise_all
from ..io.files import printable
from ..io.tensors import StoredTensor
from ..io.values import Metadata
from ..metadata.model_card import read_card
from ..ops import Reshape, Shape
from ..plan.tiles import shapes_through
from ..rules.facts import Config, Has
from ..rules.hf_config import canonical
from ..rules.hparam_rules import Seen
from ..rules.hparams import UNFIT, sizes, write_hparams
from ..rules.match import HfMatches, match_hf, rename
from ..rules.pooling import read_pooling
from ..rules.shapes import expected, measured, without_ones
from ..rules.spec import ArchSpec, Hparams
from ..rules.template import TemplateIndex
from ..sources.hf_folder import Checkpoint, taken_for
from ..sources.names import HEADS
from ..sources.original.folder import open_model
from ..sources.packed.declaration import declared_settings
from ..sources.packed.logical import logical
from ..sources.packed.refused import refused
from ..sources.quantized import method_of
from ..sources.stated import NOTHING, Stated
from .adapter_updates import Adapter
from .draft_target import Target, check_draft_tokens, of_draft
from .keyed_tensors import to_keys
from .merged_weights import with_adapters
from .places import Places


@dataclass
class Reading:
    """What the headers say, and everything found wrong with them."""

    checkpoint: Checkpoint
    spec: ArchSpec
    config: Config  # canonical
    keys: Metadata
    hp: Hparams
    found: HfMatches
    notes: list[str]
    problems: list[GgufxError]
    asked_class: str | None = None

    def source(self, spelling: str) -> StoredTensor:
        """The checkpoint's tensor behind a table's spelling."""
        return self.checkpoint.tensors[self.found.names[spelling]]

    @property
    def hf_class(self) -> str:
        return arch.class_of(self.checkpoint.config, f"{self.checkpoint.folder}/config.json")

    def raise_all(self) -> None:
        """Raise what is wrong; of a checkpoint that is quantized in a form that the table does not take, that alone."""
        checkpoint = self.checkpoint
        taken = any(match.rule.emits for match in self.found.matches)
        method = None if taken or not self.problems else method_of(checkpoint.config, checkpoint.tensors, checkpoint.folder)
        if method:
            raise _undecoded(checkpoint, method)
        raise_all(self.problems)


def read(folder: Path, hf_class: str | None = None, target: Target | None = None, stated: Stated = NOTHING,
         adapters: Sequence[Adapter] = ()) -> Reading:
    """Headers and config.json. `hf_class`: the class to take the model for; `target`: of a draft model; `stated`: as of
    `open_model`; `adapters`: what is merged into it.

    Raises InputError or UnsupportedError with everything that is wrong.
    """
    checkpoint = open_weights(folder, hf_class, stated)
    try:
        spec = arch.for_config(checkpoint.config, f"{folder}/config.json")
    except UnsupportedError as error:
        if alike := _alike(checkpoint):
            error.hint = (f"model_type, tensors and their shapes are those of {alike}. If the model also computes as that "
                          f"does, convert it with --as {alike}.")
        raise
    if spec.draft:
        target = of_draft(folder, spec, target)
    reading = _matched(checkpoint, spec, target)
    if adapters:
        reading.raise_all()
        checkpoint = with_adapters(checkpoint, adapters, _places(reading))
        reading = _matched(checkpoint, spec, target)
    if spec.draft and target is not None:
        check_draft_tokens(reading.found, checkpoint.tensors, target, reading.problems)
    elif target is not None:
        reading.notes.append(f"{spec.classes[0]} takes nothing from a target: {printable(str(target.folder))} is not read")
    reading.asked_class = hf_class
    if not checkpoint.config.get("architectures"):
        reading.notes.append(f"config.json names no architecture: taken for {reading.hf_class}, by its model_type")
    check_promises(reading)
    _check_head(reading)
    _check_flags(reading)
    reading.raise_all()
    return reading


def with_merged(folder: Path, adapters: Sequence[Adapter], hf_class: str | None = None) -> Checkpoint:
    """The checkpoint with the adapters in it, also of a class without a table: then by the names as they stand.

    Raises InputError or UnsupportedError with everything that is wrong.
    """
    checkpoint = open_weights(folder, hf_class)
    try:
        places = _places(read(folder, hf_class))
    except UnsupportedError:
        places = Places(checkpoint.tensors, None, {}, None, bool(checkpoint.config.get("tie_word_embeddings")))
    return with_adapters(checkpoint, adapters, places)


def _places(reading: Reading) -> Places:
    """Where the checkpoint has the weights that adapters name."""
    tied = bool(reading.config.get("tie_word_embeddings")) or reading.hf_class in reading.spec.headless
    return Places(reading.checkpoint.tensors, reading.spec, reading.hp, reading.found, tied)


def _matched(checkpoint: Checkpoint, spec: ArchSpec, target: Target | None = None) -> Reading:
    """The checkpoint by its table; what does not fit is among the problems."""
    config_file = f"{checkpoint.folder}/config.json"
    config = canonical(checkpoint.config, spec, config_file, checkpoint.tensors.keys())
    spec = with_tied_head(spec, config, checkpoint.tensors)
    notes = list(checkpoint.notes)
    config.update(read_pooling(checkpoint.folder, notes))
    if spec.draft and target is not None:
        config["target"] = target.config
    return matched(checkpoint, spec, config, checkpoint.tensors, notes)


def matched(checkpoint: Checkpoint, spec: ArchSpec, config: Config, names: Iterable[str], notes: list[str]) -> Reading:
    """These tensors of the checkpoint by the table, whose rules see `config`; what does not fit is among the problems."""
    file, problems = str(checkpoint.folder), list[GgufxError]()
    keys = write_hparams(spec, config, notes, problems)
    hp = sizes(spec, {k: v.data for k, v in keys.items()}, config.get("vocab_size"), config)
    shapes = {name: checkpoint.tensors[name].shape for name in names}
    found = match_hf(spec, hp, shapes, file, problems)
    check_shapes(spec, found, hp, shapes, file, problems)
    keys.update(to_keys(spec, hp, checkpoint.tensors, found, file, problems))
    return Reading(checkpoint, spec, config, keys, hp, found, notes, problems)


def _alike(checkpoint: Checkpoint) -> str | None:
    """The class whose model_type this config.json has and whose table it fits in every setting, name and shape."""
    for spec in arch.SPECS:
        if spec.model_type == checkpoint.config.get("model_type") and spec.whole is None and not spec.draft:
            config = taken_for(checkpoint.config, spec.classes[0])
            try:
                reading = _matched(replace(checkpoint, config=config), arch.for_config(config, ""))
            except GgufxError:
                continue
            if not reading.problems:
                return spec.classes[0]
    return None


def open_weights(folder: Path, hf_class: str | None, stated: Stated = NOTHING) -> Checkpoint:
    """The checkpoint with its weights as numbers; raises where they are stored in a form that has no plain decoding. `stated`:
    as of `open_model`."""
    stored = open_model(folder, hf_class, stated)
    _refuse_method(stored)
    return logical(stored)


def _refuse_method(checkpoint: Checkpoint) -> None:
    """Raise where weights are quantized in a form that has no plain decoding."""
    method = method_of(checkpoint.config, checkpoint.tensors, checkpoint.folder)
    settings = declared_settings(checkpoint.config, checkpoint.folder) if method else {}
    if method and (found := refused(settings, checkpoint.tensors, checkpoint.config.get("model_type"))):
        raise _undecoded(checkpoint, found[0] or method, f": {found[1]}")


def _undecoded(checkpoint: Checkpoint, method: str, why: str = "") -> UnsupportedError:
    bases = [base for base in read_card(checkpoint.folder, []).get("base_model", ()) if isinstance(base, str)]
    return UnsupportedError(f"is a quantized checkpoint ({method}), which ggufx does not decode{why}", file=checkpoint.folder,
                            hint="Convert the checkpoint that it was made from" + (f": {bases[0]}." if bases else "."))


def check_promises(reading: Reading) -> None:
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


def with_tied_head(spec: ArchSpec, config: Config, names: Collection[str]) -> ArchSpec:
    """The table for a checkpoint that holds the tensor which head and embedding share under the head's name only.

    transformers ties in both directions: it takes the one that is there. The embedding then is an alias of the head.
    """
    embedding = next((str(rule.hf[0]) for rule in spec.tensors if str(rule.gguf[0]) == "token_embd.weight"), None)
    if embedding is None or spec.draft or not config.get("tie_word_embeddings"):
        return spec
    found = {spelling: name for name in names for spelling in rename(name, spec.aliases)}
    head = next((head for head in HEADS if head in found), None)
    if head is None or embedding in found:
        return spec
    return replace(spec, aliases=((found[head], embedding), *spec.aliases),
                   tensors=tuple(rule for rule in spec.tensors if str(rule.hf[0]) != head),
                   ignore=tuple(template for template in spec.ignore if template.match(head) is None))


def _check_head(reading: Reading) -> None:
    """A head that config.json says is there, and is not. Without a word of it the runtime would take the embedding."""
    head = next((rule for rule in reading.spec.tensors if str(rule.gguf[0]) == "output.weight"), None)
    class_name = reading.hf_class
    untied = reading.config.get("tie_word_embeddings") is False and class_name not in reading.spec.headless
    if reading.spec.draft:
        return  # one without a head takes its target's
    if head is not None and untied and str(head.hf[0]) not in reading.found.names:
        reading.problems.append(InputError(
            "missing, and config.json says that it is not tied to the embedding", file=reading.checkpoint.folder,
            tensor=str(head.hf[0]), hint='If the model has no head of its own, set "tie_word_embeddings": true.'))


def _check_flags(reading: Reading) -> None:
    """Tensors whose flag in config.json is false: transformers leaves them out, and the runtime would compute with them."""
    made = {name: match for match in reading.found.matches for name in match.gguf}
    for rule in reading.spec.hparams:
        if (isinstance(rule, Seen) and isinstance(rule.fact, Has) and not rule.fact.absent
                and reading.config.get(rule.hf) is False and (match := made.get(str(rule.fact.tensor)))):
            reading.problems.append(InputError(
                f"there, and config.json says that {rule.hf} is false", file=reading.checkpoint.folder,
                tensor=reading.found.names[match.hf[0][0]],
                hint=f'If the model was trained with it, set "{rule.hf}": true; transformers leaves it out now.'))


def check_shapes(spec: ArchSpec, found: HfMatches, hp: Hparams, shapes: Mapping[str, Shape], file: str,
                 problems: list[GgufxError]) -> None:
    """Compare every tensor with the shape that the hyperparameters give it; in sizes that they do not tell, with the others."""
    known = measured(spec, hp, ((match, [shapes[found.names[names[0]]] for names in match.hf]) for match in found.matches))
    for match in found.matches:
        padded = bool(match.ops) and isinstance(match.ops[0], Reshape)  # which takes axes of 1 in front for nothing
        for part, names in enumerate(match.hf):
            first = shapes[found.names[names[0]]]
            said, told = expected(match, known, part), expected(match, hp, part) is not None
            for e, name in enumerate(names):
                own, shape = found.names[name], shapes[found.names[name]]
                if match.uneven:
                    said = expected(match, known, part, e)
                    try:
                        shapes_through(match.ops_of(e), [shape])
                    except UNFIT as error:
                        problems.append(InputError(f"the shape does not fit config.json: {error}", file=file, tensor=own))
                        continue
                elif shape != first and not told:
                    problems.append(InputError("the tensors of a stack differ in shape", file=file, tensor=own,
                                               expected=list(first), found=list(shape)))
                    continue
                if said is not None and shape != said and not (padded and without_ones(shape) == without_ones(said)):
                    problems.append(InputError(f"the shape does not fit {'config.json' if told else 'the other tensors'}",
                                               file=file, tensor=own, expected=list(said), found=list(shape)))
