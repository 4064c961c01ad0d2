"""GGUF -> GGUF in another type: from a header to a complete plan. The file is what llama-quantize writes.

Order of tensors and key-values follows llama-quantize, so that whole files can be compared; what it silently does to the
key-values (text after a NUL is cut, alignments other than 32 break) is not followed. Source: recipes.md of the facts,
llama.cpp `src/llama-quant.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from ..quant.recipe import TensorShape, file_type, sort_key
from .errors import InputError, UnsupportedError, UsageError
from .io.gguf import encode_header, layout, read_gguf_model
from .io.values import Metadata, u32
from .ops import Shape
from .plan import ConversionPlan, InputFile, OutputFile, PlannedTensor, Region, TensorJob
from .recipes import Quantization, choose_types, imatrix_keys, override, with_weights
from .targets import QUANTIZATION_VERSION

DROPPED_KEYS = ("general.quantization_version", "general.file_type", "split.no", "split.count", "split.tensors.count",
                "general.alignment")


@dataclass(frozen=True)
class QuantizeOptions:
    """How a GGUF file is quantized."""

    outtype: str
    quantization: Quantization = field(default_factory=Quantization)


def plan_quantize(path: Path, outfile: Path, options: QuantizeOptions) -> ConversionPlan:
    """Plan a GGUF file (or the first part of a split one) -> a GGUF file of type `options.outtype`."""
    model = read_gguf_model(path)
    if outfile.exists() and outfile.samefile(path):
        raise UsageError("input and output are the same file", file=path)
    if not model.tensors:
        raise InputError("the file holds no tensors", file=path)
    if "general.architecture" not in model.metadata:
        raise InputError("the file has no general.architecture", file=path)
    try:
        kind = file_type(options.outtype)
    except ValueError as error:
        raise UsageError(str(error), hint="`ggufx types` lists the file types.") from error
    if kind.number is None:
        raise UnsupportedError(f"{kind.name} is no type of its own", file=path)
    keys = override(model.metadata, options.quantization)
    tensors = [model.tensors[name] for name in sorted(model.tensors, key=sort_key)]
    chosen = choose_types(kind.name, [TensorShape(t.name, t.shape, t.type) for t in tensors], keys,
                          options.quantization, str(path))
    key_values: Metadata = {k: v for k, v in keys.items() if k not in DROPPED_KEYS}
    key_values["general.quantization_version"] = u32(QUANTIZATION_VERSION)
    key_values["general.file_type"] = u32(kind.number)
    key_values.update(imatrix_keys(chosen, options.quantization.imatrix_file))

    laid = layout([(c.name, c.type, squeezed(c.shape)) for c in chosen.choices])
    head = encode_header(key_values, laid)
    size = len(head) + laid[-1].offset + laid[-1].nbytes
    paths = list(dict.fromkeys(t.file for t in tensors))
    jobs = []
    for tensor, target in zip(tensors, laid, strict=True):
        source = Region(paths.index(tensor.file), tensor.offset, tensor.type, target.shape)
        output = Region(0, len(head) + target.offset, target.type, target.shape)
        job = TensorJob(tensor.name, (source,), (), (output,))
        jobs.extend(with_weights([job], [tensor.name], chosen.imatrix) if target.type != tensor.type else [job])
    return ConversionPlan(
        "quantize", tuple(InputFile.of(p) for p in paths), (OutputFile(outfile, size + -size % 32, head),), tuple(jobs),
        tuple(PlannedTensor(t.name, t.type, t.shape, t.nbytes, c.wanted if c.fell_back else None)
              for t, c in zip(laid, chosen.choices, strict=True)),
        tuple(chosen.notes),
        {"architecture": model.metadata["general.architecture"].data, "file_type": kind.name,
         "parameters": sum(prod(t.shape) for t in tensors), **chosen.facts},
        chosen.imatrix.entries if chosen.imatrix else {})


def squeezed(shape: Shape) -> Shape:
    """Leading axes of length 1 dropped, as ggml counts dimensions."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape
