"""Chameleon's language model: Llama with a norm of its own on each head of queries and keys; its large model norms behind.

Source: transformers `models/chameleon`; llama.cpp `src/models/chameleon.cpp`, `conversion/chameleon.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import UNSTATED_HEAD

PAIRS = RopePermute("head_length", columns=True)  # a norm's values lie as the rows of its projection do


def by_text(facts: GgufFacts) -> dict[str, int]:
    """Which token is which, of images above all."""
    return {text: number for number, text in enumerate(facts.keys.get("tokenizer.ggml.tokens", ()))}


CHAMELEON = ArchSpec(
    "chameleon", ("ChameleonForConditionalGeneration",), "chameleon",
    hparams=(*DECODER, H("swin_norm", "swin_norm", BOOL, default=False), Fixed("attention_bias", False, refuse=True),
             Fixed("mlp_bias", False, refuse=True), Seen("vocabulary_map", by_text),
             Note("swin_norm: the runtime leaves the residual out of what its feed-forward layers get, and computes otherwise",
                  lambda config: config.get("swin_norm")),
             Note("the runtime never predicts the tokens 4 to 8195, which are images", lambda config: True)),
    tensors=(
        *EMBED, *NORMS, *ATTN_ROPE,
        R("blk.{b}.attn_q_norm.weight", L + "self_attn.q_norm.weight", PAIRS, shape="attention.head_count head_length"),
        R("blk.{b}.attn_q_norm.bias", L + "self_attn.q_norm.bias", PAIRS, shape="attention.head_count head_length"),
        R("blk.{b}.attn_k_norm.weight", L + "self_attn.k_norm.weight", PAIRS, shape="attention.head_count_kv head_length"),
        R("blk.{b}.attn_k_norm.bias", L + "self_attn.k_norm.bias", PAIRS, shape="attention.head_count_kv head_length"),
        *FFN, *OUT_NORM, *HEAD,
    ),
    defaults={**UNSTATED_HEAD, "hidden_act": "silu", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5}, sizes=SIZES,
    example="facebook/chameleon-7b",
)
BACK = {"chameleon": choice(CHAMELEON)}
# The second is what transformers called the class at first.
SPECS = tuple(Whole(name, "chameleon", text=CHAMELEON, aliases=(), parts={"model.vqmodel.": None}, example=CHAMELEON.example)
              for name in ("ChameleonForConditionalGeneration", "ChameleonForCausalLM"))
