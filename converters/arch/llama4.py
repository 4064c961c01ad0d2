"""Llama 4: a mixture of experts in every block, or in every second; rotary positions in three of four blocks, which see chunks.

Source: transformers `models/llama4`; llama.cpp `src/models/llama4.cpp`, `conversion/llama.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import MULTIMODAL, ROPE_DIM


def sparse(hp: Hparams, b: int) -> bool:
    return (b + 1) % hp["interleave_moe_layer_step"] == 0


def dense(hp: Hparams, b: int) -> bool:
    return not sparse(hp, b)


def rotated(config: Config) -> list[int]:
    """For each block whether it has rotary positions."""
    return [int((b + 1) % 4 != 0) for b in range(config["num_hidden_layers"])]


FF = L + "feed_forward."
LLAMA4 = ArchSpec(
    "llama4", ("Llama4ForCausalLM",), "llama4_text",
    hparams=(
        *without(DECODER, "feed_forward_length"), H("feed_forward_length", "intermediate_size_mlp"),
        H("expert_feed_forward_length", "intermediate_size"), *LOCAL_EXPERTS, VOCAB_SIZE, ROPE_DIM,
        H("interleave_moe_layer_step", "interleave_moe_layer_step"),
        Fixed("attention_bias", False, refuse=True), Fixed("no_rope_layers", rotated, also=([],)),
        Fixed("use_qk_norm", lambda c: c["num_local_experts"] != 128), Fixed("attention_chunk_size", 8192),
        Fixed("attn_temperature_tuning", True, also=(4,)), Fixed("floor_scale", 8192), Fixed("attn_scale", 0.1),
    ),
    tensors=(
        *EMBED, *NORMS,
        R("blk.{b}.attn_q.weight", L + "self_attn.q_proj.weight", shape="head_rows embedding_length"),
        R("blk.{b}.attn_k.weight", L + "self_attn.k_proj.weight", shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_v.weight", L + "self_attn.v_proj.weight", shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", L + "self_attn.o_proj.weight", shape="embedding_length head_rows"),
        *where(dense,
               R("blk.{b}.ffn_gate.weight", FF + "gate_proj.weight", shape="feed_forward_length embedding_length"),
               R("blk.{b}.ffn_up.weight", FF + "up_proj.weight", shape="feed_forward_length embedding_length"),
               R("blk.{b}.ffn_down.weight", FF + "down_proj.weight", shape="embedding_length feed_forward_length")),
        *where(sparse,
               R("blk.{b}.ffn_gate_inp.weight", FF + "router.weight", shape="expert_count embedding_length", type="F32",
                 no_lora="peft adapts no module with two results"),
               R(("blk.{b}.ffn_gate_exps.weight", "blk.{b}.ffn_up_exps.weight"), FF + "experts.gate_up_proj", Transpose(),
                 Split((1, 1)), shape="expert_count embedding_length 2*expert_feed_forward_length"),
               R("blk.{b}.ffn_down_exps.weight", FF + "experts.down_proj", Transpose(),
                 shape="expert_count expert_feed_forward_length embedding_length"),
               R("blk.{b}.ffn_gate_shexp.weight", FF + "shared_expert.gate_proj.weight",
                 shape="expert_feed_forward_length embedding_length"),
               R("blk.{b}.ffn_up_shexp.weight", FF + "shared_expert.up_proj.weight",
                 shape="expert_feed_forward_length embedding_length"),
               R("blk.{b}.ffn_down_shexp.weight", FF + "shared_expert.down_proj.weight",
                 shape="embedding_length expert_feed_forward_length")),
        *OUT_NORM, *HEAD,
    ),
    derived=(LLAMA3_FREQS,), sizes=SIZES,
    defaults={"num_key_value_heads": same_as("num_attention_heads"), "head_dim": 128, "max_position_embeddings": 131072,
              "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "num_local_experts": 16, "num_experts_per_tok": 1,
              "intermediate_size_mlp": 16384, "interleave_moe_layer_step": 1},
    example="unsloth/Llama-4-Scout-17B-16E-Instruct",
)

LLAMA4_VL = Whole(
    "Llama4ForConditionalGeneration", "llama4", LLAMA4, (*MULTIMODAL[1:], *MULTIMODAL[:1]),
    dict.fromkeys(("vision_model.", "multi_modal_projector.", "model.vision_model.", "model.multi_modal_projector.")),
    example="unsloth/Llama-4-Scout-17B-16E-Instruct", modules=MULTIMODAL[2:],
)

SPECS = (LLAMA4, LLAMA4_VL)
