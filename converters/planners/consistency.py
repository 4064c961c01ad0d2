"""What in the header of a GGUF file contradicts itself: settings, names and shapes of tensors by the architecture's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import arch
from ..errors import GgufxError, InputError, ManyErrors
from ..io.gguf import GgufFile
from ..io.tensors import StoredTensor
from ..io.values import plain, text_of
from ..ops import Shape
from ..rules.facts import GgufFacts
from ..rules.hparams import UNFIT, read_hparams, sizes
from ..rules.match import Match, match_gguf
from ..rules.runtime_defaults import with_defaults
from ..rules.shapes import Known, fits, known, measured, restored, stored, without_ones
from ..rules.spec import ArchSpec, Hparams


def contradictions(model: GgufFile) -> list[str]:
    """Each as a sentence; nothing of an architecture without a table."""
    name, file = text_of(model.metadata, "general.architecture"), str(model.path)
    problems: list[GgufxError] = []
    out: list[str] = []
    try:
        spec = arch.for_gguf(name, GgufFacts.of(plain(model.metadata), model.tensors), file)
        said = plain(with_defaults(spec, model.metadata))
        read_hparams(spec, GgufFacts.of(said, model.tensors), file, problems)
        embedding = model.tensors.get("token_embd.weight")
        hp = sizes(spec, said, embedding.shape[0] if embedding and embedding.shape else None, None)
        matched = match_gguf(spec, hp, {n: t.type for n, t in model.tensors.items()}, file, problems)
        out = [f"{misfit.tensor} is of {misfit.found}, the settings say {misfit.expected}"
               if misfit.expected else f"{misfit.tensor}: {misfit.message}"
               for misfit in misfits(spec, matched.matches, hp, model.tensors)]
    except GgufxError as error:
        problems.append(error)
    told = [each for problem in problems for each in (problem.problems if isinstance(problem, ManyErrors) else (problem,))]
    return [*(": ".join(filter(None, (each.tensor, each.message))) for each in told), *out, *_experts(model, name)]


def _experts(model: GgufFile, name: str) -> list[str]:
    """A number of experts that no tensor has, or that is missing where tensors have it."""
    value = model.metadata.get(f"{name}.expert_count")
    said = value.data if value is not None and isinstance(value.data, int) else 0
    held = {t.shape[0] for t in model.tensors.values() if "_exps." in t.name and len(t.shape) == 3}
    return [] if said in held or (not said and not held) else [f"{name}.expert_count is {said}, tensors hold {sorted(held)}"]


def misfits(spec: ArchSpec, matches: Sequence[Match], hp: Hparams, tensors: Mapping[str, StoredTensor]) -> list[InputError]:
    """Each tensor of a GGUF file whose shape is not what the settings say; of sizes that no setting says, what most say."""
    problems: list[InputError | None] = []
    unsaid: list[tuple[Match, list[Known]]] = []
    for match in matches:
        name = match.gguf[0]
        try:
            if (made := stored(match, hp)) is not None:
                problems.append(_misfit(match.gguf, made, tensors))
            else:
                unsaid.append((match, restored(match, [tensors[name].shape for name in match.gguf])))
        except UNFIT as error:
            problems.append(InputError(str(error), file=tensors[name].file, tensor=name))
    hp = measured(spec, hp, unsaid)
    for match, found in unsaid:
        try:
            made = stored(match, hp)
        except UNFIT as error:
            problems.append(InputError(str(error), file=tensors[match.gguf[0]].file, tensor=match.gguf[0]))
            continue
        problems.append(_misfit(match.gguf, made, tensors) if made is not None else _part_misfit(match, found, hp, tensors))
    return [problem for problem in problems if problem is not None]


def _misfit(names: Sequence[str], made: Sequence[Shape], tensors: Mapping[str, StoredTensor]) -> InputError | None:
    """The first of these tensors that is not of the shape that it must have."""
    return next((_differs(tensors[name], shape, tensors[name].shape) for name, shape in zip(names, made, strict=True)
                 if without_ones(tensors[name].shape) != without_ones(shape)), None)


def _part_misfit(match: Match, found: Sequence[Known], hp: Hparams, tensors: Mapping[str, StoredTensor]) -> InputError | None:
    """The same of tensors of which not all sizes are known, by the HF tensors that they make."""
    for part, shape in enumerate(found):
        said = known(match, hp, part)
        if said is not None and not fits(said, shape):
            return _differs(tensors[match.gguf[0]], said, shape)
    return None


def _differs(tensor: StoredTensor, expected: Known, found: Known) -> InputError:
    return InputError("the shape does not fit the rest of the file", file=tensor.file, tensor=tensor.name,
                      expected=list(expected), found=list(found))
