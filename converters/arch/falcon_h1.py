"""Falcon-H1: attention and Mamba 2 side by side in every block. Its multipliers are folded into the weights.

Source: transformers `models/falcon_h1`; llama.cpp `src/models/falcon-h1.cpp`, `conversion/falcon_h1.py`.
"""

from __future__ import annotations

from dataclasses import replace

from ..rules.words import *
from .common import *
from .mamba import SIZES_2, mamba2

FF = L + "feed_forward."
ZXBCDT = ("multiplier_z", "multiplier_x", "multiplier_b", "multiplier_c", "multiplier_dt")  # in the order of in_proj's rows
STATES = "ssm.group_count*ssm.state_size"
ATTN_IN = Scale("attention_in_multiplier")
SCALES = {  # by GGUF tensor
    "token_embd": (Scale("embedding_multiplier"),), "output": (Scale("lm_head_multiplier"),),
    "attn_q": (ATTN_IN,), "attn_k": (Scale("key_multiplier"), ATTN_IN), "attn_v": (ATTN_IN,),
    "attn_output": (Scale("attention_out_multiplier"),), "ssm_out": (Scale("ssm_out_multiplier"),),
    "ssm_in": (Scale("ssm_in_multiplier"),
               Scale(ZXBCDT, runs=("ssm.inner_size", "ssm.inner_size", STATES, STATES, "ssm.time_step_rank"))),
    "ffn_gate": (Scale("gate_multiplier"),), "ffn_down": (Scale("down_multiplier"),),
}


def with_multipliers(*rows: TensorRule) -> tuple[TensorRule, ...]:
    return tuple(replace(row, ops=(*row.ops, *SCALES.get(row.gguf[0].text.split(".")[-2], ()))) for row in rows)


FALCON_H1 = ArchSpec(
    "falcon-h1", ("FalconH1ForCausalLM",), "falcon_h1",
    hparams=(
        *DECODER, VOCAB_SIZE, H("ssm.conv_kernel", "mamba_d_conv"), H("ssm.state_size", "mamba_d_state"),
        H("ssm.inner_size", "mamba_d_ssm"), H("ssm.group_count", "mamba_n_groups"), H("ssm.time_step_rank", "mamba_n_heads"),
        Seen("mamba_d_head", lambda found: found.kv["ssm.inner_size"] // found.kv["ssm.time_step_rank"]),
        Seen("mamba_rms_norm", has("blk.0.ssm_norm.weight")), Fixed("mamba_norm_before_gate", False),
        Fixed("mamba_conv_bias", True, refuse=True), Fixed("mamba_proj_bias", False, refuse=True),
        Fixed("projectors_bias", False, refuse=True), Fixed("attention_bias", False, refuse=True),
        Note("multipliers are in the weights, which come back as they were from an F32 file alone, else within a rounding",
             lambda c: any(c.get(key, 1) not in (1, None) for key in c if key.endswith(("_multiplier", "_multipliers")))),
        Note("the head is tied: the runtime multiplies with embedding_multiplier, not lm_head_multiplier",
             lambda c: c.get("tie_word_embeddings") and c.get("embedding_multiplier", 1) != c.get("lm_head_multiplier", 1)),
    ),
    tensors=with_multipliers(
        *EMBED, *ATTN, *mamba2(L + "mamba.", norm=False),
        R("blk.{b}.attn_norm.weight", L + "input_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_norm", L + "pre_ff_layernorm.weight", shape="embedding_length"),
        R("blk.{b}.ffn_gate.weight", FF + "gate_proj.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_up.weight", FF + "up_proj.weight", shape="feed_forward_length embedding_length"),
        R("blk.{b}.ffn_down.weight", FF + "down_proj.weight", shape="embedding_length feed_forward_length"),
        R("output_norm.weight", "model.final_layernorm.weight", shape="embedding_length"), *HEAD,
    ),
    sizes={**SIZES, **SIZES_2}, defaults={**DECODER_DEFAULTS, "mamba_d_ssm": lambda c: c["mamba_expand"] * c["hidden_size"]},
    constants={
        **{name: Constant(name) for name in (
            "embedding_multiplier", "lm_head_multiplier", "key_multiplier", "attention_in_multiplier",
            "attention_out_multiplier", "ssm_in_multiplier", "ssm_out_multiplier")},
        "gate_multiplier": Constant("mlp_multipliers.0"), "down_multiplier": Constant("mlp_multipliers.1"),
        **{name: Constant(f"ssm_multipliers.{n}") for n, name in enumerate(ZXBCDT)},
    },
    example="tiiuae/Falcon-H1-0.5B-Base",
)

SPECS = (FALCON_H1,)
