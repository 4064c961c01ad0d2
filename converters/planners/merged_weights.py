"""The weights of a checkpoint with adapters merged into them: which are changed, by what, in peft's own order.

What an adapter calls a weight is looked for as it stands, then as the class's table knows it, then as the table's other
layouts do: an adapter of stacked experts also fits a checkpoint that stores them one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GgufxError, InputError, UnsupportedError, UsageError, raise_all
from ..io.files import printable, read_bytes
from ..io.tensors import StoredTensor
from ..ops import LowRank, NewRows, Op, Shape, Shift, Transpose
from ..ops.lora import EMBEDDING, FUSED, MATRIX
from ..ops.merge import FLOAT_WIDTH, Update, floats
from ..rules.match import BlockHparams, HfMatches, Match, expected_shape, rename
from ..rules.spec import ArchSpec, Hparams, TensorRule
from ..rules.template import Holes, TemplateIndex
from ..sources.hf_folder import Checkpoint, open_adapter
from ..sources.hub import resolve_model
from ..sources.merged import merged_tensor, read_floats
from ..sources.names import HEADS, PREFIXES
from ..sources.packed.tensor import PackedTensor
from ..sources.quantized import without_quantization
from .adapter_config import MERGE_BY_PEFT, AdapterSettings, read_settings
from .adapter_weights import AdapterWeights, Pair, of_another_base, read_weights

EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embeddings.weight", "embed_in.weight")
_Step = tuple[bool, str, Update, tuple[StoredTensor, ...]]  # whether of the head, the weight's name, the update, its parts
MAX_SCALE = 1e6
CHUNK = 1 << 24  # numbers that are looked at at a time while norms are taken


@dataclass(frozen=True)
class Adapter:
    """An adapter as it is merged: its folder, and what its own scale is multiplied by."""

    folder: Path
    scale: float = 1.0


def resolve_adapters(given: Iterable[str | Path], progress: bool = False) -> tuple[Adapter, ...]:
    """The adapters that references `ADAPTER` or `ADAPTER@SCALE` stand for: a folder, or a Hub id, whose revision comes first.

    Raises as `resolve_model`.
    """
    out = []
    for reference in map(str, given):
        name, at, scale = reference.rpartition("@")
        try:
            factor = float(scale) if at and not Path(reference).exists() else None
        except ValueError:
            factor = None
        if factor is not None and not (math.isfinite(factor) and abs(factor) <= MAX_SCALE):
            raise UsageError("no scale of an adapter", found=printable(reference), expected=f"-{MAX_SCALE:g} to {MAX_SCALE:g}")
        folder = resolve_model(name if factor is not None else reference, what="adapter", progress=progress)
        out.append(Adapter(folder, 1.0 if factor is None else factor))
    return tuple(out)


@dataclass(frozen=True)
class Place:
    """A weight that an update belongs to. `ops`, `output`, `expert`: as of `LowRank`."""

    name: str
    ops: tuple[Op, ...] = ()
    output: int = 0
    expert: int = -1


def _unwrapped(name: str) -> str:
    """A name of a part of a model without the modules that only wrap it, which versions of transformers put differently."""
    return ".".join(word for word in name.split(".") if word not in ("model", "vision_model"))


class Places:
    """Where a checkpoint has the weights that a class names. `found`: its tensors by the class's table, where it has one."""

    def __init__(self, tensors: Mapping[str, StoredTensor], spec: ArchSpec | None, hp: Hparams, found: HfMatches | None,
                 tied: bool) -> None:
        self.tensors, self.spec, self.hp, self.found = tensors, spec, hp, found
        self.aliases = spec.aliases if spec else ()
        self.made: dict[str, Match] = {}
        self.match_of: dict[str, Match] = {}
        for match in found.matches if found else ():
            self.made.update(dict.fromkeys(match.gguf, match))
            for names in match.hf:
                self.match_of.update({found.names[name]: match for name in names if found})
        self.index: TemplateIndex[TensorRule] = TemplateIndex()
        for rule in spec.tensors if spec else ():
            for template in rule.hf if len(rule.hf) == 1 else ():
                self.index.add(template, rule)
        known = set(found.names.values()) if found else set()
        self.spelled: dict[str, str] = {}  # of what the table does not know
        for name in tensors:
            for spelling in (name, *rename(name, PREFIXES), _unwrapped(name)) if name not in known else ():
                self.spelled.setdefault(spelling, name)
        self.tied = tied

    def of(self, weight: str) -> list[Place]:
        """Where the weight is: one place, or one per tensor that stores a part of it."""
        if (name := self.stored(weight)) is not None:
            return [Place(name)]
        if (known := self.rule(weight)) is None or self.found is None:
            return self._of_tied(weight)
        rule, holes = known
        at = BlockHparams(self.hp, rule.block(holes))
        try:
            ops = tuple(op.bind(at) for op in rule.ops)
        except (KeyError, ValueError):
            return []
        out: list[Place] = []
        for number, template in enumerate(rule.gguf):
            match = self.made.get(template.format({**holes, "p": "weight"}))
            if match is None or len(match.gguf) != 1 or len(match.hf) != 1:
                return self._of_tied(weight)
            names = [self.found.names[name] for name in match.hf[0]]
            if not match.rule.stacked and (ops, len(rule.gguf)) == (match.ops, 1):
                return [Place(names[0])]
            back = tuple(op.inverse for op in reversed(match.ops))
            out += [Place(name, (*ops, *back), number, e if match.rule.stacked else -1) for e, name in enumerate(names)]
        return out

    def _of_tied(self, weight: str) -> list[Place]:
        """A head that is not stored is the embedding."""
        if self.tied and _is_head(weight):
            return [Place(name) for name in self.embedding[:1]]
        return []

    @property
    def embedding(self) -> list[str]:
        """The table of tokens, by its name in the checkpoint."""
        if match := self.made.get("token_embd.weight"):
            return [self.match_names(match)]
        return [name for name in self.tensors if name.endswith(EMBEDDINGS)]

    def match_names(self, match: Match) -> str:
        assert self.found is not None
        return self.found.names[match.hf[0][0]]

    def stored(self, weight: str) -> str | None:
        if weight in self.tensors:
            return weight
        for spelling in rename(weight, self.aliases or PREFIXES):
            if self.found is not None and spelling in self.found.names:
                return self.found.names[spelling]
        return next((self.spelled[s] for s in (*rename(weight, PREFIXES), _unwrapped(weight)) if s in self.spelled), None)

    def rule(self, weight: str) -> tuple[TensorRule, Holes] | None:
        """The table's row of a weight, with the block as GGUF counts it."""
        for spelling in rename(weight, self.aliases):
            for _, rule, holes in self.index.find(spelling):
                if rule.stack and self.spec:
                    holes = {**holes, rule.stack: self.spec.blocks(rule.stack, self.hp).start + int(holes.get(rule.stack, 0))}
                return rule, holes
        return None

    def shape(self, weight: str) -> Shape | None:
        """The weight's shape, as the class has it."""
        if (name := self.stored(weight)) is not None:
            return self.tensors[name].shape
        if (known := self.rule(weight)) is None:
            return None
        return expected_shape(known[0], BlockHparams(self.hp, known[0].block(known[1])), False)

    def turned(self, weight: str) -> bool:
        """Whether the class stores it as [in, out], which peft's factors are not."""
        match = self.match_of.get(self.stored(weight) or "")
        rule = match.rule if match else (known := self.rule(weight)) and known[0]
        return bool(rule and rule.ops and isinstance(rule.ops[0], Transpose) and rule.ops[0].conv1d)


