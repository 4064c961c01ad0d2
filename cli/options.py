"""Options that several commands share, each defined once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30}


def byte_size(text: str) -> int:
    """`5GB`, `800MiB`, `1000` as a number of bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*", text, re.IGNORECASE)
    if match is None or (size := int(float(match[1]) * _UNITS[(match[2] or "").upper()])) <= 0:
        raise typer.BadParameter(f"{text!r} is not a size; write 5GB, 800MB or 1GiB")
    return size


def device_name(text: str) -> str:
    """`auto`, `cpu`, `cuda`, `cuda:1`."""
    from ..converters.run.engines.choice import NAME

    if not NAME.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a device; choose auto, cpu, cuda, or one GPU such as cuda:0")
    return text


# -- how to talk ----------------------------------------------------------------------------------------------------
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout; everything for people on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more; a traceback where ggufx fails.")]

# -- how to convert -------------------------------------------------------------------------------------------------
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan only: tensors, sizes, what is lost.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace existing output.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")]
Threads = Annotated[int | None, typer.Option("--threads", "-t", min=1, help="Threads [default: all cores].")]
MaxMemory = Annotated[
    int, typer.Option("--max-memory", parser=byte_size, metavar="SIZE", help="Bytes in flight, for any model.")
]
Device = Annotated[
    str, typer.Option("--device", parser=device_name, metavar="DEVICE",
                      help="auto, cpu, cuda (all GPUs) or cuda:N. The bytes are the same."),
]
Checksums = Annotated[
    Path | None, typer.Option("--checksums", metavar="FILE", help="Write sha256 sums that `sha256sum -c` accepts.")
]
After = Annotated[
    bool, typer.Option("--after", help="Then verify what was written against the source; exit 1 where it differs.")
]
ModelName = Annotated[str | None, typer.Option("--model-name", help="general.name of the file.")]
MetadataFile = Annotated[
    Path | None, typer.Option("--metadata", metavar="FILE", help="JSON file with general.* key-values that override.")
]
Plain = Annotated[bool, typer.Option("--plain", help="No ggufx.* key-values: the way back is then not exact.")]

# -- how to quantize ------------------------------------------------------------------------------------------------
Imatrix = Annotated[Path | None, typer.Option("--imatrix", metavar="FILE", help="Importance matrix, GGUF or legacy.")]
IncludeWeights = Annotated[list[str], typer.Option("--include-weights", help="Use only entries with this in the name.")]
ExcludeWeights = Annotated[list[str], typer.Option("--exclude-weights", help="Leave out entries with this in the name.")]
Pure = Annotated[bool, typer.Option("--pure", help="Every tensor the default type of the file type.")]
TensorType = Annotated[
    list[str], typer.Option("--tensor-type", metavar="PATTERN=TYPE", help="Type of matching tensors; may be repeated.")
]
TensorTypeFile = Annotated[
    Path | None, typer.Option("--tensor-type-file", metavar="FILE", help="PATTERN=TYPE words, between white space.")
]
OutputTensorType = Annotated[str | None, typer.Option("--output-tensor-type", metavar="TYPE", help="Of output.weight.")]
TokenEmbeddingType = Annotated[
    str | None, typer.Option("--token-embedding-type", metavar="TYPE", help="Of token_embd.weight.")
]
LeaveOutputTensor = Annotated[bool, typer.Option("--leave-output-tensor", help="Do not quantize output.weight.")]
NoFallback = Annotated[bool, typer.Option("--no-fallback", help="Refuse where a tensor does not fit its type.")]
OverrideKv = Annotated[
    list[str], typer.Option("--override-kv", metavar="KEY=TYPE:VALUE", help="int, float, bool or str; may be repeated.")
]
