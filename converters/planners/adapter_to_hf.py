"""GGUF adapter -> PEFT adapter: from its header and the base's config.json to a complete plan, or one error with all faults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...quant.formats import FLOATS
from ..errors import GgufxError, InputError, UnsupportedError, UsageError, raise_all
from ..io.files import printable, read_bytes
from ..io.gguf import GgufFile, read_gguf
from ..io.json_file import json_bytes, parse_object
from ..io.safetensors import Shard, encode_safetensors_header, layout
from ..io.tensors import StoredTensor
from ..io.values import Metadata, ValueType, text_of
from ..metadata.model_card import model_card
from ..notes import Note, grouped
from ..ops import LoraBack, LoraRefused, Shape
from ..ops.lora import EMBEDDING, FUSED, MATRIX
from ..plan.plan import ConversionPlan, InputFile, OutputFile, PlannedTensor, Region, TensorJob, numbered
from ..rules.match import BlockHparams, in_stack, is_of, local_holes
from ..rules.shapes import expected_shape
from ..rules.spec import TensorRule
from ..rules.template import Holes, TemplateIndex
from ..sources.hub import HubReference, cached_origin
from ..sources.recognise import GGUFS, expect
from .adapter_keys import PREFIX, factor_names, folded_of
from .adapter_weights import Pair
from .gguf_to_hf import DTYPES, HfOptions
from .kept_tensors import kept_pieces
from .lora_to_gguf import BaseModel, read_base, unfit_pair
from .own_keys import Source
from .peft_config import Adapted, peft_config
from .published import published
from .spelling import class_spelling

HUB = "https://huggingface.co/"
_GIVE_BASE = "Give --base: a folder (its config.json is enough) or a Hub id."
_IGNORED = "tensors that the runtime ignores in adapters are left out"


@dataclass(frozen=True)
class _Update:
    """What one rule makes at one place: the factors of GGUF tensors into those of HF weights. `names`: (A, B) of each pair,
    under the table's spelling; `shapes`: of each A and B; `scales`: B @ A is multiplied by that."""

    rule: TensorRule
    made: tuple[str, ...]  # the GGUF weights, of which some may have no update
    holes: Holes
    op: LoraBack
    names: list[tuple[str, str]]
    shapes: list[Shape]
    alpha: float


def is_adapter(path: Path) -> bool:
    """Whether a GGUF file says that it is an adapter."""
    expect(path, "gguf")
    return text_of(read_gguf(path).metadata, "general.type") == "adapter"


def base_of_gguf(path: Path) -> str:
    """The base model that a GGUF adapter names, as a Hub reference. UsageError if it names none."""
    keys = read_gguf(path).metadata
    config = _own_config(keys, path)
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if isinstance(name, str) and HubReference.parse(name) is not None:
        pinned = f"{name}@{revision}"
        return pinned if isinstance(revision, str) and HubReference.parse(pinned) else name
    address = text_of(keys, "general.base_model.0.repo_url")
    name = address.removeprefix(HUB)
    if address.startswith(HUB) and HubReference.parse(name) is not None:
        return name
    raise UsageError("names no base model", file=path, hint=_GIVE_BASE)


def hub_id(base: str | Path) -> str | None:
    """What adapter_config.json may call a base model: its repository on the Hub. A folder of this machine says nothing to
    others."""
    if os.path.exists(base):
        return cached_origin(Path(base))
    where = HubReference.parse(str(base))
    return where.repo if where else None


