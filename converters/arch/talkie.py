"""Talkie: norms without weights, gains instead: one per query head, block, and for the head, whose gain is a key in GGUF.

Source: the code beside its weights; llama.cpp `src/models/talkie.cpp`, `conversion/talkie.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *

T = "model.blocks.{b}."
# It turns against the direction of ggml's rotation, which the signs of half of each head undo.
HALVES = Split((1, 1), groups="attention.head_count", join=True)
BACKWARDS = (HALVES, Scale((1.0, -1.0), runs=("half_rows", "half_rows")), HALVES.inverse)
GAIN = "the runtime scales what the weight gives before it adds the update"

TALKIE = ArchSpec(
    "talkie", ("TalkieForCausalLM",), "talkie",
    hparams=(
        H("block_count", ("n_layer", "num_hidden_layers")), CONTEXT_LENGTH, H("embedding_length", ("n_embd", "hidden_size")),
        H("feed_forward_length", "intermediate_size"), H("attention.head_count", ("n_head", "num_attention_heads")),
        *HEAD_LENGTHS, Rope(), Const("attention.layer_norm_rms_epsilon", 2.0**-23, F32), VOCAB_ROWS,
        Fixed("tie_word_embeddings", False, refuse=True),
    ),
    tensors=(
        R("token_embd.weight", "model.embed.weight", shape="vocab_size embedding_length"),
        R("blk.{b}.attn_q.weight", T + "attn.attn_query.weight", *BACKWARDS, shape="head_rows embedding_length"),
        R("blk.{b}.attn_k.weight", T + "attn.attn_key.weight", *BACKWARDS, shape="head_rows embedding_length"),
        R("blk.{b}.attn_v.weight", T + "attn.attn_value.weight", shape="head_rows embedding_length"),
        R("blk.{b}.attn_output.weight", T + "attn.attn_resid.weight", shape="embedding_length head_rows", no_lora=GAIN),
        R("blk.{b}.attn_output.scale", T + "attn_gain.a_g", shape="1"),
        R("blk.{b}.attn_q_norm.weight", T + "attn.head_gain.head_g",
          Reshape(("attention.head_count",), ("attention.head_count", 1))),
        R("blk.{b}.ffn_gate.weight", T + "mlp.mlp_gate.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up.weight", T + "mlp.mlp_linear.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", T + "mlp.mlp_resid.weight", shape="embedding_length feed_forward_length"),
        R("blk.{b}.ffn_down.scale", T + "mlp_gain.a_g", shape="1"),
        R("blk.{b}.layer_output_scale.weight", T + "embed_skip.a_g", shape="1"),
        R("output.weight", "lm_head", shape="vocab_size embedding_length"),
    ),
    keyed=(Keyed("talkie.logit_scale", Template("lm_head_gain.w_g"), (1,)),),
    sizes={**SIZES, "half_rows": lambda hp: hp["head_rows"] // 2},
    defaults={
        "n_layer": 40, "n_head": 40, "n_embd": 5120, "head_dim": 128, "max_position_embeddings": 4096, "rope_theta": 1e6,
        "intermediate_size": lambda c: int(round(8 / 3 * c["n_embd"] / 128) * 128),
    },
    example="lewtun/talkie-1930-13b-it-hf",
)

SPECS = (TALKIE,)
