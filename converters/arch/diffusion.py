"""Language models that fill masks in any order (diffusion): Dream, RND1, LLaDA, LLaDA-MoE. Blocks of Qwen2, Qwen3-MoE, Llama
and OLMoE, whose attention looks both ways.

Source: the code beside their weights; llama.cpp `src/models/dream.cpp`, `rnd1.cpp`, `llada.cpp`, `llada-moe.cpp`,
`conversion/dream.py`, `qwen.py`, `llada.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .qwen import ATTN, DEFAULTS, FULL_ATTENTION, NO_BIAS, QKV_BIAS
from .qwen import FFN as QWEN_FFN

BOTH_WAYS = Const("attention.causal", False, BOOL)

DREAM = ArchSpec(
    "dream", ("DreamModel",), "Dream", hparams=(*DECODER, FULL_ATTENTION, BOTH_WAYS),
    tensors=(*EMBED, *NORMS, *ATTN, *QKV_BIAS, *QWEN_FFN, *OUT_NORM, *HEAD), defaults=DEFAULTS, sizes=SIZES,
    example="Dream-org/Dream-v0-Instruct-7B",
)

RND1 = ArchSpec(
    "rnd1", ("RND1",), "rnd1",
    hparams=(*DECODER, *EXPERTS, EXPERT_LENGTH, FULL_ATTENTION, NO_BIAS, Fixed("norm_topk_prob", True),
             Fixed("decoder_sparse_step", 1), Fixed("mlp_only_layers", []), BOTH_WAYS),
    tensors=(*EMBED, *NORMS, *ATTN, *QK_NORM, *ROUTER, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *OUT_NORM, *HEAD),
    defaults=DEFAULTS, sizes=SIZES, example="radicalnumerics/RND1-Base-0910",
)

B = "model.transformer.blocks.{b}."
LLADA = ArchSpec(
    "llada", ("LLaDAModelLM",), "llada",
    hparams=(
        H("block_count", "n_layers"), H("context_length", "max_sequence_length"), H("embedding_length", "d_model"),
        H("feed_forward_length", "mlp_hidden_size"), H("attention.head_count", "n_heads"),
        H("attention.head_count_kv", "n_kv_heads"), Rope(), RMS_EPS, VOCAB_SIZE, BOTH_WAYS,
        Computed("rope.dimension_count", lambda c: c["d_model"] // c["n_heads"]),
        Const("diffusion.shift_logits", False, BOOL), Seen("weight_tying", lacks("output.weight")),
        Seen("embedding_size", size("token_embd.weight")), Fixed("rope", True, refuse=True),
        Fixed("activation_type", "silu", refuse=True), Fixed("block_type", "llama", refuse=True),
        Fixed("layer_norm_type", "rms", refuse=True), Fixed("include_bias", False), Fixed("include_qkv_bias", False),
        Fixed("scale_logits", False, refuse=True), Fixed("input_emb_norm", False, refuse=True),
        Fixed("attention_layer_norm", False, refuse=True),
    ),
    tensors=(
        R("token_embd.weight", "model.transformer.wte.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.weight", B + "attn_norm.weight", shape="embedding_length"),
        R("blk.{b}.attn_q.weight", B + "q_proj.weight", ROPE, shape="head_rows embedding_length"),
        R("blk.{b}.attn_k.weight", B + "k_proj.weight", ROPE, shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_v.weight", B + "v_proj.weight", shape="head_kv_rows embedding_length"),
        R("blk.{b}.attn_output.weight", B + "attn_out.weight", shape="embedding_length head_rows"),
        R("blk.{b}.ffn_norm.weight", B + "ff_norm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_gate.weight", B + "ff_proj.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up.weight", B + "up_proj.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", B + "ff_out.weight", shape="embedding_length feed_forward_length"),
        R("output_norm.weight", "model.transformer.ln_f.weight", shape="embedding_length"),
        R("output.weight", "model.transformer.ff_out.weight", need=False, shape="vocab_size embedding_length"),
    ),
    defaults={"n_kv_heads": same_as("n_heads"), "rms_norm_eps": 1e-5}, sizes=SIZES, example="GSAI-ML/LLaDA-8B-Instruct",
)

LLADA_MOE = ArchSpec(
    "llada-moe", ("LLaDAMoEModelLM", "LLaDAMoEModel"), "llada",
    hparams=(
        *without(DECODER, "feed_forward_length"), *EXPERTS, H("expert_feed_forward_length", "expert_intermediate_size"),
        H("feed_forward_length", ("dense_intermediate_size", "intermediate_size"), need=False), BOTH_WAYS,
        Const("diffusion.shift_logits", False, BOOL), Fixed("clip_qkv", None, refuse=True), Fixed("norm_topk_prob", False),
        Fixed("attention_bias", False, refuse=True),
        Fixed("moe_layer_freq", lambda c: [1] * c["num_hidden_layers"], refuse=True),
        Fixed("qk_layernorm", True, refuse=True), Fixed("shared_expert_intermediate_size", None, also=(0,), refuse=True),
    ),
    tensors=(*EMBED, *NORMS, *ATTN, *QK_NORM, *ROUTER, *SEPARATE_EXPERTS, *OUT_NORM, *HEAD),
    defaults=DECODER_DEFAULTS, sizes=SIZES, example="inclusionAI/LLaDA-MoE-7B-A1B-Instruct",
)

SPECS = (DREAM, RND1, LLADA, LLADA_MOE)
