"""Recipes: which tensor type each tensor of a model gets under a file type such as Q4_K_M.

The choice is llama-quantize's, tensor by tensor (facts: llama.cpp v0.5.0-dev, src/llama-quant.cpp and tools/quantize).
What a recipe looks at is a tensor's role (from its GGUF name), its layer, and a few facts of the model; the rules are
the rows of `mixtures.MIXTURES`. This file walks them in llama-quantize's order of tensors and of decisions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod

from ..formats import FORMATS
from .mixtures import (
    COUNTED,
    EXACT_ROLES,
    FALLBACK,
    FILE_TYPES,
    KEPT_NAMES,
    KEPT_PARTS,
    KEPT_PARTS_OF_ARCH,
    LOW_BIT,
    MIXTURES,
    NEEDS_IMATRIX,
    OUTPUT_Q5_K,
    PRESETS,
    FileType,
    ModelFacts,
    Role,
    Situation,
    role,
)
from .tensor_pattern import compile_pattern

__all__ = [
    "FILE_TYPES", "PRESETS", "TENSOR_TYPES", "Choice", "FileType", "ModelFacts", "Options", "Role", "TensorShape",
    "bits_per_weight", "choose", "file_type", "parse_tensor_type", "parse_tensor_types", "role", "sizes", "sort_key",
    "tensor_type",
]  # fmt: skip

_BY_SPELLING: dict[str, FileType] = {}
for _row in FILE_TYPES.values():
    _BY_SPELLING |= {name: _row for name in (_row.name, *_row.aliases)}
    if _row.number is not None:
        _BY_SPELLING[str(_row.number)] = _row

_FLOATS = frozenset({"F32", "F16", "BF16"})
# Types that exist in files but that nothing quantizes to.
_NO_QUANTIZER = frozenset({"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"})
TENSOR_TYPES: tuple[str, ...] = tuple(name for name in FORMATS if name not in _NO_QUANTIZER)


def file_type(name: str | int) -> FileType:
    """The file type called `name`: a name or alias in any case, or its number. Unknown: ValueError with the nearest."""
    spelling = str(name).strip().upper()
    if spelling in _BY_SPELLING:
        return _BY_SPELLING[spelling]
    raise ValueError(f"unknown file type {str(name)!r}{_nearest(spelling, tuple(FILE_TYPES))}")


def tensor_type(name: str) -> str:
    """A tensor type's own spelling (`q4_k` -> `Q4_K`). ValueError if it is unknown or cannot be quantized to."""
    spelling = name.strip().upper()
    if spelling in TENSOR_TYPES:
        return spelling
    if spelling in FORMATS:
        raise ValueError(f"nothing quantizes to tensor type {spelling}")
    raise ValueError(f"unknown tensor type {name!r}{_nearest(spelling, TENSOR_TYPES)}")


def _nearest(spelling: str, names: Sequence[str]) -> str:
    near = get_close_matches(spelling, names, n=3, cutoff=0.5)
    return f"; did you mean {', '.join(near)}?" if near else f"; known: {', '.join(names)}"


@dataclass(frozen=True, slots=True)
class TensorShape:
    """A tensor before quantization: `shape` in numpy order (rows x cols), `type` what it is stored as now.

    When a checkpoint is converted and quantized in one step, `type` is what the plain conversion would have given it:
    a tensor that the recipe leaves alone keeps it.
    """

    name: str
    shape: tuple[int, ...]
    type: str


@dataclass(frozen=True, slots=True)
class Options:
    """llama-quantize's options. `tensor_types`: (pattern, type) pairs, the first that is found in a name decides."""

    pure: bool = False
    tensor_types: tuple[tuple[str, str], ...] = ()
    output_tensor_type: str | None = None
    token_embedding_type: str | None = None
    leave_output_tensor: bool = False
    has_imatrix: bool = False
    also_in_floats: bool = False  # `tensor_types` count in float files, too; llama-quantize ignores them there in silence


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of one tensor. `wanted` is the type before the shape fallback: where it differs, say so."""

    name: str
    shape: tuple[int, ...]
    source: str
    type: str
    wanted: str
    eligible: bool
    requires_imatrix: bool

    @property
    def fell_back(self) -> bool:
        return self.wanted != self.type

    @property
    def requantizes(self) -> bool:
        """Whether quantized data would be decoded and quantized again."""
        return self.source != self.type and self.source not in _FLOATS

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes of the result, without padding."""
        return self.elements // FORMATS[self.type].block_size * FORMATS[self.type].block_bytes


def sizes(choices: Iterable[Choice]) -> dict[str, tuple[int, int, int]]:
    """Per tensor type, biggest first: (tensors, elements, bytes)."""
    table: dict[str, tuple[int, int, int]] = {}
    for choice in choices:
        tensors, elements, size = table.get(choice.type, (0, 0, 0))
        table[choice.type] = tensors + 1, elements + choice.elements, size + choice.size
    return dict(sorted(table.items(), key=lambda row: -row[1][2]))


