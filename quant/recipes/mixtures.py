"""The tables behind the recipes: file types, tensor roles, names that stay as they are, and the rules of each mixture.

Facts: llama.cpp v0.5.0-dev, src/llama-quant.cpp and tools/quantize. `recipe.choose` reads these tables; to change what
a file type does to a model, change its row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class FileType:
    """`number` is the value of general.file_type; `default` the tensor type that no rule changes; COPY has neither.

    `use`: what it is good for.
    """

    name: str
    number: int | None
    default: str | None
    aliases: tuple[str, ...] = ()
    use: str = ""


_FILE_TYPES = (
    FileType("F32", 0, "F32", (), "exact whatever the source; twice the size of BF16"),
    FileType("F16", 1, "F16", (), "half precision, for runtimes without BF16; no values beyond 65504"),
    FileType("BF16", 32, "BF16", (), "as most models are published; what to keep and to quantize from"),
    FileType("Q8_0", 7, "Q8_0", (), "hardly to be told from BF16, at half the size"),
    FileType("Q4_0", 2, "Q4_0", (), "older; for runtimes and CPUs with kernels of its own"),
    FileType("Q4_1", 3, "Q4_1", (), "older; as Q4_0 with an offset"),
    FileType("Q5_0", 8, "Q5_0", (), "older; K types are better at the size"),
    FileType("Q5_1", 9, "Q5_1", (), "older; K types are better at the size"),
    FileType("Q2_K", 10, "Q2_K", (), "very small; losses are plain"),
    FileType("Q2_K_S", 21, "Q2_K", (), "smaller still; losses are plain"),
    FileType("Q3_K_S", 11, "Q3_K", (), "small; losses show"),
    FileType("Q3_K_M", 12, "Q3_K", ("Q3_K",), "small; losses show"),
    FileType("Q3_K_L", 13, "Q3_K", (), "small; losses show a little less"),
    FileType("Q4_K_S", 14, "Q4_K", (), "a little smaller than Q4_K_M"),
    FileType("Q4_K_M", 15, "Q4_K", ("Q4_K",), "the usual choice: a good balance of size and quality"),
    FileType("Q5_K_S", 16, "Q5_K", (), "a little smaller than Q5_K_M"),
    FileType("Q5_K_M", 17, "Q5_K", ("Q5_K",), "close to the original"),
    FileType("Q6_K", 18, "Q6_K", (), "very close to the original"),
    FileType("IQ1_S", 24, "IQ1_S", (), "the smallest that still speaks"),
    FileType("IQ1_M", 31, "IQ1_M", (), "as IQ1_S, a little better"),
    FileType("IQ2_XXS", 19, "IQ2_XXS", (), "very small"),
    FileType("IQ2_XS", 20, "IQ2_XS", (), "very small"),
    FileType("IQ2_S", 28, "IQ2_XS", (), "very small"),
    FileType("IQ2_M", 29, "IQ2_S", (), "very small; the best of about 2.7 bits"),
    FileType("IQ3_XXS", 23, "IQ3_XXS", (), "small; better than Q3_K at the size, slower on CPUs"),
    FileType("IQ3_XS", 22, "IQ3_S", (), "small; better than Q3_K at the size, slower on CPUs"),
    FileType("IQ3_S", 26, "IQ3_S", (), "small; better than Q3_K at the size, slower on CPUs"),
    FileType("IQ3_M", 27, "IQ3_S", (), "small; better than Q3_K at the size, slower on CPUs"),
    FileType("IQ4_NL", 25, "IQ4_NL", (), "as IQ4_XS, where 256 does not divide the rows"),
    FileType("IQ4_XS", 30, "IQ4_XS", (), "smaller than Q4_K_S, about as good with an importance matrix"),
    FileType("TQ1_0", 36, "TQ1_0", (), "ternary models (BitNet) alone"),
    FileType("TQ2_0", 37, "TQ2_0", (), "ternary models (BitNet) alone, faster than TQ1_0"),
    FileType("MXFP4_MOE", 38, "MXFP4", (), "mixtures of experts that were trained in MXFP4 (gpt-oss)"),
    FileType("Q1_0", 40, "Q1_0", (), "models that were trained at one bit"),
    FileType("Q2_0", 41, "Q2_0", (), "models that were trained at two bits"),
    FileType("COPY", None, None),
)
FILE_TYPES: dict[str, FileType] = {row.name: row for row in _FILE_TYPES}
# Names for several file types at once, and what each is good for.
PRESETS: dict[str, tuple[tuple[str, ...], str]] = {
    "recommended": (("q4_k_m", "q5_k_m", "q6_k", "q8_0"), "a choice for most machines, without an importance matrix"),
    "small": (("iq2_m", "iq3_xxs", "iq3_m", "iq4_xs"), "for little memory; needs an importance matrix (--imatrix)"),
}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a recipe asks of a model. Head counts are those of layer 0; `block_count` includes next-token layers."""

    arch: str
    block_count: int = 0
    expert_count: int = 0
    head_count: int = 0
    head_count_kv: int = 0
    nextn_predict_layers: int = 0

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> ModelFacts:
        """From a model's GGUF key-values as plain Python values (numbers, strings, sequences)."""

        def number(key: str, default: int = 0) -> int:
            value = metadata.get(f"{arch}.{key}", default)
            if not isinstance(value, (int, float)):  # one count per layer
                value = value[0] if len(value) else default
            return int(value)

        arch = str(metadata.get("general.architecture", ""))
        heads = number("attention.head_count")
        experts = number("expert_count")
        if arch in ("hunyuan-vl", "hunyuan-dense") and experts <= 1:
            experts = 0
        return cls(
            arch=arch,
            block_count=number("block_count"),
            expert_count=experts,
            head_count=heads,
            head_count_kv=number("attention.head_count_kv", heads),
            nextn_predict_layers=number("nextn_predict_layers"),
        )

    @property
    def grouping(self) -> int:
        """Query heads per key-value head; 0 where layer 0 has no key-value heads."""
        return self.head_count // self.head_count_kv if self.head_count_kv else 0

    @property
    def is_70b(self) -> bool:
        """llama.cpp's size class 70B, the one size that a recipe knows."""
        layers = self.block_count - self.nextn_predict_layers
        if self.arch in ("llama", "llama-embed"):
            return layers == 80 and self.head_count != self.head_count_kv
        return (self.arch in ("qwen2", "deci", "olmo") and layers == 80) or (self.arch == "jais2" and layers == 68)


