"""Spellings of tensor names that transformers takes for one another when it loads a checkpoint of any class.

Source: transformers 5 `conversion_mapping` ("legacy") and `core_model_loading.rename_source_key` (the prefix of the base
model is added or taken away where the class has the tensor under the other name).
"""

from __future__ import annotations

from collections.abc import Iterator

# (found ending, ending of today): the first BERTs' checkpoints have TensorFlow's names.
ENDINGS = ((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias"))
# (found prefix, prefix of a class with a head): a checkpoint of the model without its head, and one wrapped once more.
# Classes whose base model is called otherwise (bert, transformer) say so in their table.
PREFIXES = (("model.model.", "model."), ("", "model."))

# What the output head is called that a class can tie to its embedding (transformers: `_tied_weights_keys`).
HEADS = ("lm_head.weight", "lm_head.decoder.weight", "cls.predictions.decoder.weight")


def spellings(name: str) -> Iterator[str]:
    """`name` as it stands, then the names that a class may know it by, the nearest first."""
    name_now = name
    yield name
    for found, now in ENDINGS:
        if name.endswith(found):
            name_now = name.removesuffix(found) + now
            yield name_now
    for found, now in PREFIXES:
        if name_now.startswith(found):
            yield now + name_now.removeprefix(found)
