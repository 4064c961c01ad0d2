"""The tensors of a PEFT adapter, told by their names: factor pairs, and what else peft trains and saves beside them.

Source: peft `utils/save_and_load.py` (get_peft_model_state_dict), `utils/other.py` (ModulesToSaveWrapper).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import GgufxError, InputError
from ..io.files import printable
from ..io.tensors import StoredTensor
from ..sources.hf_folder import Checkpoint
from ..sources.hub import cached_origin
from .adapter_keys import PREFIX

FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<emb>embedding_)?(?P<side>[AB])(?:\.default)?(?:\.weight)?")
_MAGNITUDE = re.compile(r"(?P<module>.+)\.lora_magnitude_vector(?:\.default)?(?:\.weight)?")
_FACTOR_BIAS = re.compile(r"(?P<module>.+)\.lora_B(?:\.default)?\.bias")
_TOKENS = re.compile(r"(?P<module>.+?)(?:\.token_adapter)?\.trainable_tokens_delta(?:\.default)?")
_SAVED = re.compile(r"(?P<module>.+?)(?:\.base_layer)?(?:\.modules_to_save\.default)?(?:\.original_module)?\.(?P<kind>[^.]+)")


@dataclass
class Pair:
    """The factors of one module, as stored. `depth`: how many wrappers of the same module lie around it."""

    module: str
    depth: int
    embedding: bool
    a: StoredTensor
    b: StoredTensor


@dataclass
class AdapterWeights:
    """Everything in an adapter's file, under the module names of the model's class.

    `magnitudes` (DoRA), `biases` (of B), `tokens` (rows of an embedding) by module; `whole`: by the weight's name, what takes
    its place; `copies`: likewise, what peft saves of the base beside the factors of embeddings.
    """

    pairs: list[Pair]
    magnitudes: dict[str, StoredTensor] = field(default_factory=dict)
    biases: dict[str, StoredTensor] = field(default_factory=dict)
    tokens: dict[str, StoredTensor] = field(default_factory=dict)
    whole: dict[str, StoredTensor] = field(default_factory=dict)
    copies: dict[str, StoredTensor] = field(default_factory=dict)


def read_weights(tensors: Mapping[str, StoredTensor], file: str, problems: list[GgufxError]) -> AdapterWeights:
    """All of an adapter's tensors by what they are."""
    factors: dict[str, StoredTensor] = {}
    out = AdapterWeights([])
    for name, tensor in tensors.items():
        short = name.removeprefix(PREFIX)
        for pattern, found in ((_MAGNITUDE, out.magnitudes), (_FACTOR_BIAS, out.biases), (_TOKENS, out.tokens)):
            if match := pattern.fullmatch(short):
                found[match["module"]] = tensor
                break
        else:
            if FACTOR.fullmatch(short):
                factors[name] = tensor
            elif match := _SAVED.fullmatch(short):
                weight = f"{match['module']}.{match['kind']}"
                copied = ".base_layer." in short and match["kind"] == "weight"
                if weight in out.whole:
                    problems.append(InputError(f"stands for the same weight as {out.whole[weight].name}", file=file,
                                               tensor=name))
                (out.copies if copied else out.whole)[weight] = tensor
            else:
                problems.append(InputError("is no tensor of an adapter", file=file, tensor=printable(name)))
    out.pairs = pairs_of(factors, file, problems)
    return out


def pairs_of(tensors: Mapping[str, StoredTensor], file: str, problems: list[GgufxError]) -> list[Pair]:
    """The factor pairs among tensors whose names are those of factors."""
    modules: dict[tuple[str, int], tuple[bool, dict[str, StoredTensor]]] = {}  # whether an embedding, its factors by side
    for name, tensor in tensors.items():
        match = FACTOR.fullmatch(name.removeprefix(PREFIX))
        if match is None:
            raise ValueError(f"{name} is no factor")
        module, depth = match["module"], 0
        while module.endswith(".base_layer"):
            module, depth = module.removesuffix(".base_layer"), depth + 1
        _, factors = modules.setdefault((module, depth), (match["emb"] is not None, {}))
        factors[match["side"]] = tensor
    sound: list[Pair] = []
    for (module, depth), (embedding, factors) in modules.items():
        a, b = factors.get("A"), factors.get("B")
        if a is None or b is None:
            (alone,) = factors.values()
            problems.append(InputError("has no counterpart; factors come as pairs", file=file, tensor=alone.name))
        elif len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
            problems.append(InputError("the ranks of the factors differ", file=file, tensor=a.name,
                                       expected="A [r, in], B [out, r]", found=f"{a.shape}, {b.shape}"))
        else:
            sound.append(Pair(module, depth, embedding, a, b))
    return sound


def of_another_base(found: Iterable[GgufxError], base: Path, adapter: Checkpoint) -> list[GgufxError]:
    """What is wrong with updates, in one line with both names where several do not fit: the base is another model."""
    found = list(found)
    misfits = [problem for problem in found if isinstance(problem, InputError)]
    if len(misfits) < 2:
        return found
    first = misfits[0]
    first.file = first.hint = None
    trained, given = adapter.config.get("base_model_name_or_path"), str(cached_origin(base) or base)
    other = trained if isinstance(trained, str) and trained.rstrip("/") not in (given, str(base)) else None
    return [*(problem for problem in found if problem not in misfits), InputError(
        f"{len(misfits)} updates do not fit the base model", file=adapter.folder,
        expected=printable(other, 200) if other else None, found=given if other else None,
        hint=f"Is --base the model that the adapter was trained on? The first: {first}")]
