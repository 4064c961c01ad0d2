"""SmallThinker: a router in front of attention, experts with ReLU; rotary positions only in blocks with a sliding window.

Source: the code beside its weights; llama.cpp `src/models/smallthinker.cpp`, `conversion/smallthinker.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .qwen import ATTN


def slides(config: Config) -> bool:
    return any(config.get("sliding_window_layout") or ())


def every_fourth(count: int) -> list[int]:
    """For each block whether it has a window and rotary positions, where any has a window."""
    return [int(b % 4 != 0) for b in range(count)]


def layout(count: int, facts: GgufFacts, otherwise: int) -> list[int]:
    return every_fourth(count) if facts.kv.get("attention.sliding_window") else [otherwise] * count


M = L + "block_sparse_moe."
SMALLTHINKER = ArchSpec(
    "smallthinker", ("SmallThinkerForCausalLM",), "smallthinker",
    hparams=(
        *without(DECODER, "feed_forward_length", "hidden_act"),
        H("expert_count", "moe_num_primary_experts"), H("expert_used_count", "moe_num_active_primary_experts"),
        H("expert_feed_forward_length", "moe_ffn_hidden_size"),
        Computed("feed_forward_length", lambda c: c["moe_ffn_hidden_size"]),
        Computed("expert_gating_func", lambda c: 1 if c.get("moe_primary_router_apply_softmax") else 2,
                 "moe_primary_router_apply_softmax", lambda kv: kv.get("expert_gating_func") == 1),
        Computed("attention.sliding_window", lambda c: c["sliding_window_size"] if slides(c) else None,
                 "sliding_window_size", lambda kv: kv.get("attention.sliding_window")),
        Seen("sliding_window_layout", lambda facts: layout(facts.kv["block_count"], facts, 0)),
        Seen("rope_layout", lambda facts: layout(facts.kv["block_count"], facts, 1)),
        Note("the runtime's windows are 4096 wide, and every fourth block, from the first on, has none",
             lambda c: slides(c) and (
                 c["sliding_window_size"], c["sliding_window_layout"]) != (4096, every_fourth(c["num_hidden_layers"]))),
        Fixed("moe_enable_early_router", True), Fixed("moe_enable_secondary_experts", False, refuse=True),
        Fixed("moe_layer_layout", lambda c: [1] * c["num_hidden_layers"], refuse=True),
    ),
    tensors=(
        *EMBED, *NORMS, *ATTN,
        R("blk.{b}.ffn_gate_inp.weight", M + "primary_router.weight", shape="expert_count embedding_length", type="F32"),
        R("blk.{b}.ffn_gate_exps.weight", M + "experts.{e}.gate.weight", shape="expert_feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up_exps.weight", M + "experts.{e}.up.weight", shape="expert_feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down_exps.weight", M + "experts.{e}.down.weight", shape="embedding_length expert_feed_forward_length"),
        *OUT_NORM, *HEAD,
    ),
    defaults=DECODER_DEFAULTS, sizes=SIZES, example="PowerInfer/SmallThinker-4BA0.6B-Instruct",
)

SPECS = (SMALLTHINKER,)