class Role(StrEnum):
    OUTPUT = "output"
    EMBEDDING = "embedding"
    ATTN_V = "attn_v"  # also the fused attn_qkv and MLA's attn_kv_b
    ATTN_K = "attn_k"
    ATTN_Q = "attn_q"
    ATTN_OUTPUT = "attn_output"
    FFN_UP = "ffn_up"
    FFN_GATE = "ffn_gate"
    FFN_DOWN = "ffn_down"
    OTHER = "other"


EXACT_ROLES = {
    "output.weight": Role.OUTPUT,
    "token_embd.weight": Role.EMBEDDING,
    "per_layer_token_embd.weight": Role.EMBEDDING,
}
ROLES_BY_PART = (  # the first that occurs in the name decides
    ("attn_qkv.weight", Role.ATTN_V),
    ("attn_kv_b.weight", Role.ATTN_V),
    ("attn_v.weight", Role.ATTN_V),
    ("attn_k.weight", Role.ATTN_K),
    ("attn_q.weight", Role.ATTN_Q),
    ("attn_output.weight", Role.ATTN_OUTPUT),
    ("ffn_up", Role.FFN_UP),
    ("ffn_gate", Role.FFN_GATE),
    ("ffn_down", Role.FFN_DOWN),
)


def role(name: str) -> Role:
    """A tensor's role, by its GGUF name."""
    return EXACT_ROLES.get(name) or next((role for part, role in ROLES_BY_PART if part in name), Role.OTHER)


# Names that are never quantized: exact, containing a part, and containing a part in one architecture only.
KEPT_NAMES = frozenset({"position_embd.weight", "token_types.weight"})
KEPT_PARTS = (
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj",
    "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight", "time_mix_first.weight",
    *(f"time_mix_{part}.weight" for part in ("w0", "w1", "w2", "v0", "v1", "v2", "a0", "a1", "a2", "g1", "g2")),
    "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", "attn_rel_b.weight",
    ".position_embd", "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger",
    "a.rvq.codebook", "mm.a.code_embd",
)  # fmt: skip
KEPT_PARTS_OF_ARCH = {
    "glm5-next": (
        "hc_", "indexer.attn_q_b", "indexer.attn_k", "indexer.proj", "indexer_compressor_gate",
        "indexer_compressor_ape", "ssm_f_a.weight", "ssm_f_b.weight", "ssm_g_a.weight", "ssm_g_b.weight",
        "ssm_beta.weight", "attn_kv_a_mqa.weight", "attn_k_b.weight", "attn_v_b.weight",
    ),
}  # fmt: skip


