"""Refact: one key-value head, attention by distance, a gated feed-forward of a computed width.

Source: the model repository's `modeling_gpt_refact.py`; llama.cpp `src/models/refact.cpp`, `conversion/refact.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

T = "transformer.h.{b}."


def inner(config: Config) -> int:
    """Two thirds of four times the width, rounded up to a multiple of 256."""
    return -(-int(2 * 4 * config["n_embd"] / 3) // 256) * 256


REFACT = ArchSpec(
    "refact", ("GPTRefactForCausalLM",), "gpt_refact",
    hparams=(
        H("block_count", "n_layer"), H("context_length", "n_positions"), H("embedding_length", "n_embd"),
        Computed("feed_forward_length", inner), H("attention.head_count", "n_head"), Const("attention.head_count_kv", 1),
        H("attention.layer_norm_rms_epsilon", "layer_norm_epsilon", F32), TIED, VOCAB_ROWS,
        Fixed("multi_query", True, refuse=True),
    ),
    tensors=(
        R("token_embd.weight", "transformer.wte.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_norm.weight", T + "ln_1.weight", shape="embedding_length"),
        R("blk.{b}.attn_q.weight", T + "attn.q.weight", shape="embedding_length embedding_length"),
        R(("blk.{b}.attn_k.weight", "blk.{b}.attn_v.weight"), T + "attn.kv.weight", Split((1, 1)),
          shape="2*head_length embedding_length"),
        R("blk.{b}.attn_output.weight", T + "attn.c_proj.weight", shape="embedding_length embedding_length"),
        R("blk.{b}.ffn_norm.weight", T + "ln_2.weight", shape="embedding_length"),
        R(("blk.{b}.ffn_gate.weight", "blk.{b}.ffn_up.weight"), T + "mlp.gate_up_proj.weight", Split((1, 1)),
          shape="2*feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", T + "mlp.c_proj.weight", shape="embedding_length feed_forward_length"),
        R("output_norm.weight", "ln_f.weight", shape="embedding_length"), *HEAD,
    ),
    sizes=SIZES, defaults={"layer_norm_epsilon": 1e-5}, aliases=(("transformer.ln_f.", "ln_f."),),
    example="smallcloudai/Refact-1_6-base",
)

SPECS = (REFACT,)