def plan_adapter_to_hf(path: Path, base: Path, folder: Path, options: HfOptions, base_id: str | None) -> ConversionPlan:
    """Plan a GGUF adapter -> a PEFT adapter in `folder`, for the model in `base`, whose config.json is enough. `base_id`: what
    adapter_config.json calls that, unless the file says it; see `hub_id`."""
    expect(path, "gguf")
    if options != HfOptions(options.dtype, hf_class=options.hf_class):
        raise UsageError("an adapter is one file without a tokenizer or other parts", file=path,
                         hint="Leave out --max-shard-size, --mmproj, --pre and --no-tokenizer.")
    file = read_gguf(path)
    _check_kind(file)
    own = Source.of(file.metadata, path)
    model = read_base(base, options.hf_class or (own.hf_class or None if own else None))
    if (name := text_of(file.metadata, "general.architecture")) != model.spec.name:
        raise InputError("is an adapter for another architecture than the base model's", file=path, expected=model.spec.name,
                         found=printable(name), hint="Is --base the model that the adapter was trained on?")
    notes: list[str] = []
    problems: list[GgufxError] = []
    pairs = _pairs(file, notes, problems)
    alpha = file.metadata.get("adapter.lora.alpha")
    if alpha is not None and alpha.type is not ValueType.FLOAT32:
        problems.append(InputError("adapter.lora.alpha: wrong type", file=path, expected="FLOAT32", found=alpha.type.name))
    tokens = _invocation_tokens(file, problems)
    raise_all(problems)
    updates = _updates(model, pairs, own, float(alpha.data) if alpha else 0.0, path,
                       options.dtype == "auto", problems)
    raise_all(problems)
    if not updates:
        raise InputError("the adapter holds no update", file=path)

    spelled = _spelling(model, own, updates)
    types = _types(own, updates, spelled, pairs, options, notes, path, problems)
    raise_all(problems)
    if own and (config := _own_config(file.metadata, path)):
        if base_id and not config.get("base_model_name_or_path"):
            config["base_model_name_or_path"] = base_id
        notes += [Note("copies of the base model's weights do not come back", *own.dropped)] if own.dropped else []
    else:
        adapted = [each for update in updates for each in _adapted(update, spelled)]
        config = peft_config(model, adapted, base=base_id, conv1d=any(map(_is_conv1d, updates)), tokens=tokens, notes=notes)
    return _assemble(file, folder, model, own, updates, pairs, spelled, types, config, notes)


def _invocation_tokens(file: GgufFile, problems: list[GgufxError]) -> list[int]:
    """The tokens behind which an aLoRA acts."""
    value = file.metadata.get("adapter.alora.invocation_tokens")
    if value is None:
        return []
    if value.item_type is not ValueType.UINT32:
        problems.append(InputError("adapter.alora.invocation_tokens: wrong type", file=file.path, expected="UINT32[]"))
        return []
    return [int(token) for token in value.data]


def _check_kind(file: GgufFile) -> None:
    """Raise for what is no LoRA adapter."""
    kind, name = (text_of(file.metadata, f"general.{key}") for key in ("type", "architecture"))
    for thing in GGUFS:
        if kind != "adapter" and thing.seen(kind, name, file.tensors):
            raise UnsupportedError(f"is {thing.name}; an adapter is needed", file=file.path, hint=thing.way)
    if kind != "adapter":
        raise UsageError("is no adapter, and has no base model", file=file.path, hint="Leave out --base.")
    if (kind := text_of(file.metadata, "adapter.type")) != "lora":
        raise UnsupportedError(f"an adapter of type '{printable(kind)}' is no LoRA adapter", file=file.path)


def _pairs(file: GgufFile, notes: list[str], problems: list[GgufxError]) -> dict[str, tuple[StoredTensor, StoredTensor]]:
    """The factors by the name of the weight that they update, in the order of the file."""
    found: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in file.tensors.items():
        weight, _, side = name.rpartition(".lora_")
        if weight and side in ("a", "b"):
            found.setdefault(weight, {})[side] = tensor
        elif name.endswith("_norm.weight"):
            notes.append(Note(_IGNORED, name))
        else:
            problems.append(InputError("is no factor of a LoRA adapter", file=file.path, tensor=name,
                                       expected="names that end in .lora_a or .lora_b"))
    out = {}
    for weight, sides in found.items():
        a, b = sides.get("a"), sides.get("b")
        if a is None or b is None:
            problems.append(InputError("has no counterpart; factors come as pairs", file=file.path,
                                       tensor=next(iter(sides.values())).name))
        elif (len(a.shape) not in (2, 3) or len(a.shape) != len(b.shape) or not all((*a.shape, *b.shape))
              or a.shape[:-2] != b.shape[:-2] or a.shape[-1 if _is_embedding(weight) else -2] != b.shape[-1]):
            problems.append(InputError("the ranks of the factors differ", file=file.path, tensor=a.name,
                                       expected="lora_a [r, in], lora_b [out, r]", found=f"{a.shape}, {b.shape}"))
        else:
            out[weight] = (a, b)
    return out


def _is_embedding(weight: str) -> bool:
    """Whether the runtime looks the rows of lora_a up, instead of multiplying with it."""
    return weight == "token_embd.weight"


