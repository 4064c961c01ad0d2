"""Cohere's Command-R and Aya: attention and feed-forward side by side behind one norm, logits scaled, rotary neighbours paired
as the runtime does. Cohere2 turns only the blocks with a sliding window.

Source: transformers `models/cohere`, `cohere2`; llama.cpp `src/models/command-r.cpp`, `cohere2.cpp`, `conversion/command_r.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .gemma import ALWAYS_TIED, LM_HEAD, layer_types, pattern, periodic, unusual
from .llama import ROPE_DIM, UNSTATED_HEAD
from .qwen import ATTN, FFN

COHERE = (
    BLOCK_COUNT, EMBEDDING_LENGTH, FFN_LENGTH, HEAD_COUNT, HEAD_KV, *HEAD_LENGTHS, LN_EPSILON, VOCAB_ROWS, SILU, ALWAYS_TIED,
    H("logit_scale", "logit_scale", F32, default=0.0625),
    Const("rope.scaling.type", "none", ValueType.STRING), Rope(),
    Fixed("attention_bias", False, refuse=True),
)
PARALLEL = (*EMBED, NORMS[0], *ATTN, *FFN, *OUT_NORM)

COMMAND_R = ArchSpec(
    "command-r", ("CohereForCausalLM",), "cohere",
    hparams=(
        *COHERE,
        # The published models state a shorter max_position_embeddings than they were trained for.
        Computed("context_length", lambda c: c.get("model_max_length") or c["max_position_embeddings"],
                 "max_position_embeddings", lambda kv: kv["context_length"]),
        Fixed("use_qk_norm", lambda c: c["num_hidden_layers"] >= 64, refuse=True),  # which the runtime goes by
    ),
    tensors=(*PARALLEL, *where(
        lambda hp, b: hp["block_count"] >= 64,
        R("blk.{b}.attn_q_norm.weight", L + "self_attn.q_norm.weight", shape="attention.head_count head_length"),
        R("blk.{b}.attn_k_norm.weight", L + "self_attn.k_norm.weight", shape="attention.head_count_kv head_length"))),
    defaults={**UNSTATED_HEAD, "max_position_embeddings": 8192, "layer_norm_eps": 1e-5, "rope_theta": 500000.0,
              "use_qk_norm": False, "tie_word_embeddings": True},
    sizes=SIZES, ignore=LM_HEAD, example="CohereLabs/c4ai-command-r-v01",
)

COHERE2 = ArchSpec(
    "cohere2", ("Cohere2ForCausalLM",), "cohere2",
    hparams=(
        *COHERE, CONTEXT_LENGTH, VOCAB_SIZE, ROPE_DIM, Fixed("rotary_pct", 1.0),
        H("attention.sliding_window", "sliding_window"),
        Computed("attention.sliding_window_pattern", unusual(4), "layer_types", lambda kv: layer_types(pattern(4, kv)), BOOL),
    ),
    tensors=PARALLEL,
    defaults={**DECODER_DEFAULTS, "max_position_embeddings": 8192, "layer_norm_eps": 1e-5, "sliding_window": 4096,
              "tie_word_embeddings": True, "layer_types": lambda config: layer_types(
                  periodic(config.get("sliding_window_pattern") or 4, config["num_hidden_layers"]))},
    sizes=SIZES, ignore=LM_HEAD, example="CohereLabs/c4ai-command-r7b-12-2024",
)

SPECS = (COMMAND_R, COHERE2)