# Shape fallback: a type with blocks of 64 or 256 -> the type with blocks of 32 that takes its place.
FALLBACK = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_0", "Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}


@dataclass(frozen=True, slots=True)
class Situation:
    """What a rule may ask: the model, whether there is an importance matrix, and the layer `i` of `n`."""

    facts: ModelFacts
    has_imatrix: bool
    i: int
    n: int


_Condition = Callable[[Situation], bool]
_Rules = tuple[tuple[_Condition, str | None], ...]  # None: keep the default type


def _always(_: Situation) -> bool:
    return True


def _gqa4(s: Situation) -> bool:
    return s.facts.grouping >= 4


def _gqa4_or_experts4(s: Situation) -> bool:
    return s.facts.grouping >= 4 or s.facts.expert_count >= 4


def _experts8(s: Situation) -> bool:
    return s.facts.expert_count == 8


def _falcon(s: Situation) -> bool:
    return s.facts.arch == "falcon"


def _imatrix(s: Situation) -> bool:
    return s.has_imatrix


def _first(count: int) -> _Condition:
    return lambda s: s.i < count


def _first_part(parts: int) -> _Condition:
    return lambda s: s.i < s.n // parts


def _more_bits(s: Situation) -> bool:
    """The first and the last eighth of the layers, and every third layer between."""
    return s.i < s.n // 8 or s.i >= 7 * s.n // 8 or (s.i - s.n // 8) % 3 == 2


def _middle(s: Situation) -> bool:
    return s.n // 8 <= s.i < 7 * s.n // 8


def _all(*conditions: _Condition) -> _Condition:
    return lambda s: all(condition(s) for condition in conditions)


def _not(condition: _Condition) -> _Condition:
    return lambda s: not condition(s)


def _to(type_: str) -> _Rules:
    return ((_always, type_),)


def _attn_output(experts8: str | None, others: str | None, falcon: str | None = None) -> _Rules:
    return ((_falcon, falcon), (_experts8, experts8), (_always, others))


_EIGHTH, _SIXTEENTH = _first_part(8), _first_part(16)
# The file types below 3 bits share another scheme: it counts ffn_down tensors instead of reading their layer.
LOW_BIT = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"})


def _low_bit(raised: str, attn_output: str | None, embedding: str) -> dict[Role, _Rules]:
    return {
        Role.EMBEDDING: _to(embedding),
        Role.ATTN_V: ((_gqa4_or_experts4, "Q4_K"), (_always, raised)),
        Role.ATTN_K: ((_experts8, "Q4_K"),),
        Role.ATTN_OUTPUT: ((_experts8, "Q5_K"), (_always, attn_output)),
        Role.FFN_DOWN: ((_EIGHTH, raised),),
    }


_IQ4_MIXTURE: dict[Role, _Rules] = {
    Role.ATTN_V: ((_gqa4, "Q5_K"),),
    Role.ATTN_OUTPUT: _attn_output("Q5_K", None),
    Role.FFN_DOWN: ((_all(_EIGHTH, _not(_imatrix)), "Q5_K"),),
}
_OTHERS_Q4_K: dict[Role, _Rules] = {Role.EMBEDDING: _to("Q4_K")}