def _is_router(weight: str) -> bool:
    return weight.endswith(".ffn_gate_inp.weight")


def _updates(model: BaseModel, pairs: Mapping[str, tuple[StoredTensor, StoredTensor]], own: Source | None, alpha: float,
             path: Path, exact: bool, problems: list[GgufxError]) -> list[_Update]:
    """Which rule makes what of which factors. Of several layouts that one which the file records; else that which transformers
    5 has in memory; of mixtures where no row says so the last one: one parameter of all experts before a module for each.
    `exact`: factors that the file keeps come back as they were."""
    index: TemplateIndex[int] = TemplateIndex()
    spec = model.spec
    for number, rule in enumerate(spec.tensors):
        for template in rule.gguf if rule.emits is None else ():
            index.add(template, number)
    layouts = own.layouts if own else ()
    done: set[str] = set()
    out = []
    for weight in pairs:
        if weight in done:
            continue
        of_mixture = _is_router(weight) or "_shexp." in weight or len(pairs[weight][0].shape) == 3
        rules = [(spec.tensors[r], holes) for _, r, holes in [*index.find(weight)][:: -1 if of_mixture else 1]
                 if in_stack(spec, rule := spec.tensors[r], holes, model.hp)
                 and is_of(spec, rule, local_holes(spec, rule, holes, model.hp), model.hp)]
        rules.sort(key=lambda found: (str(found[0].hf[0]) not in layouts, not found[0].in_memory,
                                      bool(found[0].given and not found[0].given.at(pairs, found[1])), found[0].stacked))
        failed: list[GgufxError] = []
        for rule, holes in rules:
            made = _update(model, rule, holes, pairs, own, alpha, path, exact)
            if isinstance(made, _Update):
                out.append(made)
                done.update(made.made)
                break
            failed.append(made)
        else:
            problems.append(failed[0] if failed else InputError(
                "the base model has no such weight", file=path, tensor=weight,
                hint="Is --base the model that the adapter was trained on?"))
    return out


def _update(model: BaseModel, rule: TensorRule, holes: Holes, pairs: Mapping[str, tuple[StoredTensor, StoredTensor]],
            own: Source | None, alpha: float, path: Path, exact: bool) -> _Update | GgufxError:
    """What a rule makes of the factors at one place, or why it cannot."""
    at = BlockHparams(model.hp, rule.block(holes))
    made = tuple(template.format(holes) for template in rule.gguf)
    there = [pairs[name] for name in made if name in pairs]
    first, shapes = there[0][0].name, [t.shape for pair in there for t in pair]
    try:
        ops = tuple(op.bind(at) for op in rule.ops)
        stack = len(there[0][0].shape) == 3
        kind = EMBEDDING if _is_embedding(made[0]) else FUSED if stack and not rule.stacked else MATRIX
        experts = int(at[rule.each]) if stack else 0
        if any((pair[0].shape[0] if len(pair[0].shape) == 3 else 0) != experts for pair in there):
            raise ValueError(f"the factors are not those of {experts} experts")
        ranks = [pair[1].shape[-1] for pair in there]
        shared = all(_same(pair[0], there[0][0]) for pair in there)
        folded = folded_of(own, made[0], experts if rule.stacked else 0, ranks[0] if shared else sum(ranks))
        if own and not (shared and all(0 < r <= ranks[0] and e < max(experts, 1) for e, r, _ in folded)):
            raise ValueError("the factors are not those that ggufx.source tells of")
        local = local_holes(model.spec, rule, holes, model.hp)
        names = [pair for e, _, _ in folded for pair in factor_names(rule, {**local, "e": e}, kind)]
        kept = own.kept if exact and own is not None else {}
        out = "".join(side for side, of_side in zip("AB", zip(*names, strict=True), strict=True)
                      if not any(own is not None and own.original_name(name) in kept for name in of_side))
        op = LoraBack(ops, kind, tuple(s for _, _, s in folded), tuple(r for _, r, _ in folded), experts,
                      tuple(e for e, _, _ in folded) if rule.stacked else (), _absent(rule, made, ops, at, pairs),
                      () if shared else _multipliers(ranks, made, pairs, alpha), out)
        results = replace(op, out="AB").shape(shapes)
    except (KeyError, ValueError, IndexError) as error:  # LoraRefused is a ValueError
        refused = isinstance(error, LoraRefused) or rule.no_lora
        return (UnsupportedError if refused else InputError)(rule.no_lora or str(error), file=path, tensor=first)
    for number, (name, _) in enumerate(names):
        a, b = (StoredTensor(name, "F32", results[2 * number + i], path, 0, 0) for i in (0, 1))
        hf = {**local, "e": folded[min(number, len(folded) - 1)][0]}
        pair = Pair(name, 0, kind == EMBEDDING, a, b)
        if problem := unfit_pair(model.spec, rule, hf, pair, kind, model.hp, model.tied):
            problem.file, problem.tensor = str(path), first
            return problem
    return _Update(rule, made, holes, op, names, results, _alpha(alpha, ranks, shared))


