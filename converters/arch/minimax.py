"""MiniMax-M2: Mixtral's experts with DeepSeek-V3's biased router, queries and keys normed over all heads.

Source: transformers `models/minimax_m2`; llama.cpp `src/models/minimax-m2.cpp`, `conversion/minimax.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .deepseek import GATING
from .llama import MIXTRAL
from .qwen import ATTN

MOE = L + "block_sparse_moe."
MINIMAX_M2 = ArchSpec(
    "minimax-m2", ("MiniMaxM2ForCausalLM",), "minimax_m2",
    hparams=(
        *DECODER, *LOCAL_EXPERTS,
        Computed("expert_feed_forward_length", lambda c: c["intermediate_size"]),
        H("expert_gating_func", "scoring_func", codec=GATING, default="sigmoid"),
        Computed("rope.dimension_count", lambda c: c.get("rotary_dim") or int(
                 c["head_dim"] * c["rope_parameters"].get("partial_rotary_factor", 1.0)), "rotary_dim",
                 lambda kv: kv["rope.dimension_count"]),
        Fixed("attention_bias", False, refuse=True), Fixed("qk_norm_type", "per_layer", refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS, *ATTN,
        R("blk.{b}.attn_q_norm.weight", L + "self_attn.q_norm.weight", shape="head_rows"),
        R("blk.{b}.attn_k_norm.weight", L + "self_attn.k_norm.weight", shape="head_kv_rows"),
        *(row for row in MIXTRAL.tensors if "exps" in row.gguf[0].text or "gate_inp" in row.gguf[0].text),
        R("blk.{b}.exp_probs_b.bias", MOE + "e_score_correction_bias", shape="expert_count", hf_dtype="F32"),
        *OUT_NORM, *HEAD,
    ),
    defaults={"num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 196608, "rms_norm_eps": 1e-6,
              "rope_theta": 5000000.0, "num_local_experts": 256, "num_experts_per_tok": 8},
    sizes=SIZES, example="MiniMaxAI/MiniMax-M2",
)

SPECS = (MINIMAX_M2,)
