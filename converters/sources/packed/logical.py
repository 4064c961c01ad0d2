"""A checkpoint of weights, whatever they are stored as: the parts of each are found, checked and put under its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from ...errors import GgufxError, InputError, UnsupportedError, raise_all
from ...io.files import Reader
from ...io.safetensors import header_metadata
from ...io.tensors import StoredTensor
from ..hf_folder import Checkpoint
from ..original.folder import open_model
from ..original.joined import JoinedTensor
from ..stated import NOTHING, Stated
from . import by_gpu
from .declaration import declared_settings
from .forms import BOUND, BY_TYPE, DROPPED, DROPPED_ENDINGS, F8, KEPT_OUT, Form
from .mlx_stacks import STACK, unstacked
from .tensor import PackedTensor, Parts

OUT = tuple(f".{end}" for end in KEPT_OUT)
DROPPED_NOTE = "activation and KV-cache scales are not part of GGUF: {} left out ({})"


def open_logical(folder: Path, hf_class: str | None = None, stated: Stated = NOTHING) -> Checkpoint:
    """`open_model`, with weights in place of the stored tensors that they are made of.

    Raises as it does, and InputError or UnsupportedError (all in one message) for parts that are missing or do not fit.
    """
    return logical(open_model(folder, hf_class, stated))


def logical(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint's weights: those that are packed as PackedTensor, in the place of their codes."""
    stored = checkpoint.tensors
    settings = declared_settings(checkpoint.config, checkpoint.folder)
    method = str(settings.get("quant_method")).lower()
    problems: list[GgufxError] = []
    notes = list(checkpoint.notes)
    with Reader() as read:
        parts_of = partial(Parts, declared=settings, read=read, header=cache(header_metadata), ops={}, config=checkpoint.config,
                           notes=notes)
        made, taken = _built(stored, parts_of, method, problems)
    problems += [InputError("an FP8 weight without a scale", file=t.file, tensor=name)
                 for name, t in stored.items() if t.type in F8 and name not in taken]
    problems += [InputError("belongs to a quantized weight that is not there", file=t.file, tensor=name)
                 for name, t in stored.items() if name not in taken and name.endswith(BOUND) and not name.endswith(OUT)]
    if not made and not problems and not settings:
        return checkpoint  # scales of activations are those of a quantized model, or weights of other ones
    raise_all(problems)
    dropped = [name for name in stored if name not in taken and _is_dropped(name)]
    problems += [UnsupportedError(f"is part of a quantized weight that ggufx does not decode: {KEPT_OUT[end]}",
                                  file=t.file, tensor=name)
                 for name, t in stored.items() if name not in taken
                 and (end := next((end for end in KEPT_OUT if name.endswith(f".{end}")), None))]
    raise_all(problems)
    gone = {*taken, *dropped} - made.keys()
    beside = _beside(made, [stored[name] for name in dropped])
    tensors: dict[str, StoredTensor] = {}
    for name, one in stored.items():
        if name not in gone:
            whole: StoredTensor = made.get(name, one)
            each = list(unstacked(whole)) if STACK in name else [whole]
            problems += [InputError(f"{t.name} is stored twice", file=one.file, tensor=name) for t in each if t.name in tensors]
            tensors.update({t.name: t for t in each})
    raise_all(problems)
    if dropped:
        kinds = sorted({name.rpartition(".")[2] for name in dropped})
        notes.append(DROPPED_NOTE.format(f"{len(dropped)} tensor{'s' * (len(dropped) != 1)}", ", ".join(kinds)))
    config = by_gpu.told(checkpoint.config, made)
    return replace(checkpoint, config=config, tensors=tensors, notes=notes, beside=beside)


def _beside(made: dict[str, PackedTensor], dropped: list[StoredTensor]) -> dict[str, StoredTensor]:
    """Puts what is dropped beside the weight of its module, where it has one that is packed; the others, by name."""
    codes = {t.name.removesuffix(".weight"): name for name, t in made.items()}
    more: dict[str, list[tuple[str, StoredTensor]]] = {}
    alone = {}
    for tensor in dropped:
        module, _, last = tensor.name.rpartition(".")
        if module in codes:
            more.setdefault(codes[module], []).append((f".{last}", tensor))
        else:
            alone[tensor.name] = tensor
    for name, tensors in more.items():
        made[name] = replace(made[name], stored=(*made[name].stored, *tensors))
    return alone


def _built(stored: Mapping[str, StoredTensor], parts_of: Callable[[str, dict[str, StoredTensor]], Parts], method: str,
           problems: list[GgufxError]) -> tuple[dict[str, PackedTensor], set[str]]:
    """The packed weights by the names of their codes, and the names of all their parts."""
    made: dict[str, PackedTensor] = {}
    taken: set[str] = set()
    for name, tensor in stored.items():
        if (found := _form_of(name, tensor, stored, method)) is None:
            if any(form.certain and form.weight(name) for form in BY_TYPE.get(tensor.type, ())):
                problems.append(InputError("other parts of the weight are missing, or do not fit it", file=tensor.file,
                                           tensor=name, found=f"{tensor.type} {list(tensor.shape)}"))
            continue
        form, weight, parts = found
        if weight in stored and weight != name:
            problems.append(InputError(f"{weight} is stored twice", file=tensor.file, tensor=name))
            continue
        try:
            built = form.build(parts_of(weight, parts))
            made[name] = replace(built, ops=tensor.ops) if isinstance(tensor, JoinedTensor) else built
        except GgufxError as error:
            problems.append(error)
        taken.update(t.name for t in parts.values())
    return made, taken


def _form_of(name: str, tensor: StoredTensor,
             stored: Mapping[str, StoredTensor], method: str) -> tuple[Form, str, dict[str, StoredTensor]] | None:
    """The first form whose codes this tensor is, the weight, and its parts by role."""
    for form in BY_TYPE.get(tensor.type, ()):
        if (weight := form.weight(name)) is not None:
            parts = {"codes": tensor, **form.companions(weight, stored)}
            if form.holds(parts, method):
                return form, weight, parts
    return None


def _is_dropped(name: str) -> bool:
    return name.rpartition(".")[2] in DROPPED or name.endswith(DROPPED_ENDINGS)