def _absent(rule: TensorRule, made: tuple[str, ...], ops: tuple, at: BlockHparams, pairs: Mapping[str, Any]) -> tuple[int, ...]:
    """Of each GGUF weight 0, or where it has no update its rows. ValueError where they are not known."""
    if all(name in pairs for name in made):
        return (0,) * len(made)
    shape = expected_shape(rule, at, False)
    if shape is None:
        raise ValueError(f"without an update of {next(name for name in made if name not in pairs)}")
    shapes = [shape]
    for op in ops:
        shapes = op.shape(shapes)
    return tuple(0 if name in pairs else s[-2] for name, s in zip(made, shapes, strict=True))


def _multipliers(ranks: list[int], made: tuple[str, ...], pairs: Mapping[str, Any], alpha: float) -> tuple[float, ...]:
    """What brings updates that the runtime scales by alpha / rank each under one scale, that of the first."""
    left = iter(ranks)
    return tuple((ranks[0] / next(left) if alpha else float(bool(next(left)))) if name in pairs else 0.0 for name in made)


def _alpha(alpha: float, ranks: list[int], shared: bool) -> float:
    """The alpha with which peft's alpha / rank is the runtime's, where rank is that of all updates together."""
    total = ranks[0] if shared else sum(ranks)
    return alpha * total / ranks[0] if alpha else float(total)


def _same(one: StoredTensor, two: StoredTensor) -> bool:
    """Whether two tensors hold the same bytes: adapters are small, and this decides the rank of what comes back."""
    return one is two or ((one.type, one.shape) == (two.type, two.shape) and read_bytes(one.file, one.offset, one.nbytes)
                          == read_bytes(two.file, two.offset, two.nbytes))


def _spelling(model: BaseModel, own: Source | None, updates: list[_Update]) -> dict[str, str]:
    """The names of the factors, by their names under the table's spelling: as recorded, else as the base model's class has
    them."""
    names = [name for update in updates for pair in update.names for name in pair]
    if own is not None:
        return {name: own.original_name(name) for name in names}
    out = {}
    for update in updates:
        depth = 0
        if update.op.kind == FUSED:  # parameters of one module nest, the last one outermost
            module = _module(update)
            order = [id(rule) for rule in model.spec.tensors]
            depth = sum(_module(other) == module and order.index(id(other.rule)) > order.index(id(update.rule))
                        for other in updates if other.op.kind == FUSED)
        for name in (name for pair in update.names for name in pair):
            head, mark, tail = name.partition(".lora_")
            if update.op.kind == FUSED:
                head = head.rpartition(".")[0] + ".base_layer" * depth
            out[name] = class_spelling(model, head) + mark + tail
    return out


def _module(update: _Update) -> str:
    return update.names[0][0].partition(".lora_")[0].rpartition(".")[0]


def _adapted(update: _Update, spelled: Mapping[str, str]) -> list[Adapted]:
    """What peft adapts to have the pairs of an update, each with its rank and alpha."""
    out, router = [], _is_router(update.made[0])
    for number, (name, _) in enumerate(update.names):
        module = spelled[name].removeprefix(PREFIX).partition(".lora_")[0]
        fused = update.op.kind == FUSED
        # A router is a parameter of a class of its own in most models of transformers 5; as a Linear's, that is right, too.
        parameter = name.partition(".lora_")[0].rpartition(".")[2] if fused else "weight" if router else None
        rank = update.shapes[2 * number][0] // (update.op.experts if fused else 1)
        out.append(Adapted(module.replace(".base_layer", ""), parameter, rank, update.alpha))
    return out


def _is_conv1d(update: _Update) -> bool:
    """Whether it adapts a module that stores its weight turned, as those of GPT-2."""
    return update.op.kind == MATRIX and any(getattr(op, "conv1d", False) for op in update.op.ops)


