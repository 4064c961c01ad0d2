"""What each weight of a layer is multiplied by: sums of squares, seen where the product is computed.

As llama-imatrix looks at the products of a graph, so this looks at those of PyTorch: whichever module computes one, the weight
is known by its memory. Squares are summed in float32 over what is
multiplied at once, and these sums in float64; llama-imatrix sums in float32 row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..errors import InputError
from .families import Latent

# Functions that multiply rows by a weight: (place of the rows, place of the weight, whether the weight is [out, in]). With a
# third axis it is a stack of matrices, each of which has rows of its own.
PRODUCTS: dict[Any, tuple[int, int, bool]] = {
    nn.functional.linear: (0, 1, True), torch.matmul: (0, 1, False), torch.Tensor.matmul: (0, 1, False),
    torch.Tensor.__matmul__: (0, 1, False), torch.addmm: (1, 2, False), torch.mm: (0, 1, False),
    torch.bmm: (0, 1, False),
}


class Squares:
    """Sums of squares over the first axis, float64, of float32 rows. The memory for squares is kept: new pages cost more than
    the sums."""

    def __init__(self) -> None:
        self._room = torch.empty(0)

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        if self._room.numel() < rows.numel() or self._room.device != rows.device:
            self._room = torch.empty(rows.numel(), device=rows.device)
        return torch.mul(rows, rows, out=self._room[: rows.numel()].view(rows.shape)).sum(0).double()


@dataclass
class Seen:
    """Of one parameter: `sums` float64 [matrices, values], `counts` int64 [matrices], or [1] where groups of its rows are
    matrices. `last`: whether its last axis is that of the inputs, as a Linear's, or that before it."""

    sums: torch.Tensor
    counts: torch.Tensor
    last: bool


class Observer(TorchFunctionMode):
    """While it is entered, every product by one of the `parameters` of a layer is counted in `seen`, by their names."""

    def __init__(self, parameters: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        self.seen: dict[str, Seen] = {}
        self._names = {p.untyped_storage().data_ptr(): (name, p) for name, p in parameters.items() if p.dim() > 1}
        self._last: tuple[Any, torch.Tensor] | None = None
        self._sums = Squares()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        place = PRODUCTS.get(func)
        if place is not None and len(args) > place[1]:
            rows, weight, last = args[place[0]], args[place[1]], place[2]
            if isinstance(weight, torch.Tensor) and isinstance(rows, torch.Tensor) and weight.device.type != "meta":
                if (found := self._found(weight)) is not None:
                    self._add(*found, weight, rows, last)
                elif not last and (found := self._found(rows)) is not None:  # the weight times columns
                    self._add(*found, rows, weight.transpose(-1, -2), True)
        return func(*args, **(kwargs or {}))

    def _found(self, tensor: torch.Tensor) -> tuple[str, torch.Tensor] | None:
        """The parameter that lies in a tensor's memory."""
        return self._names.get(tensor.untyped_storage().data_ptr())

    def _add(self, name: str, parameter: torch.Tensor, weight: torch.Tensor, rows: torch.Tensor, last: bool) -> None:
        last = weight.stride(-1 if last else -2) == parameter.stride(-1)  # where it is turned
        stacked, at_once = parameter.dim() == 3, weight.dim() == 3
        matrices = parameter.shape[0] if stacked else weight.shape[0] if at_once else 1
        seen = self.seen.get(name)
        if seen is None:
            width = parameter.shape[-1 if last else -2]
            seen = self.seen[name] = Seen(torch.zeros(matrices, width, dtype=torch.float64, device=rows.device),
                                          torch.zeros(matrices if stacked else 1, dtype=torch.int64), last)
        if at_once and matrices > 1:
            for matrix in range(matrices):
                seen.sums[matrix] += self._sums(rows[matrix])
            # Rows of zeros are of tokens that were routed elsewhere.
            seen.counts += rows.any(-1).sum(-1).cpu() if stacked else rows.shape[1]
            return
        matrix = weight.storage_offset() // (parameter.numel() // matrices)
        seen.sums[matrix] += self._squares(rows)
        seen.counts[matrix] += rows.numel() // rows.shape[-1]

    def _squares(self, rows: torch.Tensor) -> torch.Tensor:
        """float64: of each column; those of the last rows again, which several projections share."""
        if self._last is None or self._last[0] is not rows:
            self._last = rows, self._sums(rows.reshape(-1, rows.shape[-1]))
        return self._last[1]


class LatentObserver:
    """Counts what each head's key and value projections out of a latent head are multiplied by, which a class that computes
    whole keys and values never does. `keys`, `values`: Seen with one count, sums [heads, values]."""

    @classmethod
    def of(cls, layer: nn.Module, latent: Latent) -> LatentObserver | None:
        """None of a layer that mixes tokens otherwise."""
        return cls(layer, latent) if hasattr(getattr(layer, latent.attention, None), latent.norm) else None

    def __init__(self, layer: nn.Module, latent: Latent) -> None:
        attention = self._attention = layer.get_submodule(latent.attention)
        query = next(m for name in latent.query if (m := getattr(attention, name, None)) is not None)
        self._latent = self._query = torch.empty(0)
        self._sums = Squares()
        self.keys: Seen | None = None
        self.values: Seen | None = None
        self._hooks = [query.register_forward_hook(self._see_query),
                       attention.get_submodule(latent.norm).register_forward_hook(self._see_latent),
                       attention.register_forward_hook(self._see_attention)]

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _see_query(self, module: nn.Module, args: Any, out: torch.Tensor) -> None:
        self._query = out

    def _see_latent(self, module: nn.Module, args: Any, out: torch.Tensor) -> None:
        self._latent = out

    def _see_attention(self, module: Any, args: Any, out: Any) -> None:
        probabilities = out[1]  # [batch, heads, queries, keys]
        heads, plain = probabilities.shape[1], module.qk_nope_head_dim
        query = self._query.reshape(-1, heads, self._query.shape[-1] // heads)[..., :plain]
        latent = self._latent.reshape(probabilities.shape[0], 1, probabilities.shape[-1], -1)
        mixed = probabilities @ latent
        self.keys = _added(self.keys, self._sums(query), query.shape[0])
        self.values = _added(self.values, self._sums(mixed.transpose(1, 2).flatten(0, 1)), query.shape[0])


def _added(seen: Seen | None, sums: torch.Tensor, rows: int) -> Seen:
    if seen is None:
        return Seen(sums, torch.tensor([rows]), True)
    return Seen(seen.sums + sums, seen.counts + rows, True)


def check_finite(seen: Mapping[str, Seen], layer: int, file: Any) -> None:
    """InputError where a sum is no number: weights are damaged, or overflow in float32."""
    for name, one in seen.items():
        if not torch.isfinite(one.sums).all():
            raise not_finite("what it is multiplied by is not finite", file, f"layer {layer}: {name}")


def not_finite(message: str, file: Any, tensor: str) -> InputError:
    return InputError(message, file=file, tensor=tensor,
                      hint="The weights are damaged, or of another kind than config.json says.")
