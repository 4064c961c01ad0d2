"""GroveMoE: Qwen3-MoE with small experts beside the experts, one for each two, which work along with them.

Source: the code beside its weights; llama.cpp `src/models/grovemoe.cpp`, `conversion/grovemoe.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .qwen import ATTN, DEFAULTS, FULL_ATTENTION, NO_BIAS

PER_GROUP = 2  # which only the model's code says
SMALL = L + "mlp.chunk_experts.{e}."
GROVEMOE = ArchSpec(
    "grovemoe", ("GroveMoeForCausalLM", "modeling_grove_moe.GroveMoeForCausalLM"), "grove_moe",
    hparams=(*DECODER, *EXPERTS, EXPERT_LENGTH, FULL_ATTENTION, NO_BIAS, Fixed("norm_topk_prob", True),
             Fixed("decoder_sparse_step", 1), Fixed("mlp_only_layers", []),
             Computed("expert_chunk_feed_forward_length", lambda c: c.get("head_dim") or 128),
             Const("experts_per_group", PER_GROUP), Const("expert_group_scale", 0.05, F32)),
    tensors=(
        *EMBED, *NORMS, *ATTN, *QK_NORM, *ROUTER, *SEPARATE_EXPERTS,
        R("blk.{b}.ffn_gate_chexps.weight", SMALL + "gate_proj.weight", each="small_experts",
          shape="expert_chunk_feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up_chexps.weight", SMALL + "up_proj.weight", each="small_experts",
          shape="expert_chunk_feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down_chexps.weight", SMALL + "down_proj.weight", each="small_experts",
          shape="embedding_length expert_chunk_feed_forward_length"),
        *OUT_NORM, *HEAD,
    ),
    defaults=DEFAULTS, sizes={**SIZES, "small_experts": lambda hp: hp["expert_count"] // PER_GROUP},
    ignore=(Template(L + "mlp.expert_bias"),), example="inclusionAI/GroveMoE-Inst",
)

SPECS = (GROVEMOE,)