def _own_config(keys: Metadata, path: Path) -> dict[str, Any]:
    """The adapter_config.json that ggufx kept; empty in files of others. Its base model is none where it is a folder."""
    text = text_of(keys, "ggufx.adapter_config")
    return parse_object(text.encode(), path, non_finite=True) if text else {}


def _types(own: Source | None, updates: list[_Update], spelled: Mapping[str, str],
           pairs: Mapping[str, tuple[StoredTensor, StoredTensor]], options: HfOptions, notes: list[str], path: Path,
           problems: list[GgufxError]) -> dict[str, str]:
    """The element type of each factor, by its name under the table's spelling."""
    out = {}
    for update in updates:
        stored = {t.type for weight in update.made for t in pairs.get(weight, ())}
        if blocks := stored - set(FLOATS):
            notes.append(Note(f"factors are decoded from {', '.join(sorted(blocks))}", *update.made))
        found = stored.pop() if len(stored) == 1 and not blocks else "F32"
        for name in (name for pair in update.names for name in pair):
            kind = found if own is None else own.dtypes.get(spelled[name], own.dtype)
            if kind not in FLOATS:
                problems.append(InputError("ggufx.source gives a factor the wrong type", file=path, tensor=spelled[name],
                                           expected=", ".join(FLOATS), found=kind))
            out[name] = DTYPES.get(options.dtype, kind)
    return out


def _assemble(file: GgufFile, folder: Path, model: BaseModel, own: Source | None, updates: list[_Update],
              pairs: Mapping[str, tuple[StoredTensor, StoredTensor]], spelled: Mapping[str, str], types: Mapping[str, str],
              config: dict[str, Any], notes: list[str]) -> ConversionPlan:
    """The file of the factors, card and settings; a job per update."""
    shapes = {name: shape for update in updates for pair, of_pair in
              zip(update.names, zip(update.shapes[::2], update.shapes[1::2], strict=True), strict=True)
              for name, shape in zip(pair, of_pair, strict=True)}
    shard = Shard("adapter_model.safetensors", tuple(layout((spelled[n], types[n], shape) for n, shape in shapes.items())))
    head = encode_safetensors_header(shard.tensors)
    place = {t.name: len(head) + t.offset for t in shard.tensors}
    kept = own.kept if own else {}
    whole = shapes.keys() - {name for update in updates for name in _made(update)}
    outputs = [OutputFile(folder / shard.file_name, len(head) + sum(t.nbytes for t in shard.tensors), head,
                          tuple(piece for n in sorted(whole) for piece in
                                kept_pieces(file.metadata, file.path, spelled[n], kept[spelled[n]], place[spelled[n]])))]
    files = {"README.md": model_card(published(file.metadata, notes)), "adapter_config.json": _config_text(file, config)}
    outputs += [OutputFile(folder / name, len(data), data) for name, data in files.items() if data is not None]

    numbers = numbered(t.file for t in file.tensors.values())
    jobs = []
    for update in updates:
        sources = tuple(Region(numbers[t.file], t.offset, t.type, t.shape)
                        for weight in update.made for t in pairs.get(weight, ()))
        made = _made(update)
        jobs.append(TensorJob(update.made[0], sources, (update.op,), tuple(
            Region(0, place[spelled[name]], types[name], shapes[name]) for name in made)))
    return ConversionPlan(
        "gguf-to-hf", tuple(InputFile.of(path) for path in numbers), tuple(outputs), tuple(jobs),
        tuple(PlannedTensor(t.name, t.type, t.shape) for t in shard.tensors), tuple(grouped(notes)),
        {"architecture": model.spec.name, "class": model.hf_class, "alpha": config.get("lora_alpha"),
         "modules": len(shapes) // 2}, folder=folder)


def _made(update: _Update) -> list[str]:
    """The factors that come out of the op; others are kept."""
    return [name for pair in update.names for side, name in zip("AB", pair, strict=True) if side in update.op.out]


def _config_text(file: GgufFile, config: dict[str, Any]) -> bytes:
    """adapter_config.json: the text that was kept, where it still says the same."""
    text = text_of(file.metadata, "ggufx.adapter_config").encode()
    same = bool(text) and parse_object(text, file.path, non_finite=True) == config
    return text if same else json_bytes(config, indent=2, sort_keys=True)
