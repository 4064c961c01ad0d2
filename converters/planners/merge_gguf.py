"""Adapters into a GGUF file: from headers to a complete plan, in which every tensor keeps its type or gets the one asked for.

A PEFT adapter's updates go through the ops of the weights' rows in the architecture's table; a GGUF adapter's are of the
file's own tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

from ...quant.dispatch import KERNELS, Weights
from .. import arch
from ..errors import GgufxError, InputError, UnsupportedError, UsageError, raise_all
from ..io.gguf import GgufFile, read_gguf_model
from ..io.tensors import StoredTensor
from ..io.values import Metadata, plain, text_of
from ..metadata.naming import output_path
from ..notes import grouped
from ..ops import LowRank
from ..ops.lora import MATRIX
from ..ops.merge import FLOAT_WIDTH, TABLE, Update
from ..plan.gguf_output import gguf_output
from ..plan.plan import ConversionPlan, InputFile, PlannedTensor, TensorJob, bits_per_weight, numbered
from ..rules.facts import GgufFacts
from ..rules.hparams import sizes
from ..rules.match import BlockHparams
from ..rules.runtime_defaults import with_defaults
from ..rules.shapes import expected_shape
from ..sources.merged import merged_tensor
from .adapter_updates import Adapter, OpenedAdapter, Step
from .merged_weights import changed_note, with_norms
from .own_keys import KEPT
from .packed_sources import parts_of, source_of
from .places import Place, Places, is_head
from .quantization import Quantization, imatrix_keys, with_weights
from .quantize import QuantizePlanner, squeezed

KEEP = "keep"  # as an output type: every tensor's own
_TO_CHECKPOINT = "Merge it into the checkpoint, and convert the result."


class GgufPlaces(Places):
    """Where a GGUF file has the weights that a class names."""

    instead = True

    def __init__(self, model: GgufFile) -> None:
        keys = plain(model.metadata)
        name = str(keys.get("general.architecture"))
        spec = arch.for_gguf(name, GgufFacts.of(keys, model.tensors), str(model.path))
        spec = spec.whole.text if spec.whole else spec
        embedding = model.tensors.get("token_embd.weight")
        said = plain(with_defaults(spec, model.metadata))
        hp = sizes(spec, said, embedding.shape[0] if embedding else None, None)
        super().__init__(model.tensors, spec, hp, None, spec.head and "output.weight" not in model.tensors)

    def of(self, weight: str) -> list[Place]:
        for rule, holes in self.rules(weight):
            at = BlockHparams(self.hp, rule.block(holes))
            names = [template.format(holes) for template in rule.gguf]
            if len(rule.hf) != 1 or not all(name in self.tensors for name in names):
                continue
            try:
                ops = tuple(op.bind(at) for op in rule.ops)
            except (KeyError, ValueError):
                continue
            within = (0, None, int(holes["e"])) if rule.stacked else ()
            return [Place(name, ops, number, within=within) for number, name in enumerate(names)]
        return [Place("token_embd.weight")] if self.tied and is_head(weight) else []

    def shape(self, weight: str) -> tuple[int, ...] | None:
        known = self.rule(weight)
        if known is None:  # a head that is the embedding
            return self.tensors["token_embd.weight"].shape if self.tied and is_head(weight) else None
        return expected_shape(known[0], BlockHparams(self.hp, known[0].block(known[1])), weight.endswith(".bias"))

    @property
    def embedding(self) -> list[str]:
        return ["token_embd.weight"]

    def stored(self, weight: str) -> str | None:
        return None

    def same(self, tensor: StoredTensor, weight: str, name: str) -> bool:
        return tensor.shape == self.tensors[name].shape  # its numbers cannot be compared with blocks


class MergePlanner(QuantizePlanner):
    """Plans a GGUF file with adapters (PEFT folders or GGUF adapters) merged into it -> GGUF, one file after another.

    `outfile`: a file, in which `{outtype}` is filled in, or a folder.
    """

    def __init__(self, path: Path, adapters: Sequence[Adapter], outfile: str | Path, quantization: Quantization) -> None:
        """Reads headers. Raises GgufxError with everything that is wrong."""
        super().__init__(path, outfile, replace(quantization, allow_requantize=True))
        self.own_types = {t.name: t.type for t in self.tensors}
        self.in_order = list(self.model.tensors)
        self.notes: list[str] = []
        merged = _merged(self.model, adapters, self.notes)
        self.changed = list(merged)
        self.tensors = [merged.get(t.name, t) for t in self.tensors]
        self.files = numbered(part.file for t in self.tensors for part in parts_of(t))
        self.inputs = tuple(InputFile.of(path) for path in self.files)

    def path(self, outtype: str) -> Path:
        if outtype != KEEP:
            return super().path(outtype)
        outfile = output_path(self.outfile, "merged", f"{self.source.stem}-merged.gguf")
        if outfile.exists() and self.source.exists() and outfile.samefile(self.source):
            raise UsageError("input and output are the same file", file=outfile)
        return outfile

    def plan(self, outtype: str) -> ConversionPlan:
        keep = outtype == KEEP
        made = self._kept() if keep else super().plan(outtype)
        notes = grouped([*made.notes, *self.notes, changed_note(self.changed)])
        return replace(made, direction="merge-lora", notes=tuple(notes))

    def compared(self) -> ConversionPlan:
        """For a comparison: what changes as F32, which any type of the result is held against; the rest as it is."""
        self.own_types |= {name: "F32" for name in self.changed if self.own_types[name] not in FLOAT_WIDTH}
        return self.plan(KEEP)

    def _kept(self) -> ConversionPlan:
        """The file with every tensor's own type."""
        by_name = {t.name: t for t in self.tensors}
        tensors = [by_name[name] for name in self.in_order]
        planned = [PlannedTensor(t.name, self.own_types[t.name], squeezed(t.shape)) for t in tensors]
        raise_all(self._unmade())
        keys: Metadata = {k: v for k, v in self.keys.items() if not k.startswith("split.") and not self._stale(k)}
        keys.update(imatrix_keys(self.imatrix, self.quantization.imatrix_file, self.notes))
        made = gguf_output(self.path(KEEP), keys, planned)
        jobs: list[TensorJob] = []
        for tensor in tensors:
            job = TensorJob(tensor.name, (source_of(tensor, self.files),), (), (made.regions[tensor.name],))
            jobs.extend(with_weights([job], [tensor.name], self.imatrix) if tensor.name in self.changed else [job])
        return ConversionPlan(
            "merge-lora", self.inputs, made.files, tuple(jobs), tuple(planned), (),
            {"architecture": self.architecture, "parameters": sum(prod(t.shape) for t in tensors),
             "bits_per_weight": bits_per_weight(planned)}, self.imatrix.entries if self.imatrix else {})

    def _unmade(self) -> list[GgufxError]:
        """Changed tensors whose own type cannot be made again."""
        out: list[GgufxError] = []
        for name in self.changed:
            kind = self.own_types[name]
            if kind not in KERNELS:
                out.append(UnsupportedError(f"{kind} is not made", file=self.source, tensor=name, hint="Give an --outtype."))
            elif KERNELS[kind].weights is Weights.REQUIRED and (self.imatrix is None or name not in self.imatrix.entries):
                out.append(UsageError(f"{kind} needs an importance matrix", file=self.source, tensor=name,
                                      hint="Give one with --imatrix, or another type with --outtype."))
        return out

    def _stale(self, key: str) -> bool:
        """What the file keeps of tensors of its checkpoint, which are not these any more."""
        return key.startswith(KEPT) or key == "ggufx.source"


