"""Everything a table is written in: `from ..rules.words import *`, in arch/ only."""

from ..errors import UnsupportedError
from ..io.values import ValueType
from ..ops import (
    Add,
    Arrange,
    Crop,
    Each,
    MlaKv,
    NegExp,
    Op,
    PackMxfp4,
    Pad,
    Product,
    Reshape,
    RopePermute,
    Same,
    Scale,
    Split,
    Transpose,
)  # fmt: skip
from .facts import Config, GgufFacts, has, lacks, named, says, size
from .hf_config import full_attention_rope
from .hparam_rules import Codec, Computed, Const, Fixed, H, HparamRule, Note, Seen, short, without
from .pooling import POOLING
from .rope import LLAMA3_FREQS, LONGROPE_FACTORS, PROPORTIONAL_FREQS, Rope
from .rope_alpha import AlphaRope, SectionedAlphaRope
from .spec import ArchSpec, Choice, Constant, Hparams, Keyed, R, Stack, TensorRule, Whole, choice
from .template import Template

F32 = ValueType.FLOAT32
BOOL = ValueType.BOOL
INT32 = ValueType.INT32

__all__ = [
    "BOOL",
    "F32",
    "INT32",
    "LLAMA3_FREQS",
    "LONGROPE_FACTORS",
    "POOLING",
    "PROPORTIONAL_FREQS",
    "Add",
    "AlphaRope",
    "ArchSpec",
    "Arrange",
    "Choice",
    "Codec",
    "Computed",
    "Config",
    "Const",
    "Constant",
    "Crop",
    "Each",
    "Fixed",
    "GgufFacts",
    "H",
    "HparamRule",
    "Hparams",
    "Keyed",
    "MlaKv",
    "NegExp",
    "Note",
    "Op",
    "PackMxfp4",
    "Pad",
    "Product",
    "R",
    "Reshape",
    "Rope",
    "RopePermute",
    "Same",
    "Scale",
    "SectionedAlphaRope",
    "Seen",
    "Split",
    "Stack",
    "Template",
    "TensorRule",
    "Transpose",
    "UnsupportedError",
    "ValueType",
    "Whole",
    "choice",
    "full_attention_rope",
    "has",
    "lacks",
    "named",
    "says",
    "short",
    "size",
    "without",
]  # fmt: skip
