"""HRM-Text: two stacks of blocks that take turns, their norms without weights. GGUF numbers them one behind the other.

The file's block count is how often a block is passed. Source: transformers `models/hrm_text`; llama.cpp
`src/models/hrm-text.cpp`, `conversion/hrm_text.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *


def passes(config: Config) -> int:
    return config["num_layers_per_stack"] * config["H_cycles"] * (config["L_cycles"] + 1)


def stack(name: str, hole: str) -> tuple[TensorRule, ...]:
    """The rows of a stack, whose blocks `hole` counts."""
    hf, blk = f"model.{name}.layers.{{{hole}}}.", f"blk.{{{hole}}}."
    return (
        R(tuple(blk + part + ".weight" for part in ("attn_gate", "attn_q", "attn_k", "attn_v")),
          hf + "attn.gqkv_proj.weight", Split(4), shape="4*head_rows embedding_length"),
        R(blk + "attn_output.weight", hf + "attn.o_proj.weight", shape="embedding_length head_rows"),
        R((blk + "ffn_gate.weight", blk + "ffn_up.weight"), hf + "mlp.gate_up_proj.weight", Split((1, 1)),
          shape="2*feed_forward_length embedding_length"),
        R(blk + "ffn_down.weight", hf + "mlp.down_proj.weight", shape="embedding_length feed_forward_length"),
        *in_memory(
            R(blk + "attn_gate.weight", hf + "self_attn.gate_proj.weight", shape="head_rows embedding_length"),
            R(blk + "attn_q.weight", hf + "self_attn.q_proj.weight", shape="head_rows embedding_length"),
            R(blk + "attn_k.weight", hf + "self_attn.k_proj.weight", shape="head_rows embedding_length"),
            R(blk + "attn_v.weight", hf + "self_attn.v_proj.weight", shape="head_rows embedding_length"),
            R(blk + "attn_output.weight", hf + "self_attn.o_proj.weight", shape="embedding_length head_rows"),
            R(blk + "ffn_gate.weight", hf + "mlp.gate_proj.weight", shape="feed_forward_length embedding_length"),
            R(blk + "ffn_up.weight", hf + "mlp.up_proj.weight", shape="feed_forward_length embedding_length")),
    )


HRM_TEXT = ArchSpec(
    "hrm_text", ("HrmTextForCausalLM",), "hrm_text",
    hparams=(
        *SHAPE[1:], Rope(), RMS_EPS, *HEAD_LENGTHS, TIED, VOCAB_ROWS, SILU,
        Computed("block_count", passes, "num_hidden_layers", lambda kv: kv["block_count"]),
        Computed("rope.dimension_count", lambda c: c["head_dim"]), H("embedding_scale", "embedding_scale", F32),
        H("hrm.layers_per_stack", "num_layers_per_stack"), H("hrm.h_cycles", "H_cycles"), H("hrm.l_cycles", "L_cycles"),
        H("hrm.prefix_lm", "prefix_lm", BOOL),
        Fixed("attention_bias", False, refuse=True), Fixed("mlp_bias", False, refuse=True),
        Note("the runtime attends to what came before alone, also within an instruction", lambda c: c["prefix_lm"]),
    ),
    tensors=(
        *EMBED, R("hrm.z_l_init", "model.z_L_init", shape="embedding_length"), *stack("L_module", "l"), *stack("H_module", "h"),
        *HEAD,
    ),
    stacks={"l": Stack("hrm.layers_per_stack"), "h": Stack("hrm.layers_per_stack", after="l")}, sizes=SIZES,
    defaults={"head_dim": 128, "rms_norm_eps": 1e-6, "H_cycles": 2, "L_cycles": 3, "prefix_lm": True,
              "num_layers_per_stack": same_as("num_hidden_layers"),
              "embedding_scale": lambda c: 1.0 / c.get("initializer_range", 0.02)},
    example="sapientinc/HRM-Text-1B",
)

SPECS = (HRM_TEXT,)
