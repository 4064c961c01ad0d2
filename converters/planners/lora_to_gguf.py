"""PEFT LoRA adapter -> GGUF adapter: from headers and two configs to a complete plan, or one error with all faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import arch
from ..errors import GgufxError, InputError, UnsupportedError, UsageError, raise_all
from ..io.tensors import StoredTensor
from ..io.values import Metadata, ValueType, array, f32, string, u32
from ..metadata.general import general_metadata
from ..metadata.naming import count_parameters, default_file_name, output_path
from ..notes import Note, grouped
from ..ops import LoraRefused, Op, Transpose
from ..ops.lora import EMBEDDING, FUSED, MATRIX, Lora
from ..plan.gguf_output import gguf_output
from ..plan.plan import ConversionPlan, InputFile, PlannedTensor, TensorJob, numbered
from ..rules.hf_config import canonical
from ..rules.hparams import sizes, write_hparams
from ..rules.match import BlockHparams, block_of, is_of, local_holes, rename
from ..rules.shapes import expected_shape
from ..rules.spec import ArchSpec, Hparams, TensorRule
from ..rules.template import Holes, TemplateIndex
from ..sources.hf_folder import config_only
from ..sources.packed.mlx_adapter import open_adapter
from ..sources.packed.task_adapter import open_task
from .adapter_config import MERGE, AdapterSettings, read_settings
from .adapter_keys import PREFIX, Record
from .adapter_weights import FACTOR, Pair, of_another_base, pairs_of
from .outtype import OUTTYPES, QUANTIZATION_VERSION, target_type
from .packed_sources import source_of
from .published import published

SEPARATE = "the weight is one with others in the runtime, and factors of separate weights do not join into one pair"
NO_NORMS = "the runtime normalises without looking for adapters"  # norms of each head are matrices, too
NO_FACTORS = (("lora_magnitude_vector", "a DoRA magnitude"), ("modules_to_save", "one of modules_to_save"),
              ("bias", "a trained bias"))


@dataclass(frozen=True)
class LoraOptions:
    """How an adapter is made. `hf_class`: the class to take the base for. `plain`: no ggufx.* key-values. `task`: of a model
    that holds updates of tasks, the one whose adapter is wanted. UsageError for a type that adapters do not have."""

    outtype: str = "f32"
    _: KW_ONLY
    model_name: str | None = None
    metadata_file: Path | None = None
    hub_id: str | None = None
    hf_class: str | None = None
    plain: bool = False
    task: str | None = None

    def __post_init__(self) -> None:
        if self.outtype not in OUTTYPES:
            raise UsageError("no type of an adapter", expected=", ".join(OUTTYPES), found=self.outtype)


@dataclass
class _Group:
    """The pairs that one rule takes at one place: one, or one per adapted expert."""

    rule: TensorRule
    holes: Holes
    kind: str
    ops: tuple[Op, ...]
    pairs: dict[int, Pair] = field(default_factory=dict)


def plan_lora_to_gguf(base: Path, adapter: Path, outfile: str | Path | None, options: LoraOptions) -> ConversionPlan:
    """Plan `adapter` -> a GGUF adapter for the model in `base`, whose config.json is enough.

    With a task, `adapter` is a model that holds its update."""
    problems: list[GgufxError] = []
    spec, hp, tied, _ = read_base(base, options.hf_class)
    checkpoint, prompt = open_task(adapter, options.task, options.hf_class) if options.task is not None else (
        open_adapter(adapter), None)
    settings = read_settings(checkpoint.config, str(adapter), problems)
    notes = list(checkpoint.notes)
    pairs = _pairs(_without_base(checkpoint.tensors, spec, hp, notes), str(adapter), problems)
    unfit: list[GgufxError] = []
    groups = _groups(spec, hp, pairs, settings, str(adapter), unfit, tied)
    raise_all([*problems, *of_another_base(unfit, base, checkpoint)])

    alpha = _alpha_of_most(groups, hp, settings)
    jobs_parts = [(g, _lora_op(g, hp, settings, alpha)) for g in groups]
    planned = _targets(jobs_parts, options.outtype, str(adapter), problems)
    raise_all(problems)
    general = general_metadata(
        adapter, arch=spec.name, kind="adapter", model_name=options.model_name, override_file=options.metadata_file,
        hub_id=options.hub_id, tensors_params=count_parameters([(t.name, t.shape) for t in planned]), notes=notes)
    key_values: Metadata = {**general, "adapter.lora.alpha": f32(alpha)}
    if settings.invocation_tokens:
        key_values["adapter.alora.invocation_tokens"] = array(ValueType.UINT32, list(settings.invocation_tokens))
    if options.task is not None:
        key_values["adapter.lora.task_name"] = string(options.task)
    if prompt is not None:
        key_values["adapter.lora.prompt_prefix"] = string(prompt)
    key_values["general.quantization_version"] = u32(QUANTIZATION_VERSION)
    if not options.plain and options.task is None:  # a task's adapter was none of PEFT's
        record = Record(spec, options.hf_class)
        for group, op in jobs_parts:
            record.add(group.rule, op, [(_of_hf(spec, group, expert, hp), pair.a, pair.b)
                                        for expert, pair in sorted(group.pairs.items())],
                       group.rule.gguf[0].format({**group.holes, "p": "weight"}), OUTTYPES[options.outtype], notes)
        key_values |= record.keys(checkpoint, checkpoint.tensors.keys() - {t.name for p in pairs for t in (p.a, p.b)})

    path = output_path(outfile, options.outtype, default_file_name(general, OUTTYPES[options.outtype], "adapter"))
    key_values = published(key_values, notes)
    made = gguf_output(path, key_values, planned)
    files = numbered(t.file for t in checkpoint.tensors.values())
    jobs = []
    for group, op in jobs_parts:
        sources = tuple(source_of(t, files)
                        for _, pair in sorted(group.pairs.items()) for t in (pair.a, pair.b))
        jobs.append(TensorJob(_names(group)[0], sources, (op,), tuple(made.regions[n] for n in _names(group))))
    return ConversionPlan(
        "lora-to-gguf", tuple(InputFile.of(path) for path in files), made.files, tuple(jobs),
        tuple(planned), tuple(grouped(notes)),
        {"architecture": spec.name, "class": spec.classes[0], "alpha": settings.alpha, "modules": len(pairs)})


class BaseModel(NamedTuple):
    """What is to be known of a base model. `tied`: whether its head is its embedding."""

    spec: ArchSpec
    hp: Hparams
    tied: bool
    hf_class: str


def read_base(base: Path, hf_class: str | None) -> BaseModel:
    """A base model by its config.json."""
    problems: list[GgufxError] = []
    base_config = config_only(base, hf_class)
    spec = arch.for_config(base_config, f"{base}/config.json")
    if spec.draft:
        raise UnsupportedError(f"{spec.classes[0]} is a draft model, of which no adapter is converted", file=base)
    config = canonical(base_config, spec, f"{base}/config.json")
    keys = write_hparams(spec, config, [], problems)
    raise_all(problems)
    hp = sizes(spec, {k: v.data for k, v in keys.items()}, config.get("vocab_size"), config)
    name = arch.class_of(base_config, f"{base}/config.json")
    headless = name in spec.headless  # the embedding stands in
    return BaseModel(spec, hp, (bool(config.get("tie_word_embeddings")) or headless) and spec.head, name)


def _without_base(tensors: Mapping[str, StoredTensor], spec: ArchSpec, hp: Hparams,
                  notes: list[str]) -> dict[str, StoredTensor]:
    """The tensors without copies of base weights, which peft saves beside factors of embeddings.

    A copy of the base model's shape says nothing new; one of another shape (added tokens) stays, and is refused.
    """
    index = _index(spec)
    out = {}
    for name, tensor in tensors.items():
        weight = name.removeprefix(PREFIX).replace(".base_layer.", ".")
        copied = ".base_layer." in name and name.removesuffix("bias").removesuffix("weight") + "weight" in tensors
        found = _find(index, spec, hp, weight) if copied else None  # with the weight comes its bias
        bias = weight.endswith(".bias")
        if found and expected_shape(found[0], BlockHparams(hp, block_of(spec, *found, hp)), bias) == tensor.shape:
            notes.append(Note("copies of the base model's weights are left out", name))
        else:
            out[name] = tensor
    return out


def _pairs(tensors: Mapping[str, StoredTensor], file: str, problems: list[GgufxError]) -> list[Pair]:
    """The factor pairs of the adapter. Every tensor that is no factor is a problem, by name, unless a setting that asks for
    such tensors is one already: one cause is told once."""
    factors = {name: tensor for name, tensor in tensors.items() if FACTOR.fullmatch(name.removeprefix(PREFIX))}
    if not any(isinstance(problem, UnsupportedError) for problem in problems):
        for name in (name for name in tensors if name not in factors):
            what = next((what for part, what in NO_FACTORS if part in name), "a full weight")
            problems.append(UnsupportedError(f"is {what}; a GGUF adapter holds LoRA factors only", file=file,
                                             tensor=name, hint=MERGE))
    return pairs_of(factors, file, problems)


def _groups(spec: ArchSpec, hp: Hparams, pairs: list[Pair], settings: AdapterSettings, file: str,
            problems: list[GgufxError], tied: bool) -> list[_Group]:
    """Which rule takes which pairs."""
    index = _index(spec)
    parameters = list(dict.fromkeys(p.rpartition(".")[2] for p in settings.parameters))
    groups: dict[tuple[str, tuple], _Group] = {}
    for pair in pairs:
        kind = EMBEDDING if pair.embedding else MATRIX
        weight = f"{pair.module}.weight"
        found = _find(index, spec, hp, weight)
        if found is not None and settings.is_parameter(weight):
            shape = expected_shape(found[0], BlockHparams(hp, block_of(spec, *found, hp)), False)
            kind = FUSED if shape is not None and len(shape) == 3 else kind  # a stack that its module calls weight
        if found is None and parameters:
            kind, found = FUSED, _fused(index, spec, hp, pair, parameters)
        if found is None:
            problems.append(_no_place(spec, weight, file, pair.a.name))
            continue
        rule, holes = found
        problem = unfit_pair(spec, rule, holes, pair, kind, hp, tied)
        if problem is None and len(rule.hf) > 1:
            problem = UnsupportedError(SEPARATE, hint=MERGE)
        if problem is not None:
            problem.file, problem.tensor = file, pair.a.name
            problems.append(problem)
            continue
        expert = int(holes.pop("e", 0))
        if rule.stack:
            holes[rule.stack] = block_of(spec, rule, holes, hp)
        try:
            ops = tuple(op.bind(BlockHparams(hp, rule.block(holes))) for op in rule.ops)
        except (KeyError, ValueError) as error:
            problems.append(InputError(f"the base model's config.json gives the weight no size ({error})", file=file,
                                       tensor=pair.a.name))
            continue
        key = (str(rule.hf[0]), tuple(sorted(holes.items())))
        groups.setdefault(key, _Group(rule, holes, kind, ops)).pairs[expert] = pair
    return list(groups.values())


def _no_place(spec: ArchSpec, weight: str, file: str, tensor: str) -> GgufxError:
    """Why no rule takes an update of this weight."""
    if spec.whole and weight.startswith(tuple(spec.whole.parts)):
        return UnsupportedError("belongs to a part of the model beside its text: the runtime applies no update there",
                                file=file, tensor=tensor, hint=MERGE)
    if any(t.match(name) is not None for name in rename(weight, spec.aliases) for t in spec.ignore):
        return UnsupportedError("GGUF has no place for the weight that it belongs to", file=file, tensor=tensor)
    return InputError("the base model has no such weight", file=file, tensor=tensor,
                      hint="Is --base the model that the adapter was trained on?")


def _index(spec: ArchSpec) -> TemplateIndex[TensorRule]:
    """The rules by the HF tensors that an update can belong to."""
    index: TemplateIndex[TensorRule] = TemplateIndex()
    for rule in spec.tensors:
        for template in rule.hf:
            index.add(template, rule)
    return index


def _find(index: TemplateIndex[TensorRule], spec: ArchSpec, hp: Hparams, name: str) -> tuple[TensorRule, Holes] | None:
    for spelling in rename(name, spec.aliases):
        for _, rule, holes in index.find(spelling):
            if is_of(spec, rule, holes, hp):
                return rule, holes
    return None


def _fused(index: TemplateIndex[TensorRule], spec: ArchSpec, hp: Hparams, pair: Pair,
           parameters: list[str]) -> tuple[TensorRule, Holes] | None:
    """The rule of a pair on a parameter (peft's target_parameters), which the pair's name does not tell.

    Several parameters of one module nest, the last one outermost; where two have the same shape, that order decides.
    """
    found = [f for p in parameters if (f := _find(index, spec, hp, f"{pair.module}.{p}"))]
    order = {id(rule): i for i, rule in enumerate(spec.tensors)}
    found.sort(key=lambda f: order[id(f[0])], reverse=True)
    fit = [f for f in found if unfit_pair(spec, *f, pair, FUSED, hp, False) is None]
    if len(fit) > 1 and len(fit) == len(found):
        return fit[min(pair.depth, len(fit) - 1)]
    return fit[0] if fit else (found[0] if found else None)


def unfit_pair(spec: ArchSpec, rule: TensorRule, holes: Holes, pair: Pair, kind: str, hp: Hparams,
           tied: bool) -> GgufxError | None:
    """Why the rule's weight cannot take the pair; None if it can."""
    block = block_of(spec, rule, holes, hp)
    at = BlockHparams(hp, block)
    gguf = rule.gguf[0].text
    if why := rule.no_lora or (NO_NORMS if gguf.removesuffix(".{p}").removesuffix(".weight").endswith("_norm") else None):
        return UnsupportedError(f"no LoRA update of this weight works in the runtime: {why}", hint=MERGE)
    if tied and gguf in ("output.weight", "token_embd.weight"):
        return UnsupportedError("the base model ties its head to its embedding, so that neither takes an update alone",
                                hint=MERGE)
    if rule.stack and block not in (blocks := spec.blocks(rule.stack, hp)):
        return InputError("the block is beyond the base model's block count", expected=len(blocks))
    if spec.idle and block is not None and spec.idle(hp, block):
        return UnsupportedError("no LoRA update of this weight works in the runtime: it does not compute with this block",
                                hint=MERGE)
    if rule.stacked and holes.get("e", 0) >= at.get(rule.each, 0):
        return InputError("the expert is beyond the base model's expert count", expected=at.get(rule.each))
    shape = expected_shape(rule, at, False)
    if shape is None:
        return None
    experts, rank = 1, pair.a.shape[0]
    if kind == FUSED:
        if len(shape) != 3:
            return InputError("the parameter is not a stack of experts", expected=list(shape))
        experts, shape = shape[0], shape[1:]
    if len(shape) != 2:
        return InputError("the factors do not fit the weight of the base model", expected=list(shape),
                          found=f"A {list(pair.a.shape)}, B {list(pair.b.shape)}")
    turned = (bool(rule.ops) and isinstance(rule.ops[0], Transpose) and rule.ops[0].conv1d) or kind == EMBEDDING
    out, inner = (shape[1], shape[0]) if turned else shape
    if not 0 < rank <= experts * max(out, inner) or rank % experts or (pair.b.shape[0], pair.a.shape[1]) != (out, inner):
        stack = f", {experts} experts in r" if experts > 1 else ""
        return InputError("the factors do not fit the weight of the base model",
                          expected=f"A [r, {inner}], B [{out}, r]{stack}",
                          found=f"A {list(pair.a.shape)}, B {list(pair.b.shape)}")
    return None


def _of_hf(spec: ArchSpec, group: _Group, expert: int, hp: Hparams) -> Holes:
    """The holes of the HF name of one of the group's weights."""
    return {**local_holes(spec, group.rule, group.holes, hp), "e": expert}


def _scales(group: _Group, hp: Hparams, settings: AdapterSettings) -> tuple[int, int, list[float]]:
    """Experts, or 0; the rank of the GGUF factors; what peft multiplies the update of each pair with."""
    at = BlockHparams(hp, group.rule.block(group.holes))
    fused = group.kind == FUSED
    experts = at[group.rule.each] if group.rule.stacked or fused else 0
    pairs = [pair for _, pair in sorted(group.pairs.items())]
    ranks = [p.a.shape[0] // (experts if fused else 1) for p in pairs]
    parameter = str(group.rule.hf[0]).rpartition(".")[2] if fused else "weight"
    return experts, max(ranks), [settings.scaling(p.module, parameter, r) for p, r in zip(pairs, ranks, strict=True)]


def _alpha_of_most(groups: list[_Group], hp: Hparams, settings: AdapterSettings) -> float:
    """The alpha with which the runtime's `alpha / rank` is the scale of most pairs, whose factors then stay as they are."""
    found = Counter(_single(scale * rank) for group in groups
                    for _, rank, scales in [_scales(group, hp, settings)] for scale in scales)
    return max(found, key=lambda alpha: (found[alpha], alpha == settings.alpha), default=settings.alpha)


def _single(number: float) -> float:
    """The number as float32 holds it."""
    return float(np.float32(number))


def _lora_op(group: _Group, hp: Hparams, settings: AdapterSettings, alpha: float) -> Lora:
    """The op that makes the GGUF factors, with everything that the runtime's `alpha / rank` does not say folded in."""
    experts, rank, scales = _scales(group, hp, settings)
    return Lora(group.ops, group.kind, tuple(_single(s * rank / alpha if alpha else s) for s in scales), rank, experts,
                tuple(sorted(group.pairs)) if group.rule.stacked else ())


def _names(group: _Group) -> list[str]:
    return [f"{t.format({**group.holes, 'p': 'weight'})}.lora_{side}" for t in group.rule.gguf for side in "ab"]


def _targets(parts: list[tuple[_Group, Lora]], outtype: str, file: str,
             problems: list[GgufxError]) -> list[PlannedTensor]:
    """Names, types and shapes of the adapter's tensors."""
    if outtype not in OUTTYPES:
        raise UnsupportedError(f"an adapter cannot be of type {outtype}", expected=", ".join(OUTTYPES), found=outtype)
    out = []
    for group, op in parts:
        first = next(iter(group.pairs.values()))
        try:
            shapes = op.shape([t.shape for _, p in sorted(group.pairs.items()) for t in (p.a, p.b)])
        except LoraRefused as error:
            problems.append(UnsupportedError(str(error), file=file, tensor=first.a.name, hint=MERGE))
            continue
        except ValueError as error:
            problems.append(InputError(str(error), file=file, tensor=first.a.name))
            continue
        for name, shape in zip(_names(group), shapes, strict=True):
            kind, wanted = target_type(name, shape, OUTTYPES[outtype])
            out.append(PlannedTensor(name, kind, shape, wanted))
    return out
