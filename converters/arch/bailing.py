"""Ant's Bailing (Ling, Ring), versions 1 and 2: q, k and v in one weight, experts, of version 2 a biased router; Sarvam.

Source: inclusionAI's `modeling_bailing_moe.py`, `modeling_bailing_moe_v2.py`; llama.cpp `src/models/bailingmoe*.cpp`,
`conversion/bailingmoe.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .deepseek import GATING, SHARED_EXPERTS, dense, sparse
from .ernie import SHARED_LENGTH
from .glm import PARTIAL_ROPE
from .qwen import FFN

A = L + "attention."
EMBED = (R("token_embd.weight", "model.word_embeddings.weight", shape="vocab_size embedding_length"),)
HEAD = (R("output.weight", "lm_head.weight", shape="vocab_size embedding_length"),)
OUTPUT = (R("blk.{b}.attn_output.weight", A + "dense.weight", shape="embedding_length head_rows"),)
QKV = "query_key_value_rows embedding_length"
ROUTED = (
    *EXPERTS, EXPERT_LENGTH, H("expert_shared_count", "num_shared_experts"),
    H("expert_weights_norm", "norm_topk_prob", BOOL, default=True), VOCAB_SIZE,
    Fixed("use_bias", False, refuse=True), Fixed("use_qkv_bias", False, refuse=True),
)
BAILING_SIZES = {
    **SIZES, "query_key_value_rows": lambda hp: hp["head_rows"] + 2 * hp["head_kv_rows"],
    "shared_expert_length": lambda hp: hp["expert_shared_count"] * hp.get(SHARED_LENGTH, hp["expert_feed_forward_length"]),
}

BAILING = ArchSpec(
    "bailingmoe", ("BailingMoeForCausalLM",), "bailing_moe",
    hparams=(
        *DECODER, *ROUTED, Computed("rope.dimension_count", lambda c: c["head_dim"]),
        Const("leading_dense_block_count", 0),
        Fixed("first_k_dense_replace", 0, refuse=True),
        Const("expert_weights_scale", 1.0, F32),
        Fixed("norm_head", False, refuse=True), Fixed("norm_softmax", False, refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS,
        R(("blk.{b}.attn_q.weight", "blk.{b}.attn_k.weight", "blk.{b}.attn_v.weight"), A + "query_key_value.weight",
          Split(("attention.head_count", "attention.head_count_kv", "attention.head_count_kv")), Each((ROPE, ROPE, Op())),
          shape=QKV),
        *OUTPUT, *ROUTER, *SEPARATE_EXPERTS, *SHARED_EXPERTS, *OUT_NORM, *HEAD,
    ),
    defaults=DECODER_DEFAULTS, sizes=BAILING_SIZES, example="inclusionAI/Ling-lite",
)

BAILING2 = ArchSpec(
    "bailingmoe2", ("BailingMoeV2ForCausalLM",), "bailing_moe",
    hparams=(
        *without(DECODER, "num_hidden_layers", "rope_parameters"), *PARTIAL_ROPE, *NEXTN_BLOCKS, *ROUTED,
        H("leading_dense_block_count", "first_k_dense_replace", default=0),
        # For each shared expert: the runtime multiplies by their number.
        Computed(SHARED_LENGTH, lambda c: c.get("moe_shared_expert_intermediate_size") or c["moe_intermediate_size"],
                 "moe_shared_expert_intermediate_size", lambda kv: kv.get(SHARED_LENGTH)),
        H("expert_weights_scale", "routed_scaling_factor", F32, default=1.0),
        H("expert_gating_func", "score_function", codec=GATING, default="sigmoid"),
        H("expert_group_count", "n_group", default=1), H("expert_group_used_count", "topk_group", default=1),
        Fixed("use_qk_norm", True, refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS, R("blk.{b}.attn_qkv.weight", A + "query_key_value.weight", shape=QKV), *OUTPUT,
        R("blk.{b}.attn_q_norm.weight", A + "query_layernorm.weight", shape="head_length"),
        R("blk.{b}.attn_k_norm.weight", A + "key_layernorm.weight", shape="head_length"),
        *where(dense, *FFN), *where(sparse, *ROUTER, *SEPARATE_EXPERTS, *SHARED_EXPERTS),
        R("blk.{b}.exp_probs_b.bias", L + "mlp.gate.expert_bias", need=False, shape="expert_count", hf_dtype="F32"),
        *where(predicting, R("blk.{b}.layer_output_norm.weight", L + "final_layernorm.weight", shape="embedding_length")),
        *NEXTN, *OUT_NORM, *HEAD,
    ),
    defaults={**DECODER_DEFAULTS, "partial_rotary_factor": 0.5, "num_nextn_predict_layers": 0}, sizes=BAILING_SIZES,
    idle=predicting, example="inclusionAI/Ling-mini-2.0",
)

# The class takes the mean off the router's biases; the choice of experts is the same with it.
SARVAM = replace(
    BAILING2, classes=("SarvamMoEForCausalLM", "modeling_sarvam_moe.SarvamMoEForCausalLM"), model_type="sarvam_moe",
    defaults={**BAILING2.defaults, "partial_rotary_factor": 1.0}, example="sarvamai/sarvam-30b")

BACK = {"bailingmoe2": choice(BAILING2, (SARVAM, says("tokenizer.ggml.pre", "sarvam-moe")))}
SPECS = (BAILING, BAILING2, SARVAM)
