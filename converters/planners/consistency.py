"""What in the header of a GGUF file contradicts itself: settings, names and shapes of tensors by the architecture's table."""

from __future__ import annotations

from .. import arch
from ..errors import GgufxError, ManyErrors
from ..io.gguf import GgufFile
from ..io.values import plain, text_of
from ..ops import Crop
from ..plan.tiles import shapes_through
from ..rules.facts import GgufFacts
from ..rules.hparams import UNFIT, read_hparams, sizes
from ..rules.match import BlockHparams, Match, expected_shape, match_gguf
from ..rules.runtime_defaults import with_defaults
from ..rules.spec import Hparams


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
        out = [text for match in matched.matches if (text := _misfit(model, match, hp))]
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


def _misfit(model: GgufFile, match: Match, hp: Hparams) -> str | None:
    """How the shapes of the tensors of a match differ from what the settings say."""
    name, shapes = match.gguf[0], [model.tensors[g].shape for g in match.gguf]
    try:
        if match.rule.stacked:
            shapes = [match.item(shapes[0])]
        found = shapes_through(tuple(op.inverse for op in reversed(match.ops_of(0))), shapes)
        expected = expected_shape(match.rule, BlockHparams(hp, match.block), match.holes.get("p") == "bias")
    except UNFIT as error:
        return f"{name}: {error}"
    if expected is None or any(isinstance(op, Crop) for op in match.ops):
        return None
    wrong = next((shape for shape in found if shape != expected), None)
    return f"{name} is of {list(wrong)}, the settings say {list(expected)}" if wrong else None
