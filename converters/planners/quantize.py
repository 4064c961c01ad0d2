"""GGUF -> GGUF in another type: from a header to a complete plan of the file that llama-quantize writes.

Order of tensors and key-values follows llama-quantize, so that whole files can be compared; what it silently does to the
key-values (text after a NUL is cut, alignments other than 32 break) is not followed. Source: llama.cpp
`src/llama-quant.cpp`.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from math import prod
from pathlib import Path

from ...quant.recipes.recipe import sort_key
from ..errors import InputError, UnsupportedError
from ..io.gguf import read_gguf_model
from ..io.tensors import StoredTensor
from ..io.values import Metadata, plain, text_of, u32
from ..metadata.naming import default_file_name, output_path, set_path
from ..notes import grouped
from ..ops import Shape
from ..plan.gguf_output import WHOLE, SplitLimits, gguf_output
from ..plan.plan import ConversionPlan, InputFile, PlannedTensor, TensorJob, bits_per_weight, numbered
from ..sources.recognise import expect, expect_model
from .copied_tensors import refuse_sources
from .nvfp4_scales import read_factors
from .outtype import QUANTIZATION_VERSION
from .packed_sources import source_of
from .quantization import Quantization, choose_types, imatrix_keys, named_type, override, read_imatrix, with_weights

DROPPED_KEYS = ("general.quantization_version", "general.file_type", "split.no", "split.count", "split.tensors.count",
                "general.alignment")


@dataclass(frozen=True)
class QuantizeOptions:
    """How a GGUF file is quantized."""

    outtype: str
    _: KW_ONLY
    quantization: Quantization = field(default_factory=Quantization)
    split: SplitLimits = WHOLE


class QuantizePlanner:
    """Plans a GGUF file (or the first part of a split one) -> GGUF, one file after another (`many_outputs.Planner`).

    `outfile`: a file, in which `{outtype}` is filled in, or a folder.
    """

    def __init__(self, path: Path, outfile: str | Path, quantization: Quantization, split: SplitLimits = WHOLE) -> None:
        """Reads the header and the importance matrix. Raises GgufxError with what is wrong."""
        self.source, self.outfile, self.quantization, self.split = path, outfile, quantization, split
        expect(path, "gguf")
        self.model = read_gguf_model(path)
        expect_model(path, plain(self.model.metadata), (), projector=True)
        if not self.model.tensors:
            raise InputError("the file holds no tensors", file=path)
        if factors := read_factors(self.model).of:
            raise UnsupportedError("NVFP4 weights with a second scale beside them are not quantized again", file=path,
                                   tensor=next(iter(factors)), hint="Quantize the checkpoint, or what gguf-to-hf makes.")
        self.architecture = text_of(self.model.metadata, "general.architecture")
        if not self.architecture:
            raise InputError("the file has no general.architecture", file=path)
        self.keys = override(self.model.metadata, quantization)
        self.tensors: list[StoredTensor] = [self.model.tensors[name] for name in sorted(self.model.tensors, key=sort_key)]
        self.imatrix = read_imatrix(quantization, ((t.name, t.shape) for t in self.tensors))
        self.files = numbered(t.file for t in self.tensors)
        self.inputs = tuple(InputFile.of(path) for path in self.files)

    def path(self, outtype: str) -> Path:
        """The file that this type is written to. UsageError where there is no such type."""
        kind, _ = named_type(outtype)
        outfile = output_path(self.outfile, outtype, default_file_name(self.keys, kind.name))
        refuse_sources([outfile], self.inputs)
        return outfile

    def plan(self, outtype: str) -> ConversionPlan:
        """The plan of a file of this type. Raises GgufxError with everything that keeps it from being made."""
        outfile, (kind, number) = self.path(outtype), named_type(outtype)
        planned, notes = self.tensors_of(outtype)
        key_values: Metadata = {k: v for k, v in self.keys.items() if k not in DROPPED_KEYS}
        key_values["general.quantization_version"] = u32(QUANTIZATION_VERSION)
        key_values["general.file_type"] = u32(number)
        key_values.update(imatrix_keys(self.imatrix, self.quantization.imatrix_file, notes))
        made = gguf_output(outfile, key_values, planned, limits=self.split, set_path=set_path(self.outfile, outtype, outfile))
        refuse_sources([o.path for o in made.files], self.inputs)
        jobs = []
        for tensor in self.tensors:
            output = made.regions[tensor.name]
            source = source_of(replace(tensor, shape=output.shape), self.files)
            jobs.extend(with_weights([TensorJob(tensor.name, (source,), (), (output,))], [tensor.name], self.imatrix))
        return ConversionPlan(
            "quantize", self.inputs, made.files, tuple(jobs), tuple(planned), tuple(grouped(notes)),
            {"architecture": self.architecture, "file_type": kind.name,
             "parameters": sum(prod(t.shape) for t in self.tensors), "bits_per_weight": bits_per_weight(planned)},
            self.imatrix.entries if self.imatrix else {}, folders=made.folders)

    def tensors_of(self, outtype: str) -> tuple[list[PlannedTensor], list[str]]:
        """The tensors of a file of this type, in order, and what is to be said of them. Raises as `plan`."""
        chosen = choose_types(outtype, self.tensors, self.keys, self.quantization, self.imatrix, str(self.source))
        return [PlannedTensor(c.name, c.type, squeezed(c.shape), c.wanted if c.fell_back else None)
                for c in chosen.choices], chosen.notes


def plan_quantize(path: Path, outfile: str | Path, options: QuantizeOptions) -> ConversionPlan:
    """Plan a GGUF file -> a GGUF file of type `options.outtype`; see QuantizePlanner."""
    return QuantizePlanner(path, outfile, options.quantization, options.split).plan(options.outtype)


def squeezed(shape: Shape) -> Shape:
    """Leading axes of length 1 dropped, as ggml counts dimensions."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape
