"""Meta's Muse Glimmer, its language model: norms around each part, gated attention, positions in blocks with a sliding window
only. Queries and keys are normed without weights, queries scaled by a setting; GGUF has both as weights of every block.

Source: transformers `models/muse_glimmer`; llama.cpp `src/models/muse-glimmer.cpp`, `conversion/muse_glimmer.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..rules.spec import Derived
from ..rules.words import *
from .common import *
from .gemma import layer_types, pattern
from .glm5_next import inside
from .multimodal import parts
from .qwen35 import offset

A = L + "self_attn."
NORMED = offset(
    R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", shape="embedding_length"),
    R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
    R("blk.{b}.ffn_norm.weight", L + "pre_feedforward_layernorm.weight", shape="embedding_length"),
    R("blk.{b}.post_ffw_norm.weight", L + "post_feedforward_layernorm.weight", shape="embedding_length"),
)


def from_the_last(value: Any, other: Any) -> Any:
    """One value for every fourth block, counted from the last, and another for the rest."""
    return lambda config: [value if b % 4 == 0 else other for b in range(config["num_hidden_layers"])][::-1]


def bases(config: Config) -> list[float]:
    """Rotary bases by block; 0 where nothing turns."""
    return [config["rope_parameters"]["rope_theta"] if kind == "sliding_attention" else 0 for kind in config["layer_types"]]


def _scale(weights: np.ndarray, found: GgufFacts, config: Config) -> None:
    if (weights != weights[0]).any() or config.get("qk_scale_factor", short(weights[0])) != short(weights[0]):
        raise ValueError("one number for all queries is expected")
    config["qk_scale_factor"] = short(weights[0])


def _ones(weights: np.ndarray, found: GgufFacts, config: Config) -> None:
    if (weights != 1).any():
        raise ValueError("ones are expected: the class norms keys without weights")


MUSE = ArchSpec(
    "muse-glimmer", ("MuseGlimmerForConditionalGeneration",), "muse_glimmer",
    hparams=(
        *without(DECODER, "hidden_act"), H("attention.sliding_window", "sliding_window"),
        Computed("attention.sliding_window_pattern", lambda c: [kind == "sliding_attention" for kind in c["layer_types"]],
                 "layer_types", lambda kv: layer_types(pattern(4, kv)), BOOL),
        H("final_logit_softcapping", "final_logit_softcapping", F32), H("logit_scale", "output_multiplier", F32),
        Fixed("layer_rope_theta", bases, refuse=True), Fixed("hidden_activation", "silu", refuse=True),
        Fixed("post_norm_eps", 1e-8, refuse=True), Fixed("attention_bias", False, refuse=True),
    ),
    tensors=(
        *inside(*EMBED, *NORMED, *ATTN_ROPE, *FFN, *OUT_NORM,
                R("blk.{b}.attn_gate.weight", A + "gate_proj.weight", shape="head_rows embedding_length")),
        R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),
    ),
    derived=(
        Derived("blk.{b}.attn_q_norm.weight",
                lambda c, hp: np.full(hp["head_length"], c["qk_scale_factor"], np.float32), _scale),
        Derived("blk.{b}.attn_k_norm.weight", lambda c, hp: np.ones(hp["head_length"], np.float32), _ones),
    ),
    sizes=SIZES, absent="what the class sees with is not in the file; transformers has no class for the language model alone",
    defaults={"head_dim": 128, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "sliding_window": 2048, "layer_types": from_the_last("full_attention", "sliding_attention"),
              "final_logit_softcapping": 20.0, "qk_scale_factor": 3.87, "output_multiplier": 0.19611613513818404},
    example="meta-models/Muse-Glimmer-30B",
)
WHOLE = Whole("MuseGlimmerForConditionalGeneration", "muse_glimmer", MUSE, (),
              parts("vision_tower", "vision_adapter", "vision_projection"), example="meta-models/Muse-Glimmer-30B")

BACK = {"muse-glimmer": choice(MUSE)}
SPECS = (WHOLE,)
