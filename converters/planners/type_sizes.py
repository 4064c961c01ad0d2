"""What a model would weigh at each file type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import GgufxError
from ..io.gguf import DEFAULT_ALIGNMENT, padded
from ..notes import Note
from ..plan.plan import ConversionPlan, PlannedTensor, bits_per_weight
from .hf_to_gguf import GgufOptions, GgufPlanner
from .quantization import NEEDS_IMATRIX, Quantization
from .quantize import QuantizePlanner


@dataclass(frozen=True, slots=True)
class TypeSize:
    """A file of this type: bytes in all, and real bits per weight. `fallbacks`: tensors that do not fit their type.

    `needs_imatrix`: it is not made without an importance matrix. `refused`: why it is not made at all.
    """

    file_type: str
    bytes: int | None = None
    bits_per_weight: float | None = None
    fallbacks: int = 0
    needs_imatrix: bool = False
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _Planner(Protocol):
    def plan(self, outtype: str) -> ConversionPlan: ...

    def tensors_of(self, outtype: str) -> tuple[list[PlannedTensor], list[str]]: ...


def type_sizes(model: Path, outtypes: Iterable[str], target: Path | None = None) -> list[TypeSize]:
    """The sizes of a checkpoint, or of a GGUF file whatever its type, at each of these file types. Reads headers only.
    `target`: of a draft model.

    Raises GgufxError for a model that cannot be converted at all.
    """
    asked = Quantization(require_imatrix=False, allow_requantize=True)
    planner: _Planner = (GgufPlanner(model, None, GgufOptions(target=target, quantization=asked)) if model.is_dir()
                         else QuantizePlanner(model, "{outtype}", asked))
    plan = planner.plan("bf16")
    head = plan.output_bytes - _data_bytes(plan.tensors)  # the same at every type: keys, names, shapes
    return [_size(planner, head, outtype) for outtype in outtypes]


def _size(planner: _Planner, head: int, outtype: str) -> TypeSize:
    try:
        tensors, notes = planner.tensors_of(outtype)
    except GgufxError as error:
        return TypeSize(outtype, refused=error.message)
    return TypeSize(outtype, head + _data_bytes(tensors), bits_per_weight(tensors), sum(t.wanted is not None for t in tensors),
                    any(Note.of(note).kind == NEEDS_IMATRIX for note in notes))


def _data_bytes(tensors: Iterable[PlannedTensor]) -> int:
    return sum(padded(t.nbytes, DEFAULT_ALIGNMENT) for t in tensors)
