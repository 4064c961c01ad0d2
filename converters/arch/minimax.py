"""MiniMax-Text-01 and M1: lightning attention in most blocks, Mixtral's experts. MiniMax-M2: the same experts with
DeepSeek-V3's router and its biases, queries and keys normed over all heads. MiniMax-M3: a shared expert besides, dense blocks
in front, and sparse attention behind them, to blocks of keys that an indexer chooses.

Source: transformers `models/minimax`, `minimax_m2`, `minimax_m3_vl`, MiniMax's `modeling_minimax_text_01.py`; llama.cpp
`conversion/minimax.py`, `src/models/minimax-01.cpp`, `minimax-m2.cpp`, `minimax-m3.cpp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..rules.words import *
from .common import *
from .deepseek import GATING, dense, sparse
from .llama import MIXTRAL, MULTIMODAL
from .multimodal import parts
from .qwen import ATTN, FFN
from .qwen35 import offset

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


# -- MiniMax-Text-01, M1 -------------------------------------------------------------------------------------------------

GATE = "blk.{b}.attn_gate.weight"  # of lightning attention
PARTS = ("full_attention", "linear_attention", "mlp")
INTERVAL = 8  # every eighth block attends by softmax where a file does not say which


def lightning(kv: Mapping[str, Any]) -> list[bool]:
    """For each block whether its attention is linear."""
    if "attention.recurrent_layers" in kv:
        return [bool(linear) for linear in kv["attention.recurrent_layers"]]
    return [(b + 1) % kv.get("full_attention_interval", INTERVAL) != 0 for b in range(kv["block_count"])]


def unusual(config: Config) -> list[bool] | None:
    """Which blocks attend linearly, where it is not all but every eighth."""
    kinds, count = config["attn_type_list"], config["num_hidden_layers"]
    if len(kinds) != count or not {*kinds} <= {0, 1}:
        raise ValueError(f"{count} times 0 or 1 is expected, not {kinds}")
    linear = [kind == 0 for kind in kinds]
    return None if linear == lightning({"block_count": count}) else linear


def linear(hp: Hparams, b: int) -> bool:
    return lightning(hp)[b]


def full(hp: Hparams, b: int) -> bool:
    return not lightning(hp)[b]


def alpha(config: Config) -> float:
    """What every residual is multiplied by: the runtime knows one number."""
    found = {config[f"layernorm_{part}_alpha"] for part in PARTS}
    if len(found) > 1:
        raise ValueError(f"one layernorm_*_alpha is expected, not {sorted(found)}")
    return found.pop()


MINIMAX_01 = ArchSpec(
    "minimax-01", ("MiniMaxText01ForCausalLM", "MiniMaxM1ForCausalLM"), "minimax_text_01",
    hparams=(
        *DECODER, *LOCAL_EXPERTS,
        H("rope.dimension_count", "rotary_dim"),
        Computed("residual_scale", alpha, "layernorm_full_attention_alpha", lambda kv: short(kv["residual_scale"]), F32),
        *(Seen(f"layernorm_{part}_alpha", lambda facts: short(facts.kv["residual_scale"])) for part in PARTS[1:]),
        *(Fixed(f"layernorm_{part}_beta", 1.0, refuse=True) for part in PARTS),
        Computed("attention.recurrent_layers", unusual, "attn_type_list", lambda kv: [int(not x) for x in lightning(kv)], BOOL),
        Fixed("postnorm", True, refuse=True), Fixed("shared_intermediate_size", 0, refuse=True),
        Fixed("sliding_window", None),
    ),
    tensors=(
        *EMBED, *NORMS, *where(full, *ATTN[:-1], replace(ATTN[-1], given=lacks(GATE))),
        *where(linear,
               # Head by head queries, keys and values, as the runtime takes them.
               R("blk.{b}.attn_qkv.weight", L + "self_attn.qkv_proj.weight", shape="3*head_rows embedding_length"),
               R(GATE, L + "self_attn.output_gate.weight", shape="head_rows embedding_length"),
               R("blk.{b}.attn_norm_2.weight", L + "self_attn.norm.weight", shape="head_rows"),
               R("blk.{b}.attn_output.weight", L + "self_attn.out_proj.weight", shape="embedding_length head_rows",
                 given=has(GATE))),
        *(row for row in MIXTRAL.tensors if "exps" in row.gguf[0].text or "gate_inp" in row.gguf[0].text),
        *OUT_NORM, *HEAD,
    ),
    defaults={
        **DECODER_DEFAULTS, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0,
        **{f"layernorm_{part}_{kind}": 1.0 for part in PARTS for kind in ("alpha", "beta")},
    },
    sizes=MIXTRAL.sizes, example="MiniMaxAI/MiniMax-Text-01",
)

# -- MiniMax-M3 ----------------------------------------------------------------------------------------------------------

INDEX = "sparse_attention_config.sparse_"


def leading(config: Config) -> int:
    """The number of dense blocks, which lie in front of those with experts; transformers 5 names what each block is."""
    kinds = config.get("mlp_layer_types")
    experts = [kind == "sparse" for kind in kinds] if kinds else [bool(one) for one in config["moe_layer_freq"]]
    count = experts.index(True) if True in experts else len(experts)
    if experts != indexed(config["num_hidden_layers"], count):
        raise ValueError(f"dense blocks in front of all others are expected, not {kinds or config['moe_layer_freq']}")
    return count


def indexed(count: int, dense: int) -> list[bool]:
    """For each block whether it has experts, and chooses the keys that it attends to."""
    return [b >= dense for b in range(count)]


def frequencies(config: Config) -> list[int]:
    return [int(one) for one in indexed(config["num_hidden_layers"], leading(config))]


INDEXER_TENSORS = where(
    sparse,
    R("blk.{b}.indexer.q_proj.weight", L + "self_attn.index_q_proj.weight", shape="index_rows embedding_length", type="F32"),
    R("blk.{b}.indexer.k_proj.weight", L + "self_attn.index_k_proj.weight",
      shape="attention.indexer.key_length embedding_length", type="F32"),
    *offset(R("blk.{b}.indexer.q_norm.weight", L + "self_attn.index_q_norm.weight", shape="attention.indexer.key_length"),
            R("blk.{b}.indexer.k_norm.weight", L + "self_attn.index_k_norm.weight", shape="attention.indexer.key_length")),
)
SHARED = (
    R("blk.{b}.ffn_gate_shexp.weight", MOE + "shared_experts.gate_proj.weight", shape="shared_length embedding_length"),
    R("blk.{b}.ffn_up_shexp.weight", MOE + "shared_experts.up_proj.weight", shape="shared_length embedding_length"),
    R("blk.{b}.ffn_down_shexp.weight", MOE + "shared_experts.down_proj.weight", shape="embedding_length shared_length"),
)
M3_MOE = tuple(replace(row, shape=" ".join("expert_" + s if s == "feed_forward_length" else s for s in row.shape.split()))
               for row in MINIMAX_M2.tensors if row.shape and ("exp" in row.gguf[0].text or "gate_inp" in row.gguf[0].text))

MINIMAX_M3 = ArchSpec(
    "minimax-m3", ("MiniMaxM3SparseForCausalLM",), "minimax_m3",
    hparams=(
        *without(DECODER, "feed_forward_length", "hidden_act"), *LOCAL_EXPERTS,
        H("feed_forward_length", "dense_intermediate_size"), H("expert_feed_forward_length", "intermediate_size"),
        H("expert_gating_func", "scoring_func", codec=GATING, default="sigmoid"), H("rope.dimension_count", "rotary_dim"),
        H("expert_shared_count", "n_shared_experts", default=1), H("expert_weights_scale", "routed_scaling_factor", F32),
        Const("expert_weights_norm", True, BOOL),
        Fixed("shared_intermediate_size", lambda c: c["n_shared_experts"] * c["intermediate_size"], refuse=True),
        H("attention.indexer.head_count", (INDEX + "num_index_heads", "index_n_heads")),
        H("attention.indexer.key_length", (INDEX + "index_dim", "index_head_dim")),
        H("attention.indexer.top_k", (INDEX + "topk_blocks", "index_topk_blocks")),
        H("attention.indexer.block_size", (INDEX + "block_size", "index_block_size")),
        H("attention.indexer.local_blocks", (INDEX + "local_block", "index_local_blocks")),
        Computed("leading_dense_block_count", leading, "moe_layer_freq",
                 lambda kv: [int(one) for one in indexed(kv["block_count"], kv["leading_dense_block_count"])]),
        Fixed(INDEX + "attention_freq", frequencies, refuse=True),
        # transformers 5 writes the activation that another setting stands in for.
        Fixed("hidden_act", "swigluoai", also=("silu",)), Fixed("swiglu_alpha", 1.702, refuse=True),
        Fixed("swiglu_limit", 7.0, refuse=True), Fixed("use_gemma_norm", True, refuse=True),
        Fixed("attention_bias", False, refuse=True), Fixed("qk_norm_type", "per_head", refuse=True),
    ),
    tensors=(*EMBED, *offset(*NORMS), *ATTN, *offset(*QK_NORM), *INDEXER_TENSORS, *where(dense, *FFN),
             *where(sparse, *M3_MOE, *SHARED), *offset(*OUT_NORM), *HEAD),
    defaults={**MINIMAX_M2.defaults, "num_key_value_heads": 4, "max_position_embeddings": 524288, "num_experts_per_tok": 4,
              "num_local_experts": 128, "n_shared_experts": 1, "rotary_dim": 64, "routed_scaling_factor": 2.0},
    sizes={**SIZES, "shared_length": lambda hp: hp["expert_shared_count"] * hp["expert_feed_forward_length"],
           "index_rows": lambda hp: hp["attention.indexer.head_count"] * hp["attention.indexer.key_length"]},
    example="MiniMaxAI/MiniMax-M3",
)
MINIMAX_M3_VL = Whole(
    "MiniMaxM3SparseForConditionalGeneration", "minimax_m3_vl", MINIMAX_M3, MULTIMODAL,
    parts("vision_tower", "multi_modal_projector", "patch_merge_mlp"), example="MiniMaxAI/MiniMax-M3",
)

SPECS = (MINIMAX_01, MINIMAX_M2, MINIMAX_M3, MINIMAX_M3_VL)