def with_adapters(checkpoint: Checkpoint, adapters: Sequence[Adapter], places: Places) -> Checkpoint:
    """The checkpoint with the adapters merged into its weights, one after another; weights that are packed are decoded.

    Raises InputError or UnsupportedError with everything that keeps them from being merged.
    """
    notes = list(checkpoint.notes)
    problems: list[GgufxError] = []
    opened = [_Opened(adapter, places, notes, problems) for adapter in adapters]
    raise_all(problems)
    bases: dict[str, StoredTensor] = {}
    for one in opened:
        bases |= one.replaced()
    config = {k: dict(v) if k == "text_config" and isinstance(v, dict) else v for k, v in checkpoint.config.items()}
    _untie(bases, checkpoint, places, any(one.checkpoint.config.get("ensure_weight_tying") for one in opened), config, notes)
    _resize(bases, checkpoint, places, config, problems)
    raise_all(problems)
    places.tensors = {**checkpoint.tensors, **bases}
    steps: list[_Step] = [step for one in opened for step in one.updates()]
    raise_all(problem for one in opened for problem in one.all_problems(checkpoint.folder))
    of: dict[str, list[tuple[Update, tuple[StoredTensor, ...]]]] = {}
    for _, name, update, parts in sorted(steps, key=lambda step: step[0]):  # peft merges module after module
        of.setdefault(name, []).append((update, parts))
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in places.tensors.items():
        original = checkpoint.tensors.get(name, tensor)
        if name not in bases and name not in of and not isinstance(tensor, PackedTensor):
            tensors[name] = tensor
        elif tensor.type not in FLOAT_WIDTH:
            problems.append(UnsupportedError(f"{tensor.type} weights are not merged", file=tensor.file, tensor=name))
        else:
            at = original if name in checkpoint.tensors else checkpoint.tensors[places.embedding[0]]
            tensors[name] = merged_tensor(replace(original, name=name) if at is original else _beside(at, name), tensor,
                                          _with_norms(tensor, of.get(name, []), problems))
    raise_all(problems)
    if any(isinstance(t, PackedTensor) for t in checkpoint.tensors.values()):
        config = without_quantization(config)
    return replace(checkpoint, config=config, tensors=tensors, notes=notes)


