"""A checkpoint of weights, whatever they are stored as: the parts of each are found, checked and put under its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...errors import GgufxError, InputError, UnsupportedError, raise_all
from ...io.tensors import StoredTensor
from ..hf_folder import Checkpoint
from ..original.folder import open_model
from ..original.joined import JoinedTensor
from ..stated import NOTHING, Stated
from .declaration import declared_settings
from .forms import DROPPED, DROPPED_ENDINGS, F8, FORMS, KEPT_OUT, Form
from .tensor import PackedTensor, Parts

DROPPED_NOTE = "activation and KV-cache scales are not part of GGUF: {} left out"


def open_logical(folder: Path, hf_class: str | None = None, stated: Stated = NOTHING) -> Checkpoint:
    """`open_model`, with weights in place of the stored tensors that they are made of.

    Raises as it does, and InputError or UnsupportedError (all in one message) for parts that are missing or do not fit.
    """
    return logical(open_model(folder, hf_class, stated))


def logical(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint's weights: those that are packed as PackedTensor, in the place of their codes."""
    stored = checkpoint.tensors
    settings = declared_settings(checkpoint.config, checkpoint.folder)
    made: dict[str, PackedTensor] = {}
    taken: dict[str, str] = {}
    problems: list[GgufxError] = []
    for name, tensor in stored.items():
        if (found := _form_of(name, tensor, stored)) is None:
            if any(form.certain and tensor.type in form.types and form.weight(name) for form in FORMS):
                problems.append(InputError("other parts of the weight are missing, or do not fit it", file=tensor.file,
                                           tensor=name, found=f"{tensor.type} {list(tensor.shape)}"))
            continue
        form, weight, parts = found
        if weight in made or (weight in stored and weight != name):
            problems.append(InputError(f"{weight} is stored twice", file=tensor.file, tensor=name))
            continue
        try:
            built = form.build(Parts(weight, parts, settings))
            made[name] = replace(built, ops=tensor.ops) if isinstance(tensor, JoinedTensor) else built
        except GgufxError as error:
            problems.append(error)
        taken.update({t.name: name for t in parts.values()})
    problems += [InputError("an FP8 weight without a scale", file=t.file, tensor=name)
                 for name, t in stored.items() if t.type in F8 and name not in taken]
    if not made and not problems and not settings:
        return checkpoint  # scales of activations are those of a quantized model, or weights of other ones
    raise_all(problems)
    dropped = [name for name in stored if name not in taken and _is_dropped(name)]
    modules = {t.name.removesuffix(".weight") for t in made.values()}
    problems += [UnsupportedError(f"is part of a quantized weight that ggufx does not decode: {KEPT_OUT[last]}",
                                  file=t.file, tensor=name)
                 for name, t in stored.items() if (last := name.rpartition(".")[2]) in KEPT_OUT
                 and name.rpartition(".")[0] in modules]
    raise_all(problems)
    gone = {*taken, *dropped} - made.keys()
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in stored.items():
        if name in made:
            tensors[made[name].name] = made[name]
        elif name not in gone:
            tensors[name] = tensor
    notes = list(checkpoint.notes)
    if dropped:
        notes.append(DROPPED_NOTE.format(f"{len(dropped)} tensor{'s' * (len(dropped) != 1)}"))
    return replace(checkpoint, tensors=tensors, notes=notes)


def _form_of(name: str, tensor: StoredTensor,
             stored: Mapping[str, StoredTensor]) -> tuple[Form, str, dict[str, StoredTensor]] | None:
    """The first form whose codes this tensor is, the weight, and its parts by role."""
    for form in FORMS:
        if tensor.type not in form.types or (weight := form.weight(name)) is None:
            continue
        module = weight.removesuffix(".weight")
        parts = {"codes": tensor}
        for role, templates in form.parts.items():
            names = (t.replace("{w}", weight).replace("{m}", module) for t in templates)
            if part := next((stored[n] for n in names if n in stored and n != name), None):
                parts[role] = part
        if form.holds(parts):
            return form, weight, parts
    return None


def _is_dropped(name: str) -> bool:
    return name.rpartition(".")[2] in DROPPED or name.endswith(DROPPED_ENDINGS)
