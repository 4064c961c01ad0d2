"""Cohere 2's mixture of experts: Cohere 2's parallel blocks, the first dense, the others with experts and shared experts, whose
results are averaged.

Source: transformers `models/cohere2_moe`; llama.cpp `src/models/cohere2moe.cpp`, `conversion/command_r.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .cohere import COHERE
from .common import *
from .deepseek import GATING, SHARED_EXPERTS, dense, sparse
from .exaone_moe import dense_blocks
from .gemma import LM_HEAD, layer_types, sliding
from .llama import ROPE_DIM
from .qwen import ATTN, FFN


def default_layer_types(config: Config) -> list[str]:
    """Every n-th block has full attention, of the dense ones and of the others by themselves."""
    first, own, rest = (config.get(key, default) for key, default in (
        ("first_k_dense_replace", 0), ("prefix_dense_sliding_window_pattern", 1), ("sliding_window_pattern", 4)))
    blocks = config["num_hidden_layers"]
    return layer_types([(b + 1) % own != 0 for b in range(first)] + [(b + 1) % rest != 0 for b in range(blocks - first)])


COHERE2MOE = ArchSpec(
    "cohere2moe", ("Cohere2MoeForCausalLM",), "cohere2_moe",
    hparams=(
        *without(COHERE, "num_hidden_layers", "feed_forward_length", "attention.layer_norm_epsilon"), *NEXTN_BLOCKS,
        CONTEXT_LENGTH, VOCAB_SIZE, ROPE_DIM, *EXPERTS,
        H("attention.layer_norm_epsilon", "layer_norm_eps", F32),
        H("attention.layer_norm_rms_epsilon", "rms_norm_eps", F32, need=False),
        Computed("feed_forward_length", lambda c: c.get("prefix_dense_intermediate_size") or c["intermediate_size"],
                 "prefix_dense_intermediate_size", lambda kv: kv["feed_forward_length"]),
        H("expert_feed_forward_length", "intermediate_size"),
        Computed("leading_dense_block_count", dense_blocks,
                 "first_k_dense_replace", lambda kv: kv.get("leading_dense_block_count", 0)),
        H("attention.sliding_window", "sliding_window"),
        Computed("attention.sliding_window_pattern", sliding, "layer_types",
                 lambda kv: layer_types([bool(s) for s in kv["attention.sliding_window_pattern"]][:main_blocks(kv)]), BOOL),
        H("expert_gating_func", "expert_selection_fn", codec=GATING),
        # Softmax over the chosen experts alone is softmax over all of them, normalised.
        Computed("expert_weights_norm", lambda c: c["norm_topk_prob"] or c["expert_selection_fn"] == "softmax",
                 "norm_topk_prob", lambda kv: bool(kv.get("expert_weights_norm", False)), BOOL),
        Computed("expert_shared_count", lambda c: c["num_shared_experts"] or None, "num_shared_experts",
                 lambda kv: kv.get("expert_shared_count", 0)),
        Computed("expert_shared_feed_forward_length", lambda c: c["num_shared_experts"] * c["intermediate_size"] or None),
        Fixed("shared_expert_combination_strategy", "average", refuse=True),
    ),
    tensors=(
        *EMBED, NORMS[0], *ATTN, *where(dense, *FFN), *where(sparse, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS),
        *where(lambda hp, b: sparse(hp, b) and hp.get("expert_shared_count", 0) > 0, *SHARED_EXPERTS), *NEXTN, *OUT_NORM,
    ),
    idle=predicting,
    defaults={**DECODER_DEFAULTS, "num_nextn_predict_layers": 0, "head_dim": 128, "max_position_embeddings": 8192,
              "layer_norm_eps": 1e-5,
              "sliding_window": 4096, "tie_word_embeddings": True, "num_experts": 8, "num_experts_per_tok": 2,
              "num_shared_experts": 0,
              "norm_topk_prob": True, "expert_selection_fn": "softmax", "first_k_dense_replace": 0,
              "layer_types": default_layer_types},
    sizes={**SIZES, "shared_expert_length": lambda hp: hp["expert_shared_feed_forward_length"]},
    ignore=LM_HEAD, example="CohereLabs/North-Mini-Code-1.0",
)

SPECS = (COHERE2MOE,)
