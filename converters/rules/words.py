"""Everything a table is written in: `from ..rules.words import *`, in arch/ only."""

from ..errors import UnsupportedError
from ..io.values import ValueType
from ..ops import (
    Add,
    AddAxis,
    Arrange,
    Axes,
    Channels,
    Crop,
    Each,
    FromPosition,
    MlaKv,
    NegExp,
    Op,
    PackMxfp4,
    Pad,
    Reshape,
    RopePermute,
    Same,
    Scale,
    Softplus,
    Split,
    Transpose,
    Unstack,
)  # fmt: skip
from .facts import MISSING, Config, GgufFacts, Missing, get_path, has, lacks, named, says, size
from .hf_config import full_attention_rope, text_settings
from .hparam_rules import Codec, Computed, Const, Fixed, H, HparamRule, Note, Seen, short, without
from .pooling import POOLING
from .rope import LLAMA3_FREQS, LONGROPE_FACTORS, PROPORTIONAL_FREQS, Rope
from .rope_alpha import AlphaRope, SectionedAlphaRope
from .spec import CONV, ArchSpec, Choice, Constant, Hparams, Keyed, Projector, R, Stack, TensorRule, Whole, choice
from .template import Template

F32 = ValueType.FLOAT32
BOOL = ValueType.BOOL
INT32 = ValueType.INT32
STRING = ValueType.STRING

__all__ = [
    "BOOL",
    "CONV",
    "F32",
    "INT32",
    "LLAMA3_FREQS",
    "LONGROPE_FACTORS",
    "MISSING",
    "POOLING",
    "PROPORTIONAL_FREQS",
    "STRING",
    "Add",
    "AddAxis",
    "AlphaRope",
    "ArchSpec",
    "Arrange",
    "Axes",
    "Channels",
    "Choice",
    "Codec",
    "Computed",
    "Config",
    "Const",
    "Constant",
    "Crop",
    "Each",
    "Fixed",
    "FromPosition",
    "GgufFacts",
    "H",
    "HparamRule",
    "Hparams",
    "Keyed",
    "Missing",
    "MlaKv",
    "NegExp",
    "Note",
    "Op",
    "PackMxfp4",
    "Pad",
    "Projector",
    "R",
    "Reshape",
    "Rope",
    "RopePermute",
    "Same",
    "Scale",
    "SectionedAlphaRope",
    "Seen",
    "Softplus",
    "Split",
    "Stack",
    "Template",
    "TensorRule",
    "Transpose",
    "Unstack",
    "UnsupportedError",
    "ValueType",
    "Whole",
    "choice",
    "full_attention_rope",
    "get_path",
    "has",
    "lacks",
    "named",
    "says",
    "short",
    "size",
    "text_settings",
    "without",
]  # fmt: skip