def _merged(model: GgufFile, adapters: Sequence[Adapter], notes: list[str]) -> dict[str, StoredTensor]:
    """The tensors that the adapters change."""
    problems: list[GgufxError] = []
    places = GgufPlaces(model) if any(a.folder.is_dir() for a in adapters) else None
    steps: list[Step] = []
    for adapter in adapters:
        if places is None or not adapter.folder.is_dir():
            steps += _of_gguf(adapter, model)
            continue
        opened = OpenedAdapter(adapter, places, notes, problems)
        raise_all(problems)
        own_head = list(opened.replaced().values())
        steps += opened.updates()
        own_head += [parts[0] for _, name, update, parts in opened.instead if places.tied and name == "token_embd.weight"]
        problems += [UnsupportedError("the model ties its head to its embedding, and the adapter has one of the two of its own",
                                      file=adapter.folder, tensor=t.name, hint=_TO_CHECKPOINT) for t in own_head]
        problems += opened.all_problems(model.path)
    raise_all(problems)
    of: dict[str, list[tuple[Update, tuple[StoredTensor, ...]]]] = {}
    for _, name, update, parts in sorted(steps, key=lambda step: step[0]):
        of.setdefault(name, []).append((update, parts))
    out: dict[str, StoredTensor] = {}
    for name, found in of.items():
        tensor = model.tensors[name]
        kind = tensor.type if tensor.type in FLOAT_WIDTH else "F32"
        out[name] = merged_tensor(replace(tensor, type=kind), tensor, with_norms(tensor, found, problems))
    raise_all(problems)
    return out


