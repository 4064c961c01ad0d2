"""What a model calls its layers with, as recorded: what of it goes with the text, and where layers keep something."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass
class Call:
    """What the model calls a layer with beside the hidden states. `given`: which of it goes with the text, by place or name.
    `shared`: the mapping among it that is empty as long as layers do nothing: there they keep tensors for those behind."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: tuple[int | str, ...] = ()
    shared: MutableMapping[str, tuple[torch.Tensor, ...]] | None = field(init=False)

    def __post_init__(self) -> None:
        self.shared = next((value for value in self.kwargs.values() if isinstance(value, MutableMapping) and not value), None)

    def __getitem__(self, place: int | str) -> Any:
        return self.args[place] if isinstance(place, int) else self.kwargs[place]

    def of(self, given: Sequence[torch.Tensor]) -> tuple[list[Any], dict[str, Any]]:
        """What to call the layer with for a text whose values these are."""
        args: dict[int | str, Any] = dict(enumerate(self.args)) | self.kwargs | dict(zip(self.given, given, strict=True))
        return [args.pop(i) for i in range(len(self.args))], {str(name): value for name, value in args.items()}


def varying(a: Call, b: Call) -> list[int | str]:
    """In which places two calls of a layer differ."""
    return [place for place in (*range(len(a.args)), *a.kwargs) if not _alike(a[place], b[place])]


def is_of_text(value: Any, ids: np.ndarray) -> bool:
    """Whether it can be kept with the hidden states of the text of token `ids`: floats for each, or the ids themselves. What
    is made of ids cannot: the model saw rows of the embeddings in memory for them."""
    if not isinstance(value, torch.Tensor) or tuple(value.shape[:2]) != (1, len(ids)):
        return False
    return value.is_floating_point() or np.array_equal(value[0].cpu().numpy(), ids)


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_alike(v, b[k]) for k, v in a.items())
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_alike, a, b))
    return True
