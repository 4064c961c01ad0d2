"""AFMoE (Arcee's Trinity): gated attention, norms on both sides of each part, rotary positions only under the sliding window.

Source: transformers `models/afmoe`; llama.cpp `src/models/afmoe.cpp`, `conversion/afmoe.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .deepseek import GATING, SHARED_EXPERTS, dense, sparse
from .gemma import layer_types, periodic
from .llama import INV_FREQ, ROPE_DIM
from .qwen import ATTN

AFMOE = ArchSpec(
    "afmoe", ("AfmoeForCausalLM",), "afmoe",
    hparams=(
        *DECODER, VOCAB_SIZE, ROPE_DIM, *EXPERTS, EXPERT_LENGTH,
        H("expert_shared_count", "num_shared_experts"), H("leading_dense_block_count", "num_dense_layers"),
        H("expert_weights_scale", "route_scale", F32),
        H("expert_weights_norm", "route_norm", BOOL, default=True),
        H("expert_gating_func", ("score_func", "scoring_func"), codec=GATING, default="sigmoid"),
        H("expert_group_count", "n_group", need=False), H("expert_group_used_count", "topk_group", need=False),
        H("attention.sliding_window", "sliding_window", default=None),
        Fixed("global_attn_every_n_layers", 4, refuse=True),
        Fixed("layer_types", lambda c: layer_types(periodic(4, c["num_hidden_layers"])), refuse=True),
        Fixed("mup_enabled", True, refuse=True), Fixed("attention_bias", False, refuse=True),
    ),
    tensors=(
        *EMBED, *ATTN, *QK_NORM,
        R("blk.{b}.attn_gate.weight", L + "self_attn.gate_proj.weight", shape="head_rows embedding_length"),
        R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.post_attention_norm.weight", L + "post_attention_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_norm.weight", L + "pre_mlp_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.post_ffw_norm.weight", L + "post_mlp_layernorm.weight", shape="embedding_length"),
        *where(dense, *FFN),
        *where(sparse,
               R("blk.{b}.ffn_gate_inp.weight", L + "mlp.router.gate.weight", shape="expert_count embedding_length",
                 type="F32"),
               R("blk.{b}.exp_probs_b.bias", L + "mlp.expert_bias", shape="expert_count"),
               *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERTS),
        *OUT_NORM, *HEAD,
    ),
    defaults={"num_key_value_heads": same_as("num_attention_heads"), "head_dim": 128, "max_position_embeddings": 16384,
              "rms_norm_eps": 1e-5, "num_experts": 64, "num_experts_per_tok": 6, "num_shared_experts": 2,
              "num_dense_layers": 1, "route_scale": 1.0, "moe_intermediate_size": 1408},
    sizes={**SIZES, "shared_expert_length": lambda hp: hp["expert_shared_count"] * hp["expert_feed_forward_length"]},
    ignore=INV_FREQ, example="arcee-ai/Trinity-Large-Thinking",
)

SPECS = (AFMOE,)
