"""A model of transformers whose weights are not there: its layers are filled one at a time, from the checkpoint.

What a layer is called with (masks, positions) is recorded from the model's own code, run with layers that do nothing. So no
family's loop over layers is written again. Code of the repository is never run: only classes that transformers itself has.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from ...quant import dequantize
from ..errors import UnsupportedError
from ..planners.reading import Reading
from ..rules.hf_config import of_text_part
from ..run.engines.choice import gpu_number
from ..verify.side import SideTensor, of_checkpoint
from .calls import Call, is_of_text, varying
from .families import Family, family_of, text_class

TILE = 1 << 22  # elements of a tensor that are read at a time
_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}


# (chunk, hidden states, what of the text each layer is called with besides)
Keep = Callable[[int, torch.Tensor, Sequence[Sequence[torch.Tensor]]], None]


def placed(asked: str) -> str:
    """PyTorch's device of auto, cpu, cuda or cuda:N; auto: a GPU where it finds one. UnsupportedError for a GPU that it does
    not find, UsageError for what is no device."""
    number = gpu_number(asked)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked == "auto":
        return "cuda" if count else "cpu"
    if asked != "cpu" and not count:
        raise UnsupportedError("PyTorch finds no GPU", found=f"--device {asked}", hint="Leave out --device.")
    if number is not None and int(number) >= count:
        raise UnsupportedError(f"PyTorch finds no {asked}", found=", ".join(f"cuda:{i}" for i in range(count)))
    return asked


class Skeleton:
    """`family`: its row; `layers`: how many there are; `folder`: the checkpoint's."""

    def __init__(self, reading: Reading, stack: ExitStack, device: str = "cpu") -> None:
        """UnsupportedError for a class that no row carries, and where transformers is missing. Files are open, and transformers
        is silent, as long as `stack`."""
        self._reading, self.device = reading, torch.device(device)
        self.folder = reading.checkpoint.folder
        whole = reading.spec.whole
        name = text_class(reading)
        self.family = family_of(name)
        self._side = of_checkpoint(reading.checkpoint)
        self._side.open(stack)
        _quiet(stack)
        config = reading.checkpoint.config
        model = _on_meta(name, of_text_part(config, whole) if whole and whole.name != name else config, self.family)
        base = model.get_submodule(self.family.base)
        self._base: Any = base.eval()
        self._layers: Any = base.get_submodule(self.family.layers)
        self.layers = len(self._layers)
        stem = self.family.base if self.family.stem is None else self.family.stem
        self._stem = f"{stem}." if stem else ""  # what stands in front of names in the table
        for holder in base.modules():
            for key, buffer in holder._buffers.items():
                holder._buffers[key] = None if buffer is None else buffer.to(self.device)
        layout = whole.layout if whole else ()
        self._laid_out = {name: match.ops[0] for match in reading.found.matches if match.rule in layout
                          for group in match.hf for name in group}  # the rest of the row is that of the text part's

    # -- weights -----------------------------------------------------------------------------------------------------

    def layer_bytes(self) -> int:
        """Of the largest layer, in float32."""
        return max(4 * sum(p.numel() for p in layer.parameters()) for layer in self._layers)

    def activation_bytes(self, tokens: int) -> int:
        """About what a chunk takes in a layer: rows in and out of its widest weights, their squares, the weights of attention
        where they are looked at, and what the family says."""
        config = self._base.config
        widest = max(max(p.shape[-2:]) for layer in self._layers for p in layer.parameters() if p.dim() > 1)
        attention = getattr(config, "num_attention_heads", 0) * tokens * tokens if self.family.attention == "eager" else 0
        times, settings = self.family.takes
        besides = times * tokens * math.prod(getattr(config, name) for name in settings) if times else 0
        return 4 * (5 * tokens * widest + 3 * attention + besides)

    @contextmanager
    def layer(self, number: int) -> Iterator[nn.Module]:
        """The layer with its weights, which are gone afterwards."""
        layer = self._layers[number]
        prefix = self._prefix(number)
        places = [(module, key, f"{path}.{key}" if path else key) for path, module in layer.named_modules()
                  for key, p in module._parameters.items() if p is not None]
        empty = [(module, key, module._parameters[key]) for module, key, _ in places]
        try:
            for module, key, name in places:
                module._parameters[key] = self._parameter(prefix, name, module._parameters[key].shape)
            for path, module in layer.named_modules():  # such as a correction of the router's scores
                for key, buffer in module._buffers.items():
                    if buffer is None or key in module._non_persistent_buffers_set:
                        continue
                    name = f"{path}.{key}" if path else key
                    if (known := self._stored(self._spelled(prefix, name))) is None:
                        raise self._missing(prefix + name)
                    values = self._read(known) if buffer.is_floating_point() else self._read_integers(known)
                    module._buffers[key] = values.reshape(buffer.shape).to(self.device)
            yield layer
        finally:
            for module, key, parameter in empty:
                module._parameters[key] = parameter

    def table_name(self, name: str) -> str:
        """A name within a layer as the table spells it."""
        return next((to + name.removeprefix(of) for of, to in self.family.renames if name.startswith(of)), name)

    def _spelled(self, prefix: str, name: str) -> str:
        """A parameter by the name that the table knows: of those that it may have the one that the checkpoint has, else the
        first."""
        names = [prefix + to + name.removeprefix(of) for of, to in (*self.family.renames, ("", "")) if name.startswith(of)]
        return next((one for one in names if self._stored(one) is not None), names[0])

    def factor(self, name: str) -> float:
        """What the rows of a parameter of a layer are multiplied by, which llama.cpp multiplies by elsewhere."""
        setting = next((setting for start, setting in self.family.scaled if name.startswith(start)), None)
        return float(getattr(self._base.config, setting) or 1) if setting else 1.0

    def expert_names(self, name: str, expert: int) -> tuple[str, ...]:
        """The names within a layer of the weights of an expert that a stacked parameter holds; none of other parameters."""
        stem, _, kind = self.table_name(name).rpartition(".")
        gate, up, down = self.family.experts
        parts = {"gate_up_proj": (gate, up), "up_proj": (up,), "down_proj": (down,)}.get(kind, ())
        return tuple(f"{stem}.{expert}.{part}.weight" for part in parts) if stem.endswith("experts") else ()

    def parameters(self, number: int) -> dict[str, tuple[int, ...]]:
        """The shapes of a layer's parameters by their names within it."""
        return {name: tuple(p.shape) for name, p in self._layers[number].named_parameters()}

    def spelled(self, number: int, name: str, experts: int) -> list[tuple[str, int | None]]:
        """A parameter of a layer by the names that the table knows, each with the expert whose it is; None: the whole's.

        `experts`: how many matrices it stacks, 1 of one that is no stack."""
        prefix = self._prefix(number)
        whole = self._spelled(prefix, name)
        if experts == 1 or self._stored(whole) or self._stored(whole + "_blocks"):
            return [(whole, None)]
        return [(prefix + one, e) for e in range(experts) for one in self.expert_names(name, e)]

    def _prefix(self, number: int) -> str:
        return f"{self._stem}{self.family.layers}.{number}."

    def _stored(self, name: str) -> str | None:
        """The checkpoint's name of a tensor that the table calls so."""
        found = self._reading.found
        return found.names.get(name, name if name in found.keyed else None)

    def _parameter(self, prefix: str, name: str, shape: torch.Size) -> nn.Parameter:
        spelling = self._spelled(prefix, name)
        if (stored := self._stored(spelling)) is not None:
            values = self._read(stored)
            if (op := self._laid_out.get(spelling)) is not None:
                values = torch.from_numpy(op.forward([values.numpy()])[0])
            return self._as_parameter(values, shape, name)
        if (codes := self._stored(prefix + name + "_blocks")) is not None:
            return self._as_parameter(self._mxfp4(codes).transpose(1, 2).contiguous(), shape, name)
        for joined, names in self.family.joined:
            if name == joined:
                parts = [self._read(self._stored(prefix + one) or one) for one in names]
                return self._as_parameter(torch.cat(parts), shape, name)
        found = [self.expert_names(name, e) for e in range(shape[0])]
        missing = [n for names in found for n in names if self._stored(prefix + n) is None]
        if missing or not found or not found[0]:
            raise self._missing(prefix + (missing or [name])[0])
        out = torch.empty(shape)
        for e, names in enumerate(found):
            at = 0
            for one in names:
                part = self._read(self._reading.found.names[prefix + one])
                out[e, at : at + part.shape[0]] = part
                at += part.shape[0]
        return self._as_parameter(out, shape, name)

    def _missing(self, name: str) -> UnsupportedError:
        return UnsupportedError("the class has a weight that the checkpoint does not", file=self._reading.checkpoint.folder,
                                tensor=name)

    def _as_parameter(self, values: torch.Tensor, shape: torch.Size, name: str) -> nn.Parameter:
        if values.shape != shape:
            raise UnsupportedError("the class has a weight of another shape", file=self._reading.checkpoint.folder, tensor=name,
                                   expected=list(shape), found=list(values.shape))
        return nn.Parameter(values.to(self.device), requires_grad=False)

    def _read(self, name: str) -> torch.Tensor:
        """float32: a tensor of the checkpoint."""
        tensor = self._side.tensors[name]
        out = np.empty(tensor.count, np.float32)
        for start, stop in _tiles(tensor, TILE):
            out[start:stop] = as_floats(self._side.read(tensor, start, stop), tensor.kind)
        return torch.from_numpy(out.reshape(tensor.shape))

    def _read_integers(self, name: str) -> torch.Tensor:
        """int64: a tensor of the checkpoint."""
        tensor = self._side.tensors[name]
        raw = self._side.read(tensor, 0, tensor.count)
        return torch.from_numpy(raw.view(f"<i{raw.nbytes // tensor.count}").astype(np.int64).reshape(tensor.shape))

    def _mxfp4(self, codes: str) -> torch.Tensor:
        """float32 [experts, rows, columns] of weights that are stored in OpenAI's blocks, through the table's own row."""
        match = next(m for m in self._reading.found.matches if any(self._stored(n) == codes for names in m.hf for n in names))
        parts = []
        for (spelling,) in match.hf:
            tensor = self._side.tensors[self._reading.found.names[spelling]]
            parts.append(self._side.read(tensor, 0, tensor.count).reshape(tensor.shape))
        (blocks,) = match.ops[0].forward(parts)
        rows = dequantize(np.ascontiguousarray(blocks.reshape(-1, blocks.shape[-1])), "MXFP4")
        return torch.from_numpy(rows.reshape(*blocks.shape[:2], -1))

    # -- what the layers are called with -------------------------------------------------------------------------------

    def begin(self, chunks: np.ndarray, keep: Keep) -> list[Call]:
        """Embed int64 [chunks, tokens], giving each one's states to `keep`; what each layer is called with. `keep` is called
        again for all chunks where later ones show that more goes with the text."""
        used, compact = np.unique(chunks, return_inverse=True)
        for name, embedding in self._embeddings():
            embedding.padding_idx = None  # of the whole vocabulary; only training looks at it
            embedding._parameters["weight"] = nn.Parameter(self._rows(name, used).to(self.device), requires_grad=False)
        for name, parameter in list(self._base.named_parameters()):
            if parameter.device.type == "meta" and not name.startswith(self.family.layers + "."):
                holder, _, key = name.rpartition(".")
                self._base.get_submodule(holder)._parameters[key] = self._parameter(self._stem, name, parameter.shape)
        try:
            calls: list[Call] = []
            number = 0
            while number < len(chunks):
                hidden, seen = self._recorded(compact.reshape(chunks.shape)[number], chunks[number])
                calls = calls or seen
                found = [varying(a, b) for a, b in zip(calls, seen, strict=True)]
                if any(set(new) - set(call.given) for new, call in zip(found, calls, strict=True)):
                    for new, call in zip(found, calls, strict=True):
                        call.given = (*call.given, *(place for place in new if place not in call.given))
                        if any(not is_of_text(call[place], chunks[0]) for place in call.given):
                            raise UnsupportedError("what its layers are given depends on the text: it cannot be run layer by "
                                                   "layer", file=self._reading.checkpoint.folder)
                    number = 0  # what was taken for the same in all chunks is kept, too
                    continue
                keep(number, hidden, [[one[place] for place in call.given] for one, call in zip(seen, calls, strict=True)])
                number += 1
        finally:
            for _, embedding in self._embeddings():
                embedding._parameters["weight"] = nn.Parameter(torch.empty(0, device="meta"), requires_grad=False)
        return calls

    def _recorded(self, rows: np.ndarray, ids: np.ndarray) -> tuple[torch.Tensor, list[Call]]:
        """The hidden states in front of the first layer, and what each layer is called with. `rows`: those of the embeddings in
        memory for token `ids`."""
        tokens = torch.from_numpy(rows[None]).to(self.device)
        first: list[torch.Tensor] = []
        seen: list[Call] = []

        def record(layer: nn.Module, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            first.append(hidden.float())
            seen.append(Call(args, {name: torch.from_numpy(ids[None]).to(self.device) if value is tokens else value
                                    for name, value in kwargs.items()}))
            return (hidden, None) if self.family.pairs or self.family.handed else hidden

        for layer in self._layers:
            layer.forward = types.MethodType(record, layer)
        try:
            self._base(input_ids=tokens, use_cache=False)
        finally:
            for layer in self._layers:
                del layer.forward
        return first[0], seen

    def _embeddings(self) -> list[tuple[str, Any]]:
        return [(name, module) for name in self.family.embeddings if (module := getattr(self._base, name, None)) is not None]

    def embedding_bytes(self, chunks: np.ndarray) -> int:
        """Of the rows of embeddings that these token ids take, in float32."""
        return 4 * len(np.unique(chunks)) * sum(module.weight.shape[-1] for _, module in self._embeddings())

    def _rows(self, embedding: str, used: np.ndarray) -> torch.Tensor:
        """float32 [rows, width]: these rows of an embedding; the first where it has none, as Gemma 3n's of layers has none for
        pictures and sounds. The table is read once, in tiles."""
        spelling = self._spelled(self._stem, f"{embedding}.weight")
        if (name := self._stored(spelling)) is None:
            raise UnsupportedError("has no embedding of tokens", file=self._reading.checkpoint.folder, tensor=spelling)
        tensor = self._side.tensors[name]
        width = tensor.shape[-1]
        out = np.empty((len(used), width), np.float32)
        used = np.where(used < tensor.shape[0], used, 0)
        for start, stop in _tiles(tensor, max(1, TILE // width) * width):
            here = (used >= start // width) & (used < stop // width)
            if here.any():
                rows = as_floats(self._side.read(tensor, start, stop), tensor.kind).reshape(-1, width)
                out[here] = rows[used[here] - start // width]
        return torch.from_numpy(out)


def _tiles(tensor: SideTensor, step: int) -> Iterator[tuple[int, int]]:
    """(first, behind the last) element of pieces that can be read by themselves, of about `step` elements."""
    start = 0
    while start < tensor.count:
        after = np.searchsorted(tensor.cuts, start, "right")  # the next cut, or the last one within a tile
        stop = int(tensor.cuts[max(np.searchsorted(tensor.cuts, start + step, "right") - 1, after)])
        yield start, stop
        start = stop


def as_floats(raw: np.ndarray, kind: str) -> np.ndarray:
    """float32 of stored bytes."""
    if kind == "BF16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if kind not in _DTYPES:
        raise UnsupportedError(f"{kind} weights cannot be computed with")
    return raw.view(np.dtype(_DTYPES[kind])).astype(np.float32)


def _number(value: Any) -> Any:
    """A setting with the floats that JSON has no word for, which transformers writes as {"__float__": "Infinity"}."""
    if isinstance(value, list):
        return [_number(one) for one in value]
    return float(value["__float__"]) if isinstance(value, dict) and value.keys() == {"__float__"} else value


def _quiet(stack: ExitStack) -> None:
    """transformers without its warnings: of faster kernels that are not installed, of settings that ggufx has read itself."""
    try:
        from transformers.utils import logging
    except ImportError:
        raise UnsupportedError("transformers is needed to run a model",
                               hint="pip install 'ggufx[imatrix]'") from None
    stack.callback(logging.set_verbosity, logging.get_verbosity())
    logging.set_verbosity_error()


def _on_meta(name: str, config: dict[str, Any], family: Family) -> Any:
    """The model without memory for its weights; buffers (rotary frequencies) are there."""
    import transformers
    from transformers.initialization import no_init_weights

    kind = getattr(transformers, name, None)
    if kind is None:
        raise UnsupportedError(f"transformers {transformers.__version__} has no {name}", hint="pip install -U transformers")
    settings = {k: _number(v) for k, v in config.items() if k not in ("quantization_config", "auto_map")}
    made = kind.config_class.from_dict(settings)
    register = nn.Module.register_parameter

    def without_memory(module: nn.Module, key: str, parameter: nn.Parameter | None) -> None:
        register(module, key, parameter)
        if parameter is not None:
            module._parameters[key] = nn.Parameter(parameter.to("meta"), requires_grad=False)

    nn.Module.register_parameter = without_memory  # type: ignore[method-assign]
    try:
        with no_init_weights():
            return kind._from_config(made, dtype=torch.float32, attn_implementation=family.attention,
                                     experts_implementation="eager")
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


