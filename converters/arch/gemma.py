"""Gemma 1 to 3 and EmbeddingGemma; Gemma 4 is in `gemma4.py`.

Norms are stored as an offset from one. From Gemma 2 on, blocks have norms on both sides, and some of
them attend to a sliding window only. Source: transformers `models/gemma*`, llama.cpp `src/models/gemma*.cpp` and
`conversion/gemma.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..rules.words import *
from .common import *

# -- which blocks attend to a sliding window only -------------------------------------------------------------------


def sliding(config: Config) -> list[bool]:
    """For each block whether its attention slides."""
    kinds, count = config["layer_types"], config["num_hidden_layers"]
    if len(kinds) != count or not {*kinds} <= {"sliding_attention", "full_attention"}:
        raise ValueError(f"{count} times sliding_attention or full_attention is expected, not {kinds}")
    return [kind == "sliding_attention" for kind in kinds]


def layer_types(slides: list[bool]) -> list[str]:
    return ["sliding_attention" if s else "full_attention" for s in slides]


def periodic(period: int, count: int) -> list[bool]:
    """Every `period`-th block has full attention; a period of 0 means none has."""
    return [period == 0 or (b + 1) % period != 0 for b in range(count)]


def default_layer_types(config: Config) -> list[str]:
    """What a config without layer types stands for. Before transformers 5, Gemma 3 stated the period."""
    return layer_types(periodic(config.get("sliding_window_pattern") or 6, config.get("num_hidden_layers", 0)))


def pattern(period: int, kv: Mapping[str, Any]) -> list[bool]:
    """`sliding` from a file's keys: a list, another period, or none where it is the architecture's."""
    stated, count = kv.get("attention.sliding_window_pattern", period), kv["block_count"]
    if isinstance(stated, int):
        return periodic(stated, count)
    if len(stated) < count:
        raise ValueError(f"attention.sliding_window_pattern lists {len(stated)} of {count} blocks")
    return [bool(s) for s in stated[:count]]


def unusual(period: int) -> Callable[[Config], list[bool] | None]:
    """The pattern, where it is not what the runtime takes without being told."""

    def value(config: Config) -> list[bool] | None:
        slides = sliding(config)
        return None if slides == periodic(period, len(slides)) else slides

    return value


# -- what the runtime computes without a key for it -----------------------------------------------------------------


def query_scalar(blocks_of_27b: int) -> Fixed:
    """Attention is scaled by the head length, but in the 27B model, which is told by its number of blocks."""

    def value(config: Config) -> int:
        per_head = config["hidden_size"] // config["num_attention_heads"]
        return per_head if config["num_hidden_layers"] == blocks_of_27b else config["head_dim"]

    return Fixed("query_pre_attn_scalar", value)


def soft_cap(key: str, value: float) -> Computed:
    """A cap that the runtime always applies, and that a config may leave to its class but not switch off."""

    def stated(config: Config) -> float:
        if config.get(key, value) is None:
            raise UnsupportedError(f"{key} null has no GGUF form: the runtime always caps", file="config.json",
                                   expected="a number", found=None)
        return config.get(key, value)

    return Computed(key, stated, key, lambda kv: short(kv.get(key, value)), F32)


NO_BIAS = Fixed("attention_bias", False, refuse=True)
CAUSAL = Fixed("use_bidirectional_attention", False, refuse=True)
ALWAYS_TIED = Fixed("tie_word_embeddings", True, refuse=True)
GELU = Fixed("hidden_activation", "gelu_pytorch_tanh")

# -- Gemma ----------------------------------------------------------------------------------------------------------

ONE = Add(1.0)
ATTN = (
    R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", shape="head_rows embedding_length"),
    R("blk.{b}.attn_k.weight", L + "self_attn.k_proj.weight", shape="head_kv_rows embedding_length"),
    R("blk.{b}.attn_v.weight", L + "self_attn.v_proj.weight", shape="head_kv_rows embedding_length"),
    R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length head_rows"),
)
FFN = (
    R("blk.{b}.ffn_gate.weight", L + "mlp.gate_proj.weight", shape="feed_forward_length embedding_length"),
    R("blk.{b}.ffn_up.weight", L + "mlp.up_proj.weight", shape="feed_forward_length embedding_length"),
    R("blk.{b}.ffn_down.weight", L + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
)
OUT_NORM_BEYOND_ONE = (R("output_norm.weight", "model.norm.weight", ONE, shape="embedding_length"),)
LM_HEAD = (Template("lm_head.weight"),)  # the runtime always uses the embeddings; some tools store them twice

DENSE = (*SHAPE, HEAD_KV, RMS_EPS, *HEAD_LENGTHS, VOCAB_ROWS, NO_BIAS)

GEMMA = ArchSpec(
    "gemma", ("GemmaForCausalLM",), "gemma",
    hparams=(*DENSE, Rope(write_base=False), ALWAYS_TIED, CAUSAL,
             Fixed("hidden_act", "gelu_pytorch_tanh", also=("gelu",))),  # "gelu" stands for the same in this class
    tensors=(
        *EMBED,
        R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", ONE, shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", L + "post_attention_layernorm.weight", ONE, shape="embedding_length"),
        *ATTN, *FFN, *OUT_NORM_BEYOND_ONE,
    ),
    defaults={
        "tie_word_embeddings": True,
        "vocab_size": 256000, "hidden_size": 3072, "intermediate_size": 24576, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 256, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
    },
    sizes=SIZES, ignore=LM_HEAD, example="google/gemma-2b",
)

# -- Gemma 2 --------------------------------------------------------------------------------------------------------

SANDWICH_NORMS = (
    R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", ONE, shape="embedding_length"),
    R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", ONE, shape="embedding_length"),
    R("blk.{b}.ffn_norm.weight", L + "pre_feedforward_layernorm.weight", ONE, shape="embedding_length"),
    R("blk.{b}.post_ffw_norm.weight", L + "post_feedforward_layernorm.weight", ONE, shape="embedding_length"),
)

GEMMA2 = ArchSpec(
    "gemma2", ("Gemma2ForCausalLM",), "gemma2",
    hparams=(
        *DENSE, Rope(write_base=False), ALWAYS_TIED, CAUSAL, GELU, query_scalar(46),
        soft_cap("attn_logit_softcapping", 50.0), soft_cap("final_logit_softcapping", 30.0),
        H("attention.sliding_window", "sliding_window", default=4096),
        Computed("attention.sliding_window_pattern", unusual(2), "layer_types",
                 lambda kv: layer_types(pattern(2, kv)), BOOL),
    ),
    tensors=(*EMBED, *SANDWICH_NORMS, *ATTN, *FFN, *OUT_NORM_BEYOND_ONE),
    defaults={
        "vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6, "layer_types": lambda config: layer_types(periodic(2, config["num_hidden_layers"])),
        "tie_word_embeddings": True,
    },
    sizes=SIZES, ignore=LM_HEAD, example="google/gemma-2-2b-it",
)

# -- Gemma 3 and EmbeddingGemma -------------------------------------------------------------------------------------


def pattern3(kv: Mapping[str, Any]) -> list[bool]:
    """Without a window, no block of Gemma 3 slides."""
    return pattern(6, kv) if kv.get("attention.sliding_window") else [False] * kv["block_count"]


SLIDING3 = (
    Computed("attention.sliding_window", lambda config: config["sliding_window"] if any(sliding(config)) else None,
             "sliding_window", lambda kv: kv.get("attention.sliding_window") or None),
    Computed("attention.sliding_window_pattern", lambda config: unusual(6)(config) if any(sliding(config)) else None,
             "layer_types", lambda kv: layer_types(pattern3(kv)), BOOL),
)
DENSE3 = (
    *DENSE, Rope(default_sliding_theta=10000.0), *SLIDING3, GELU, query_scalar(62),
    Fixed("attn_logit_softcapping", None, refuse=True),
    H("final_logit_softcapping", "final_logit_softcapping", F32, need=False),
)
DENSE3_TENSORS = (
    *EMBED, *SANDWICH_NORMS, *ATTN,
    R("blk.{b}.attn_q_norm.weight", L + "self_attn.q_norm.weight", ONE, shape="head_length"),
    R("blk.{b}.attn_k_norm.weight", L + "self_attn.k_norm.weight", ONE, shape="head_length"),
    *FFN, *OUT_NORM_BEYOND_ONE,
)
DEFAULTS3 = {
    "vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-6, "sliding_window": 4096, "layer_types": default_layer_types,
    "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0, "use_bidirectional_attention": False,
    "tie_word_embeddings": True,
}
LOCAL_BASE = "rope_local_base_freq"
LANGUAGE_MODEL = (("model.language_model.", "model."), ("language_model.model.", "model."), ("language_model.", ""))

GEMMA3 = ArchSpec(
    "gemma3", ("Gemma3ForCausalLM",), "gemma3_text", local_rope_base=LOCAL_BASE,
    hparams=(*DENSE3, TIED, CAUSAL), tensors=(*DENSE3_TENSORS, *HEAD), defaults=DEFAULTS3, sizes=SIZES,
    example="google/gemma-3-1b-it",
)

GEMMA3_VL = Whole(
    "Gemma3ForConditionalGeneration", "gemma3", text=GEMMA3, aliases=LANGUAGE_MODEL, parts=dict.fromkeys(
        ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")),
    example="google/gemma-3-4b-it",
)

# config.json states the window as the runtime takes it; the class halves it while it loads.
GEMMA_EMBEDDING = ArchSpec(
    "gemma-embedding", ("Gemma3TextModel",), "gemma3_text", head=False, local_rope_base=LOCAL_BASE,
    hparams=(*DENSE3, POOLING, Fixed("use_bidirectional_attention", True)), tensors=headless(*DENSE3_TENSORS),
    defaults=DEFAULTS3, sizes=SIZES, aliases=(("model.", ""),), example="google/embeddinggemma-300m",
)

SPECS = (GEMMA, GEMMA2, GEMMA3, GEMMA3_VL, GEMMA_EMBEDDING)
