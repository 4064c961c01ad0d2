"""Options that several commands share, each defined once, in the panels in which `--help` shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from .completion import complete_devices, complete_tensor_types, complete_typed_patterns

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30}
MIN_MEMORY = 1 << 20

# The panels of `ggufx --help` and, in the order in which a command's first option of each stands, of a command's.
CONVERT, LOOK, MACHINES, PREPARE = "Convert", "Look and compare", "Many machines", "Prepare"
OUTPUT, METADATA, QUANTIZATION, RUN, TALK = "Output", "Metadata", "Quantization", "How it runs", "What is printed"
HUB = "To the Hub"


class ByteSize(int):
    """A number of bytes that is shown as it was written."""

    text: str

    def __new__(cls, size: int, text: str) -> ByteSize:
        made = super().__new__(cls, size)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


def byte_size(text: str | ByteSize) -> ByteSize:
    """`5GB`, `800MiB`, `1000` as a number of bytes; typer passes defaults through here as well."""
    if isinstance(text, ByteSize):
        return text
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?\s*", text, re.IGNORECASE)
    if match is None or (size := int(float(match[1]) * _UNITS[(match[2] or "").upper()])) <= 0:
        raise typer.BadParameter(f"{text!r} is not a size; write 5GB, 800MB or 1GiB")
    return ByteSize(size, text)


def memory_size(text: str | ByteSize) -> ByteSize:
    """A `byte_size` that work fits into: `2` is a slip for 2GB."""
    if (size := byte_size(text)) < MIN_MEMORY:
        raise typer.BadParameter(f"{text!r} is {size:d} bytes, too little to work with; write 2GB, 800MB or 1GiB")
    return size


MEMORY = memory_size("1GiB")  # the default
LAYER_MEMORY = memory_size("4GiB")  # of what runs a model: a layer in float32


def device_name(text: str) -> str:
    """`auto`, `cpu`, `cuda`, `cuda:1`."""
    from ..converters.run.engines.choice import NAME

    if not NAME.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a device; choose auto, cpu, cuda, or one GPU such as cuda:0")
    return text


def engine_name(text: str) -> str:
    """`threads`, `ray`."""
    if text not in ("threads", "ray"):
        raise typer.BadParameter(f"{text!r} is not an engine; choose threads, or ray")
    return text


# -- how to talk ----------------------------------------------------------------------------------------------------
Json = Annotated[bool, typer.Option("--json", rich_help_panel=TALK, help="One JSON document on stdout, also of a failure.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", rich_help_panel=TALK, help="Nothing but errors.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", rich_help_panel=TALK,
                       help="All names where many are counted, checksums, and a traceback where ggufx fails."),
]

# -- how to convert -------------------------------------------------------------------------------------------------
Outfile = Annotated[
    str | None, typer.Option(
        "--outfile", "-o", metavar="FILE", rich_help_panel=OUTPUT, show_default=False,
        help="File to write, {outtype} is filled in; or a folder, for a file named by the GGUF convention; also "
             "s3://bucket/... [default: the current folder]"),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", rich_help_panel=RUN, help="Only the plan: tensors, sizes, what is lost.")
]
Force = Annotated[bool, typer.Option("--force", "-f", rich_help_panel=RUN, help="Replace existing output.")]
Resume = Annotated[
    bool, typer.Option("--resume", rich_help_panel=RUN, help="Go on where an interrupted run stopped.")
]
Threads = Annotated[
    int | None, typer.Option("--threads", "-t", min=1, metavar="N", rich_help_panel=RUN, show_default=False,
                             help="Threads [default: all CPUs]."),
]
MaxMemory = Annotated[
    int, typer.Option("--max-memory", parser=memory_size, metavar="SIZE", rich_help_panel=RUN,
                      help="Tensor data in flight, for models of any size."),
]
Device = Annotated[
    str, typer.Option("--device", parser=device_name, metavar="DEVICE", autocompletion=complete_devices, rich_help_panel=RUN,
                      help="auto, cpu, cuda (all GPUs) or cuda:N. The bytes are the same."),
]
Engine = Annotated[
    str, typer.Option("--engine", parser=engine_name, metavar="ENGINE", rich_help_panel=RUN,
                      help="threads, or ray: a cluster whose nodes see the same files. The bytes are the same."),
]
Checksums = Annotated[
    Path | None, typer.Option("--checksums", metavar="FILE", rich_help_panel=OUTPUT,
                              help="Also write SHA-256 sums that `sha256sum -c` accepts."),
]
Report = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.json|html", rich_help_panel=RUN, show_default=False,
                              help="Also write what each tensor lost by its type, as JSON or as a page."),
]
ModelfileToo = Annotated[
    bool, typer.Option("--modelfile", rich_help_panel=OUTPUT,
                       help="Also write Ollama's Modelfile beside it; of several files, one each, with their names.")
]
# -- to the Hub ------------------------------------------------------------------------------------------------------
Push = Annotated[
    str | None, typer.Option("--push", metavar="ORG/REPO[@BRANCH]", rich_help_panel=HUB, show_default=False,
                             help="Then push what was written to the Hub, with a model card, in one commit.")
]
Private = Annotated[bool, typer.Option("--private", rich_help_panel=HUB, help="A repository that is made is private.")]
CreatePr = Annotated[bool, typer.Option("--create-pr", rich_help_panel=HUB, help="Push as a pull request.")]
Card = Annotated[
    Path | None, typer.Option("--card", metavar="FILE", rich_help_panel=HUB, show_default=False,
                              help="Also write the model card to this file, whether it is pushed or not."),
]
BaseModel = Annotated[
    list[str], typer.Option("--base-model", metavar="ORG/MODEL[@REV]", rich_help_panel=HUB, show_default=False,
                            help="Hub id of what is converted, for the model card, where it is not known; may be repeated.")
]
Relation = Annotated[
    str, typer.Option("--relation", metavar="WORD", rich_help_panel=HUB,
                      help="What the files are to it: quantized, adapter, merge or finetune.")
]
After = Annotated[
    bool, typer.Option("--verify", rich_help_panel=RUN,
                       help="Then verify what was written against the source; exit 1 where it differs."),
]
ModelName = Annotated[
    str | None, typer.Option("--model-name", metavar="NAME", rich_help_panel=METADATA, help="general.name of the file.")
]
MetadataFile = Annotated[
    Path | None, typer.Option("--metadata", metavar="FILE", rich_help_panel=METADATA,
                              help="JSON file with general.* key-values that override."),
]
SplitMaxSize = Annotated[
    int | None, typer.Option("--split-max-size", parser=byte_size, metavar="SIZE", rich_help_panel=OUTPUT, show_default=False,
                             help="In parts as of gguf-split, with at most so many bytes of tensors each (48G).")
]
SplitMaxTensors = Annotated[
    int | None, typer.Option("--split-max-tensors", min=1, metavar="N", rich_help_panel=OUTPUT, show_default=False,
                             help="In parts as of gguf-split, with at most so many tensors each.")
]
KeepQuantized = Annotated[
    bool, typer.Option("--keep-quantized", rich_help_panel=OUTPUT,
                       help="Of a quantized checkpoint: its own numbers in blocks of GGUF, without loss.")
]
Plain = Annotated[
    bool, typer.Option("--plain", rich_help_panel=METADATA, help="No ggufx.* key-values: the way back is then not exact.")
]
ChatTemplate = Annotated[
    Path | None, typer.Option("--chat-template", metavar="FILE", rich_help_panel=METADATA, show_default=False,
                              help="Jinja template in the place of the model's own, named ones too."),
]
Pre = Annotated[
    str | None, typer.Option("--pre", metavar="NAME", rich_help_panel=METADATA,
                             help="Pre-tokenizer, where it is not recognised."),
]
HfClass = Annotated[
    str | None, typer.Option("--as", metavar="CLASS", rich_help_panel=METADATA,
                             help="Take the model for one of this class, whatever config.json says; see `ggufx archs`."),
]
Lora = Annotated[
    list[str], typer.Option("--lora", metavar="ADAPTER[@SCALE]", rich_help_panel=OUTPUT,
                            help="Adapter to merge into the model first: folder, or Hub id; may be repeated.")
]
LlamaVersion = Annotated[
    str | None, typer.Option("--llama-version", metavar="VERSION", rich_help_panel=METADATA,
                             help="Of Meta's own files, which do not tell it: 1, 2, code, 3, 3.1, 3.2 or 3.3.")
]
ContextLength = Annotated[
    int | None, typer.Option("--context-length", min=1, metavar="TOKENS", rich_help_panel=METADATA,
                             help="Of Meta's or Mistral's own files, where params.json does not tell it.")
]

Target = Annotated[
    str | None, typer.Option("--target", metavar="MODEL", rich_help_panel=METADATA,
                             help="Of a draft model (EAGLE-3, DFlash, DSpark): the model that it guesses for, whose tokenizer "
                                  "it takes; folder or Hub id."),
]

# -- images and sound ------------------------------------------------------------------------------------------------
Mmproj = Annotated[
    bool, typer.Option("--mmproj", rich_help_panel=OUTPUT,
                       help="Also write the vision and audio parts, to a file mmproj-... beside."),
]
MmprojOnly = Annotated[
    bool, typer.Option("--mmproj-only", rich_help_panel=OUTPUT, help="Write the vision and audio parts alone."),
]
MmprojType = Annotated[
    str, typer.Option("--mmproj-type", metavar="TYPE", rich_help_panel=OUTPUT,
                      help="File type of the vision and audio parts: f16, bf16, f32, q8_0 ..."),
]

# -- how to quantize ------------------------------------------------------------------------------------------------
Imatrix = Annotated[
    Path | None, typer.Option("--imatrix", metavar="FILE", rich_help_panel=QUANTIZATION,
                              help="Importance matrix, GGUF or legacy."),
]
Calibrate = Annotated[
    list[Path], typer.Option("--calibrate", metavar="TEXT.txt", rich_help_panel=QUANTIZATION,
                             help="Make an importance matrix of this text first, beside the files; may be repeated."),
]
IncludeWeights = Annotated[
    list[str], typer.Option("--include-weights", metavar="TEXT", rich_help_panel=QUANTIZATION,
                            help="Use only entries of the importance matrix with this in the name; may be repeated."),
]
ExcludeWeights = Annotated[
    list[str], typer.Option("--exclude-weights", metavar="TEXT", rich_help_panel=QUANTIZATION,
                            help="Leave out entries of the importance matrix with this in the name; may be repeated."),
]
Data = Annotated[
    list[Path], typer.Option("--data", metavar="TEXT.txt", rich_help_panel=OUTPUT,
                             help="Text to run through the model, UTF-8; may be repeated."),
]
Context = Annotated[
    int, typer.Option("--ctx", "-c", min=32, metavar="TOKENS", rich_help_panel=OUTPUT, help="Tokens of a chunk.")
]
Chunks = Annotated[
    int | None, typer.Option("--chunks", min=1, metavar="N", rich_help_panel=OUTPUT, show_default=False,
                             help="No more than N chunks [default: all].")
]
ParseSpecial = Annotated[
    bool, typer.Option("--parse-special", rich_help_panel=OUTPUT, help="Control tokens in the text are read as such.")
]
Pure = Annotated[
    bool, typer.Option("--pure", rich_help_panel=QUANTIZATION, help="Every tensor the default type of the file type.")
]
TensorType = Annotated[
    list[str], typer.Option("--tensor-type", metavar="PATTERN=TYPE", autocompletion=complete_typed_patterns,
                            rich_help_panel=QUANTIZATION, help="Type of matching tensors; may be repeated."),
]
TensorTypeFile = Annotated[
    Path | None, typer.Option("--tensor-type-file", metavar="FILE", rich_help_panel=QUANTIZATION,
                              help="PATTERN=TYPE words, between white space."),
]
OutputTensorType = Annotated[
    str | None, typer.Option("--output-tensor-type", metavar="TYPE", autocompletion=complete_tensor_types,
                             rich_help_panel=QUANTIZATION, help="Type of output.weight."),
]
TokenEmbeddingType = Annotated[
    str | None, typer.Option("--token-embedding-type", metavar="TYPE", autocompletion=complete_tensor_types,
                             rich_help_panel=QUANTIZATION, help="Type of token_embd.weight."),
]
LeaveOutputTensor = Annotated[
    bool, typer.Option("--leave-output-tensor", rich_help_panel=QUANTIZATION, help="Do not quantize output.weight.")
]
NoFallback = Annotated[
    bool, typer.Option("--no-fallback", rich_help_panel=QUANTIZATION, help="Refuse where a tensor does not fit its type.")
]
OverrideKv = Annotated[
    list[str], typer.Option("--override-kv", metavar="KEY=TYPE:VALUE", rich_help_panel=METADATA,
                            help="TYPE is int, float, bool or str; may be repeated."),
]
