"""K-EXAONE: EXAONE 4's alternating attention with norms in front, and DeepSeek-V3's mixture of experts.

Layers of multi-token prediction (`mtp.*`) become the last blocks, which the runtime passes by.
Source: transformers `models/exaone_moe`; llama.cpp `src/models/exaone-moe.cpp`, `conversion/exaone.py`.
"""

from __future__ import annotations

from typing import Any

from ..rules.words import *
from .common import *
from .deepseek import GATING, SHARED_EXPERTS, dense
from .exaone import MTP, MTP_BLOCKS, of_main, periodic, windowed
from .qwen import ATTN
from .qwen35 import STACKS, of_mtp


def sparse(hp: Hparams, b: int) -> bool:
    return not dense(hp, b)


def dense_blocks(config: Config) -> int:
    """How many blocks in front have no experts."""
    kinds: list[str] = config.get("mlp_layer_types") or []
    stated: Any = config.get("first_k_dense_replace", config.get("first_last_k_dense_replace", 1))
    count = kinds.count("dense") if kinds else stated
    if kinds and kinds != ["dense"] * count + ["sparse"] * (len(kinds) - count):
        raise ValueError("the dense layers are not the first ones")
    return count


BIASES = (R("blk.{b}.exp_probs_b.bias", L + "mlp.e_score_correction_bias", shape="expert_count", hf_dtype="F32"),)
EXAONE_MOE = ArchSpec(
    "exaone-moe", ("ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM"), "exaone_moe",
    hparams=(
        *without(DECODER, "block_count", "rope.freq_base"), Rope(write_scaling=False), VOCAB_SIZE, *EXPERTS, EXPERT_LENGTH,
        *MTP_BLOCKS,
        Computed("nextn_predict_layers", lambda c: c["num_nextn_predict_layers"],
                 "num_nextn_predict_layers", lambda kv: kv.get("nextn_predict_layers", 0)),
        Const("rope.scaling.type", "none", ValueType.STRING),
        H("attention.sliding_window", "sliding_window"),
        Computed("attention.sliding_window_pattern", windowed, "layer_types", of_main, BOOL),
        H("expert_shared_count", "num_shared_experts"),
        Computed("expert_shared_feed_forward_length", lambda c: c["moe_intermediate_size"] * c["num_shared_experts"]),
        H("expert_weights_scale", "routed_scaling_factor", F32), H("expert_weights_norm", "norm_topk_prob", BOOL),
        H("expert_gating_func", "scoring_func", codec=GATING, default="sigmoid"),
        H("expert_group_count", "n_group", default=1), H("expert_group_used_count", "topk_group", default=1),
        Computed("leading_dense_block_count", dense_blocks,
                 "first_k_dense_replace", lambda kv: kv["leading_dense_block_count"]),
    ),
    tensors=(
        *EMBED, *NORMS, *ATTN, *QK_NORM, *where(dense, *FFN),
        *where(sparse, *ROUTER, *BIASES, *SEPARATE_EXPERTS, *FUSED_EXPERTS, *SHARED_EXPERTS),
        *of_mtp(*NORMS, *ATTN, *QK_NORM, *FFN), *MTP, *OUT_NORM, *HEAD,
    ),
    derived=(LLAMA3_FREQS,), stacks=STACKS,
    defaults={"num_key_value_heads": 32, "sliding_window": 4096, "layer_types": periodic,
              "num_nextn_predict_layers": 0, "num_shared_experts": 1, "norm_topk_prob": True, "routed_scaling_factor": 2.5},
    sizes={**SIZES, "rope.dimension_count": SIZES["head_length"], "main_blocks": main_blocks,
           "shared_expert_length": lambda hp: hp["expert_shared_count"] * hp["expert_feed_forward_length"]},
    example="LGAI-EXAONE/K-EXAONE-236B-A23B",
)

SPECS = (EXAONE_MOE,)