def _of_gguf(adapter: Adapter, model: GgufFile) -> Iterator[Step]:
    """The updates of a GGUF adapter, scaled as the runtime scales them."""
    lora = read_gguf_model(adapter.folder)
    if text_of(lora.metadata, "general.type") != "adapter" or text_of(lora.metadata, "adapter.type") != "lora":
        raise InputError("is no GGUF adapter", file=adapter.folder, hint="Give a LoRA adapter: a PEFT folder or a GGUF file.")
    architectures = [text_of(x.metadata, "general.architecture") for x in (model, lora)]
    if architectures[0] != architectures[1]:
        raise InputError("is an adapter of another architecture", file=adapter.folder, expected=architectures[0],
                         found=architectures[1])
    if "adapter.alora.invocation_tokens" in lora.metadata:
        raise UnsupportedError("an adapter that acts behind its invocation tokens only (aLoRA) cannot be merged",
                               file=adapter.folder, hint="Give it to llama.cpp beside the model (--lora).")
    alpha = float(lora.metadata["adapter.lora.alpha"].data) if "adapter.lora.alpha" in lora.metadata else 0.0
    problems: list[GgufxError] = []
    for name, a in lora.tensors.items():
        weight = name.removesuffix(".lora_a")
        if weight == name:
            continue
        b, target = lora.tensors.get(f"{weight}.lora_b"), model.tensors.get(weight)
        table = weight == "token_embd.weight"
        if b is None or target is None or len(a.shape) != len(b.shape) or len(a.shape) not in (2, 3) \
                or a.type not in FLOAT_WIDTH or b.type not in FLOAT_WIDTH:
            problems.append(InputError("is no update of a tensor of the model, in floats", file=adapter.folder, tensor=name))
            continue
        rank = b.shape[-1]
        shape = (a.shape[0], b.shape[0]) if table else (*b.shape[:-1], a.shape[-1])
        if shape != target.shape or (a.shape[-1] if table else a.shape[-2]) != rank or a.shape[:-2] != b.shape[:-2]:
            problems.append(InputError("the factors do not fit the tensor", file=adapter.folder, tensor=name,
                                       expected=list(target.shape), found=f"A {list(a.shape)}, B {list(b.shape)}"))
            continue
        scale = adapter.scale * (alpha / rank if alpha else 1.0)
        yield False, weight, LowRank(scale, TABLE if table else MATRIX, rounded=table or len(shape) == 3), (a, b)
    raise_all(problems)
