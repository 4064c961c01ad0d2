"""Tensors beside NVFP4 weights of a GGUF file: the factor of a whole weight, or of each expert's, and what activations had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError, UnsupportedError
from ..io.files import read_bytes
from ..io.gguf import GgufFile
from ..ops import Each, Op, Scale

ENDINGS = (".scale", ".input_scale")
MAX_FACTORS = 1 << 16  # of experts


@dataclass(frozen=True)
class Factors:
    """`of`: the factors of each weight by its name; `names`: tensors that are no weights of their own."""

    of: dict[str, np.ndarray]
    names: frozenset[str]

    def ops(self, weights: tuple[str, ...], expert: int | None = None) -> tuple[Op, ...]:
        """What multiplies the values of these tensors, or of one expert's part of them."""
        if expert is None and (several := next((w for w in weights if len(self.of.get(w, ())) > 1), None)):
            raise UnsupportedError("experts with factors of their own do not come back as one tensor", tensor=several)
        factors = [float(self.of[w][0 if expert is None or len(self.of[w]) == 1 else expert]) if w in self.of else 1.0
                   for w in weights]
        if set(factors) == {1.0}:
            return ()
        return (Scale(factors[0]) if len(set(factors)) == 1 else Each(tuple(map(Scale, factors))),)


def read_factors(model: GgufFile) -> Factors:
    """Of a file's NVFP4 weights. InputError for factors that are no numbers, or not one per expert."""
    of, names = {}, set()
    for name, tensor in model.tensors.items():
        ending = next((e for e in ENDINGS if name.endswith(e)), None)
        weight = model.tensors.get(name.removesuffix(ending) + ".weight") if ending else None
        if weight is None or weight.type != "NVFP4" or tensor.type != "F32":
            continue
        names.add(name)
        if ending != ".scale":
            continue
        experts = weight.shape[0] if len(weight.shape) == 3 else 1
        if tensor.shape not in ((1,), (experts,)) or experts > MAX_FACTORS:
            raise InputError("the factors of the weight are not one per matrix", file=tensor.file, tensor=name,
                             expected=[experts], found=list(tensor.shape))
        values = np.frombuffer(read_bytes(tensor.file, tensor.offset, tensor.nbytes), "<f4")
        if not np.isfinite(values).all() or not values.all():
            raise InputError("a factor of the weight is no number, or 0", file=tensor.file, tensor=name)
        of[weight.name] = values
    return Factors(of, frozenset(names))
