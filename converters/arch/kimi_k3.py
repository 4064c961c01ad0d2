"""Kimi K3: Kimi Linear's two kinds of attention, each with a gate of full rank; experts in a narrower space; an activation
of its own (SiTU); and residuals that each part of a block chooses from those before it, by a norm and a projection.

Source: the code beside its weights; llama.cpp `src/models/kimi-k3.cpp`, `conversion/kimi_k3.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .deepseek import ATTN, GATING, LATENT_ATTN, LATENT_SIZES, dense, no_query_lora, query_lora, sparse
from .kimi_linear import delta, delta_attention, ffn, gate, heads_by_block, numbers
from .lfm2 import attends, convolves

A, M = L + "self_attn.", L + "block_sparse_moe."
SCORES = "the runtime has the product of two weights"
# Rows without adapters: the runtime multiplies by hand.
HIDDEN = tuple(replace(row, no_lora=NO_ADAPTERS) for row in (
    *where(dense, *ffn(L + "mlp.", "", "feed_forward_length")),
    *where(sparse, *ffn(M + "shared_experts.", "_shexp", "shared_expert_length"))))
EXPERTS_INSIDE = (
    R("blk.{b}.ffn_gate_exps.weight", M + "experts.{e}.w1.weight", shape="expert_feed_forward_length latent_length"),
    R("blk.{b}.ffn_up_exps.weight", M + "experts.{e}.w3.weight", shape="expert_feed_forward_length latent_length"),
    R("blk.{b}.ffn_down_exps.weight", M + "experts.{e}.w2.weight", shape="latent_length expert_feed_forward_length"),
)


def narrow(hp: Hparams, b: int) -> bool:
    return sparse(hp, b) and "expert_latent_length" in hp


def scores(gguf: str, hf: str) -> TensorRule:
    """What a place takes of the residuals before it."""
    return R(f"{gguf}.weight", (f"{hf}_norm.weight", f"{hf}_proj.weight"), Product(), hf_dtype="F32", no_lora=SCORES,
             shape="embedding_length; 1 embedding_length")


KIMI_K3 = ArchSpec(
    "kimi-k3", ("KimiK3ForConditionalGeneration",), "kimi_k3",
    hparams=(
        *without(SHAPE, "context_length"), H("context_length", ("max_position_embeddings", "model_max_length")),
        *without(LATENT_ATTN, "attention.head_count_kv", "rope.scaling.yarn_log_multiplier", "rope_parameters",
                 "rope_parameters.mscale"),
        H("rope.freq_base", "rope_theta", F32, need=False),  # nothing turns by it
        Computed("attention.head_count_kv", heads_by_block, "num_key_value_heads", lambda kv: kv["attention.head_count"]),
        Seen("linear_attn_config.full_attn_layers", numbers(True)), Seen("linear_attn_config.kda_layers", numbers(False)),
        H("kda.head_dim", "linear_attn_config.head_dim"), H("ssm.conv_kernel", "linear_attn_config.short_conv_kernel_size"),
        H("kda.gate_lower_bound", "linear_attn_config.gate_lower_bound", F32, need=False),
        Fixed("linear_attn_config.num_heads", lambda c: c["num_attention_heads"], refuse=True),
        H("leading_dense_block_count", "first_k_dense_replace"), EXPERT_LENGTH, EXPERTS[0],
        H("expert_used_count", ("num_experts_per_token", "num_experts_per_tok")),
        H("expert_shared_count", "num_shared_experts"), H("expert_weights_scale", "routed_scaling_factor", F32),
        H("expert_weights_norm", "moe_renormalize", BOOL, default=True),
        H("expert_gating_func", "moe_router_activation_func", codec=GATING, default="sigmoid"),
        H("expert_group_used_count", "topk_group", need=False), Fixed("num_expert_group", 1, refuse=True),
        H("expert_latent_length", "routed_expert_hidden_size", need=False),
        H("attn_res.block_size", "attn_res_block_size"),
        Fixed("hidden_act", "situ", refuse=True), H("activation.situ_beta", "activation_situ_beta", F32),
        H("activation.situ_linear_beta", "activation_situ_linear_beta", F32), Fixed("mla_use_nope", True, refuse=True),
        Fixed("moe_layer_freq", 1, refuse=True), RMS_EPS, VOCAB_SIZE, VOCAB_ROWS, TIED,
    ),
    tensors=(
        *EMBED, *NORMS, scores("blk.{b}.attn_res_score", L + "self_attention_res"),
        scores("blk.{b}.ffn_res_score", L + "mlp_res"),
        R("blk.{b}.attn_q.weight", A + "q_proj.weight", shape="delta_rows embedding_length", no_lora=NO_ADAPTERS, of=convolves),
        R("blk.{b}.attn_q.weight", A + "q_proj.weight", shape="query_rows embedding_length", no_lora=NO_ADAPTERS, of=attends,
          when=lambda hp, b: attends(hp, b) and no_query_lora(hp, b)),
        *(replace(row, when=lambda hp, b: attends(hp, b) and query_lora(hp, b)) for row in ATTN if ".q_a_" in row.hf[0].text
          or ".q_b_" in row.hf[0].text),
        *where(attends, *(row for row in ATTN if ".kv_" in row.hf[0].text)),
        R("blk.{b}.attn_gate.weight", A + "g_proj.weight", shape="value_rows embedding_length", no_lora=NO_ADAPTERS,
          of=attends),
        R("blk.{b}.ssm_g.weight", A + "g_proj.weight", shape="delta_rows embedding_length", no_lora=NO_ADAPTERS, of=convolves),
        R("blk.{b}.attn_output.weight", A + "o_proj.weight", shape="embedding_length value_rows", no_lora=NO_ADAPTERS,
          of=attends),
        R("blk.{b}.attn_output.weight", A + "o_proj.weight", shape="embedding_length delta_rows", no_lora=NO_ADAPTERS,
          of=convolves),
        *where(convolves, *delta_attention(*gate("f"))),
        *HIDDEN,
        *where(sparse, *EXPERTS_INSIDE,
               R("blk.{b}.ffn_gate_inp.weight", M + "gate.weight", shape="expert_count embedding_length", type="F32",
                 no_lora=NO_ADAPTERS),
               R("blk.{b}.exp_probs_b.bias", M + "gate.e_score_correction_bias", shape="expert_count", hf_dtype="F32")),
        *where(narrow,
               R("blk.{b}.ffn_routed_down.weight", M + "routed_expert_down_proj.weight", shape="latent_length embedding_length",
                 no_lora=NO_ADAPTERS),
               R("blk.{b}.ffn_routed_up.weight", M + "routed_expert_up_proj.weight", shape="embedding_length latent_length",
                 no_lora=NO_ADAPTERS)),
        R("blk.{b}.ffn_routed_norm.weight", M + "routed_expert_norm.weight", need=False, shape="latent_length"),
        scores("output_res_score", "model.output_attn_res"), *OUT_NORM,
        R("output.weight", "lm_head.weight", shape="vocab_size embedding_length", no_lora=NO_ADAPTERS),
    ),
    sizes={
        **LATENT_SIZES, "delta_rows": lambda hp: hp["attention.head_count"] * hp["kda.head_dim"],
        "latent_length": lambda hp: hp.get("expert_latent_length", hp["embedding_length"]),
    },
    defaults={"linear_attn_config": delta, "num_key_value_heads": same_as("num_attention_heads"), "rms_norm_eps": 1e-5,
              "num_shared_experts": 1},
    absent="what the class sees with is not in the file", example="moonshotai/Kimi-K3",
)
WHOLE = Whole("KimiK3ForConditionalGeneration", "kimi_k3", KIMI_K3, (("language_model.", ""),),
              dict.fromkeys(("vision_tower.", "mm_projector.")), example="moonshotai/Kimi-K3")

BACK = {"kimi-k3": choice(KIMI_K3)}
SPECS = (WHOLE,)