# file type -> role -> rules; the first condition that holds decides, none keeps the default type.
# EMBEDDING is for models with their own output.weight; see `recipe` for OUTPUT and tied embeddings.
MIXTURES: dict[str, dict[Role, _Rules]] = {
    "IQ1_S": _low_bit("Q2_K", "IQ2_XXS", "Q2_K"),
    "IQ1_M": _low_bit("Q2_K", "IQ2_XXS", "Q2_K"),
    "IQ2_XXS": _low_bit("Q2_K", None, "Q2_K"),
    "IQ2_XS": _low_bit("Q2_K", None, "Q2_K"),
    "IQ2_S": _low_bit("IQ3_S", "IQ3_S", "IQ3_S"),
    "IQ2_M": _low_bit("IQ3_S", "IQ3_S", "IQ3_S"),
    "TQ1_0": _OTHERS_Q4_K,
    "TQ2_0": _OTHERS_Q4_K,
    "Q2_0": _OTHERS_Q4_K,
    "Q2_K": {
        Role.ATTN_V: ((_gqa4, "Q4_K"), (_always, "Q3_K")),
        Role.ATTN_OUTPUT: _attn_output("Q5_K", "Q3_K"),
        Role.FFN_DOWN: _to("Q3_K"),
    },
    "Q2_K_S": {
        Role.ATTN_V: ((_gqa4, "Q4_K"),),
        Role.FFN_DOWN: ((_EIGHTH, "Q4_K"),),
    },
    "IQ3_XXS": {
        Role.EMBEDDING: _to("IQ3_S"),
        Role.ATTN_V: ((_gqa4, "Q4_K"), (_imatrix, "IQ3_XXS"), (_always, "IQ3_S")),
        Role.ATTN_K: _to("IQ2_S"),
        Role.ATTN_Q: _to("IQ2_S"),
        Role.ATTN_OUTPUT: _attn_output("Q5_K", "IQ3_S"),
        Role.FFN_DOWN: ((_imatrix, None), (_EIGHTH, "Q4_K"), (_always, "Q3_K")),
    },
    "IQ3_XS": {
        Role.ATTN_V: ((_gqa4, "Q4_K"),),
        Role.ATTN_K: _to("IQ3_XXS"),
        Role.ATTN_Q: _to("IQ3_XXS"),
        Role.ATTN_OUTPUT: _attn_output("Q5_K", None),
        Role.FFN_GATE: ((_middle, "IQ3_XXS"),),
        Role.FFN_UP: ((_middle, "IQ3_XXS"),),
    },
    "IQ3_S": {
        Role.ATTN_V: ((_gqa4, "Q4_K"),),
        Role.ATTN_OUTPUT: _attn_output("Q5_K", None),
    },
    "IQ3_M": {
        Role.ATTN_V: _to("Q4_K"),
        Role.ATTN_OUTPUT: _attn_output("Q5_K", "Q4_K"),
        Role.FFN_DOWN: ((_EIGHTH, "Q4_K"), (_all(_experts8, _more_bits), "Q4_K")),
    },
    "Q3_K_S": {
        Role.ATTN_OUTPUT: _attn_output("Q5_K", None),
    },
    "Q3_K_M": {
        Role.ATTN_V: ((_first(2), "Q5_K"), (_always, "Q4_K")),
        Role.ATTN_OUTPUT: _attn_output("Q5_K", "Q4_K"),
        Role.FFN_DOWN: ((_SIXTEENTH, "Q5_K"), (_all(_falcon, _not(_more_bits)), None), (_always, "Q4_K")),
    },
    "Q3_K_L": {
        Role.ATTN_V: _to("Q5_K"),
        Role.ATTN_OUTPUT: _attn_output(None, "Q5_K", falcon="Q4_K"),
        Role.FFN_DOWN: ((_falcon, "Q4_K"), (_always, "Q5_K")),
    },
    "IQ4_NL": _IQ4_MIXTURE,
    "IQ4_XS": _IQ4_MIXTURE,
    "Q4_0": {
        Role.FFN_DOWN: ((_all(_imatrix, _EIGHTH), "Q4_1"),),
    },
    "Q5_0": {
        Role.FFN_DOWN: ((_all(_imatrix, _EIGHTH), "Q5_1"),),
    },
    "Q4_K_S": {
        Role.ATTN_V: ((_first(4), "Q5_K"),),
        Role.ATTN_OUTPUT: _attn_output("Q5_K", None),
        Role.FFN_DOWN: ((_all(_not(_falcon), _EIGHTH), "Q5_K"),),
    },
    "Q4_K_M": {
        Role.ATTN_V: ((_more_bits, "Q6_K"),),
        Role.ATTN_OUTPUT: _attn_output("Q5_K", None),
        Role.FFN_DOWN: (
            (_all(_falcon, _SIXTEENTH), "Q6_K"),
            (_all(_falcon, _more_bits), "Q5_K"),
            (_falcon, None),
            (_more_bits, "Q6_K"),
        ),
    },
    "Q5_K_M": {
        Role.ATTN_V: ((_more_bits, "Q6_K"),),
        Role.FFN_DOWN: ((_more_bits, "Q6_K"),),
    },
}  # fmt: skip
COUNTED = frozenset({Role.ATTN_V, Role.FFN_DOWN, Role.FFN_GATE, Role.FFN_UP})
OUTPUT_Q5_K = LOW_BIT | {"IQ3_XXS"}
NEEDS_IMATRIX = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS"})
