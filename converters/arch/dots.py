"""dots.llm1: Qwen3's attention, DeepSeek's experts.

Source: transformers `models/dots1`; llama.cpp `src/models/dots1.cpp`, `conversion/dots1.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .deepseek import GATING, LATENT_SIZES, MOE, ROUTER_BIAS, SHARED_EXPERTS, dense, sparse
from .qwen import ATTN, FFN


def own_heads(config: Config) -> int:
    """Key-value heads: the runtime wants one for every head."""
    if config["num_key_value_heads"] != config["num_attention_heads"]:
        raise ValueError("the runtime wants as many as there are heads")
    return config["num_key_value_heads"]


DOTS = ArchSpec(
    "dots1", ("Dots1ForCausalLM",), "dots1",
    hparams=(
        *without(DECODER, "num_key_value_heads"), *without(MOE, "norm_topk_prob"),
        Computed("attention.head_count_kv", own_heads, "num_key_value_heads", lambda kv: kv["attention.head_count_kv"]),
        H("expert_weights_norm", "norm_topk_prob", BOOL, default=False),
        H("expert_gating_func", "scoring_func", codec=GATING, default="sigmoid"),
        H("expert_group_count", "n_group", default=1), H("expert_group_used_count", "topk_group", default=1),
        Fixed("attention_bias", False, refuse=True),
        Fixed("layer_types", lambda c: ["full_attention"] * c["num_hidden_layers"]),
    ),
    tensors=(*EMBED, *NORMS, *ATTN, *QK_NORM, *where(dense, *FFN),
             *where(sparse, *ROUTER, *ROUTER_BIAS, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERTS), *OUT_NORM,
             R("output.weight", "lm_head.weight", shape="vocab_size embedding_length")),
    defaults={**DECODER_DEFAULTS, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "first_k_dense_replace": 0},
    sizes=LATENT_SIZES, example="rednote-hilab/dots.llm1.inst",
)

SPECS = (DOTS,)