def _is_head(weight: str) -> bool:
    return weight in HEADS or weight.endswith(tuple(f".{head}" for head in HEADS))


def _beside(tensor: StoredTensor, name: str) -> StoredTensor:
    """Another tensor of the same type in the same file."""
    return StoredTensor(name, tensor.type, tensor.shape, tensor.file, tensor.offset, tensor.nbytes)


def _untie(bases: dict[str, StoredTensor], checkpoint: Checkpoint, places: Places, keep: bool, config: dict[str, Any],
           notes: list[str]) -> None:
    """Where an adapter has weights of its own for a head or an embedding that share one tensor: the other keeps what it had, as
    in peft, and the model is tied no more. `keep`: peft was told to keep them tied."""
    if not places.tied or len(places.embedding) != 1:
        return
    (embedding,) = places.embedding
    head = next(filter(_is_head, bases), None)
    if head is None and embedding not in bases:
        return
    if keep or (head in checkpoint.tensors):
        return
    own = bases.get(head or "") or checkpoint.tensors[embedding]
    if embedding in bases and head is not None and _same(own, bases[embedding]):
        del bases[head]
        return
    bases[head or HEADS[0]] = own
    for part in (config, config.get("text_config")):
        if isinstance(part, dict):
            part["tie_word_embeddings"] = False
    places.tied = False
    notes.append("the adapter has weights of its own for head or embedding: they are tied no more, as after peft's merge")


def _resize(bases: dict[str, StoredTensor], checkpoint: Checkpoint, places: Places, config: dict[str, Any],
            problems: list[GgufxError]) -> None:
    """Where an adapter has tables of more (or fewer) tokens: config.json counts them, and head and embedding agree."""
    names = [*places.embedding, *(name for name in (*checkpoint.tensors, *bases) if _is_head(name))]
    rows = {name: (bases.get(name) or checkpoint.tensors[name]).shape[0] for name in names}
    if len(set(rows.values())) > 1:
        problems.append(InputError("head and embedding have different numbers of tokens with the adapter in them",
                                   file=checkpoint.folder, tensor=names[0],
                                   found=", ".join(f"{name} {count}" for name, count in rows.items())))
    elif rows and rows[names[0]] != checkpoint.tensors[names[0]].shape[0]:
        for part in (config, config.get("text_config")):
            if isinstance(part, dict) and "vocab_size" in part:
                part["vocab_size"] = rows[names[0]]


def _same(one: StoredTensor, two: StoredTensor) -> bool:
    """Whether two tensors have the same bytes."""
    return (one.type, one.shape) == (two.type, two.shape) and all(
        read_bytes(one.file, one.offset + at, n) == read_bytes(two.file, two.offset + at, n)
        for at in range(0, one.nbytes, CHUNK) for n in (min(CHUNK, one.nbytes - at),))


def _with_norms(tensor: StoredTensor, steps: list[tuple[Update, tuple[StoredTensor, ...]]],
                problems: list[GgufxError]) -> Iterator[tuple[Update, tuple[StoredTensor, ...]]]:
    """The steps, those of DoRA with the norms of columns where magnitudes are of columns: a pass over the whole weight."""
    for update, parts in steps:
        if isinstance(update, LowRank) and update.dora and update.turned:
            if isinstance(tensor, PackedTensor) or len(tensor.shape) != 2:
                problems.append(UnsupportedError("DoRA of a packed table is not merged", file=tensor.file, tensor=tensor.name,
                                                 hint=MERGE_BY_PEFT))
                continue
            update = replace(update, norms=_column_norms(tensor, update, parts))
        yield update, parts