def bits_per_weight(choices: Iterable[Choice]) -> float:
    """Real bits per weight of the whole model: all tensors, norms included, without padding. 0.0 for no tensors."""
    table = sizes(choices).values()
    elements = sum(row[1] for row in table)
    return 8 * sum(row[2] for row in table) / elements if elements else 0.0


def parse_tensor_type(text: str) -> tuple[str, str]:
    """`PATTERN=TYPE` -> (pattern, type). The pattern ends at the first `=` and is lower-cased, as in llama-quantize.

    Raises ValueError when a part is missing, the type is unknown or the pattern is no ECMAScript regular expression.
    """
    pattern, equals, name = text.partition("=")
    if not (pattern and equals and name):
        raise ValueError(f"{text!r}: expected PATTERN=TYPE")
    pattern = pattern.lower()
    try:
        compile_pattern(pattern)
        return pattern, tensor_type(name)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None


def parse_tensor_types(text: str) -> tuple[tuple[str, str], ...]:
    """The text of a --tensor-type-file: `PATTERN=TYPE` words between white space. ValueError lists every bad one."""
    pairs, problems = [], []
    for word in text.split():
        try:
            pairs.append(parse_tensor_type(word))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    return tuple(pairs)


def _eligible(tensor: TensorShape, facts: ModelFacts, options: Options) -> bool:
    """Whether the recipe may choose a type at all. Leading axes of length 1 do not count as dimensions."""
    first = next((axis for axis, size in enumerate(tensor.shape) if size != 1), len(tensor.shape) - 1)
    return (
        len(tensor.shape) - first >= 2
        and tensor.name.endswith("weight")
        and not (options.leave_output_tensor and tensor.name == "output.weight")
        and tensor.name not in KEPT_NAMES
        and not any(part in tensor.name for part in (*KEPT_PARTS, *KEPT_PARTS_OF_ARCH.get(facts.arch, ())))
    )


def _fit(type_: str, cols: int) -> str:
    """The type that a row of `cols` can take instead of `type_`; F16 when nothing else fits."""
    if cols % FORMATS[type_].block_size == 0:
        return type_
    if type_ not in FALLBACK and FORMATS[type_].block_size > 32:
        raise ValueError(f"a row of {cols} does not divide into {type_}'s blocks of {FORMATS[type_].block_size}, "
                         f"and {type_} has no fallback")  # fmt: skip
    substitute = FALLBACK.get(type_, type_)
    return "F16" if cols % FORMATS[substitute].block_size else substitute


def _layer(name: str) -> int | None:
    found = re.match(r"blk\.\s*([+-]?[0-9]+)", name)
    return int(found[1]) if found else None


def sort_key(name: str) -> tuple[int, bytes]:
    """llama-quantize's order of tensors: those outside blocks, then block by block; by name within."""
    layer = _layer(name)
    return (-1 if layer is None else layer), name.encode()


