"""BitNet b1.58: Llama with a norm in front of each output projection, whose weights the class makes ternary while it computes.

The first models (1bitLLM) gate by SiLU, as the runtime does: `bitnet.cpp` builds each MLP with LLM_FFN_SILU and reads no key
that says otherwise. microsoft/bitnet-b1.58-2B-4T squares a ReLU, and is refused. Source: the model repository's
`modeling_bitnet.py`, transformers `models/bitnet`; llama.cpp `src/models/bitnet.cpp`, `conversion/bitnet.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .llama import INV_FREQ
from .qwen import ATTN, FFN


def ternary(when: int | str) -> tuple[TensorRule, ...]:
    """The weights that are made ternary."""
    return tuple(replace(row, ops=(Ternary(when),)) for row in (*ATTN, *FFN))


OUTSIDE = (*EMBED, *NORMS, *OUT_NORM, *HEAD)
HPARAMS = (
    *without(DECODER, "tie_word_embeddings", "hidden_act"),
    Const("rope.scaling.type", "linear", ValueType.STRING), Const("rope.scaling.factor", 1.0, F32),
    Fixed("hidden_act", "silu", also=("swish",), refuse=True), Fixed("tie_word_embeddings", True, refuse=True),
    Note("the class also rounds activations to 8 bits, which the runtime does not", lambda c: True),
)

# Published under the model_type llama, which without a class is a Llama.
BITNET_1 = ArchSpec(
    "bitnet", ("BitnetForCausalLM",), "bitnet_b1_58", hparams=HPARAMS,
    tensors=(
        *OUTSIDE, *ternary(1),
        R("blk.{b}.attn_sub_norm.weight", L + "self_attn.inner_attn_ln.weight", shape="embedding_length"),
        R("blk.{b}.ffn_sub_norm.weight", L + "mlp.ffn_layernorm.weight", shape="feed_forward_length"),
    ),
    defaults={**DECODER_DEFAULTS, "tie_word_embeddings": True}, sizes=SIZES, ignore=INV_FREQ, example="1bitLLM/bitnet_b1_58-3B",
)

# Its weights are floats as they stand, unless config.json says that they are to be made ternary.
BITNET = replace(
    BITNET_1, classes=("BitNetForCausalLM",), model_type="bitnet",
    hparams=(*without(HPARAMS, "hidden_act"), Fixed("hidden_act", "silu", also=("swish",), refuse=True)),
    tensors=(
        *OUTSIDE, *ternary("online"),
        R("blk.{b}.attn_sub_norm.weight", L + "self_attn.attn_sub_norm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_sub_norm.weight", L + "mlp.ffn_sub_norm.weight", shape="feed_forward_length"),
    ),
    constants={"mode": Constant("quantization_config.quantization_mode", neutral="offline")},
    sizes={**SIZES, "online": lambda hp: int(hp["mode"] == "online")},
    defaults={"hidden_act": "relu2", "head_dim": per_head, "num_key_value_heads": 5, "rope_theta": 500000.0,
              "tie_word_embeddings": False},
    example="microsoft/bitnet-b1.58-2B-4T",
)

BACK = {"bitnet": choice(BITNET)}
SPECS = (BITNET, BITNET_1)
