"""CogVLM's language model: Llama with a second set of weights in each block, for the tokens of images.

Source: the code on the Hub (`THUDM/cogvlm-chat-hf`, `THUDM/cogvlm2-llama3-chat-19B`); llama.cpp `src/models/cogvlm.cpp`,
`conversion/cogvlm.py`.
"""

from __future__ import annotations

from ..rules.words import *
from .common import *
from .llama import ROPE_DIM

A, M = L + "self_attn.", L + "mlp."
UP, DOWN = "feed_forward_length embedding_length", "embedding_length feed_forward_length"


def expert(prefix: str, name: str, qkv: str, output: str) -> tuple[TensorRule, ...]:
    """A block's weights for one kind of token."""
    return (
        R(f"blk.{{b}}.{prefix}{qkv}.weight", A + f"{name}_expert_query_key_value.weight",
          shape="3*embedding_length embedding_length"),
        R(f"blk.{{b}}.{prefix}{output}.weight", A + f"{name}_expert_dense.weight", shape="embedding_length embedding_length"),
    )


COGVLM = ArchSpec(
    "cogvlm", ("CogVLMForCausalLM",), "cogvlm",
    hparams=(*SHAPE, H("attention.head_count_kv", "num_key_value_heads", need=False), Rope(write_base=False), RMS_EPS, ROPE_DIM,
             VOCAB_SIZE, VOCAB_ROWS, SILU, TIED, Fixed("rope_parameters.rope_theta", 10000.0)),
    tensors=(
        *EMBED, *NORMS,
        *expert("", "language", "attn_qkv", "attn_output"), *expert("vis_", "vision", "attn_qkv", "attn_output"),
        R("blk.{b}.ffn_gate.weight", M + "language_mlp.gate_proj.weight", shape=UP),
        R("blk.{b}.ffn_up.weight", M + "language_mlp.up_proj.weight", shape=UP),
        R("blk.{b}.ffn_down.weight", M + "language_mlp.down_proj.weight", shape=DOWN),
        R("blk.{b}.vis_gate.weight", M + "vision_mlp.gate_proj.weight", shape=UP),
        R("blk.{b}.vis_up.weight", M + "vision_mlp.up_proj.weight", shape=UP),
        R("blk.{b}.vis_down.weight", M + "vision_mlp.down_proj.weight", shape=DOWN),
        *OUT_NORM, *HEAD,
    ),
    ignore=(Template(L + "self_attn.rotary_emb.inv_freq"),), defaults=DECODER_DEFAULTS, sizes=SIZES,
    example="THUDM/cogvlm-chat-hf",
)
BACK = {"cogvlm": choice(COGVLM)}
SPECS = (Whole("CogVLMForCausalLM", "cogvlm", text=COGVLM, aliases=(), parts={"model.vision.": None}, example=COGVLM.example),)
