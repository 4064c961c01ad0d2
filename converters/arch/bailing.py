"""Ant's Bailing (Ling, Ring), versions 1 and 2: q, k and v in one weight, experts, of version 2 a biased router; Sarvam.
Version 3: delta attention in most blocks, DeepSeek's latent attention in the others.

Source: inclusionAI's `modeling_bailing_moe.py`, `modeling_bailing_moe_v2.py`; llama.cpp `src/models/bailingmoe*.cpp`,
`conversion/bailingmoe.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .deepseek import ATTN as LATENT
from .deepseek import DEFAULTS, GATING, LATENT_ATTN, LATENT_SIZES, SHARED_EXPERTS, dense, no_query_lora, sparse
from .ernie import SHARED_LENGTH
from .glm import PARTIAL_ROPE
from .hy_v4 import renamed
from .kimi_linear import conv
from .lfm2 import attends, convolves, listed
from .multimodal import parts
from .qwen import FFN
from .qwen35 import SECTIONS
from .step import limits

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
        Fixed("norm_softmax", False, refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS,
        R(("blk.{b}.attn_q.weight", "blk.{b}.attn_k.weight", "blk.{b}.attn_v.weight"), A + "query_key_value.weight",
          Split(("attention.head_count", "attention.head_count_kv", "attention.head_count_kv")), Each((ROPE, ROPE, Op())),
          shape=QKV),
        *OUTPUT, *ROUTER, *SEPARATE_EXPERTS, *SHARED_EXPERTS, *OUT_NORM,
        replace(HEAD[0], ops=(UnitNorm("normed", columns=True, more=1e-7),)),
    ),
    constants={"norm_head": Constant("norm_head", neutral=False)},
    sizes={**BAILING_SIZES, "normed": lambda hp: int(bool(hp["norm_head"]))},
    defaults=DECODER_DEFAULTS, example="inclusionAI/Ling-lite",
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
# -- version 3 -----------------------------------------------------------------------------------------------------------


def latent_heads(config: Config) -> list[int]:
    """One latent head in the last block of each group, in those behind the last group and in those that predict; else none."""
    count, group = config["num_hidden_layers"], config["layer_group_size"]
    latent = [(b + 1) % group == 0 or b >= count // group * group for b in range(count)]
    return [int(one) for one in latent] + [1] * config["num_nextn_predict_layers"]


def group_size(kv: Mapping[str, Any]) -> int:
    """Blocks to the first one with latent attention, whatever stands behind the last group."""
    heads = listed(kv)[: main_blocks(kv)]
    return next((b for b, latent in enumerate(heads, 1) if latent), len(heads) + 1)


def its(*rows: TensorRule) -> tuple[TensorRule, ...]:
    return renamed((("self_attn.", "attention."),), *rows)


BAILING3 = ArchSpec(
    "bailingmoe3", ("BailingMoeV3ForCausalLM",), "bailing_moe_v3",
    hparams=(
        *without(SHAPE, "num_hidden_layers"), *NEXTN_BLOCKS, RMS_EPS, TIED, SILU, VOCAB_ROWS, *ROUTED,
        *without(LATENT_ATTN, "attention.head_count_kv", "attention.value_length", "rope.scaling.yarn_log_multiplier",
                 "rope_parameters.mscale"),
        Computed("attention.head_count_kv", latent_heads, "layer_group_size", group_size),
        Seen("num_key_value_heads", lambda facts: facts.kv["attention.head_count"]),
        H("attention.value_length", "head_dim"), H("kda.head_dim", "head_dim"), H("ssm.conv_kernel", "short_conv_kernel_size"),
        H("kda.safe_gate", "kda_safe_gate", BOOL), H("kda.gate_lower_bound", "kda_lower_bound", F32),
        Fixed("no_kda_lora", True, refuse=True), Fixed("gated_attention_proj_granularity_type", "head_wise", refuse=True),
        H(SHARED_LENGTH, "moe_shared_expert_intermediate_size"), H("expert_weights_scale", "routed_scaling_factor", F32),
        H("leading_dense_block_count", "first_k_dense_replace", default=0),
        H("expert_gating_func", "score_function", codec=GATING, default="sigmoid"),
        H("expert_group_count", "n_group", need=False), H("expert_group_used_count", "topk_group", need=False),
        limits("swiglu_clamp_exp", "expert_swiglu_limit_list"), limits("swiglu_clamp_shexp", "share_expert_swiglu_limit_list"),
        H("rope.dimension_sections", "mrope_section", ValueType.INT32, need=False, codec=SECTIONS),
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_q.weight", A + "q_proj.weight", shape="delta_rows embedding_length", no_lora=NO_ADAPTERS, of=convolves),
        R("blk.{b}.attn_q.weight", A + "q_proj.weight", shape="query_rows embedding_length", no_lora=NO_ADAPTERS, of=attends,
          when=lambda hp, b: attends(hp, b) and no_query_lora(hp, b)),
        *(replace(row, when=(lambda old: lambda hp, b: attends(hp, b) and (old is None or old(hp, b)))(row.when))
          for row in its(*LATENT) if "q_proj" not in row.hf[0].text),
        R("blk.{b}.attn_gate.weight", A + "g_proj.weight", shape="attention.head_count embedding_length",
          no_lora=NO_ADAPTERS, of=attends),
        R("blk.{b}.attn_output.weight", A + "dense.weight", shape="embedding_length value_rows", no_lora=NO_ADAPTERS,
          of=attends),
        *where(convolves, *its(*(conv(part) for part in "qkv")),
               R("blk.{b}.attn_k.weight", A + "k_proj.weight", shape="delta_rows embedding_length", no_lora=NO_ADAPTERS),
               R("blk.{b}.attn_v.weight", A + "v_proj.weight", shape="delta_rows embedding_length", no_lora=NO_ADAPTERS),
               R("blk.{b}.ssm_f_a.weight", A + "f_proj.weight", shape="delta_rows embedding_length", no_lora=NO_ADAPTERS),
               R("blk.{b}.ssm_g_a.weight", A + "g_proj.weight", shape="delta_rows embedding_length", no_lora=NO_ADAPTERS,
                 of=convolves),
               R("blk.{b}.ssm_beta.weight", A + "b_proj.weight", shape="attention.head_count embedding_length",
                 no_lora=NO_ADAPTERS),
               # Without the sign that other architectures give the decay.
               R("blk.{b}.ssm_a", A + "A_log", NegExp(), Scale(-1.0),
                 Reshape(("attention.head_count",), ("attention.head_count", 1)), shape="attention.head_count",
                 type="F32", hf_dtype="F32"),
               R("blk.{b}.ssm_dt.bias", A + "dt_bias", shape="delta_rows", hf_dtype="F32"),
               R("blk.{b}.ssm_norm.weight", A + "o_norm.weight", shape="kda.head_dim"),
               R("blk.{b}.attn_output.weight", A + "o_proj.weight", shape="embedding_length delta_rows", no_lora=NO_ADAPTERS,
                 of=convolves)),
        *where(dense, *FFN),
        *where(sparse, *ROUTER, *SEPARATE_EXPERTS, *SHARED_EXPERTS,
               R("blk.{b}.exp_probs_b.bias", L + "mlp.gate.expert_bias", shape="expert_count", hf_dtype="F32")),
        *where(predicting, R("blk.{b}.layer_output_norm.weight", L + "final_layernorm.weight", shape="embedding_length")),
        *NEXTN, *OUT_NORM,
        R("output.weight", "lm_head.weight", need=False, shape="vocab_size embedding_length", no_lora=NO_ADAPTERS),
    ),
    defaults={**DEFAULTS, "num_nextn_predict_layers": 0},
    sizes={**LATENT_SIZES, "delta_rows": lambda hp: hp["attention.head_count"] * hp["kda.head_dim"],
           "shared_expert_length": lambda hp: hp[SHARED_LENGTH]},
    idle=predicting, example="inclusionAI/Ling-3.0-tiny",
)
BAILING3_VL = Whole("BailingMoeV3VLForConditionalGeneration", "bailing_moe_v3_vl", BAILING3,
                    (("model.language_model.", "model."), ("language_model.model.", "model.")),
                    parts("visual", "linear_proj"), example="inclusionAI/Ling-3.0-flash-VL")

SPECS = (BAILING, BAILING2, SARVAM, BAILING3, BAILING3_VL)
