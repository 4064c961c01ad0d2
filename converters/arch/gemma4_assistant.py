"""Gemma 4's assistants, drafts whose blocks have queries alone: the keys and values are those of the target's last layers.

They have the target's tokenizer in their own folder. Source: transformers `models/gemma4_assistant`; llama.cpp
`src/models/gemma4-assistant.cpp`, `conversion/gemma.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .gemma4 import DEFAULTS, GEMMA4, GEMMA4_HPARAMS, GEMMA4_TENSORS

OF_THE_TARGET = ("attn_k", "attn_v", "_exps", "gate_inp", "_norm_1", "_norm_2", "per_layer", "inp_gate", "blk.{b}.proj",
                 "blk.{b}.post_norm")

GEMMA4_ASSISTANT = ArchSpec(
    "gemma4-assistant", ("Gemma4AssistantForCausalLM",), "gemma4_assistant",
    hparams=(
        *without(GEMMA4_HPARAMS, "final_logit_softcapping", "attention_k_eq_v", "vocab_size_per_layer_input", "expert_count",
                 "use_double_wide_mlp", "expert_used_count", "expert_feed_forward_length", "enable_moe_block",
                 "tie_word_embeddings"),
        H("embedding_length_out", "backbone_hidden_size"),
        Computed("nextn_predict_layers", lambda c: c["num_hidden_layers"]),
        Fixed("enable_moe_block", False, refuse=True), Fixed("use_double_wide_mlp", False, refuse=True),
        Fixed("vocab_size_per_layer_input", 0), Fixed("use_ordered_embeddings", False), Fixed("final_logit_softcapping", None),
        Fixed("tie_word_embeddings", True, refuse=True),
    ),
    tensors=(
        *(row for row in GEMMA4_TENSORS if row not in HEAD and not any(part in str(row.gguf[0]) for part in OF_THE_TARGET)),
        R("nextn.pre_projection.weight", "pre_projection.weight", shape="embedding_length 2*embedding_length_out"),
        R("nextn.post_projection.weight", "post_projection.weight", shape="embedding_length_out embedding_length"),
    ),
    derived=GEMMA4.derived, sizes=GEMMA4.sizes,
    defaults={**DEFAULTS, "num_kv_shared_layers": same_as("num_hidden_layers"), "hidden_size_per_layer_input": 0},
    ignore=tuple(map(Template, ("masked_embedding.centroids.weight", "masked_embedding.token_ordering", "lm_head.weight"))),
    inside="gemma4_text", outside=("backbone_hidden_size", "use_ordered_embeddings", "tie_word_embeddings"),
    absent="an order of the vocabulary, by which an assistant looks at a part of it only, is not in the file",
    example="google/gemma-4-E2B-it-assistant",
)
GEMMA4_UNIFIED_ASSISTANT = replace(
    GEMMA4_ASSISTANT, classes=("Gemma4UnifiedAssistantForCausalLM",), model_type="gemma4_unified_assistant",
    inside="gemma4_unified_text", example="google/gemma-4-12B-it-assistant")

BACK = {"gemma4-assistant": choice(GEMMA4_ASSISTANT)}
SPECS = (GEMMA4_ASSISTANT, GEMMA4_UNIFIED_ASSISTANT)