class _Recipe:
    """One run over a model's tensors in order. The counters advance only where a mixture rule is evaluated."""

    def __init__(self, file_type_: FileType, names: Sequence[str], facts: ModelFacts, options: Options):
        self.file_type, self.facts, self.options = file_type_, facts, options
        roles = [role(name) for name in names]
        self.tied = Role.OUTPUT not in roles
        self.totals = dict.fromkeys(COUNTED, facts.block_count) | {Role.ATTN_V: roles.count(Role.ATTN_V)}
        self.counters = dict.fromkeys(COUNTED, 0)
        self.overrides = tuple((compile_pattern(pattern.lower()), type_) for pattern, type_ in options.tensor_types)

    def choose(self, tensor: TensorShape) -> Choice:
        default = self.file_type.default
        eligible = default is not None and _eligible(tensor, self.facts, self.options)
        wanted = chosen = tensor.type
        if default is not None and eligible:
            fixed = self._fixed(tensor, default)
            wanted = fixed or self._override(tensor) or (default if self.options.pure else self._mix(tensor, default))
            chosen = wanted if fixed else _fit(wanted, tensor.shape[-1])
            if tensor.shape[-1] % FORMATS[chosen].block_size:
                raise ValueError(f"a row of {tensor.shape[-1]} does not divide into {chosen}'s blocks")
            if chosen != tensor.type and tensor.type in _NO_QUANTIZER:
                raise ValueError(f"{tensor.type} data cannot become {chosen}")
        requires = eligible and chosen != tensor.type and self._requires_imatrix(tensor.name, chosen)
        return Choice(tensor.name, tensor.shape, tensor.type, chosen, wanted, eligible, requires)

    def _requires_imatrix(self, name: str, type_: str) -> bool:
        low = type_ in NEEDS_IMATRIX or (type_ == "Q2_K" and self.file_type.name == "Q2_K_S")
        return low and name not in EXACT_ROLES

    def _override(self, tensor: TensorShape) -> str | None:
        return next((type_ for pattern, type_ in self.overrides if pattern.search(tensor.name)), None)

    def _fixed(self, tensor: TensorShape, default: str) -> str | None:
        """The types that options fix without a look at the shape, and the plain float file types."""
        role_, options = role(tensor.name), self.options
        if options.token_embedding_type and role_ is Role.EMBEDDING:
            named = tensor.name == "per_layer_token_embd.weight" and self._override(tensor)
            if not named:
                return options.token_embedding_type
        if options.output_tensor_type and role_ is Role.OUTPUT:
            return options.output_tensor_type
        asked = options.also_in_floats and self._override(tensor)
        return default if default in _FLOATS and not asked else None

    def _mix(self, tensor: TensorShape, default: str) -> str:
        role_, name, arch = role(tensor.name), self.file_type.name, self.facts.arch
        if arch == "glm5-next" and any(part in tensor.name for part in ("attn_q_a", "attn_q_b", "nextn.eh_proj")):
            return "Q8_0"
        if role_ is Role.OUTPUT or (role_ is Role.EMBEDDING and self.tied):
            return self._mix_output(tensor, default)
        if name == "MXFP4_MOE":
            experts = len(tensor.shape) >= 3 and tensor.shape[-3] > 1
            # bailingmoe3 has other 3-D tensors (MLA projections), so there the role must say expert too.
            expert_role = role_ in (Role.FFN_UP, Role.FFN_GATE, Role.FFN_DOWN) or arch != "bailingmoe3"
            return "MXFP4" if experts and expert_role else "Q8_0"
        if role_ is Role.EMBEDDING:
            return self._apply(role_, default, Situation(self.facts, self.options.has_imatrix, 0, 0))
        return self._mix_block(tensor, role_, default)

    def _mix_output(self, tensor: TensorShape, default: str) -> str:
        if self.options.output_tensor_type:
            return self.options.output_tensor_type
        divides = tensor.shape[-1] % FORMATS[default].block_size == 0
        if self.file_type.name == "MXFP4_MOE" or self.facts.arch == "falcon" or not divides or default == "Q8_0":
            return "Q8_0"
        return "Q5_K" if self.file_type.name in OUTPUT_Q5_K else "Q6_K"

    def _mix_block(self, tensor: TensorShape, role_: Role, default: str) -> str:
        low_bit = self.file_type.name in LOW_BIT
        i, n = self.counters.get(role_, 0), self.totals.get(role_, 0)
        if role_ in (Role.FFN_DOWN, Role.FFN_GATE, Role.FFN_UP) and self.facts.expert_count > 1 and not low_bit:
            layer = _layer(tensor.name)
            if layer is None or not 0 <= layer < n:
                raise ValueError(f"its layer must be in 0..{n - 1} for a model of experts")
            i = layer
        if role_ in COUNTED and not (low_bit and role_ in (Role.FFN_GATE, Role.FFN_UP)):
            self.counters[role_] += 1
        if role_ is Role.ATTN_K and not low_bit and self.facts.expert_count == 8:
            return "Q8_0"
        type_ = self._apply(role_, default, Situation(self.facts, self.options.has_imatrix, i, n))
        if role_ is Role.ATTN_V and not low_bit:
            if self.facts.expert_count == 8:
                return "Q8_0"
            if self.facts.is_70b and type_ in ("Q3_K", "Q4_K"):
                return "Q5_K"
        return type_

    def _apply(self, role_: Role, default: str, situation: Situation) -> str:
        rules = MIXTURES.get(self.file_type.name, {}).get(role_, ())
        return next((type_ for condition, type_ in rules if condition(situation)), None) or default


def choose(
    file_type_: FileType | str,
    tensors: Sequence[TensorShape],
    facts: ModelFacts,
    options: Options = Options(),
    *,
    keep_order: bool = False,
) -> list[Choice]:
    """The type of every tensor of a model under a file type, in the order given.

    The rules count tensors in llama-quantize's order (`sort_key`); `keep_order` counts in the order given, which is
    what it does with --keep-split. Raises ValueError listing every problem: a name twice, a shape that no type fits,
    a tensor whose layer the rules need and cannot tell, a type that cannot be converted.
    """
    kind = file_type_ if isinstance(file_type_, FileType) else file_type(file_type_)
    order = list(range(len(tensors)))
    if not keep_order:
        order.sort(key=lambda at: sort_key(tensors[at].name))
    recipe = _Recipe(kind, [tensor.name for tensor in tensors], facts, options)
    choices: dict[int, Choice] = {}
    problems: list[str] = []
    seen: set[str] = set()
    for at in order:
        tensor = tensors[at]
        if tensor.name in seen:
            problems.append(f"{tensor.name}: listed twice")
        seen.add(tensor.name)
        try:
            choices[at] = recipe.choose(tensor)
        except ValueError as error:
            problems.append(f"{tensor.name}: {error}")
    if problems:
        raise ValueError("\n".join(problems))
    return [choices[at] for at in range(len(tensors))]
