"""What a GGUF adapter has no place for, kept in key-values of its own, so that it comes back as the PEFT adapter that it was.

`ggufx.adapter_config`: the JSON text. `ggufx.source`: as of models (`own_keys.Source`), names and types of the factors, and
what was folded into them. `ggufx.kept.<name>`: factors B whose scale does not come off again bit for bit.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable

from ..io.json_file import json_bytes, read_json
from ..io.machine_paths import is_machine_path
from ..io.tensors import StoredTensor
from ..io.values import Metadata, string
from ..notes import Note
from ..ops.lora import EMBEDDING, FUSED, Lora
from ..rules.spec import ArchSpec, TensorRule
from ..rules.template import Holes
from ..sources.hf_folder import Checkpoint
from ..sources.names import PREFIXES
from ..sources.packed.tensor import PackedTensor
from .kept_tensors import read_tensor
from .outtype import HELD_BY
from .own_keys import KEPT, MAX_KEPT_BYTES, Source, kept_bytes, kept_value

PREFIX = "base_model.model."


def factor_names(rule: TensorRule, holes: Holes, kind: str) -> list[tuple[str, str]]:
    """The names of (A, B) of each HF weight of a rule, under the table's spelling; `holes`: those of the HF names. A pair of
    a parameter is called by it here, in peft by its module and how many parameters of that were adapted before it."""
    ends = ("lora_embedding_A", "lora_embedding_B") if kind == EMBEDDING else ("lora_A.weight", "lora_B.weight")
    weights = [template.format({**holes, "p": "weight"}).removesuffix(".weight") for template in rule.hf]
    return [(f"{PREFIX}{weight}.{ends[0]}", f"{PREFIX}{weight}.{ends[1]}") for weight in weights]


class Record:
    """What is to be kept of the factors, gathered group by group."""

    def __init__(self, spec: ArchSpec, hf_class: str | None) -> None:
        self.spec, self.source = spec, Source(hf_class=hf_class or "")
        self.metadata: Metadata = {}
        self._names: dict[str, str] = {}
        self._types: dict[str, str] = {}

    def add(self, rule: TensorRule, op: Lora, pairs: Iterable[tuple[Holes, StoredTensor, StoredTensor]], made: str,
            kind: str, notes: list[str]) -> None:
        """The pairs of one rule at one place, each with the holes of its HF name; `made`: the first GGUF tensor's weight,
        `kind`: the type of the factors in the file."""
        if str(rule.hf[0]) not in self.source.layouts:
            self.source.layouts.append(str(rule.hf[0]))
        folded = []
        for (holes, a, b), scale in zip(pairs, op.scales, strict=True):
            ((name_a, name_b),) = factor_names(rule, holes, op.kind)
            self._names |= {name_a: a.name, name_b: b.name}
            self._types |= {a.name: a.type, b.name: b.type}
            rank = a.shape[0] // (op.experts if op.kind == FUSED else 1)
            folded.append([int(holes.get("e", 0)), rank, scale])
            exact = all(step.exact for step in op.ops)
            for factor, by_ops, by in ((a, op.kind == EMBEDDING, 1.0), (b, op.kind != EMBEDDING, scale)):
                if not returns(factor.type, kind, by, exact or not by_ops) and not self._keep(factor):
                    notes.append(Note("a scale is folded in, and comes off on the way back to within a rounding", factor.name))
        if [[e, op.rank, 1.0] for e in range(op.experts if op.index else 1)] != folded:
            self.source.folded[made] = folded

    def _keep(self, tensor: StoredTensor) -> bool:
        room = MAX_KEPT_BYTES - sum(len(kept_bytes(value)) for value in self.metadata.values())
        if isinstance(tensor, PackedTensor) or tensor.nbytes > room:
            return False
        self.metadata[KEPT + tensor.name] = kept_value(read_tensor(tensor))
        self.source.kept[tensor.name] = {"dtype": tensor.type, "shape": list(tensor.shape), "rows": None}
        return True

    def keys(self, adapter: Checkpoint, dropped: Iterable[str]) -> Metadata:
        """All key-values. `dropped`: tensors of the adapter that are not in the file, and need not be."""
        ((self.source.dtype, _),) = Counter(self._types.values()).most_common(1)
        self.source.dtypes = {name: kind for name, kind in self._types.items() if kind != self.source.dtype}
        aliases = [*self.spec.aliases, *((table, found) for found, table in PREFIXES), ("", "")]
        self.source.record_names(self._names, tuple((PREFIX + found, PREFIX + table) for found, table in aliases))
        self.source.dropped = dict.fromkeys(dropped, "a copy of the base model's weight")
        return {"ggufx.adapter_config": string(_config(adapter)),
                "ggufx.source": string(self.source.to_value()), **self.metadata}


def _config(adapter: Checkpoint) -> str:
    """adapter_config.json, as its text where that says the same; a base model that is a folder of this machine is none for
    others."""
    config, path = adapter.config, adapter.folder / "adapter_config.json"
    base = config.get("base_model_name_or_path")
    if isinstance(base, str) and (is_machine_path(base) or os.path.isdir(base)):
        config = {**config, "base_model_name_or_path": None}
    if config == read_json(path, non_finite=True):
        return path.read_text(encoding="utf-8")
    return json_bytes(config, indent=2, sort_keys=True).decode()


def returns(stored: str, made: str, scale: float, exact: bool) -> bool:
    """Whether factors of type `stored`, through ops that are `exact` and times `scale`, as `made`, give their bits back; a
    type that loses some has none to keep."""
    if made not in HELD_BY.get(stored, ()):
        return True
    return (exact and abs(math.frexp(scale)[0]) == 0.5) or (scale != 0 and stored != made)


def folded_of(source: Source | None, made: str, experts: int, rank: int) -> list[tuple[int, int, float]]:
    """(expert, rank, scale) of each pair in the factors of the weight `made`: as recorded, else one per expert."""
    recorded = source.folded.get(made) if source else None
    return [(e, r, s) for e, r, s in recorded] if recorded else [(e, rank, 1.0) for e in range(max(experts, 1))]