def _column_norms(tensor: StoredTensor, update: LowRank, parts: Sequence[StoredTensor]) -> tuple[float, ...]:
    """The norms of the columns of weight + update; summed in float64 from top to bottom, rounded once."""
    from ...quant.cpu.low_rank import add_squares

    rows, cols = tensor.shape
    step = max(1, CHUNK // cols)
    a, b = (read_floats(part) for part in parts[:2])
    sums = np.zeros(cols)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        width = tensor.nbytes // rows
        raw = np.frombuffer(read_bytes(tensor.file, tensor.offset + start * width, (stop - start) * width),
                            f"u{FLOAT_WIDTH[tensor.type]}").reshape(stop - start, cols)
        add_squares(update.whole(floats(raw, tensor.type), start, (a[:, start:stop], b)), sums)
    return tuple(map(float, np.sqrt(sums).astype(np.float32)))


class _Opened:
    """One adapter: its settings and weights, and what it changes."""

    def __init__(self, adapter: Adapter, places: Places, notes: list[str], problems: list[GgufxError]) -> None:
        self.places, self.notes, self.scale = places, notes, adapter.scale
        self.file = str(adapter.folder)
        self.checkpoint = open_adapter(adapter.folder)
        self.settings: AdapterSettings = read_settings(self.checkpoint.config, self.file, problems, merge=True)
        self.weights: AdapterWeights = read_weights(self.checkpoint.tensors, self.file, problems)
        self.misfits: list[GgufxError] = []
        notes.extend(self.checkpoint.notes)

    def all_problems(self, base: Path) -> list[GgufxError]:
        return of_another_base(self.misfits, base, self.checkpoint)

    def _misfit(self, tensor: StoredTensor, message: str, **details: Any) -> None:
        self.misfits.append(InputError(message, file=self.file, tensor=tensor.name, **details))

    def _no_such(self, tensor: StoredTensor) -> None:
        self._misfit(tensor, "the base model has no such weight", hint="Is --base the model that the adapter was trained on?")

    def replaced(self) -> dict[str, StoredTensor]:
        """What takes the place of weights: saved modules, trained biases, resized tables."""
        out: dict[str, StoredTensor] = {}
        whole = [(weight, tensor, False) for weight, tensor in self.weights.whole.items()]
        for weight, tensor, copied in [*whole, *((weight, tensor, True) for weight, tensor in self.weights.copies.items())]:
            found = self.places.of(weight)
            head = _is_head(weight)
            if head and self.places.tied and self.places.stored(weight) is None and found and not copied:
                out[weight] = tensor
            elif copied and found and _same(tensor, self.places.tensors[found[0].name]):
                continue
            elif len(found) != 1 or found[0].ops:
                self._no_such(tensor)
            else:
                old = self.places.tensors[found[0].name]
                grown = tensor.shape[1:] == old.shape[1:] and (found[0].name in self.places.embedding or head)
                if tensor.shape != old.shape and not grown:
                    self._misfit(tensor, "does not fit the weight of the base model", expected=list(old.shape),
                                 found=list(tensor.shape))
                elif tensor.type not in FLOAT_WIDTH:
                    self._misfit(tensor, f"{tensor.type} weights are not merged")
                else:
                    out[found[0].name] = tensor
        return out

    def updates(self) -> Iterator[_Step]:
        """What is added: whether to the head, the weight's name, the update and its parts."""
        parameters = list(dict.fromkeys(p.rpartition(".")[2] for p in self.settings.parameters))
        magnitudes, biases = dict(self.weights.magnitudes), dict(self.weights.biases)
        for pair in self.weights.pairs:
            module = pair.module
            head = _is_head(f"{module}.weight")
            magnitude = magnitudes.pop(module, None)
            if magnitude is None and self.checkpoint.config.get("use_dora"):
                self._misfit(pair.a, "its magnitude is missing", expected=f"{module}.lora_magnitude_vector")
                continue
            weight, kind = f"{module}.weight", EMBEDDING if pair.embedding else MATRIX
            found = self.places.of(weight)
            if not found and parameters:
                weight, kind, found = self._parameter(pair, parameters)
            if not found:
                self._no_such(pair.a)
                continue
            for name, update in self._low_rank(pair, weight, kind, found, magnitude is not None):
                yield head, name, update, (pair.a, pair.b) + ((magnitude,) if magnitude else ())
            if bias := biases.pop(module, None):
                yield from self._bias(module, bias, pair)
        for left in (*magnitudes.values(), *biases.values()):
            self._misfit(left, "belongs to no pair of factors")
        yield from self._tokens()

    def _parameter(self, pair: Pair, parameters: list[str]) -> tuple[str, str, list[Place]]:
        """The weight of a pair on a parameter (peft's target_parameters), which the pair's name does not tell.

        Several parameters of one module nest, the last one outermost; where two have the same shape, that order decides.
        """
        names = [f"{pair.module}.{p}" for p in parameters if self.places.of(f"{pair.module}.{p}")]
        order = {id(rule): i for i, rule in enumerate(self.places.spec.tensors)} if self.places.spec else {}
        names.sort(key=lambda n: order.get(id((self.places.rule(n) or (None,))[0]), 0), reverse=True)
        fit = [n for n in names if self._fits(pair, n, FUSED)]
        if len(fit) > 1 and len(fit) == len(names):
            fit = [fit[min(pair.depth, len(fit) - 1)]]
        weight = (fit or names or [""])[0]
        return weight, FUSED, self.places.of(weight) if weight else []

    def _fits(self, pair: Pair, weight: str, kind: str) -> bool:
        shape = self.places.shape(weight)
        if shape is None:
            return True
        experts, shape = (shape[0], shape[1:]) if kind == FUSED and len(shape) == 3 else (1, shape)
        if len(shape) != 2:
            return False
        turned = kind == EMBEDDING or self.places.turned(weight)
        out, inner = shape[::-1] if turned else shape
        return pair.a.shape[0] % experts == 0 and (pair.b.shape[0], pair.a.shape[1]) == (out, inner)

    def _low_rank(self, pair: Pair, weight: str, kind: str, found: list[Place], dora: bool) -> Iterator[tuple[str, LowRank]]:
        shape = self.places.shape(weight)
        if not self._fits(pair, weight, kind):
            self._misfit(pair.a, "the factors do not fit the weight of the base model", expected=list(shape or ()),
                         found=f"A {list(pair.a.shape)}, B {list(pair.b.shape)}")
            return
        experts = shape[0] if kind == FUSED and shape else 0
        rank = pair.a.shape[0] // max(experts, 1)
        parameter = weight.rpartition(".")[2]
        scale = self.settings.scaling(pair.module, parameter, rank) * self.scale
        wrapped = kind == FUSED or any(weight == p or weight.endswith(f".{p}") for p in self.settings.parameters)
        turn = (Transpose(),) if self.places.turned(weight) else ()
        if dora and (kind == FUSED or any(place.ops for place in found)):
            self._misfit(pair.a, "DoRA of this weight is not merged")
            return
        for place in found:
            update = LowRank(scale, kind, experts, place.expert, place.ops or turn, place.output,
                             rounded=wrapped or kind == EMBEDDING, dora=dora)
            yield place.name, update

    def _bias(self, module: str, bias: StoredTensor, pair: Pair) -> Iterator[_Step]:
        """What a trained bias of B adds to the weight's own."""
        found = self.places.of(f"{module}.bias")
        if len(found) != 1 or self.places.tensors[found[0].name].shape != bias.shape:
            self._misfit(bias, "the weight has no bias that this one could be added to")
            return
        yield False, found[0].name, Shift(self.settings.scaling(module, "weight", pair.a.shape[0]) * self.scale), (bias,)

    def _tokens(self) -> Iterator[_Step]:
        """Rows of embeddings that were trained alone."""
        given = self.checkpoint.config.get("trainable_token_indices") or {}
        for module, rows in self.weights.tokens.items():
            index = given if isinstance(given, list) else next(
                (ids for name, ids in given.items() if module == name or module.endswith(f".{name}")), None)
            found = self.places.of(f"{module}.weight")
            if len(found) != 1:
                self._no_such(rows)
                continue
            shape = self.places.tensors[found[0].name].shape
            if not isinstance(index, list) or not all(type(i) is int and 0 <= i < shape[0] for i in index) \
                    or rows.shape != (len(index), *shape[1:]):
                self._misfit(rows, "trainable_token_indices does not say which rows these are")
                continue
            yield False, found[0].name, NewRows(tuple(index)), (rows,)
