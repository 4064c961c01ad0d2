"""What an adapter changes: its updates, each with the weight that it belongs to, in peft's own order and arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GgufxError, InputError, UnsupportedError
from ..io.files import printable
from ..io.tensors import StoredTensor
from ..ops import Factors, IndexMap, Instead, LoraRefused, LowRank, NewRows, Shift, Transpose, Within
from ..ops.lora import EMBEDDING, FUSED, MATRIX
from ..ops.merge import FLOAT_WIDTH, Update
from ..sources.hub import cached_origin
from ..sources.packed.mlx_adapter import open_adapter
from .adapter_config import MERGE_BY_PEFT, AdapterSettings, read_settings
from .adapter_keys import PREFIX
from .adapter_weights import AdapterWeights, Pair, of_another_base, read_weights
from .places import Place, Places, is_head

Step = tuple[bool, str, Update, tuple[StoredTensor, ...]]  # whether of the head, the weight's name, the update, its parts


@dataclass(frozen=True)
class Adapter:
    """An adapter as it is merged: its folder, or GGUF file, and what its own scale is multiplied by."""

    folder: Path
    scale: float = 1.0


class OpenedAdapter:
    """One adapter: its settings and weights, and what it changes."""

    def __init__(self, adapter: Adapter, places: Places, notes: list[str], problems: list[GgufxError]) -> None:
        self.places, self.notes, self.scale = places, notes, adapter.scale
        self.file = str(adapter.folder)
        self.checkpoint = open_adapter(adapter.folder)
        self.settings: AdapterSettings = read_settings(self.checkpoint.config, self.file, problems, merge=True)
        self.weights: AdapterWeights = read_weights(self.checkpoint.tensors, self.file, problems)
        self.misfits: list[GgufxError] = []
        self.instead: list[Step] = []
        notes.extend(self.checkpoint.notes)
        problems.extend(InputError(f"{t.type} weights are not merged", file=self.file, tensor=t.name,
                                   expected=", ".join(FLOAT_WIDTH)) for t in self.checkpoint.tensors.values()
                        if t.type not in FLOAT_WIDTH)

    def trained_on_another(self, base: Path) -> str | None:
        """What to say where the adapter names another base model; the last parts of names are compared."""
        trained = self.checkpoint.config.get("base_model_name_or_path")
        names = [str(name).rstrip("/").rpartition("/")[2] for name in (trained, cached_origin(base) or base.resolve())]
        if not isinstance(trained, str) or not trained or names[0].lower() == names[1].lower():
            return None
        return f"the adapter names {printable(names[0], 100)} as its base model, and is merged into {printable(names[1], 100)}"

    def all_problems(self, base: Path) -> list[GgufxError]:
        return of_another_base(self.misfits, base, self.checkpoint)

    def _misfit(self, tensor: StoredTensor, message: str, **details: Any) -> None:
        self.misfits.append(InputError(message, file=self.file, tensor=tensor.name, **details))

    def _no_such(self, tensor: StoredTensor) -> None:
        module = tensor.name.removeprefix(PREFIX).partition(".lora_")[0].replace(".base_layer", "")
        why = None
        if any(name.startswith(f"{module}.") and name.endswith("_blocks") for name in self.places.tensors):
            why = "the base model stores this weight in blocks of 4 bits, which takes no update"
        elif module.endswith("embed_tokens") and "shared.weight" in self.places.tensors:
            why = "the table is one with that of other modules (shared), which an adapter of its own does not change alone"
        if why:
            self.misfits.append(UnsupportedError(why, file=self.file, tensor=tensor.name, hint=MERGE_BY_PEFT))
            return
        self._misfit(tensor, "the base model has no such weight", hint="Is --base the model that the adapter was trained on?")

    def replaced(self) -> dict[str, StoredTensor]:
        """What takes the place of weights: saved modules, trained biases, resized tables."""
        out: dict[str, StoredTensor] = {}
        whole = [(weight, tensor, False) for weight, tensor in self.weights.whole.items()]
        for weight, tensor, copied in [*whole, *((weight, tensor, True) for weight, tensor in self.weights.copies.items())]:
            found = self.places.of(weight)
            head = is_head(weight)
            if head and self.places.tied and self.places.stored(weight) is None and found and not copied:
                out[weight] = tensor
            elif copied and found and self.places.same(tensor, weight, found[0].name):
                continue
            elif not found:
                self._no_such(tensor)
            elif self.places.instead or not found[0].as_it_stands:
                self._instead(weight, tensor, found)
            else:
                old = self.places.tensors[found[0].name]
                grown = tensor.shape[1:] == old.shape[1:] and (found[0].name in self.places.embedding or head)
                if tensor.shape != old.shape and not grown:
                    self._misfit(tensor, "does not fit the weight of the base model", expected=list(old.shape),
                                 found=list(tensor.shape))
                else:
                    out[found[0].name] = tensor
        return out

    def _instead(self, weight: str, tensor: StoredTensor, found: list[Place]) -> None:
        """A weight that takes the place of one that is laid out otherwise."""
        shape = self.places.shape(weight)
        if shape is not None and shape != tensor.shape:
            self._misfit(tensor, "does not fit the weight of the base model", expected=list(shape), found=list(tensor.shape))
        elif any(place.expert >= 0 for place in found):
            self._misfit(tensor, "cannot take the place of a weight that is stored otherwise")
        else:
            self.instead += [(is_head(weight), place.name, _within(place, Instead(place.ops, place.output)), (tensor,))
                             for place in found]

    def updates(self) -> Iterator[Step]:
        """What is added: whether to the head, the weight's name, the update and its parts."""
        parameters = list(dict.fromkeys(p.rpartition(".")[2] for p in self.settings.parameters))
        yield from self.instead
        magnitudes, biases = dict(self.weights.magnitudes), dict(self.weights.biases)
        for pair in self.weights.pairs:
            module = pair.module
            head = is_head(f"{module}.weight")
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
            if magnitude is not None and math.prod(magnitude.shape) != pair.b.shape[0]:
                self._misfit(magnitude, "a magnitude per output is needed", expected=[pair.b.shape[0]],
                             found=list(magnitude.shape))
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
        if not all((*pair.a.shape, *pair.b.shape)):
            return False
        if shape is None:
            return True
        experts, shape = (shape[0], shape[1:]) if kind == FUSED and len(shape) == 3 else (1, shape)
        if len(shape) != 2:
            return False
        turned = kind == EMBEDDING or self.places.turned(weight)
        out, inner = shape[::-1] if turned else shape
        return pair.a.shape[0] % experts == 0 and (pair.b.shape[0], pair.a.shape[1]) == (out, inner)

    def _low_rank(self, pair: Pair, weight: str, kind: str, found: list[Place], dora: bool) -> Iterator[tuple[str, Update]]:
        shape = self.places.shape(weight)
        wrapped = kind == FUSED or self.settings.is_parameter(weight)
        if wrapped and shape is not None and len(shape) == 3:
            kind = FUSED  # a stack that its module calls weight
        if not self._fits(pair, weight, kind) or (kind == FUSED and shape is None):
            self._misfit(pair.a, "the factors do not fit the weight of the base model", expected=list(shape or ()),
                         found=f"A {list(pair.a.shape)}, B {list(pair.b.shape)}")
            return
        if kind == FUSED and shape is not None and len(shape) == 2:  # a parameter that is no stack
            kind = MATRIX
        experts = shape[0] if kind == FUSED and shape else 0
        rank = pair.a.shape[0] // max(experts, 1)
        parameter = weight.rpartition(".")[2]
        scale = self.settings.scaling(pair.module, parameter, rank) * self.scale
        turn = (Transpose(),) if self.places.turned(weight) else ()
        for place in found:
            stored = self.places.tensors[place.name].shape
            if (place.within and turn) or (place.as_it_stands and stored != (shape or ())):
                self.misfits.append(UnsupportedError(
                    "an update of a part of a weight that the base model stores with others is not merged", file=self.file,
                    tensor=pair.a.name, hint=MERGE_BY_PEFT))
                return
            update = LowRank(scale, kind, experts, place.expert, place.ops or turn, place.output,
                             rounded=wrapped or kind == EMBEDDING, dora=dora)
            if why := _unroutable(update, pair, place) if place.ops or dora else None:
                self.misfits.append(UnsupportedError(why, file=self.file, tensor=pair.a.name, hint=MERGE_BY_PEFT))
                return
            yield place.name, _within(place, update)

    def _bias(self, module: str, bias: StoredTensor, pair: Pair) -> Iterator[Step]:
        """What a trained bias of B adds to the weight's own."""
        found = self.places.of(f"{module}.bias")
        if not found or (found[0].as_it_stands and self.places.tensors[found[0].name].shape != bias.shape):
            self._misfit(bias, "the weight has no bias that this one could be added to")
            return
        scale = self.settings.scaling(module, "weight", pair.a.shape[0]) * self.scale
        for place in found:
            yield False, place.name, _within(place, Shift(scale, place.ops, place.output)), (bias,)

    def _tokens(self) -> Iterator[Step]:
        """Rows of embeddings that were trained alone."""
        given = self.checkpoint.config.get("trainable_token_indices") or {}
        for module, rows in self.weights.tokens.items():
            index = given if isinstance(given, list) else next(
                (ids for name, ids in given.items() if module == name or module.endswith(f".{name}")), None)
            found = self.places.of(f"{module}.weight")
            if len(found) != 1 or not found[0].as_it_stands:
                self._no_such(rows)
                continue
            shape = self.places.tensors[found[0].name].shape
            if not isinstance(index, list) or not all(type(i) is int and 0 <= i < shape[0] for i in index) \
                    or rows.shape != (len(index), *shape[1:]):
                self._misfit(rows, "trainable_token_indices does not say which rows these are")
                continue
            yield False, found[0].name, NewRows(tuple(index)), (rows,)


def _within(place: Place, update: Update) -> Update:
    return Within(update, *place.within) if place.within else update


def _unroutable(update: LowRank, pair: Pair, place: Place) -> str | None:
    """Why an update has no merged form behind the ops between the weight that was trained and the one that is stored."""
    moves = all((isinstance(op, IndexMap) and not op.vector) or (isinstance(op, Transpose) and op.conv1d) for op in update.ops)
    behind = update.ops and not update.turned
    if update.dora and (update.kind == FUSED or update.expert >= 0 or (behind and (
            not moves or update.kind == EMBEDDING))):
        return "DoRA of this weight is not merged"
    lead = (update.experts,) if update.kind == FUSED and update.expert < 0 else ()
    out, inner = (pair.a.shape[1], pair.b.shape[0]) if update.kind == EMBEDDING else (pair.b.shape[0], pair.a.shape[1])
    outputs = [Factors(np.empty((*lead, 0, inner), np.float32), np.empty((*lead, out, 0), np.float32))]
    try:
        for op in update.ops:
            outputs = op.lora(outputs)
    except (LoraRefused, ValueError) as error:
        return f"an update of this weight has no form in the base model's layout: {error}"
    return None
